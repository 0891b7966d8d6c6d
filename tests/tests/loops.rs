//! Mail that goes in circles: it ends after few turns, and its sender is told once. Mail that only comes again is taken.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use posthouse_tests::gateway::Gateway;
use posthouse_tests::manifests::Manifests;
use posthouse_tests::peers::postfix::Postfix;
use posthouse_tests::process::free_address;
use posthouse_tests::sink::{Letter, Protocol, Sink, accept_all};
use posthouse_tests::smtp::{Client, Reply};
use posthouse_tests::wait::SOON;

const LETTER: &[u8] = b"From: <a@src.test>\r\nSubject: x\r\n\r\nhi\r\n";

#[test]
fn mail_that_a_server_sends_back_again_and_again_ends_with_one_bounce() {
    let home = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let manifests = Manifests::new().unwrap();
    manifests.relay("home", "{senders: [\"<>\"], recipients: [\"*@src.test\"]}", home.address()).unwrap();
    let recipients = "{recipients: [\"*@loop.test\"]}";
    manifests.relay("loop", recipients, free_address().unwrap()).unwrap();
    let mut gateway = Gateway::start(manifests.path()).unwrap();
    let postfix = Postfix::origin(gateway.smtp().unwrap()).unwrap();
    manifests.relay("loop", recipients, postfix.address()).unwrap();
    let to = ["b@loop.test", "c@loop.test"];
    let sent = Client::hello(gateway.smtp().unwrap()).unwrap().send("a@src.test", &to, LETTER).unwrap();
    assert_eq!(sent.code, 250, "{sent}");
    let bounce = home
        .letter(SOON)
        .unwrap_or_else(|error| panic!("{error:#}\n{}\n{}", gateway.operator().log_tail(), postfix.log()));
    let text = String::from_utf8_lossy(&bounce.content).into_owned();
    assert_eq!((bounce.from.as_str(), bounce.to), ("", vec!["a@src.test".to_owned()]));
    for part in
        ["Status: 5.4.6", "Final-Recipient: rfc822; b@loop.test", "Final-Recipient: rfc822; c@loop.test"]
    {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    gateway.until_drained(SOON).unwrap();
    assert!(home.arrived().is_empty(), "it bounced once");
    let log = gateway.operator().log().unwrap();
    let turns = log.lines().filter(|line| line.contains("accepted") && line.contains("a@src.test")).count();
    assert_eq!(turns, 2, "{log}");
}

/// A gateway before a sink.
struct House {
    // In the order in which they end.
    gateway: Gateway,
    _manifests: Manifests,
    sink: Sink,
}

impl House {
    fn start() -> Self {
        let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
        let manifests = Manifests::relay_to(sink.address()).unwrap();
        Self { gateway: Gateway::start(manifests.path()).unwrap(), _manifests: manifests, sink }
    }

    fn send(&self, to: &[&str], content: &[u8]) -> Reply {
        Client::hello(self.gateway.smtp().unwrap()).unwrap().send("a@src.test", to, content).unwrap()
    }

    /// What comes out of it.
    fn through(&mut self, to: &[&str], content: &[u8]) -> Vec<u8> {
        let sent = self.send(to, content);
        assert_eq!(sent.code, 250, "{sent}");
        let Letter { content, .. } = self
            .sink
            .letter(SOON)
            .unwrap_or_else(|error| panic!("{error:#}\n{}", self.gateway.operator().log_tail()));
        content
    }
}

#[test]
fn mail_that_comes_again_for_others_is_no_loop() {
    let mut house = House::start();
    let mut content = LETTER.to_vec();
    // To a list, from it to its members, and on by a redirection of one: as often as there is somebody else to go to.
    for to in [
        &["list@dst.test"][..],
        &["b@dst.test", "c@dst.test"],
        &["c@dst.test"],
        &["c@other.test"],
        &["d@other.test"],
    ] {
        content = house.through(to, &content);
    }
    let hops = content.windows(10).filter(|octets| octets == b"\r\nReceived").count();
    assert_eq!(hops, 4, "below the first: {}", String::from_utf8_lossy(&content));
}

#[test]
fn mail_may_come_back_once_for_the_same_recipients() {
    let mut house = House::start();
    let once = house.through(&["b@dst.test", "c@dst.test"], LETTER);
    // It is known by every node, and after a restart.
    house.gateway.restart().unwrap();
    let twice = house.through(&["C@dst.test", "b@DST.test"], &once);
    let third = house.send(&["b@dst.test", "c@dst.test"], &twice);
    // RFC 5321 §6.3, RFC 3463 §3.5.
    assert_eq!((third.code, third.lines[0].starts_with("5.4.6 ")), (554, true), "{third}");
    house.through(&["b@dst.test"], &twice);
}

#[test]
fn nobody_makes_a_loop_by_forging_received_lines() {
    let mut house = House::start();
    let once = String::from_utf8(house.through(&["b@dst.test"], LETTER)).unwrap();
    let (before, mark) = once.split_once("(mark ").unwrap();
    let digit = if mark.starts_with('0') { "1" } else { "0" };
    let forged = format!("{before}(mark {digit}{}", &mark[1..]);
    let lines = |content: &str| content.split_once("From: ").unwrap().0.repeat(3);
    house.through(&["b@dst.test"], (lines(&forged) + &forged).as_bytes());
    // The gateway's own, but those of mail for another.
    house.through(&["c@dst.test"], (lines(&once) + &once).as_bytes());
}
