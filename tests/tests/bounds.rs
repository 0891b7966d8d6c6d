//! What a node holds in memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use posthouse_tests::gateway::{Gateway, Options};
use posthouse_tests::manifests::Manifests;
use posthouse_tests::peers::{Load, SmtpSink};
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
