//! TLS on listeners, as clients of other people and of our own meet it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Output;
use std::time::{Duration, SystemTime};

use posthouse_tests::gateway::Gateway;
use posthouse_tests::manifests::{self, Manifests};
use posthouse_tests::peers::openssl::{s_client, testssl};
use posthouse_tests::peers::postfix::Postfix;
use posthouse_tests::peers::{msmtp, swaks};
use posthouse_tests::pki::Authority;
use posthouse_tests::sink::{Letter, Protocol, Sink, accept_all};
use posthouse_tests::smtp::Client;
use posthouse_tests::wait::{self, SOON};
use posthouse_tests::wire::Trust;

/// A gateway whose listeners `smtp`, `submission` and `smtps` show certificates of an authority of the test's own.
struct House {
    // In the order in which they end.
    gateway: Gateway,
    manifests: Manifests,
    sink: Sink,
    authority: Authority,
}

impl House {
    fn start() -> Self {
        let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
        let authority = Authority::new().unwrap();
        let manifests = Manifests::relay_to(sink.address()).unwrap();
        let certificates = "certificateSecretRefs: [{name: first}, {name: second}]";
        let listener = |name: &str, port: u16, protocol: &str, mode: &str| {
            format!(
                "{{name: {name}, port: {port}, protocol: {protocol}, tls: {{mode: {mode}, {certificates}}}}}"
            )
        };
        let listeners = [
            listener("smtp", 25, "Smtp", "StartTls"),
            listener("submission", 587, "Submission", "StartTls"),
            listener("smtps", 465, "Smtp", "Implicit"),
        ];
        let listeners = listeners.each_ref().map(String::as_str);
        manifests.write("gateway.yaml", &manifests::gateway(&listeners, &[])).unwrap();
        manifests.certificate("first", &authority.issue(&["gateway.test", "127.0.0.1"]).unwrap()).unwrap();
        manifests.certificate("second", &authority.issue(&["other.test"]).unwrap()).unwrap();
        let gateway = Gateway::start(manifests.path()).unwrap();
        Self { gateway, manifests, sink, authority }
    }

    fn address(&self, listener: &str) -> SocketAddr {
        self.gateway.listener(listener).unwrap()
    }

    fn trust(&self) -> Trust {
        Trust::Root(self.authority.root().unwrap())
    }

    /// A session that STARTTLS has encrypted, after its second EHLO.
    fn encrypted(&self) -> Client {
        let mut client = Client::hello(self.address("smtp")).unwrap();
        client.start_tls("gateway.test", &self.trust()).unwrap();
        assert_eq!(client.command("EHLO client.test").unwrap().code, 250);
        client
    }

    fn letter(&self) -> Letter {
        self.sink.letter(SOON).unwrap()
    }
}

fn send(client: &mut Client) {
    let reply = client.send("a@src.test", &["b@dst.test"], b"Subject: x\r\n\r\nhi\r\n").unwrap();
    assert_eq!(reply.code, 250, "{reply}");
}

fn has_starttls(client: &mut Client) -> bool {
    client.command("EHLO client.test").unwrap().lines.iter().any(|line| line == "STARTTLS")
}

/// RFC 3848.
fn is_traced_as_encrypted(letter: &Letter) -> bool {
    letter.header("Received").unwrap().contains(" with ESMTPS ")
}

#[test]
fn a_session_that_starts_tls_is_traced_as_encrypted() {
    let house = House::start();
    let mut client = Client::connect(house.address("smtp")).unwrap();
    assert!(has_starttls(&mut client));
    client.start_tls("gateway.test", &house.trust()).unwrap();
    // RFC 3207 §4.2: the session begins again, and STARTTLS is offered no more.
    assert_eq!(client.command("MAIL FROM:<a@src.test>").unwrap().code, 503);
    assert!(!has_starttls(&mut client));
    send(&mut client);
    assert!(is_traced_as_encrypted(&house.letter()));
    let mut clear = Client::hello(house.address("smtp")).unwrap();
    send(&mut clear);
    assert!(!is_traced_as_encrypted(&house.letter()));
}

