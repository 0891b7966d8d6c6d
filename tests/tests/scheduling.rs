//! Who is served when not everybody can be: dead next hops, a bound on connections, leases that nobody heard of.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use posthouse_tests::gateway::{Gateway, Options};
use posthouse_tests::manifests::{GATEWAY, Manifests};
use posthouse_tests::peers::Load;
use posthouse_tests::process::free_address;
use posthouse_tests::proxy::Proxy;
use posthouse_tests::sink::{Moment, Policy, Protocol, Sink, accept_all};
use posthouse_tests::smtp::Client;
use posthouse_tests::store::{Flavor, Server};
use posthouse_tests::wait::{self, SOON};

#[test]
fn a_dead_next_hop_is_tried_by_one_probe_and_keeps_nobody_waiting_embedded() {
    a_dead_next_hop_is_tried_by_one_probe_and_keeps_nobody_waiting(Options::default());
}

#[test]
fn a_dead_next_hop_is_tried_by_one_probe_and_keeps_nobody_waiting_over_redis() {
    let server = Server::start(Flavor::Redis).unwrap();
    let options = Options { redis: Some(server.url()), ..Options::default() };
    a_dead_next_hop_is_tried_by_one_probe_and_keeps_nobody_waiting(options);
}

fn a_dead_next_hop_is_tried_by_one_probe_and_keeps_nobody_waiting(options: Options) {
    let messages = std::env::var("POSTHOUSE_DEAD_HOP_MESSAGES").map_or(10_000, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let door = Door::new(Answer::Busy);
    let dead = door.sink();
    let alive = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let manifests = Manifests::new().unwrap();
    manifests.relay("dead", "{recipients: [\"*@dead.test\"]}", dead.address()).unwrap();
    manifests.relay("alive", "{recipients: [\"*@alive.test\"]}", alive.address()).unwrap();
    let mut gateway = Gateway::start_with(manifests.path(), options).unwrap();
    let load = Load {
        sessions: 20,
        messages,
        size: 512,
        keep: true,
        from: "a@src.test".into(),
        to: "b@dead.test".into(),
    };
    load.run(gateway.smtp().unwrap(), folder.path(), Duration::from_mins(5)).unwrap();

    // From here on a connection to the dead hop gets no greeting, so that a probe stays under way as long as we look at it.
    door.answer(Answer::Nothing);
    let probed = |gateway: &Gateway| {
        let counts = gateway.counts()?;
        Ok((counts.active == 1 && counts.queued() == messages as u64).then_some(()))
    };
    wait::until("one probe", SOON * 2, || probed(&gateway)).unwrap();
    let connections = dead.sessions();
    // Several rounds of the retry interval (1 s), with work for the node in each.
    for round in 0..5 {
        send(&gateway, "b@alive.test", &format!("Subject: {round}\r\n\r\nhi\r\n"));
        let letter = alive.letter(SOON).expect("the other lane is not delayed");
        assert_eq!(letter.header("Subject"), Some(round.to_string()));
        std::thread::sleep(Duration::from_millis(500)); // what is looked at is that nothing happens
    }
    wait::until("the same one probe", SOON, || probed(&gateway)).unwrap();
    assert_eq!(dead.sessions(), connections, "connections to the dead hop while a probe is under way");

    door.answer(Answer::Greeting);
    gateway.until_drained(Duration::from_mins(2)).unwrap();
    assert_eq!(dead.arrived().len(), messages, "each arrived once");
}

#[test]
fn the_node_makes_no_more_connections_than_it_may_and_every_next_hop_has_its_turn() {
    let manifests = Manifests::new().unwrap();
    let bounded =
        GATEWAY.replace("    reserve: 1Mi", "    reserve: 1Mi\n    concurrency: {perNode: 2, perNextHop: 2}");
    manifests.write("gateway.yaml", &bounded).unwrap();
    let doors: Vec<Door> = (0..4).map(|_| Door::new(Answer::Nothing)).collect();
    let sinks: Vec<Sink> = doors.iter().map(Door::sink).collect();
    for (number, sink) in sinks.iter().enumerate() {
        let matching = format!("{{recipients: [\"*@hop{number}.test\"]}}");
        manifests.relay(&format!("hop{number}"), &matching, sink.address()).unwrap();
    }
    let mut gateway = Gateway::start(manifests.path()).unwrap();
    for number in 0..doors.len() {
        for _ in 0..3 {
            send(&gateway, &format!("b@hop{number}.test"), "Subject: x\r\n\r\nhi\r\n");
        }
    }
    let connections = |sinks: &[Sink]| sinks.iter().map(Sink::sessions).sum::<usize>();
    wait::until("two connections", SOON, || Ok((connections(&sinks) == 2).then_some(()))).unwrap();
    std::thread::sleep(Duration::from_secs(2)); // what is looked at is that nothing happens
    assert_eq!(connections(&sinks), 2, "both places are taken by connections that wait for a greeting");

    // Whoever has a place gets its greeting; the places go on to those that wait, though the first have their connections still.
    for door in &doors {
        door.answer(Answer::Greeting);
    }
    gateway.until_drained(SOON * 2).unwrap();
    assert_eq!(sinks.iter().map(|sink| sink.arrived().len()).collect::<Vec<_>>(), [3, 3, 3, 3]);
}

#[test]
fn entries_whose_lease_nobody_heard_of_are_delivered_all_the_same() {
    let server = Server::start(Flavor::Redis).unwrap();
    let proxy = Proxy::start(server.address()).unwrap();
    let door = Door::new(Answer::Busy);
    let sink = door.sink();
    let manifests = Manifests::relay_to(sink.address()).unwrap();
    let options = Options { redis: Some(proxy.url()), ..Options::default() };
    let mut gateway = Gateway::start_with(manifests.path(), options).unwrap();
    // The first attempt is made from memory. The second needs a lease, and its answer, which has the content, is lost: the store has leased
    // the entry to a node that lives on and does not know.
    proxy.lose_answer_with(b"a needle in the content");
    send(&gateway, "b@dst.test", "Subject: x\r\n\r\na needle in the content\r\n");
    wait::until("the lost answer", SOON, || Ok((proxy.lost() == 1).then_some(()))).unwrap();
    door.answer(Answer::Greeting);
    let letter = sink.letter(SOON * 2).expect("the entry was given back");
    assert!(letter.content.ends_with(b"a needle in the content\r\n"));
    gateway.until_drained(SOON).unwrap();
    assert!(sink.arrived().is_empty(), "it came once");
}

#[test]
fn a_far_end_that_takes_few_connections_gets_its_mail_over_those_embedded() {
    a_far_end_that_takes_few_connections_gets_its_mail_over_those(Options::default());
}

#[test]
fn a_far_end_that_takes_few_connections_gets_its_mail_over_those_over_redis() {
    let server = Server::start(Flavor::Redis).unwrap();
    let options = Options { redis: Some(server.url()), ..Options::default() };
    a_far_end_that_takes_few_connections_gets_its_mail_over_those(options);
}

fn a_far_end_that_takes_few_connections_gets_its_mail_over_those(options: Options) {
    const MESSAGES: usize = 400;
    let sink = Sink::with_places(2).unwrap();
    let manifests = Manifests::relay_to(sink.address()).unwrap();
    // Longer than the test: a message whose attempt was spent on a refused connection would not arrive.
    manifests.write("gateway.yaml", &GATEWAY.replace("intervals: [1s]", "intervals: [1h]")).unwrap();
    let mut gateway = Gateway::start_with(manifests.path(), options).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let load = Load {
        sessions: 20,
        messages: MESSAGES,
        size: 512,
        keep: false,
        from: "a@src.test".into(),
        to: "b@dst.test".into(),
    };
    load.run(gateway.smtp().unwrap(), folder.path(), Duration::from_mins(1)).unwrap();
    gateway.until_drained(Duration::from_mins(1)).unwrap();
    assert_eq!(sink.arrived().len(), MESSAGES);
    assert!(sink.sessions() > 2, "it was asked for more than it takes");
}

#[test]
fn mail_whose_time_ran_out_while_the_gateway_stood_still_is_tried_once_embedded() {
    mail_whose_time_ran_out_while_the_gateway_stood_still_is_tried_once(Options::default());
}

#[test]
fn mail_whose_time_ran_out_while_the_gateway_stood_still_is_tried_once_over_redis() {
    let server = Server::start(Flavor::Redis).unwrap();
    let options = Options { redis: Some(server.url()), ..Options::default() };
    mail_whose_time_ran_out_while_the_gateway_stood_still_is_tried_once(options);
}

fn mail_whose_time_ran_out_while_the_gateway_stood_still_is_tried_once(options: Options) {
    let next_hop = free_address().unwrap();
    let manifests = Manifests::relay_to(next_hop).unwrap();
    let short = GATEWAY.replace("expireAfter: 1h", "expireAfter: 5s").replace("[1s]", "[1h]");
    manifests.write("gateway.yaml", &short).unwrap();
    let mut gateway = Gateway::start_with(manifests.path(), options).unwrap();
    send(&gateway, "b@dst.test", "Subject: late\r\n\r\nhi\r\n");
    assert_eq!(gateway.operator().terminate(SOON * 2).unwrap().code(), Some(0));
    std::thread::sleep(Duration::from_secs(6)); // its time runs out
    let sink = Sink::listen(Protocol::Smtp, next_hop, accept_all()).unwrap();
    gateway.start_again().unwrap();
    assert_eq!(sink.letter(SOON).unwrap().header("Subject").as_deref(), Some("late"));
    gateway.until_drained(SOON).unwrap();
    assert!(sink.arrived().is_empty(), "neither a second time nor as a notification");
}

/// What a sink's door does for who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// 421.
    Busy,
    /// No greeting until the answer is another.
    Nothing,
    /// Mail is taken.
    Greeting,
}

