//! The extensions of SMTP along a chain: Postfix or a client in front, the gateway, a sink or Exim behind. What goes in comes out, octet for octet,
//! and whoever sent it hears of what did not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::collections::BTreeSet;
use std::net::SocketAddr;

use posthouse_tests::gateway::Gateway;
use posthouse_tests::manifests::{GATEWAY, Manifests};
use posthouse_tests::peers::exim::Exim;
use posthouse_tests::peers::opensmtpd::OpenSmtpd;
use posthouse_tests::peers::postfix::Postfix;
use posthouse_tests::process::free_address;
use posthouse_tests::sink::{Letter, Manner, Protocol, Sink, accept_all};
use posthouse_tests::smtp::Client;
use posthouse_tests::wait::SOON;

/// What the far end of a chain knows.
const ALL: [&str; 8] =
    ["PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING", "BINARYMIME", "ENHANCEDSTATUSCODES", "SIZE 0"];

/// A gateway; `dst.test` is behind a sink that knows these extensions, everything else, such as notifications, behind another.
struct House {
    // In the order in which they end.
    gateway: Gateway,
    manifests: Manifests,
    sink: Sink,
    home: Sink,
}

impl House {
    fn start(keywords: &[&str]) -> Self {
        let sink = Sink::serve(Manner::open().keywords(keywords)).unwrap();
        let home = Sink::start(Protocol::Smtp, accept_all()).unwrap();
        let manifests = before(sink.address(), &home);
        Self { gateway: Gateway::start(manifests.path()).unwrap(), manifests, sink, home }
    }

    fn client(&self) -> Client {
        Client::hello(self.gateway.smtp().unwrap()).unwrap()
    }

    fn letter(&mut self) -> Letter {
        self.sink
            .letter(SOON)
            .unwrap_or_else(|error| panic!("{error:#}\n{}", self.gateway.operator().log_tail()))
    }

    fn has_said(&self, begin: &str) -> String {
        let said = self.sink.command(begin);
        said.unwrap_or_else(|| panic!("no {begin} in {:?}", self.sink.commands())).line
    }

    /// The notification that came home, and nothing else did.
    fn notification(&mut self) -> String {
        let letter = self
            .home
            .letter(SOON)
            .unwrap_or_else(|error| panic!("{error:#}\n{}", self.gateway.operator().log_tail()));
        assert_eq!(letter.from, "");
        self.gateway.until_drained(SOON).unwrap();
        assert!(self.home.arrived().is_empty());
        String::from_utf8_lossy(&letter.content).into_owned()
    }
}

/// What comes home.
const NOTIFICATIONS: &str = "{senders: [\"<>\"], recipients: [\"*@src.test\"]}";

/// Manifests of a gateway before these.
fn before(dst: SocketAddr, home: &Sink) -> Manifests {
    let manifests = Manifests::new().unwrap();
    manifests.relay("dst", "{recipients: [\"*@dst.test\"]}", dst).unwrap();
    manifests.relay("home", NOTIFICATIONS, home.address()).unwrap();
    manifests
}

/// Content with every octet that 8BITMIME allows.
fn eight_bit() -> Vec<u8> {
    let head = b"From: <a@src.test>\r\nTo: <b@dst.test>\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@src.test>\r\n\
                 Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n";
    let mut content = head.to_vec();
    for octet in (1..=255).filter(|octet| !matches!(octet, b'\r' | b'\n')) {
        content.extend([octet, b' ', octet]);
        content.extend(b"\r\n");
    }
    content.extend(b".\r\n..\r\n.dot\r\n\r\n");
    content
}

#[test]
fn eight_bit_content_comes_through_postfix_and_the_gateway_to_exim_as_it_is() {
    let mut exim = Exim::start("").unwrap();
    let home = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let manifests = before(exim.address(), &home);
    let gateway = Gateway::start(manifests.path()).unwrap();
    let postfix = Postfix::origin(gateway.smtp().unwrap()).unwrap();
    let content = eight_bit();
    let mut client = Client::hello(postfix.address()).unwrap();
    let sent = client.send_with("<a@src.test> BODY=8BITMIME", &["<b@dst.test>"], &content).unwrap();
    assert_eq!(sent.code, 250);
    let mailbox = exim.until_mailbox(1).unwrap_or_else(|error| panic!("{error:#}\n{}", postfix.log()));
    assert!(mailbox[0].ends_with(&content), "{}", String::from_utf8_lossy(&mailbox[0]));
}

