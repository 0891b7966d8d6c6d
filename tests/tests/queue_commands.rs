//! What a person does with the queue, through the running node's socket and without one; and how a gateway without room answers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use posthouse_tests::gateway::{Gateway, Options, queue};
use posthouse_tests::manifests::{GATEWAY, Manifests};
use posthouse_tests::sink::{Protocol, Sink, accept_all};
use posthouse_tests::smtp::Client;
use posthouse_tests::store::{Flavor, Server};
use posthouse_tests::wait::{self, SOON};
use serde_json::Value;

/// Nobody listens on port 1.
const DEAD: &str = "127.0.0.1:1";

#[test]
fn held_mail_stays_until_it_is_released_embedded() {
    held_mail_stays_until_it_is_released(Options::default());
}

#[test]
fn held_mail_stays_until_it_is_released_over_redis() {
    let server = Server::start(Flavor::Redis).unwrap();
    held_mail_stays_until_it_is_released(Options { redis: Some(server.url()), ..Options::default() });
}

fn held_mail_stays_until_it_is_released(options: Options) {
    let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let manifests = Manifests::relay_to(DEAD.parse().unwrap()).unwrap();
    let gateway = Gateway::start_with(manifests.path(), options).unwrap();
    let ids: Vec<String> = (0..3).map(|number| send(&gateway, number)).collect();
    attempted(&gateway);
    gateway.queue(&["hold", "--all"]).unwrap();
    assert_eq!(gateway.counts().unwrap().held, 3);
    // The next hop is mended; what is held stays, what is released goes.
    manifests.relay("all", "{always: true}", sink.address()).unwrap();
    wait::until("the new rule", SOON, || {
        send(&gateway, 99);
        gateway.queue(&["retry", "--all"])?;
        Ok((sink.sessions() > 0).then_some(()))
    })
    .unwrap();
    wait::until("what is not held to be gone", SOON, || Ok((gateway.counts()?.queued() == 3).then_some(())))
        .unwrap();
    drop(sink.arrived()); // those that looked for the new rule
    gateway.queue(&["release", &ids[0]]).unwrap();
    assert_eq!(sink.letter(SOON).unwrap().header("Subject").as_deref(), Some("0"));
    assert_eq!(gateway.counts().unwrap().held, 2);
    gateway.queue(&["release", "--queue", "dst.test"]).unwrap();
    wait::until("an empty queue", SOON, || Ok((gateway.counts()?.queued() == 0).then_some(()))).unwrap();
}

#[test]
fn deleted_mail_is_gone_and_bounced_mail_tells_its_sender_embedded() {
    deleted_mail_is_gone_and_bounced_mail_tells_its_sender(Options::default());
}

#[test]
fn deleted_mail_is_gone_and_bounced_mail_tells_its_sender_over_redis() {
    let server = Server::start(Flavor::Redis).unwrap();
    let options = Options { redis: Some(server.url()), ..Options::default() };
    deleted_mail_is_gone_and_bounced_mail_tells_its_sender(options);
}

#[test]
fn a_queue_in_redis_is_not_taken_for_an_empty_one_on_disk() {
    let server = Server::start(Flavor::Redis).unwrap();
    let manifests = Manifests::relay_to(DEAD.parse().unwrap()).unwrap();
    let options = Options { redis: Some(server.url()), ..Options::default() };
    let gateway = Gateway::start_with(manifests.path(), options).unwrap();
    let id = send(&gateway, 0);
    attempted(&gateway);
    let state = gateway.state();
    let told = queue(&["counts", "--state", state.to_str().unwrap()]).unwrap_err().to_string();
    assert!(told.contains("--redis URL"), "{told}");
    // What the store alone can do needs no folder; what has to be said to the sender does, and says so.
    let told = queue(&["bounce", &id, "--redis", &server.url()]).unwrap_err().to_string();
    assert!(told.contains("--state DIR"), "{told}");
    queue(&["delete", &id, "--redis", &server.url()]).unwrap();
    assert_eq!(gateway.counts().unwrap().queued(), 0);
}

fn deleted_mail_is_gone_and_bounced_mail_tells_its_sender(options: Options) {
    let manifests = Manifests::relay_to(DEAD.parse().unwrap()).unwrap();
    let mut gateway = Gateway::start_with(manifests.path(), options).unwrap();
    let ids: Vec<String> = (0..2).map(|number| send(&gateway, number)).collect();
    attempted(&gateway);
    gateway.queue(&["delete", &ids[0]]).unwrap();
    assert!(gateway.queue(&["show", &ids[0]]).is_err(), "what is gone is not shown");
    gateway.queue(&["bounce", &ids[1]]).unwrap();
    let list = entries(&gateway);
    assert_eq!(list.len(), 1, "{list:?}");
    assert_eq!(list[0]["from"], "<>");
    assert_eq!(list[0]["recipients"][0]["address"], "a@src.test");
    // The same commands with no node running: they open the store themselves.
    assert_eq!(gateway.operator().terminate(SOON * 2).unwrap().code(), Some(0));
    assert_eq!(gateway.counts().unwrap().queued(), 1);
    gateway.queue(&["delete", "--all"]).unwrap();
    assert_eq!(gateway.counts().unwrap().queued(), 0);
}

#[test]
fn a_gateway_without_room_says_452_at_mail() {
    let manifests = Manifests::relay_to(DEAD.parse().unwrap()).unwrap();
    // More than any disk of a test machine has free.
    manifests.write("gateway.yaml", &GATEWAY.replace("reserve: 1Mi", "reserve: 900000Gi")).unwrap();
    let gateway = Gateway::start(manifests.path()).unwrap();
    let mut client = Client::connect(gateway.smtp().unwrap()).unwrap();
    client.command("EHLO client.test").unwrap();
    let reply = client.command("MAIL FROM:<a@src.test> SIZE=1000").unwrap();
    assert_eq!(reply.code, 452, "{reply:?}");
    assert!(reply.lines[0].contains("4.3.1"), "{reply:?}"); // RFC 1870 §6.1
}

/// Sends a letter; its queue id.
fn send(gateway: &Gateway, number: usize) -> String {
    let mut client = Client::connect(gateway.smtp().unwrap()).unwrap();
    client.command("EHLO client.test").unwrap();
    let content = format!("Subject: {number}\r\n\r\nbody\r\n");
    let reply = client.send("a@src.test", &["b@dst.test"], content.as_bytes()).unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");
    reply.lines[0].rsplit(' ').next().unwrap().to_owned()
}

/// Waits until nothing is under way.
fn attempted(gateway: &Gateway) {
    let at_rest = || {
        let counts = gateway.counts()?;
        Ok((counts.active == 0 && counts.incoming == 0 && counts.queued() > 0).then_some(()))
    };
    wait::until("the first attempts to end", SOON, at_rest).unwrap();
}

fn entries(gateway: &Gateway) -> Vec<Value> {
    serde_json::from_str(&gateway.queue(&["list", "-o", "json"]).unwrap()).unwrap()
}
