//! What a node holds in memory, and what a dead next hop may cost the others.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use posthouse_tests::gateway::{Gateway, Options};
use posthouse_tests::manifests::{GATEWAY, Manifests};
use posthouse_tests::peers::{Load, SmtpSink};
use posthouse_tests::sink::{Moment, Policy, Protocol, Sink, accept_all};
use posthouse_tests::smtp::Client;
use posthouse_tests::store::{Flavor, Server};

const MEBIBYTE: usize = 1024 * 1024;

#[test]
fn a_hundred_sessions_of_fifty_mebibytes_fit_into_sixty_four_embedded() {
    memory_is_bounded(Options::default());
}

#[test]
fn a_hundred_sessions_of_fifty_mebibytes_fit_into_sixty_four_over_redis() {
    let server = Server::start(Flavor::Redis).unwrap();
    memory_is_bounded(Options { redis: Some(server.url()), ..Options::default() });
}

/// One at a time: together they would measure how the machine copes with 10 GiB under way.
static MEMORY: Mutex<()> = Mutex::new(());

fn memory_is_bounded(options: Options) {
    let _turn = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let mut sink = SmtpSink::start(folder.path()).unwrap();
    let manifests = Manifests::relay_to(sink.address()).unwrap();
    let mut gateway = Gateway::start_with(manifests.path(), options).unwrap();
    let node = gateway.run().unwrap().nodes[0].clone();
    let load = Load {
        sessions: 100,
        messages: 100,
        size: 50 * MEBIBYTE,
        keep: false,
        from: "a@src.test".into(),
        to: "b@dst.test".into(),
    };
    load.run(gateway.smtp().unwrap(), folder.path(), Duration::from_mins(10)).unwrap();
    sink.until_messages(100, Duration::from_mins(10)).unwrap();
    gateway.until_drained(Duration::from_mins(2)).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid)).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: usize = peak.trim().trim_end_matches("kB").trim().parse().unwrap();
    eprintln!("VmHWM {peak} KiB");
    assert!(peak < 64 * 1024, "VmHWM {peak} KiB");
}

#[test]
fn a_dead_next_hop_delays_nobody_embedded() {
    a_dead_next_hop_delays_nobody(Options::default());
}

#[test]
fn a_dead_next_hop_delays_nobody_over_redis() {
    let server = Server::start(Flavor::Redis).unwrap();
    a_dead_next_hop_delays_nobody(Options { redis: Some(server.url()), ..Options::default() });
}

fn a_dead_next_hop_delays_nobody(options: Options) {
    let messages = std::env::var("POSTHOUSE_DEAD_HOP_MESSAGES").map_or(10_000, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let busy: Policy =
        Arc::new(|moment| matches!(moment, Moment::Connect).then(|| "421 4.3.2 not today".to_owned()));
    let dead = Sink::start(Protocol::Smtp, busy).unwrap();
    let alive = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let manifests = Manifests::new().unwrap();
    // The interval is longer than the test: the connections seen are the attempts of the first round and its probes.
    manifests.write("gateway.yaml", &GATEWAY.replace("intervals: [1s]", "intervals: [10m]")).unwrap();
    manifests.relay("dead", "{recipients: [\"*@dead.test\"]}", dead.address()).unwrap();
    manifests.relay("alive", "{recipients: [\"*@alive.test\"]}", alive.address()).unwrap();
    let gateway = Gateway::start_with(manifests.path(), options).unwrap();
    let load = Load {
        sessions: 20,
        messages,
        size: 512,
        keep: true,
        from: "a@src.test".into(),
        to: "b@dead.test".into(),
    };
    load.run(gateway.smtp().unwrap(), folder.path(), Duration::from_mins(5)).unwrap();

    let mut client = Client::connect(gateway.smtp().unwrap()).unwrap();
    client.command("EHLO client.test").unwrap();
    assert_eq!(client.send("a@src.test", &["b@alive.test"], b"Subject: x\r\n\r\nhi\r\n").unwrap().code, 250);
    let accepted = Instant::now();
    alive.letter(Duration::from_secs(10)).unwrap();
    let delay = accepted.elapsed();
    assert!(delay < Duration::from_millis(100), "first delivery after {delay:?}");
    // perNextHop is 20: the first round may have used as many connections; after it only probes come, one an interval.
    let sessions = dead.sessions();
    eprintln!(
        "{messages} messages queued to the dead hop, {sessions} connections to it, the other lane after {delay:?}"
    );
    assert!(sessions <= 25, "{sessions} connections to a dead next hop");
}