#[test]
fn implicit_tls_begins_before_the_greeting() {
    let house = House::start();
    let mut client = Client::connect_tls(house.address("smtps"), "gateway.test", &house.trust()).unwrap();
    assert_eq!(client.greeting.code, 220);
    assert!(!has_starttls(&mut client));
    send(&mut client);
    assert!(is_traced_as_encrypted(&house.letter()));
}

#[test]
fn the_certificate_is_the_one_that_names_what_the_client_asks_for() {
    let house = House::start();
    let shown = |name: &str| {
        let client = Client::connect_tls(house.address("smtps"), name, &Trust::Anybody).unwrap();
        client.certificate().unwrap()
    };
    let (first, second) = (shown("gateway.test"), shown("other.test"));
    assert_ne!(first, second);
    Client::connect_tls(house.address("smtps"), "other.test", &house.trust()).unwrap();
    // RFC 6066 §3: who asks for a name that nobody has, or for none (an address is not asked for), is shown the first.
    assert_eq!(shown("nobody.test"), first);
    assert_eq!(shown("127.0.0.1"), first);
    let mut client = Client::hello(house.address("smtp")).unwrap();
    client.start_tls("other.test", &house.trust()).unwrap();
    assert_eq!(client.certificate().unwrap(), second);
}

#[test]
fn what_is_said_in_clear_behind_starttls_is_never_heard() {
    let house = House::start();
    let mut client = Client::hello(house.address("smtp")).unwrap();
    // RFC 3207 §6 and CVE-2011-0411: in one segment, as somebody between the two would put it there.
    client
        .raw(b"STARTTLS\r\nEHLO evil.test\r\nMAIL FROM:<evil@src.test>\r\nRCPT TO:<b@dst.test>\r\n")
        .unwrap();
    assert_eq!(client.reply().unwrap().code, 220);
    client.handshake("gateway.test", &house.trust()).unwrap();
    // The next reply is to the next command, and nothing of the transaction is there.
    assert_eq!(client.command("RCPT TO:<b@dst.test>").unwrap().code, 503);
    assert_eq!(client.command("EHLO client.test").unwrap().code, 250);
    assert_eq!(client.command("DATA").unwrap().code, 503);
    send(&mut client);
    assert_eq!(house.letter().from, "a@src.test");
    assert!(house.sink.arrived().is_empty());
}

#[test]
fn tls_is_1_2_or_1_3() {
    let house = House::start();
    for (listener, starttls) in [("smtp", true), ("smtps", false)] {
        let protocol = |version: &str| {
            let mut arguments = vec![version, "-cipher", "DEFAULT@SECLEVEL=0"];
            if starttls {
                arguments.extend(["-starttls", "smtp"]);
            }
            s_client(house.address(listener), &arguments, "QUIT\n").unwrap()
        };
        // RFC 8996.
        for version in ["-tls1", "-tls1_1"] {
            let output = protocol(version);
            assert!(!output.status.success(), "{}", said(&output));
            // By an alert, not by hanging up.
            let refused = String::from_utf8_lossy(&output.stderr).contains(" alert ");
            assert!(refused, "{version}: {}", said(&output));
        }
        for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
            let output = protocol(version);
            assert!(output.status.success() && said(&output).contains(name), "{}", said(&output));
        }
    }
}

