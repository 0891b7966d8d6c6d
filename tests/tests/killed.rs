//! Nothing that was answered 250 is lost, whatever is killed with SIGKILL, and what arrives twice was under way at a kill.
//!
//! 20 sessions send; a node, or the store's server, is killed every two seconds. The client never sends an id twice: a message whose outcome it
//! did not learn is left as it is (it may arrive or not) and counted. `POSTHOUSE_KILL_MESSAGES` sets the number of messages (20,000; the
//! promise was taken at 100,000).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use posthouse_tests::gateway::{Counts, Gateway, Options};
use posthouse_tests::manifests::Manifests;
use posthouse_tests::proxy::Proxy;
use posthouse_tests::sink::{Protocol, Sink, accept_all};
use posthouse_tests::smtp::Client;
use posthouse_tests::store::{Flavor, Server};
use posthouse_tests::wait::{self, SOON};

const SESSIONS: usize = 20;
const BEAT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);

#[test]
fn no_accepted_message_is_lost_when_nodes_are_killed_embedded() {
    nodes_are_killed(Options::default());
}

#[test]
fn no_accepted_message_is_lost_when_nodes_are_killed_over_redis() {
    let server = Server::start(Flavor::Redis).unwrap();
    nodes_are_killed(Options { redis: Some(server.url()), ..Options::default() });
}

#[test]
fn no_accepted_message_is_lost_when_redis_is_killed() {
    store_is_killed(Flavor::Redis);
}

#[test]
fn no_accepted_message_is_lost_when_valkey_is_killed() {
    store_is_killed(Flavor::Valkey);
}

fn nodes_are_killed(options: Options) {
    let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let manifests = Manifests::relay_to(sink.address()).unwrap();
    let mut gateway = Gateway::start_with(manifests.path(), options).unwrap();
    let address = gateway.smtp().unwrap();
    let load = Load::start(address);
    let mut in_doubt = 0;
    while load.goes_on_for(BEAT) {
        // A node that is being started has no process to kill yet: the next beat gets it.
        let Some(node) = gateway.run().ok().and_then(|run| run.nodes.first().cloned()) else { continue };
        if gateway.kill_node(&node).is_ok() {
            in_doubt += gateway.counts().unwrap().active;
        }
    }
    gateway.until_drained(Duration::from_mins(2)).unwrap();
    load.judge(&sink, in_doubt);
}

fn store_is_killed(flavor: Flavor) {
    let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let manifests = Manifests::relay_to(sink.address()).unwrap();
    let mut server = Server::start(flavor).unwrap();
    let proxy = Proxy::start(server.address()).unwrap();
    let options = Options { redis: Some(proxy.url()), ..Options::default() };
    let mut gateway = Gateway::start_with(manifests.path(), options).unwrap();
    let load = Load::start(gateway.smtp().unwrap());
    let mut in_doubt = 0;
    while load.goes_on_for(BEAT) {
        proxy.shut();
        server.kill().unwrap();
        server.start_again().unwrap();
        // Before any node connects.
        in_doubt += Counts::of(&["--redis", &server.url()]).unwrap().active;
        proxy.open();
    }
    gateway.until_drained(Duration::from_mins(2)).unwrap();
    load.judge(&sink, in_doubt);
}

/// 20 sessions that send until the messages are used up.
struct Load {
    accepted: Arc<Mutex<BTreeSet<usize>>>,
    unknown: Arc<AtomicUsize>,
    done: Receiver<()>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let messages = std::env::var("POSTHOUSE_KILL_MESSAGES").map_or(20_000, |text| text.parse().unwrap());
        let accepted = Arc::new(Mutex::new(BTreeSet::new()));
        let unknown = Arc::new(AtomicUsize::new(0));
        let next = Arc::new(AtomicUsize::new(0));
        // Nothing is ever sent: the channel closes when the last session has ended.
        let (running, done) = channel();
        for _ in 0..SESSIONS {
            let (accepted, unknown, next, running) =
                (Arc::clone(&accepted), Arc::clone(&unknown), Arc::clone(&next), running.clone());
            thread::spawn(move || {
                let mut client = None;
                loop {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    if id >= messages {
                        break;
                    }
                    match send(&mut client, address, id) {
                        Some(true) => drop(accepted.lock().unwrap().insert(id)),
                        // As a client does that is told to come again: else the ids would be used up while the store is away.
                        Some(false) => thread::sleep(PAUSE),
                        None => drop(unknown.fetch_add(1, Ordering::Relaxed)),
                    }
                }
                drop(running);
            });
        }
        Self { accepted, unknown, done }
    }

    /// Waits this long; false once all is sent.
    fn goes_on_for(&self, time: Duration) -> bool {
        matches!(self.done.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }

    fn judge(&self, sink: &Sink, in_doubt: u64) {
        let mut arrived: BTreeMap<usize, usize> = BTreeMap::new();
        for letter in sink.arrived() {
            let id = letter
                .header("Message-ID")
                .and_then(|id| id.trim_matches(['<', '>']).split('@').next()?.parse().ok());
            *arrived.entry(id.expect("our id")).or_default() += 1;
        }
        let accepted = self.accepted.lock().unwrap();
        let lost: Vec<_> = accepted.iter().filter(|id| !arrived.contains_key(id)).take(10).collect();
        let duplicates: usize = arrived.values().map(|count| count - 1).sum();
        let unknown = self.unknown.load(Ordering::Relaxed);
        eprintln!(
            "accepted {}, unknown {unknown}, arrived {}, duplicates {duplicates}, in doubt {in_doubt}",
            accepted.len(),
            arrived.len()
        );
        assert!(lost.is_empty(), "lost: {lost:?} …");
        assert!(
            duplicates as u64 <= in_doubt,
            "{duplicates} duplicates, but only {in_doubt} were under way at the kills"
        );
    }
}

/// Some(true): 250. Some(false): refused, so it must not have been kept. None: the outcome is not known.
fn send(client: &mut Option<Client>, address: SocketAddr, id: usize) -> Option<bool> {
    let mut session = match client.take() {
        Some(session) => session,
        None => wait::until("a session", SOON, || Ok(greet(address).ok())).unwrap(),
    };
    let content = format!("Message-ID: <{id}@client.test>\r\nSubject: {id}\r\n\r\n{}\r\n", "x".repeat(4096));
    // An error before the data is sent leaves nothing behind; one after it may have.
    let reply = session.send("a@src.test", &["b@dst.test"], content.as_bytes()).ok()?;
    let accepted = reply.code == 250;
    if reply.code != 421 {
        *client = Some(session);
    }
    Some(accepted)
}

fn greet(address: SocketAddr) -> anyhow::Result<Client> {
    let mut client = Client::connect(address)?;
    anyhow::ensure!(
        client.greeting.code == 220 && client.command("EHLO client.test")?.code == 250,
        "not now"
    );
    Ok(client)
}
