//! TLS and logins towards next hops: what is taken, what is refused, and that nothing goes in clear that should not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use posthouse_tests::gateway::Gateway;
use posthouse_tests::manifests::{GATEWAY, Manifests};
use posthouse_tests::peers::aiosmtpd::Aiosmtpd;
use posthouse_tests::peers::postfix::Postfix;
use posthouse_tests::pki::{self, Authority, Identity};
use posthouse_tests::sink::{Manner, Mechanism, Sink, Tls};
use posthouse_tests::smtp::Client;
use posthouse_tests::wait::{self, SOON};

/// In clear, whatever the sink says; by STARTTLS; from the beginning.
const DISABLED: &str = "tls: {mode: Disabled}";
const VERIFIED: &str = "tls: {mode: StartTls, verify: Required, caSecretRef: {name: roots}}";
const IMPLICIT: &str = "tls: {mode: Implicit, verify: Required, caSecretRef: {name: roots}}";
const OPPORTUNISTIC: &str = "tls: {mode: StartTls, verify: Opportunistic}";

const LOGIN: (&str, &str) = ("example-user", "not-a-password");

/// A gateway that relays all mail to one next hop, with what a rule's `relay` block says besides.
struct House {
    // In the order in which they end.
    gateway: Gateway,
    manifests: Manifests,
}

impl House {
    /// It tries once an hour.
    fn start(authority: &Authority, next_hop: SocketAddr, how: &str) -> Self {
        Self::trying("[1h]", authority, next_hop, how)
    }

    /// It tries at these intervals.
    fn trying(intervals: &str, authority: &Authority, next_hop: SocketAddr, how: &str) -> Self {
        let manifests = Manifests::new().unwrap();
        manifests.write("gateway.yaml", &GATEWAY.replace("[1s]", intervals)).unwrap();
        manifests.secret("roots", &[("ca.crt", &authority.root().unwrap())]).unwrap();
        manifests.secret("login", &[("username", LOGIN.0), ("password", LOGIN.1)]).unwrap();
        manifests.relay_with(next_hop, how).unwrap();
        Self { gateway: Gateway::start(manifests.path()).unwrap(), manifests }
    }

    fn send(&self) {
        let mut client = Client::hello(self.gateway.smtp().unwrap()).unwrap();
        assert_eq!(
            client.send("a@src.test", &["b@dst.test"], b"Subject: x\r\n\r\nhi\r\n").unwrap().code,
            250
        );
    }