#[test]
fn a_renewed_certificate_is_shown_to_the_next_handshake_and_sessions_go_on() {
    let house = House::start();
    let mut open = house.encrypted();
    let before = open.certificate().unwrap();
    let renewed = house.authority.issue(&["gateway.test"]).unwrap();
    house.manifests.certificate("first", &renewed).unwrap();
    let renewed = renewed.certificate().unwrap();
    wait::until("the renewed certificate", SOON, || {
        let client = Client::connect_tls(house.address("smtps"), "gateway.test", &house.trust())?;
        Ok((client.certificate().as_ref() == Some(&renewed)).then_some(()))
    })
    .unwrap();
    assert_eq!(house.encrypted().certificate().unwrap(), renewed);
    send(&mut open);
    assert_eq!(open.certificate().unwrap(), before);
    assert!(is_traced_as_encrypted(&house.letter()));
}

#[test]
fn a_session_that_began_before_a_renewal_starts_tls_with_the_new_certificate() {
    let house = House::start();
    let mut open = Client::hello(house.address("smtp")).unwrap();
    let renewed = house.authority.issue(&["gateway.test"]).unwrap();
    house.manifests.certificate("first", &renewed).unwrap();
    let renewed = renewed.certificate().unwrap();
    wait::until("the renewed certificate", SOON, || {
        Ok((house.encrypted().certificate().as_ref() == Some(&renewed)).then_some(()))
    })
    .unwrap();
    open.start_tls("gateway.test", &house.trust()).unwrap();
    assert_eq!(open.certificate().unwrap(), renewed);
}

#[test]
fn submission_takes_nothing_before_tls() {
    let house = House::start();
    let mut client = Client::hello(house.address("submission")).unwrap();
    // RFC 3207 §4.
    assert_eq!(client.command("MAIL FROM:<a@src.test>").unwrap().code, 530);
    assert_eq!(client.command("NOOP").unwrap().code, 250);
    client.start_tls("gateway.test", &house.trust()).unwrap();
    assert_eq!(client.command("EHLO client.test").unwrap().code, 250);
    send(&mut client);
    assert!(is_traced_as_encrypted(&house.letter()));
}

#[test]
fn a_handshake_that_never_comes_ends_and_keeps_nobody_waiting() {
    let mut house = House::start();
    let mut silent = TcpStream::connect(house.address("smtps")).unwrap();
    let mut asked = Client::hello(house.address("smtp")).unwrap();
    assert_eq!(asked.command("STARTTLS").unwrap().code, 220);
    let crowd: Vec<_> = (0..100).map(|_| TcpStream::connect(house.address("smtps")).unwrap()).collect();
    let mut babble = TcpStream::connect(house.address("smtps")).unwrap();
    babble.write_all(b"EHLO client.test\r\n").unwrap();
    babble.read_to_end(&mut Vec::new()).unwrap();
    house.gateway.until_logged(&["handshake_failed", "listener=\"smtps\""]).unwrap();
    send(&mut house.encrypted());
    house.letter();
    drop(crowd);
    // A minute is what the gateway gives it.
    silent.set_read_timeout(Some(Duration::from_mins(2))).unwrap();
    assert_eq!(silent.read_to_end(&mut Vec::new()).unwrap(), 0);
    house.gateway.until_logged(&["handshake_failed", "listener=\"smtp\""]).unwrap();
    assert!(asked.reply().is_err());
}

#[test]
fn that_a_certificate_has_expired_is_told_when_it_does_and_not_at_the_next_edit() {
    let mut house = House::start();
    let end = SystemTime::now() + Duration::from_secs(3);
    let identity = house.authority.issue_until(&["gateway.test"], end).unwrap();
    house.manifests.certificate("first", &identity).unwrap();
    // It is looked at once, by the edit; what is said of it later, time alone brings about.
    house.gateway.until_logged(&["in force on every node"]).unwrap();
    house.gateway.until_logged(&["CertificateExpired", "mail/first has expired"]).unwrap();
}

