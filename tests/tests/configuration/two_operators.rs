//! Two local runs with different states on one queue id of one Redis.

use std::fs;
use std::process::Command;

use posthouse_tests::binaries::product;
use posthouse_tests::manifests::Manifests;
use posthouse_tests::process::Child;
use posthouse_tests::store::{Flavor, Server};
use posthouse_tests::wait::SOON;

use crate::scene::{rcpt, three_nodes, until_condition};

#[test]
fn the_second_of_two_operators_refuses_and_takes_over_when_the_first_has_ended() {
    let server = Server::start(Flavor::Redis).unwrap();
    let manifests = Manifests::new().unwrap();
    let lmtp = "127.0.0.1:24".parse().unwrap();
    manifests.domain("a.test", &["alice"], lmtp).unwrap();
    let mut first = three_nodes(&manifests, &server);
    until_condition(&mut first, "MailDomain.mail.a-test", "Programmed", "True");

    let others = Manifests::new().unwrap();
    others.domain("other.test", &["bob"], lmtp).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut command = Command::new(product("posthouse-operator").unwrap());
    command.args(["local", "--ephemeral-ports", "--redis", &server.url()]);
    command.arg("-f").arg(others.path()).arg("--state").arg(&state);
    let mut second = Child::start("operator", command, folder.path()).unwrap();
    let log = folder.path().join("operator.log");
    let mut until_logged = |text: &str| {
        second.until(text, SOON, || Ok(fs::read_to_string(&log)?.contains(text).then_some(()))).unwrap();
    };
    let who = format!("another operator publishes for this queue id: process {} on ", first.operator().pid());
    until_logged(&who);
    until_logged("stop that one, or give this gateway a spec.queue.id of its own");
    // Its node has nothing that it could go by, and says so.
    until_logged("the node has no configuration and takes no mail");
    let status = state.join("status/MailGateway.mail.edge.yaml");
    second
        .until("the status", SOON, || {
            let status = fs::read_to_string(&status).unwrap_or_default();
            Ok(status.contains("another operator publishes for this queue id").then_some(()))
        })
        .unwrap();
    assert!(!state.join("local.json").exists());

    // The first one goes on as if nobody was there.
    let nodes = first.run().unwrap().nodes;
    manifests.domain("b.test", &["carol"], lmtp).unwrap();
    until_condition(&mut first, "MailDomain.mail.b-test", "Programmed", "True");
    assert!(nodes.iter().all(|node| rcpt(node, "carol@b.test") == 250));
    // What the second one would publish has this domain, without such a user; to the first one it is anybody's.
    assert!(nodes.iter().all(|node| rcpt(node, "nobody@other.test") == 250));
    let said = first.operator().log().unwrap();
    assert!(!said.contains("something else wrote") && !said.contains("had gone from"), "{said}");
    assert!(!fs::read_to_string(&log).unwrap().contains("snapshot published"));

    // Its clean end gives the lease back: the second one need not wait until it lapses.
    first.operator().terminate(SOON * 2).unwrap();
    let mut raw = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let holder: Option<String> =
        redis::Cmd::hget("ph:{mail.edge.config}:publisher", "who").query(&mut raw).unwrap();
    assert!(holder.is_none_or(|who| who.contains(&format!("process {} on", second.pid()))));
    let file = state.join("local.json");
    second.until("it to be ready", SOON, || Ok(file.exists().then_some(()))).unwrap();
    let log = second.log().unwrap();
    assert!(log.contains("the configuration can be published again"), "{log}");
    assert_eq!(log.matches("another operator publishes").count(), 1, "it is said once: {log}");
}
