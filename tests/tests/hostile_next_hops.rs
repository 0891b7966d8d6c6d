//! Hostile and broken next hops of a whole gateway: mail that they break off is in the queue until they behave, arrives then, and bounces to nobody. The table
//! of all moments and ways is in `node/tests/hostile_next_hops`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::sync::Arc;
use std::time::Duration;

use posthouse_tests::gateway::Gateway;
use posthouse_tests::manifests::Manifests;
use posthouse_tests::pki;
use posthouse_tests::saboteur::{At, How, Manner, Saboteur, Seen, real_time};
use posthouse_tests::sink::Protocol;
use posthouse_tests::smtp::Client;
use posthouse_tests::wait::{self, SOON};

/// Content that fills every buffer on the way.
const LARGE: usize = 4 * 1024 * 1024;

/// What a client takes in of a reply without end, with what lies in the buffers of two systems between.
const MOST_TAKEN: usize = 1024 * 1024;

/// A gateway that tries each second, and next hops of which each has a domain to itself: `d0.test`, `d1.test`, and so on.
struct House {
    // In the order in which they end.
    gateway: Gateway,
    hops: Vec<Saboteur>,
    _manifests: Manifests,
}

impl House {
    fn start(manners: Vec<Manner>) -> Self {
        let manifests = Manifests::new().unwrap();
        let hops: Vec<Saboteur> =
            manners.into_iter().map(|manner| Saboteur::start(manner).unwrap()).collect();
        for (number, hop) in hops.iter().enumerate() {
            let matching = format!("{{recipients: [\"*@d{number}.test\"]}}");
            manifests.relay(&format!("d{number}"), &matching, hop.address()).unwrap();
        }
        Self { gateway: Gateway::start(manifests.path()).unwrap(), hops, _manifests: manifests }
    }

    /// Sends to everybody of one domain.
    fn send(&self, number: usize, octets: usize) {
        let content = ["Subject: x\r\n\r\n", &"a line of a letter\r\n".repeat(octets / 20 + 1)].concat();
        let to = ["a", "b"].map(|name| format!("{name}@d{number}.test"));
        let mut client = Client::hello(self.gateway.smtp().unwrap()).unwrap();
        let reply = client.send("s@src.test", &to.each_ref().map(String::as_str), content.as_bytes());
        assert_eq!(reply.unwrap().code, 250);
    }

    fn seen(&self, number: usize) -> Seen {
        self.hops[number].seen()
    }

    /// Waits until a domain's mail was taken.
    fn until_taken(&mut self, number: usize) {
        wait::until("mail to be taken", SOON, || Ok((self.seen(number).taken().len() == 2).then_some(())))
            .unwrap_or_else(|error| panic!("{error:#}\n{}", self.gateway.operator().log_tail()));
    }

    /// Nobody was told that mail bounced, and so many recipients have got theirs, once.
    fn assert_nothing_bounced(&mut self, recipients: u64) {
        self.gateway.until_drained(SOON).unwrap();
        let taken: usize = (0..self.hops.len()).map(|number| self.seen(number).taken().len()).sum();
        assert_eq!(taken as u64, recipients);
        let node = self.gateway.run().unwrap().nodes[0].clone();
        let metrics = self.gateway.metrics(&node).unwrap();
        let count = |event: &str| {
            metrics.sum("posthouse_recipients_total", &[&format!("event=\"{event}\"")]).to_string()
        };
        assert_eq!(["failed", "generated"].map(count), ["0", "0"]);
        assert_eq!(["accepted", "relayed"].map(count), [recipients.to_string(), recipients.to_string()]);
    }
}

fn manner(at: At, how: How) -> Manner {
    Manner::honest(Protocol::Smtp, real_time()).sabotage(at, how)
}

#[test]
fn what_a_next_hop_breaks_off_arrives_once_it_behaves() {
    let tls = Some(pki::self_signed(&["127.0.0.1"]).unwrap().server().unwrap());
    let rows = [
        (manner(At::Greeting, How::Garbage), "it broke the protocol before the greeting"),
        (
            manner(At::Hello, How::EndlessLine),
            "it broke the protocol in reply to EHLO: the reply is too long",
        ),
        (manner(At::Mail, How::OutOfPlace), "it broke the protocol in reply to MAIL"),
        (manner(At::Rcpt(2), How::SaysAndCloses(b"421 4.3.2 going down")), "421 4.3.2 going down"),
        (manner(At::Dot(1), How::Resets), "it closed the connection after the final dot, before its reply"),
        (manner(At::Dot(1), How::EndlessLines), "it broke the protocol after the final dot"),
        (
            Manner { tls, ..manner(At::Content, How::BreaksTls) },
            "it closed the connection while the content was sent",
        ),
    ];
    let (manners, words): (Vec<Manner>, Vec<&str>) = rows.into_iter().unzip();
    let mut house = House::start(manners);
    for number in 0..words.len() {
        house.send(number, if number + 1 == words.len() { LARGE } else { 0 });
    }
    for (number, words) in words.iter().enumerate() {
        house.until_taken(number);
        house.gateway.until_logged(&["deferred", &format!("d{number}.test"), words]).unwrap();
        assert!(house.seen(number).said < MOST_TAKEN, "{words}: {}", house.seen(number).said);
    }
    // What was lost behind its last octet came twice: the first time nobody was told that it is taken.
    for number in [4, 5] {
        assert_eq!(house.seen(number).letters.iter().filter(|(_, told)| !told).count(), 2);
    }
    house.assert_nothing_bounced(2 * words.len() as u64);
}

#[test]
fn a_next_hop_that_is_silent_holds_up_nobody_else() {
    // Whatever it waits for is over at once: how long a client waits is tried where the clock stands still.
    let at_once = Arc::new(|_: Duration| {});
    let silent = Manner { clock: at_once, ..manner(At::Dot(1), How::Silent(Duration::from_secs(1))) };
    let mut house = House::start(vec![silent, Manner::honest(Protocol::Smtp, real_time())]);
    house.send(0, 0);
    wait::until("the content", SOON, || Ok((!house.seen(0).letters.is_empty()).then_some(()))).unwrap();
    for _ in 0..3 {
        house.send(1, 0);
    }
    wait::until("the other's mail", SOON, || Ok((house.seen(1).taken().len() == 6).then_some(()))).unwrap();
    wait::until("all but one to be settled", SOON, || {
        let counts = house.gateway.counts()?;
        Ok(((counts.active, counts.queued()) == (1, 1)).then_some(()))
    })
    .unwrap();
    house.hops[0].behave();
    house.until_taken(0);
    assert!(!house.seen(0).is_impatient);
    house.assert_nothing_bounced(8);
}