#[test]
fn eight_bit_content_arrives_at_opensmtpd_as_it_is() {
    let mut opensmtpd = OpenSmtpd::start().unwrap();
    let home = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let manifests = before(opensmtpd.address(), &home);
    let gateway = Gateway::start(manifests.path()).unwrap();
    let content = eight_bit();
    let mut client = Client::hello(gateway.smtp().unwrap()).unwrap();
    let sent = client.send_with("<a@src.test> BODY=8BITMIME", &["<b@dst.test>"], &content).unwrap();
    assert_eq!(sent.code, 250);
    // It keeps lines as its system does.
    let content: Vec<u8> = content.into_iter().filter(|octet| *octet != b'\r').collect();
    assert!(opensmtpd.until_mailbox(1).unwrap()[0].ends_with(&content));
}

#[test]
fn eight_bit_content_is_declared_to_who_knows_it() {
    let mut house = House::start(&ALL);
    let content = eight_bit();
    let sent = house.client().send_with("<a@src.test> BODY=8BITMIME", &["<b@dst.test>"], &content).unwrap();
    assert_eq!(sent.code, 250);
    assert!(house.letter().content.ends_with(&content));
    assert!(house.has_said("MAIL ").contains("BODY=8BITMIME"));
}

/// RFC 6531: both addresses and the header are beyond ASCII.
const FROM: &str = "jörg@src.test";
const TO: &str = "почта@dst.test";
const UTF8: &str = "From: <jörg@src.test>\r\nTo: <почта@dst.test>\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@src.test>\r\n\
                    Subject: žluťoučký kůň\r\n\r\nhi\r\n";

#[test]
fn addresses_beyond_ascii_come_through_postfix_and_the_gateway() {
    let mut house = House::start(&ALL);
    let postfix = Postfix::origin_with(house.gateway.smtp().unwrap(), "smtputf8_enable = yes\n").unwrap();
    let mut client = Client::hello(postfix.address()).unwrap();
    let sent =
        client.send_with(&format!("<{FROM}> SMTPUTF8"), &[format!("<{TO}>")], UTF8.as_bytes()).unwrap();
    assert_eq!(sent.code, 250, "{sent}");
    let letter = house.letter();
    assert_eq!((letter.from.as_str(), letter.to), (FROM, vec![TO.to_owned()]));
    assert!(letter.content.ends_with(UTF8.as_bytes()));
    let received = String::from_utf8_lossy(&letter.content).into_owned();
    // RFC 6531 §4.3.
    assert!(received.contains(" with UTF8SMTP "), "{received}");
    assert!(house.has_said("MAIL ").contains(" SMTPUTF8"));
}

#[test]
fn addresses_beyond_ascii_arrive_at_exim() {
    let mut exim = Exim::start("").unwrap();
    let home = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let manifests = before(exim.address(), &home);
    let gateway = Gateway::start(manifests.path()).unwrap();
    let mut client = Client::hello(gateway.smtp().unwrap()).unwrap();
    let sent =
        client.send_with(&format!("<{FROM}> SMTPUTF8"), &[format!("<{TO}>")], UTF8.as_bytes()).unwrap();
    assert_eq!(sent.code, 250, "{sent}");
    let mailbox = exim.until_mailbox(1).unwrap();
    assert!(mailbox[0].ends_with(UTF8.as_bytes()));
    assert!(String::from_utf8_lossy(&mailbox[0]).contains(TO));
}

#[test]
fn addresses_beyond_ascii_bounce_where_the_next_hop_does_not_know_them() {
    let mut house = House::start(&["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"]);
    let mut client = house.client();
    let sent = client.send_with("<a@src.test> SMTPUTF8", &[format!("<{TO}>")], UTF8.as_bytes()).unwrap();
    assert_eq!(sent.code, 250, "{sent}");
    let notification = house.notification();
    // RFC 6531 §3.5: for the address, or for the header.
    assert!(
        ["5.6.7", "5.6.9"].iter().any(|status| notification.contains(&format!("Status: {status}"))),
        "{notification}"
    );
    assert_eq!(house.sink.command("MAIL "), None);
}

/// No line ends, bare ones, NULs, dots alone.
fn binary() -> Vec<u8> {
    let head = b"From: <a@src.test>\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n\
                 Content-Transfer-Encoding: binary\r\n\r\n";
    let mut content = head.to_vec();
    for round in 0..300_u32 {
        content.extend(
            (0..=255_u8)
                .map(|octet| octet.wrapping_mul(u8::try_from(round % 251).unwrap()).wrapping_add(octet)),
        );
        content.extend(b"\n.\n\r.\r\r\n.\r\n\0");
    }
    content.extend(b"no end");
    content
}