#[test]
fn testssl_finds_nothing_below_tls_1_2_and_no_known_weakness() {
    let house = House::start();
    let (smtp, smtps) = (house.address("smtp"), house.address("smtps"));
    let by_starttls = std::thread::spawn(move || {
        let folder = tempfile::tempdir().unwrap();
        testssl(smtp, &["--starttls", "smtp", "--protocols"], folder.path(), Duration::from_mins(10)).unwrap()
    });
    let folder = tempfile::tempdir().unwrap();
    let checks = ["--protocols", "--std", "--vulnerable"];
    let implicit = testssl(smtps, &checks, folder.path(), Duration::from_mins(10)).unwrap();
    let by_starttls = by_starttls.join().unwrap();
    for (id, expected) in [
        ("SSLv2", "not offered"),
        ("SSLv3", "not offered"),
        ("TLS1", "not offered"),
        ("TLS1_1", "not offered"),
        ("TLS1_2", "offered"),
        ("TLS1_3", "offered with final"),
    ] {
        for findings in [&implicit, &by_starttls] {
            let found =
                findings.iter().find(|finding| finding.id == id).map(|finding| finding.finding.as_str());
            assert_eq!(found, Some(expected), "{id}");
        }
    }
    let looked_at = |id: &str| implicit.iter().any(|finding| finding.id == id);
    assert!(
        ["heartbleed", "ROBOT", "LUCKY13", "cipherlist_NULL"].iter().all(|id| looked_at(id)),
        "{implicit:?}"
    );
    for finding in implicit.iter().chain(&by_starttls) {
        // It tells of its own OpenSSL by a warning.
        let is_bad = matches!(finding.severity.as_str(), "LOW" | "MEDIUM" | "HIGH" | "CRITICAL");
        assert!(!is_bad, "{finding:?}");
    }
}

#[test]
fn swaks_msmtp_openssl_and_postfix_speak_tls_with_it() {
    let house = House::start();
    let root = house.authority.root_file().to_string_lossy().into_owned();
    let envelope = ["--from", "a@src.test", "--to", "b@dst.test", "--tls-verify", "--tls-ca-path", &root];
    for (listener, how) in [("smtp", "--tls"), ("submission", "--tls"), ("smtps", "--tlsc")] {
        let output = swaks(house.address(listener), &[&envelope, [how].as_slice()].concat()).unwrap();
        assert!(output.status.success(), "{}", said(&output));
        assert!(is_traced_as_encrypted(&house.letter()));
    }
    for (listener, how) in [("smtp", "--tls-starttls=on"), ("smtps", "--tls-starttls=off")] {
        let trust = format!("--tls-trust-file={root}");
        let arguments = ["--tls=on", how, &trust];
        let content = b"Subject: x\n\nhi\n";
        let output = msmtp(house.address(listener), "a@src.test", "b@dst.test", content, &arguments).unwrap();
        assert!(output.status.success(), "{}", said(&output));
        assert!(is_traced_as_encrypted(&house.letter()));
    }
    let verified = ["-starttls", "smtp", "-servername", "other.test", "-verify_hostname", "other.test"];
    let strict = ["-verify_return_error", "-CAfile", &root];
    let output = s_client(house.address("smtp"), &[&verified, strict.as_slice()].concat(), "QUIT\n").unwrap();
    let said_so = said(&output);
    assert!(output.status.success() && said_so.contains("Verify return code: 0 (ok)"), "{said_so}");
    let secure = format!(
        "smtp_tls_security_level = secure\nsmtp_tls_secure_cert_match = gateway.test\nsmtp_tls_CAfile = {root}\n"
    );
    for (listener, wrapped) in [("smtp", ""), ("smtps", "smtp_tls_wrappermode = yes\n")] {
        let settings = format!("{secure}{wrapped}");
        let postfix = Postfix::origin_with(house.address(listener), &settings).unwrap();
        send(&mut Client::hello(postfix.address()).unwrap());
        let letter = house.sink.letter(SOON).unwrap_or_else(|error| panic!("{error:#}\n{}", postfix.log()));
        assert!(is_traced_as_encrypted(&letter));
        assert!(postfix.log().contains("Verified TLS connection"), "{}", postfix.log());
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
