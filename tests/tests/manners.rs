//! What a host owes everybody: whom it takes mail for whatever is configured, and what it does not tell.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use posthouse_tests::gateway::Gateway;
use posthouse_tests::manifests::{GATEWAY, Manifests};
use posthouse_tests::sink::{Protocol, Sink, accept_all};
use posthouse_tests::smtp::Client;
use posthouse_tests::wait::SOON;

/// A gateway that lets nobody relay, with a domain of one user.
fn house() -> (Gateway, Manifests, Sink) {
    let lmtp = Sink::start(Protocol::Lmtp, accept_all()).unwrap();
    let manifests = Manifests::new().unwrap();
    let strict = GATEWAY.replace("  relayControl: {networks: [127.0.0.0/8]}\n", "");
    assert_ne!(strict, GATEWAY);
    manifests.write("gateway.yaml", &strict).unwrap();
    manifests.domain("dst.test", &["b"], lmtp.address()).unwrap();
    (Gateway::start(manifests.path()).unwrap(), manifests, lmtp)
}

#[test]
fn the_postmaster_and_who_hears_of_misuse_are_reached_under_every_name_of_the_gateway() {
    let (mut gateway, _manifests, lmtp) = house();
    let mut client = Client::hello(gateway.smtp().unwrap()).unwrap();
    for to in [
        "Postmaster",
        "postmaster@dst.test",
        "abuse@dst.test",
        "PostMaster@gateway.test",
        "abuse@Gateway.test",
    ] {
        let sent = client.send("", &[to], b"Subject: x\r\n\r\nhi\r\n").unwrap();
        assert_eq!(sent.code, 250, "{to}: {sent}");
        let letter =
            lmtp.letter(SOON).unwrap_or_else(|error| panic!("{error:#}\n{}", gateway.operator().log_tail()));
        assert_eq!(letter.to[0].to_lowercase(), "postmaster@dst.test", "{to}");
    }
    for (to, code) in [("nobody@dst.test", 550), ("b@gateway.test", 550), ("postmaster@other.test", 550)] {
        let sent = client.send("a@src.test", &[to], b"Subject: x\r\n\r\nhi\r\n").unwrap();
        assert_eq!(sent.code, code, "{to}: {sent}");
    }
}

#[test]
fn nobody_is_told_who_has_a_mailbox() {
    let (gateway, _manifests, _lmtp) = house();
    let mut client = Client::hello(gateway.smtp().unwrap()).unwrap();
    for verb in ["VRFY", "EXPN"] {
        let said = ["b", "nobody", "b@dst.test", "nobody@dst.test", "Postmaster", "žluť@dst.test SMTPUTF8"]
            .map(|whom| client.command(&format!("{verb} {whom}")).unwrap());
        let code = if verb == "VRFY" { 252 } else { 502 };
        assert!(said.iter().all(|reply| reply.code == code && *reply == said[0]), "{said:?}");
    }
}