#[test]
fn binary_content_in_chunks_comes_out_in_chunks_as_it_is() {
    let content = binary();
    for size in [1000, 65_536, content.len()] {
        let mut house = House::start(&ALL);
        let mut client = house.client();
        let sent =
            client.send_chunks("<a@src.test> BODY=BINARYMIME", &["<b@dst.test>"], &content, size).unwrap();
        assert_eq!(sent.code, 250, "{sent}");
        assert!(house.letter().content.ends_with(&content), "changed on its way");
        assert!(house.has_said("MAIL ").contains("BODY=BINARYMIME"));
        house.has_said("BDAT ");
        assert_eq!(house.sink.command("DATA"), None);
    }
}

#[test]
fn binary_content_bounces_where_the_next_hop_does_not_know_it() {
    let mut house = House::start(&["PIPELINING", "8BITMIME", "CHUNKING"]);
    let content = binary();
    let sent = house
        .client()
        .send_chunks("<a@src.test> BODY=BINARYMIME", &["<b@dst.test>"], &content, 65_536)
        .unwrap();
    assert_eq!(sent.code, 250, "{sent}");
    let notification = house.notification();
    // RFC 3030 §3, RFC 3463 §3.7: not converted, so it cannot be sent.
    assert!(notification.contains("Status: 5.6."), "{notification}");
    assert_eq!(house.sink.command("MAIL "), None);
}

#[test]
fn what_is_asked_of_notifications_is_handed_on_to_who_knows_it() {
    let mut house = House::start(&ALL);
    let to = "<b@dst.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Original+2Bone@dst.test";
    let sent = house
        .client()
        .send_with("<a@src.test> RET=HDRS ENVID=QQ+2B314", &[to], b"Subject: x\r\n\r\nhi\r\n")
        .unwrap();
    assert_eq!(sent.code, 250, "{sent}");
    house.letter();
    let mail = house.has_said("MAIL ");
    assert!(mail.contains("RET=HDRS") && mail.contains("ENVID=QQ+2B314"), "{mail}");
    let rcpt = house.has_said("RCPT ");
    assert!(rcpt.contains("ORCPT=rfc822;Original+2Bone@dst.test"), "{rcpt}");
    assert!(rcpt.contains("NOTIFY=SUCCESS,DELAY") || rcpt.contains("NOTIFY=DELAY,SUCCESS"), "{rcpt}");
    house.gateway.until_drained(SOON).unwrap();
    assert!(house.home.arrived().is_empty(), "whoever delivers it says so");
}

#[test]
fn success_is_told_as_relayed_where_the_next_hop_knows_no_notifications() {
    let mut house = House::start(&["PIPELINING"]);
    let to = [
        "<b@dst.test> NOTIFY=SUCCESS ORCPT=rfc822;b+2Bx@dst.test",
        "<c@dst.test> NOTIFY=FAILURE",
        "<d@dst.test> NOTIFY=NEVER",
        "<e@dst.test>",
    ];
    let sent = house
        .client()
        .send_with("<a@src.test> RET=HDRS ENVID=QQ314", &to, b"Subject: x\r\n\r\na secret\r\n")
        .unwrap();
    assert_eq!(sent.code, 250, "{sent}");
    let notification = house.notification();
    // RFC 3461 §5.2.2, RFC 3464 §2.3.
    for part in [
        "Action: relayed",
        "Final-Recipient: rfc822; b@dst.test",
        "Original-Envelope-Id: QQ314",
        "Status: 2.",
    ] {
        assert!(notification.contains(part), "no {part:?} in {notification}");
    }
    for other in ["c@dst.test", "d@dst.test", "e@dst.test", "a secret"] {
        assert!(!notification.contains(other), "{other:?} in {notification}");
    }
}

#[test]
fn success_is_told_as_delivered_where_the_mail_stays_in_the_house() {
    let mut house = House::start(&ALL);
    let lmtp = Sink::start(Protocol::Lmtp, accept_all()).unwrap();
    house.manifests.domain("own.test", &["b"], lmtp.address()).unwrap();
    house.gateway.restart().unwrap();
    let to = ["<b@own.test> NOTIFY=SUCCESS"];
    let sent = house.client().send_with("<a@src.test>", &to, b"Subject: x\r\n\r\nhi\r\n").unwrap();
    assert_eq!(sent.code, 250, "{sent}");
    let notification = house.notification();
    for part in ["Action: delivered", "Final-Recipient: rfc822; b@own.test", "Status: 2."] {
        assert!(notification.contains(part), "no {part:?} in {notification}");
    }
}