    /// Waits until an attempt has failed and its mail waits for another.
    fn until_deferred(&mut self, messages: u64) {
        let gateway = &self.gateway;
        wait::until("the mail to be deferred", SOON, || {
            let counts = gateway.counts()?;
            Ok((counts.deferred == messages && counts.queued() == messages).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", self.gateway.operator().log_tail()));
    }
}

fn starttls(identity: &Identity) -> Manner {
    Manner::open().tls(Tls::StartTls(identity.server().unwrap()))
}

/// Whether mail came encrypted; there was some.
fn is_encrypted(sink: &Sink) -> bool {
    sink.letter(SOON).unwrap();
    sink.command("MAIL ").unwrap().encrypted
}

/// `authentication` of a rule, by this method.
fn authentication(method: &str) -> String {
    format!("authentication: {{method: {method}, credentialsSecretRef: {{name: login}}}}")
}

#[test]
fn starttls_is_taken_where_it_is_offered_whoever_the_certificate_names() {
    let authority = Authority::new().unwrap();
    let foreign = Authority::new().unwrap();
    for identity in [
        pki::self_signed(&["other.test"]).unwrap(),
        foreign.issue(&["other.test"]).unwrap(),
        authority.issue_expired(&["127.0.0.1"]).unwrap(),
    ] {
        // Without a word on TLS the rule means the same.
        for how in [OPPORTUNISTIC, "rate: {messages: 1000000, per: 1h}"] {
            let sink = Sink::serve(starttls(&identity)).unwrap();
            let house = House::start(&authority, sink.address(), how);
            house.send();
            assert!(is_encrypted(&sink), "{how}");
        }
    }
}

#[test]
fn a_certificate_of_a_private_root_that_names_the_host_is_verified() {
    let authority = Authority::new().unwrap();
    let identity = authority.issue(&["127.0.0.1"]).unwrap();
    for (how, tls) in [
        (VERIFIED, Tls::StartTls(identity.server().unwrap())),
        (IMPLICIT, Tls::Implicit(identity.server().unwrap())),
    ] {
        let sink = Sink::serve(Manner::open().tls(tls)).unwrap();
        let house = House::start(&authority, sink.address(), how);
        house.send();
        assert!(is_encrypted(&sink), "{how}");
    }
}

#[test]
fn where_a_certificate_must_be_right_and_is_not_mail_waits_and_is_never_said_in_clear() {
    let authority = Authority::new().unwrap();
    let right = authority.issue(&["127.0.0.1"]).unwrap();
    let manners = [
        ("a wrong name", starttls(&authority.issue(&["other.test"]).unwrap())),
        ("another root", starttls(&Authority::new().unwrap().issue(&["127.0.0.1"]).unwrap())),
        ("self-signed", starttls(&pki::self_signed(&["127.0.0.1"]).unwrap())),
        ("expired", starttls(&authority.issue_expired(&["127.0.0.1"]).unwrap())),
        ("none offered", Manner::open()),
        ("broken", Manner::open().tls(Tls::Broken)),
    ];
    let implicit = [
        (
            "implicit, a wrong name",
            Tls::Implicit(authority.issue(&["other.test"]).unwrap().server().unwrap()),
        ),
        ("implicit, in clear", Tls::Absent),
        ("implicit, by STARTTLS", Tls::StartTls(right.server().unwrap())),
    ];
    let starttls = manners.map(|(what, manner)| (what, VERIFIED, manner));
    let implicit = implicit.map(|(what, tls)| (what, IMPLICIT, Manner::open().tls(tls)));
    for (what, how, manner) in starttls.into_iter().chain(implicit) {
        let sink = Sink::serve(manner).unwrap();
        let mut house = House::start(&authority, sink.address(), how);
        house.send();
        house.until_deferred(1);
        assert!(sink.sessions() > 0, "{what}: it was tried");
        assert_eq!(sink.command("MAIL "), None, "{what}");
        assert!(sink.arrived().is_empty(), "{what}");
    }
}

#[test]
fn what_waited_for_a_right_certificate_goes_when_it_is_there() {
    let authority = Authority::new().unwrap();
    let sink = Sink::serve(starttls(&authority.issue(&["127.0.0.1"]).unwrap())).unwrap();
    let mut house = House::trying("[1s]", &Authority::new().unwrap(), sink.address(), VERIFIED);
    house.send();
    house.gateway.until_logged(&["event=\"deferred\""]).unwrap();
    house.manifests.secret("roots", &[("ca.crt", &authority.root().unwrap())]).unwrap();
    assert!(is_encrypted(&sink));
}

#[test]
fn broken_tls_is_gone_round_in_clear_where_nobody_asked_for_it() {
    let authority = Authority::new().unwrap();
    let sink = Sink::serve(Manner::open().tls(Tls::Broken)).unwrap();
    let house = House::start(&authority, sink.address(), OPPORTUNISTIC);
    house.send();
    assert!(!is_encrypted(&sink));
    assert!(sink.command("STARTTLS").is_some(), "it was tried");
}

#[test]
fn where_tls_is_disabled_it_is_not_taken() {
    let authority = Authority::new().unwrap();
    let sink = Sink::serve(starttls(&authority.issue(&["127.0.0.1"]).unwrap())).unwrap();
    let house = House::start(&authority, sink.address(), DISABLED);
    house.send();
    assert!(!is_encrypted(&sink));
    assert_eq!(sink.command("STARTTLS"), None);
}

#[test]
fn each_method_logs_in_under_tls_and_auto_takes_the_strongest() {
    let authority = Authority::new().unwrap();
    let identity = authority.issue(&["127.0.0.1"]).unwrap();
    for (method, offered, expected) in [
        ("Plain", Mechanism::ALL.as_slice(), "AUTH PLAIN "),
        ("Login", Mechanism::ALL.as_slice(), "AUTH LOGIN"),
        ("CramMd5", Mechanism::ALL.as_slice(), "AUTH CRAM-MD5"),
        ("Auto", &[Mechanism::Login, Mechanism::Plain], "AUTH PLAIN "),
        ("Auto", &[Mechanism::Login], "AUTH LOGIN"),
        ("Auto", &[Mechanism::CramMd5], "AUTH CRAM-MD5"),
    ] {
        let sink = Sink::serve(starttls(&identity).only_for(LOGIN.0, LOGIN.1, offered)).unwrap();
        let house =
            House::start(&authority, sink.address(), &format!("{VERIFIED}, {}", authentication(method)));
        house.send();
        assert!(is_encrypted(&sink), "{method}");
        let login = sink.command("AUTH ").unwrap();
        assert!(login.line.starts_with(expected) && login.encrypted, "{method}: {login:?}");
    }
}

#[test]
fn a_refused_login_keeps_mail_waiting_and_does_not_storm() {
    const MESSAGES: u64 = 30;
    const LOGINS: usize = 6;
    let authority = Authority::new().unwrap();
    let identity = authority.issue(&["127.0.0.1"]).unwrap();
    let manner = starttls(&identity).only_for(LOGIN.0, "another password", &[Mechanism::Plain]);
    let sink = Sink::serve(manner).unwrap();
    let how = format!("{VERIFIED}, {}", authentication("Auto"));
    let mut house = House::trying("[1s]", &authority, sink.address(), &how);
    for _ in 0..MESSAGES {
        house.send();
    }
    let logins = || sink.commands().iter().filter(|command| command.line.starts_with("AUTH ")).count();
    wait::until("the first login", SOON, || Ok((logins() > 0).then_some(()))).unwrap();
    let (begin, first) = (Instant::now(), logins());
    wait::until("the next logins", SOON, || Ok((logins() >= first + LOGINS).then_some(()))).unwrap();
    // A probe each second (the interval), however many messages wait: an account that is tried more often would be locked.
    assert!(
        begin.elapsed() > Duration::from_secs(LOGINS as u64 / 2),
        "{LOGINS} logins in {:?}",
        begin.elapsed()
    );
    assert_eq!(house.gateway.counts().unwrap().queued(), MESSAGES);
    assert_eq!(sink.command("MAIL "), None);
    let log = house.gateway.operator().log().unwrap();
    assert!(log.contains("login_refused") && log.contains("535"), "{log}");
    assert!(!log.contains(LOGIN.1), "the password is in the log");
}

#[test]
fn what_waited_for_a_right_password_goes_when_it_is_there() {
    let authority = Authority::new().unwrap();
    let identity = authority.issue(&["127.0.0.1"]).unwrap();
    let manner = starttls(&identity).only_for(LOGIN.0, "another password", &[Mechanism::Plain]);
    let sink = Sink::serve(manner).unwrap();
    let how = format!("{VERIFIED}, {}", authentication("Auto"));
    let mut house = House::trying("[1s]", &authority, sink.address(), &how);
    house.send();
    house.gateway.until_logged(&["event=\"deferred\""]).unwrap();
    house.manifests.secret("login", &[("username", LOGIN.0), ("password", "another password")]).unwrap();
    assert!(is_encrypted(&sink));
}

#[test]
fn a_password_is_never_said_in_clear() {
    let authority = Authority::new().unwrap();
    for (manner, how) in [
        (Manner::open(), OPPORTUNISTIC),
        (Manner::open().tls(Tls::Broken), OPPORTUNISTIC),
        (Manner::open(), VERIFIED),
    ] {
        for method in ["Auto", "Plain", "Login"] {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            let sink = Sink::serve(manner.clone().only_for(LOGIN.0, LOGIN.1, &mechanisms)).unwrap();
            let mut house =
                House::start(&authority, sink.address(), &format!("{how}, {}", authentication(method)));
            house.send();
            house.until_deferred(1);
            assert!(sink.sessions() > 0);
            for begin in ["AUTH ", "MAIL "] {
                assert_eq!(sink.command(begin), None, "{method}, {how}");
            }
        }
    }
}

#[test]
fn a_method_that_tells_nobody_the_password_works_in_clear() {
    let authority = Authority::new().unwrap();
    let sink = Sink::serve(Manner::open().only_for(LOGIN.0, LOGIN.1, &Mechanism::ALL)).unwrap();
    let how = format!("{DISABLED}, {}", authentication("CramMd5"));
    let house = House::start(&authority, sink.address(), &how);
    house.send();
    assert!(!is_encrypted(&sink));
    assert!(sink.command("AUTH CRAM-MD5").is_some());
}

#[test]
fn postfix_takes_mail_under_verified_tls_by_starttls_and_at_once() {
    let authority = Authority::new().unwrap();
    let identity = authority.issue(&["127.0.0.1"]).unwrap();
    for (how, settings) in [
        (OPPORTUNISTIC, ""),
        (VERIFIED, "smtpd_tls_security_level = encrypt\n"),
        (VERIFIED, "smtpd_tls_mandatory_protocols = !TLSv1.3\nsmtpd_tls_protocols = !TLSv1.3\n"),
        (IMPLICIT, "smtpd_tls_wrappermode = yes\n"),
    ] {
        let mut postfix = Postfix::secure_next_hop("dst.test", &identity, settings).unwrap();
        let house = House::start(&authority, postfix.address(), how);
        house.send();
        let mailbox = postfix.until_mailbox(1).unwrap();
        let received = String::from_utf8_lossy(&mailbox[0]).into_owned();
        assert!(received.contains("with ESMTPS "), "{how}: {received}");
    }
}

#[test]
fn postfix_lets_the_gateway_in_by_each_method() {
    let authority = Authority::new().unwrap();
    let identity = authority.issue(&["127.0.0.1"]).unwrap();
    for (method, offered, expected) in [
        ("Plain", "PLAIN LOGIN", "PLAIN"),
        ("Login", "PLAIN LOGIN", "LOGIN"),
        ("CramMd5", "CRAM-MD5 PLAIN", "CRAM-MD5"),
        ("ScramSha256", "SCRAM-SHA-256 PLAIN", "SCRAM-SHA-256"),
        ("Auto", "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256", "SCRAM-SHA-256"),
    ] {
        let mut postfix = Postfix::submission("dst.test", &identity, LOGIN, offered).unwrap();
        let how = format!("{VERIFIED}, {}", authentication(method));
        let mut house = House::start(&authority, postfix.address(), &how);
        house.send();
        let mailbox = postfix
            .until_mailbox(1)
            .unwrap_or_else(|error| panic!("{error:#}\n{}", house.gateway.operator().log_tail()));
        let received = String::from_utf8_lossy(&mailbox[0]).into_owned();
        assert!(received.contains("with ESMTPSA "), "{method}: {received}");
        let log = postfix.log();
        assert!(log.contains(&format!("sasl_method={expected},")), "{method}: {log}");
    }
}

#[test]
fn aiosmtpd_takes_mail_under_verified_tls() {
    let authority = Authority::new().unwrap();
    let identity = authority.issue(&["127.0.0.1"]).unwrap();
    let mut aiosmtpd = Aiosmtpd::start(&identity).unwrap();
    let mut house = House::start(&authority, aiosmtpd.address(), VERIFIED);
    house.send();
    let mailbox = aiosmtpd
        .until_mailbox(1)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", house.gateway.operator().log_tail()));
    assert!(String::from_utf8_lossy(&mailbox[0]).contains("Subject: x"));
}
