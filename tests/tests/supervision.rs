//! What `posthouse-operator local` promises of its children, its files and its folder.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use posthouse_tests::binaries::{product, workspace};
use posthouse_tests::gateway::{Gateway, Options};
use posthouse_tests::manifests::{GATEWAY, Manifests};
use posthouse_tests::metrics;
use posthouse_tests::sink::{Protocol, Sink, accept_all};
use posthouse_tests::smtp::Client;
use posthouse_tests::store::{Flavor, Server};
use posthouse_tests::wait::{self, SOON};

fn runs(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

fn rcpt(gateway: &Gateway, to: &str) -> u16 {
    let mut client = Client::connect(gateway.smtp().unwrap()).unwrap();
    client.command("EHLO client.test").unwrap();
    client.command("MAIL FROM:<a@src.test>").unwrap();
    client.command(&format!("RCPT TO:<{to}>")).unwrap().code
}

#[test]
fn a_killed_node_is_back_on_its_address_within_half_a_second() {
    let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let manifests = Manifests::relay_to(sink.address()).unwrap();
    let gateway = Gateway::start(manifests.path()).unwrap();
    let before = gateway.run().unwrap().nodes[0].clone();
    gateway.kill_node(&before).unwrap();
    let killed = Instant::now();
    let after = wait::until("another process", SOON, || {
        let node = gateway.run()?.nodes[0].clone();
        Ok(Some(node).filter(|node| node.pid != before.pid))
    })
    .unwrap();
    // A shared machine may be slow; the bound of the contract is for starting the process, which cannot be seen from outside alone.
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
    assert_eq!(after.listeners[0].address, before.listeners[0].address);
    assert_eq!(rcpt(&gateway, "b@dst.test"), 250);
}

#[test]
fn nodes_end_when_the_operator_is_killed() {
    let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let manifests = Manifests::relay_to(sink.address()).unwrap();
    let mut gateway = Gateway::start(manifests.path()).unwrap();
    let node = gateway.run().unwrap().nodes[0].clone();
    gateway.operator().kill().unwrap();
    wait::until("the node to end", Duration::from_secs(40), || Ok((!runs(node.pid)).then_some(()))).unwrap();
    // And it can be started again on what it left.
    gateway.start_again().unwrap();
    assert_eq!(rcpt(&gateway, "b@dst.test"), 250);
}

#[test]
fn sigterm_drains_and_exits_0() {
    let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let manifests = Manifests::relay_to(sink.address()).unwrap();
    let mut gateway = Gateway::start(manifests.path()).unwrap();
    let node = gateway.run().unwrap().nodes[0].clone();
    assert_eq!(gateway.operator().terminate(SOON * 2).unwrap().code(), Some(0));
    assert!(!runs(node.pid));
}

#[test]
fn a_busy_port_is_named_and_exit_2() {
    let manifests = Manifests::new().unwrap();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port();
    // Ephemeral ports are above 1023, so they are bound as they are.
    manifests.write("gateway.yaml", &GATEWAY.replace("port: 25", &format!("port: {port}"))).unwrap();
    let state = tempfile::tempdir().unwrap();
    let mut command = Command::new(product("posthouse-operator").unwrap());
    command.arg("local").arg("-f").arg(manifests.path()).arg("--state").arg(state.path());
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains(&port.to_string()), "{errors}");
}

#[test]
fn several_nodes_need_ephemeral_ports() {
    let manifests = Manifests::new().unwrap();
    let state = tempfile::tempdir().unwrap();
    let mut command = Command::new(product("posthouse-operator").unwrap());
    command
        .args(["local", "--nodes", "2", "--redis", "redis://127.0.0.1:1", "-f"])
        .arg(manifests.path())
        .arg("--state")
        .arg(state.path());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_edit_is_followed_and_a_wrong_file_harms_only_what_it_describes() {
    let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let lmtp = Sink::start(Protocol::Lmtp, accept_all()).unwrap();
    let manifests = Manifests::relay_to(sink.address()).unwrap();
    manifests.domain("one.test", &["b"], lmtp.address()).unwrap();
    let gateway = Gateway::start(manifests.path()).unwrap();
    assert_eq!((rcpt(&gateway, "b@one.test"), rcpt(&gateway, "c@one.test")), (250, 550));

    manifests.domain("one.test", &["b", "c"], lmtp.address()).unwrap();
    wait::until("the edit to be followed", SOON, || Ok((rcpt(&gateway, "c@one.test") == 250).then_some(())))
        .unwrap();

    // The broken file's last good state stays, and a later edit of another file is followed all the same.
    manifests.write("domain-one-test.yaml", "kind: [").unwrap();
    manifests.domain("two.test", &["d"], lmtp.address()).unwrap();
    wait::until("the other file", SOON, || Ok((rcpt(&gateway, "nobody@two.test") == 550).then_some(())))
        .unwrap();
    assert_eq!(rcpt(&gateway, "d@two.test"), 250);
    assert_eq!((rcpt(&gateway, "c@one.test"), rcpt(&gateway, "e@one.test")), (250, 550));
}

#[test]
fn without_its_store_a_node_answers_451_and_comes_back_by_itself() {
    let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let manifests = Manifests::relay_to(sink.address()).unwrap();
    let mut server = Server::start(Flavor::Redis).unwrap();
    let options = Options { redis: Some(server.url()), ..Options::default() };
    let gateway = Gateway::start_with(manifests.path(), options).unwrap();
    let node = gateway.run().unwrap().nodes[0].clone();
    let send = || {
        let mut client = Client::connect(node.listeners[0].address)?;
        client.command("EHLO client.test")?;
        Ok::<_, anyhow::Error>(client.send("a@src.test", &["b@dst.test"], b"Subject: x\r\n\r\nhi\r\n")?.code)
    };
    assert_eq!(send().unwrap(), 250);
    server.kill().unwrap();
    assert_eq!(send().unwrap(), 451);
    wait::until("readiness to go off", SOON, || {
        Ok((metrics::status(node.metrics, "/readyz")? != 200).then_some(()))
    })
    .unwrap();
    assert_eq!(metrics::status(node.metrics, "/livez").unwrap(), 200);
    server.start_again().unwrap();
    wait::until("mail to be taken again", SOON, || Ok((send()? == 250).then_some(()))).unwrap();
    wait::until("readiness", SOON, || Ok((metrics::status(node.metrics, "/readyz")? == 200).then_some(())))
        .unwrap();
}

#[test]
fn the_quickstart_carries_its_letters_and_ends() {
    let script = workspace().join("examples/quickstart/run.sh");
    let folder = product("posthouse-node").unwrap();
    let output = Command::new(&script)
        .env("ONCE", "1")
        .env("POSTHOUSE_BIN_DIR", folder.parent().unwrap_or(Path::new(".")))
        .output()
        .unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{text}");
}