#[test]
fn nobody_is_told_of_a_failure_who_asked_not_to_be() {
    let mut house = House::start(&ALL);
    let refusing = Sink::start(
        Protocol::Smtp,
        std::sync::Arc::new(|moment| {
            matches!(moment, posthouse_tests::sink::Moment::Rcpt(_)).then(|| "550 5.1.1 nobody".to_owned())
        }),
    )
    .unwrap();
    house.manifests.relay("refusing", "{recipients: [\"*@no.test\"]}", refusing.address()).unwrap();
    house.gateway.restart().unwrap();
    let to = ["<b@no.test> NOTIFY=NEVER", "<c@no.test> NOTIFY=SUCCESS", "<d@no.test> NOTIFY=FAILURE"];
    let sent = house.client().send_with("<a@src.test>", &to, b"Subject: x\r\n\r\nhi\r\n").unwrap();
    assert_eq!(sent.code, 250, "{sent}");
    let notification = house.notification();
    assert!(notification.contains("Final-Recipient: rfc822; d@no.test"), "{notification}");
    for other in ["b@no.test", "c@no.test"] {
        assert!(!notification.contains(other), "{other:?} in {notification}");
    }
}

#[test]
fn thirty_mebibytes_come_through_postfix_and_the_gateway_to_exim_as_they_are() {
    let mut exim = Exim::start("").unwrap();
    let home = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let manifests = before(exim.address(), &home);
    let gateway = Gateway::start(manifests.path()).unwrap();
    let postfix = Postfix::origin_with(gateway.smtp().unwrap(), "message_size_limit = 0\n").unwrap();
    let mut content = eight_bit();
    let mut state = 1_u32;
    while content.len() < 30 * 1024 * 1024 {
        for _ in 0..70 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Anything but line ends, with dots where they stand out.
            content.push(b'.' + u8::try_from(state >> 24).unwrap() / 2);
        }
        content.extend(b"\r\n");
    }
    let mut client = Client::hello(postfix.address()).unwrap();
    let sent = client.send_with("<a@src.test> BODY=8BITMIME", &["<b@dst.test>"], &content).unwrap();
    assert_eq!(sent.code, 250, "{sent}");
    let mailbox = exim.until_mailbox(1).unwrap_or_else(|error| panic!("{error:#}\n{}", postfix.log()));
    assert!(mailbox[0].ends_with(&content), "changed on its way");
}

#[test]
fn of_a_hundred_recipients_over_five_domains_each_has_its_own_result() {
    const DOMAINS: usize = 5;
    let home = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let manifests = Manifests::new().unwrap();
    let gateway = GATEWAY.replace("expireAfter: 1h", "expireAfter: 4s");
    manifests.write("gateway.yaml", &gateway).unwrap();
    manifests.relay("home", NOTIFICATIONS, home.address()).unwrap();
    let sinks: Vec<Sink> = (1..DOMAINS).map(|_| Sink::start(Protocol::Smtp, accept_all()).unwrap()).collect();
    for (number, sink) in sinks.iter().enumerate() {
        let domain = format!("{{recipients: [\"*@d{number}.test\"]}}");
        manifests.relay(&format!("d{number}"), &domain, sink.address()).unwrap();
    }
    manifests.relay("dead", "{recipients: [\"*@d4.test\"]}", free_address().unwrap()).unwrap();
    let mut gateway = Gateway::start(manifests.path()).unwrap();
    let postfix =
        Postfix::origin_with(gateway.smtp().unwrap(), "default_destination_recipient_limit = 1000\n")
            .unwrap();
    let to = |domain: usize| (0..20).map(move |user| format!("u{user}@d{domain}.test"));
    let all: Vec<String> = (0..DOMAINS).flat_map(to).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let content = eight_bit();
    assert_eq!(
        Client::hello(postfix.address()).unwrap().send("a@src.test", &all, &content).unwrap().code,
        250
    );
    for (domain, sink) in sinks.iter().enumerate() {
        let letter = sink.letter(SOON).unwrap_or_else(|error| panic!("{error:#}\n{}", postfix.log()));
        assert!(letter.content.ends_with(&content));
        assert_eq!(letter.to.into_iter().collect::<BTreeSet<_>>(), to(domain).collect());
    }
    gateway.until_drained(SOON).unwrap();
    let notification = home.letter(SOON).unwrap();
    let text = String::from_utf8_lossy(&notification.content).into_owned();
    let told: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("Final-Recipient: rfc822; "))
        .map(str::to_owned)
        .collect();
    assert_eq!(told, to(4).collect(), "{text}");
    assert!(
        home.arrived().is_empty() && sinks.iter().all(|sink| sink.arrived().is_empty()),
        "nothing came twice"
    );
}
