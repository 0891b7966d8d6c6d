//! A node that is stuck is told from one that waits: by whether it answers its control socket.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use posthouse_channel::KeyFolder;
use posthouse_channel::control::{self, FromNode, OperatorEnd, ToNode};
use posthouse_tests::binaries::product;
use posthouse_tests::manifests::Manifests;
use posthouse_tests::store::{Flavor, Server};
use posthouse_tests::wait::{self, SOON};
use rustix::process::{Pid, Signal, kill_process};

use crate::scene::{rcpt, three_nodes, until_condition, until_logged};

#[test]
fn a_node_that_is_stopped_keeps_no_edit_waiting() {
    let server = Server::start(Flavor::Redis).unwrap();
    let manifests = Manifests::new().unwrap();
    let mut gateway = three_nodes(&manifests, &server);
    until_condition(&mut gateway, "MailGateway.mail.edge", "Programmed", "True");
    let before = gateway.run().unwrap().nodes;
    let stopped = Pid::from_raw(i32::try_from(before[1].pid).unwrap()).unwrap();
    kill_process(stopped, Signal::STOP).unwrap();
    manifests.domain("a.test", &["alice"], "127.0.0.1:24".parse().unwrap()).unwrap();
    until_condition(&mut gateway, "MailDomain.mail.a-test", "Programmed", "True");
    until_logged(&mut gateway, "node is killed: it is stuck: it did not answer its control socket for 10 s");
    let after = wait::until("another process", SOON, || {
        Ok(Some(gateway.run()?.nodes).filter(|nodes| nodes[1].pid != before[1].pid))
    })
    .unwrap();
    assert_eq!((after[0].pid, after[2].pid), (before[0].pid, before[2].pid), "the others live");
    assert_eq!(after.iter().map(|node| rcpt(node, "alice@a.test")).collect::<Vec<_>>(), [250; 3]);
    assert_eq!(gateway.operator().log().unwrap().matches("node is killed").count(), 1);
}

/// A node of its own, with these arguments; its log.
fn node(arguments: &[&str], folder: &std::path::Path) -> (tokio::process::Child, OperatorEnd) {
    let (control, stdin) = control::pair().unwrap();
    let log = File::create(folder.join("node.log")).unwrap();
    let mut command = Command::new(product("posthouse-node").unwrap());
    command.args(["run", "--gateway", "mail/edge", "--node", "edge-0", "--uid", "edge-0.1"]);
    command.args(["--queue-id", "mail.edge", "--keys"]).arg(folder.join("keys")).args(arguments);
    command.stdin(Stdio::from(stdin)).stdout(log.try_clone().unwrap()).stderr(log);
    let child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    (child, control)
}

async fn answers(control: &mut OperatorEnd) {
    let answered = async {
        control.sender.send(ToNode::Look).await.unwrap();
        while control.receiver.receive().await.unwrap() != Some(FromNode::Seen) {}
    };
    tokio::time::timeout(Duration::from_secs(30), answered).await.unwrap();
}

#[tokio::test]
async fn a_node_that_waits_for_its_store_answers() {
    let folder = tempfile::tempdir().unwrap();
    KeyFolder::new(folder.path().join("keys")).create().unwrap();
    let (_child, mut control) = node(&["--redis", "redis://127.0.0.1:1"], folder.path());
    answers(&mut control).await;
    answers(&mut control).await;
}

#[tokio::test]
async fn a_node_that_finds_nothing_published_says_so_once_and_answers() {
    let folder = tempfile::tempdir().unwrap();
    KeyFolder::new(folder.path().join("keys")).create().unwrap();
    let (state, config) = (folder.path().join("state"), folder.path().join("config"));
    std::fs::create_dir(&state).unwrap();
    let arguments = ["--state", state.to_str().unwrap(), "--config", config.to_str().unwrap()];
    let (mut child, mut control) = node(&arguments, folder.path());
    let log = || std::fs::read_to_string(folder.path().join("node.log")).unwrap();
    let said = async {
        while !log().contains("configuration_awaited") {
            answers(&mut control).await; // each time it looks
        }
    };
    tokio::time::timeout(Duration::from_secs(30), said).await.unwrap();
    answers(&mut control).await;
    control.sender.send(ToNode::Drain { within_ms: 1 }).await.unwrap();
    child.wait().await.unwrap();
    let log = log();
    assert_eq!(log.matches("configuration_awaited").count(), 1, "{log}");
    assert!(!log.contains("goes on with what it has"), "{log}");
}
