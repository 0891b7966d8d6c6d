//! Mail through a whole gateway, with other people's programs at its ends, over each store.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::time::Duration;

use posthouse_tests::gateway::{Gateway, Options};
use posthouse_tests::manifests::Manifests;
use posthouse_tests::peers::postfix::Postfix;
use posthouse_tests::peers::{Load, SmtpSink, swaks};
use posthouse_tests::sink::{Moment, Policy, Protocol, Sink, accept_all};
use posthouse_tests::smtp::Client;
use posthouse_tests::store::{Flavor, Server};
use posthouse_tests::wait::SOON;

/// Runs a test over the embedded store, Redis and Valkey.
fn over_each_store(test: impl Fn(Options)) {
    test(Options::default());
    for flavor in Flavor::ALL {
        let server = Server::start(flavor).unwrap();
        test(Options { redis: Some(server.url()), ..Options::default() });
    }
}

/// The queue id in a reply: what `MessageId` shows.
fn queue_id(text: &str) -> Option<&str> {
    let is_digit = |c: char| c.is_ascii_digit() || (c.is_ascii_lowercase() && !"ilou".contains(c));
    text.split(|c| !is_digit(c)).find(|word| word.len() == 26)
}

#[test]
fn the_queue_id_is_the_same_in_the_reply_the_trace_and_the_log() {
    over_each_store(|options| {
        let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
        let manifests = Manifests::relay_to(sink.address()).unwrap();
        let mut gateway = Gateway::start_with(manifests.path(), options).unwrap();
        let mut client = Client::connect(gateway.smtp().unwrap()).unwrap();
        client.command("EHLO client.test").unwrap();
        let reply = client.send("a@src.test", &["b@dst.test"], b"Subject: x\r\n\r\nhi\r\n").unwrap();
        let id = queue_id(&reply.lines[0]).expect("a queue id in the reply").to_owned();
        let letter = sink.letter(SOON).unwrap();
        assert!(letter.header("Received").unwrap().contains(&id), "{letter:?}");
        gateway.until_drained(SOON).unwrap();
        assert!(gateway.operator().log().unwrap().contains(&id));
    });
}

#[test]
fn content_goes_out_as_it_came_in_below_one_received_line() {
    over_each_store(|options| {
        let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
        let manifests = Manifests::relay_to(sink.address()).unwrap();
        let gateway = Gateway::start_with(manifests.path(), options).unwrap();
        let mut client = Client::connect(gateway.smtp().unwrap()).unwrap();
        client.command("EHLO client.test").unwrap();
        // Undeclared 8-bit content, a NUL, dots, no Date and no From, a long line, a blank end.
        let mut content = b"Subject: \xe9t\xe9\r\n\r\n.\r\n..two\r\n\x00\xff\r\n".to_vec();
        content.extend(std::iter::repeat_n(b'x', 3000));
        content.extend_from_slice(b"\r\n \t\r\n\r\n");
        assert_eq!(client.send("a@src.test", &["b@dst.test"], &content).unwrap().code, 250);
        let letter = sink.letter(SOON).unwrap();
        assert!(letter.content.starts_with(b"Received:"));
        assert!(letter.content.ends_with(&content), "changed: {}", String::from_utf8_lossy(&letter.content));
        let head = &letter.content[..letter.content.len() - content.len()];
        let fields = head
            .split(|c| *c == b'\n')
            .filter(|line| !line.is_empty() && !line.starts_with(b" ") && !line.starts_with(b"\t"));
        assert_eq!(fields.count(), 1, "more than one line was added: {}", String::from_utf8_lossy(head));
    });
}

#[test]
fn who_came_through_a_hundred_hosts_goes_no_further() {
    // RFC 5321 §6.3
    let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let manifests = Manifests::relay_to(sink.address()).unwrap();
    let mut gateway = Gateway::start(manifests.path()).unwrap();
    let mut client = Client::connect(gateway.smtp().unwrap()).unwrap();
    client.command("EHLO client.test").unwrap();
    let after = |hops| {
        let trace = "Received: from a.test by b.test; Tue, 14 Nov 2023 22:13:20 +0000\r\n".repeat(hops);
        format!("{trace}Subject: round and round\r\n\r\nhi\r\n").into_bytes()
    };
    let reply = client.send("a@src.test", &["b@dst.test"], &after(100)).unwrap();
    assert_eq!(reply.code, 554, "{reply:?}");
    assert!(reply.lines[0].starts_with("5.4.6 "), "{reply:?}");
    assert_eq!(client.send("a@src.test", &["b@dst.test"], &after(99)).unwrap().code, 250);
    assert!(sink.letter(SOON).unwrap().content.ends_with(&after(99)));
    gateway.until_drained(SOON).unwrap();
}

#[test]
fn swaks_is_served_and_refused_in_its_own_words() {
    let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let lmtp = Sink::start(Protocol::Lmtp, accept_all()).unwrap();
    let manifests = Manifests::relay_to(sink.address()).unwrap();
    manifests.domain("dst.test", &["b"], lmtp.address()).unwrap();
    let gateway = Gateway::start(manifests.path()).unwrap();
    let server = gateway.smtp().unwrap();
    let good = swaks(server, &["--from", "a@src.test", "--to", "b@dst.test"]).unwrap();
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stdout));
    assert_eq!(lmtp.letter(SOON).unwrap().to, ["b@dst.test"]);
    let unknown = swaks(server, &["--from", "a@src.test", "--to", "nobody@dst.test"]).unwrap();
    // 24: RCPT was refused.
    assert_eq!(unknown.status.code(), Some(24), "{}", String::from_utf8_lossy(&unknown.stdout));
    assert!(String::from_utf8_lossy(&unknown.stdout).contains("550 5.1.1"));
}