/// The door of a sink, which the test opens and closes.
#[derive(Clone)]
struct Door(Arc<(Mutex<Answer>, Condvar)>);

impl Door {
    fn new(answer: Answer) -> Self {
        Self(Arc::new((Mutex::new(answer), Condvar::new())))
    }

    fn answer(&self, answer: Answer) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = answer;
        self.0.1.notify_all();
    }

    fn sink(&self) -> Sink {
        let door = self.clone();
        let policy: Policy = Arc::new(move |moment| {
            if !matches!(moment, Moment::Connect) {
                return None;
            }
            let answer = door.0.0.lock().unwrap_or_else(PoisonError::into_inner);
            let shut = |answer: &mut Answer| *answer == Answer::Nothing;
            let (answer, _) = door.0.1.wait_timeout_while(answer, Duration::from_mins(2), shut).unwrap();
            (*answer != Answer::Greeting).then(|| "421 4.3.2 not today".to_owned())
        });
        Sink::start(Protocol::Smtp, policy).unwrap()
    }
}

fn send(gateway: &Gateway, to: &str, content: &str) {
    let mut client = Client::connect(gateway.smtp().unwrap()).unwrap();
    client.command("EHLO client.test").unwrap();
    assert_eq!(client.send("a@src.test", &[to], content.as_bytes()).unwrap().code, 250);
}