#[test]
fn all_that_smtp_source_sends_arrives_at_smtp_sink_and_the_books_balance() {
    over_each_store(|options| {
        for keep in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let mut sink = SmtpSink::start(folder.path()).unwrap();
            let manifests = Manifests::relay_to(sink.address()).unwrap();
            let mut gateway = Gateway::start_with(manifests.path(), options.clone()).unwrap();
            let load = Load {
                sessions: 20,
                messages: 1000,
                size: 4096,
                keep,
                from: "a@src.test".to_owned(),
                to: "b@dst.test".to_owned(),
            };
            load.run(gateway.smtp().unwrap(), folder.path(), Duration::from_mins(2)).unwrap();
            sink.until_messages(1000, SOON).unwrap();
            gateway.until_drained(SOON).unwrap();
            assert_eq!(sink.messages().unwrap(), 1000);
            let node = gateway.run().unwrap().nodes[0].clone();
            let metrics = gateway.metrics(&node).unwrap();
            let count =
                |event: &str| metrics.sum("posthouse_recipients_total", &[&format!("event=\"{event}\"")]);
            let come = count("accepted") + count("expanded") + count("generated");
            let gone: f64 =
                ["delivered", "relayed", "failed", "fetched", "deleted", "discarded"].map(count).iter().sum();
            assert!((come - gone).abs() < 0.5, "come {come}, gone {gone}, nothing queued");
        }
    });
}

#[test]
fn postfix_is_a_next_hop() {
    let mut postfix = Postfix::next_hop("dst.test").unwrap();
    let manifests = Manifests::relay_to(postfix.address()).unwrap();
    let gateway = Gateway::start(manifests.path()).unwrap();
    let mut client = Client::connect(gateway.smtp().unwrap()).unwrap();
    client.command("EHLO client.test").unwrap();
    for number in 0..10 {
        let content = format!("Subject: {number}\r\n\r\nhello\r\n");
        assert_eq!(client.send("a@src.test", &["b@dst.test"], content.as_bytes()).unwrap().code, 250);
    }
    assert_eq!(postfix.until_mailbox(10).unwrap().len(), 10);
}

#[test]
fn postfix_is_an_origin() {
    let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let manifests = Manifests::relay_to(sink.address()).unwrap();
    let gateway = Gateway::start(manifests.path()).unwrap();
    let postfix = Postfix::origin(gateway.smtp().unwrap()).unwrap();
    let mut client = Client::connect(postfix.address()).unwrap();
    client.command("EHLO client.test").unwrap();
    assert_eq!(
        client
            .send("a@src.test", &["b@dst.test", "c@dst.test"], b"Subject: x\r\n\r\nhello\r\n")
            .unwrap()
            .code,
        250
    );
    let mut to = Vec::new();
    while to.len() < 2 {
        to.extend(sink.letter(SOON).unwrap_or_else(|error| panic!("{error:#}\n{}", postfix.log())).to);
    }
    to.sort();
    assert_eq!(to, ["b@dst.test", "c@dst.test"]);
}

#[test]
fn a_refused_recipient_makes_one_dsn_and_the_others_are_delivered() {
    over_each_store(|options| {
        let policy: Policy = std::sync::Arc::new(|moment| match moment {
            Moment::Rcpt("no@dst.test") => Some("550 5.1.1 nobody".to_owned()),
            _ => None,
        });
        let sink = Sink::start(Protocol::Smtp, policy).unwrap();
        let manifests = Manifests::relay_to(sink.address()).unwrap();
        let mut gateway = Gateway::start_with(manifests.path(), options).unwrap();
        let mut client = Client::connect(gateway.smtp().unwrap()).unwrap();
        client.command("EHLO client.test").unwrap();
        client.send("a@src.test", &["b@dst.test", "no@dst.test"], b"Subject: x\r\n\r\nhi\r\n").unwrap();
        let mut letters = [sink.letter(SOON).unwrap(), sink.letter(SOON).unwrap()];
        letters.sort_by(|a, b| b.from.cmp(&a.from));
        assert_eq!(
            (letters[0].from.as_str(), letters[0].to.clone()),
            ("a@src.test", vec!["b@dst.test".to_owned()])
        );
        // RFC 5321 §4.5.5: a notification has the null reverse-path; RFC 3464 §2.1: its form.
        assert_eq!((letters[1].from.as_str(), letters[1].to.clone()), ("", vec!["a@src.test".to_owned()]));
        let dsn = String::from_utf8_lossy(&letters[1].content).into_owned();
        for part in [
            "multipart/report",
            "message/delivery-status",
            "Final-Recipient: rfc822; no@dst.test",
            "Action: failed",
            "Status: 5.1.1",
        ] {
            assert!(dsn.contains(part), "no {part:?} in {dsn}");
        }
        gateway.until_drained(SOON).unwrap();
        assert!(sink.arrived().is_empty());
    });
}

#[test]
fn the_null_reverse_path_is_never_bounced() {
    let policy: Policy = std::sync::Arc::new(|moment| match moment {
        Moment::Rcpt(_) => Some("550 5.1.1 nobody".to_owned()),
        _ => None,
    });
    let sink = Sink::start(Protocol::Smtp, policy).unwrap();
    let manifests = Manifests::relay_to(sink.address()).unwrap();
    let mut gateway = Gateway::start(manifests.path()).unwrap();
    let mut client = Client::connect(gateway.smtp().unwrap()).unwrap();
    client.command("EHLO client.test").unwrap();
    assert_eq!(client.send("", &["b@dst.test"], b"Subject: x\r\n\r\nhi\r\n").unwrap().code, 250);
    gateway.until_drained(SOON).unwrap();
    assert!(sink.arrived().is_empty());
}
