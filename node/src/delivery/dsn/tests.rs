//! What a report must contain, how it travels, and what it must not let in. Other people's parser reads it.

use mail_parser::{Encoding, MessageParser, MimeHeaders, PartType, decoders::quoted_printable};
use posthouse_model::ShardId;
use posthouse_queue::{Envelope, LastReply, Origin};
use proptest::prelude::*;

use super::*;

const HEADER: &[u8] = b"Message-ID: <one@example.org>\r\nSubject: x\r\n\r\nsecret body\r\n";

/// The facts of a report, to be changed.
struct Facts {
    message: MessageMeta,
    recipients: Vec<Reported>,
    content: Vec<u8>,
    to: Mailbox,
}

impl Facts {
    fn of(became: Became, last: Option<LastReply>) -> Self {
        let envelope = Envelope {
            reverse_path: "<sender@example.org>".parse().unwrap(),
            body: BodyType::SevenBit,
            smtputf8: false,
            ret_full: None,
            envid: None,
            client: "192.0.2.1".to_owned(),
            login: None,
        };
        Self {
            message: MessageMeta {
                envelope,
                origin: Origin::Accepted,
                size: HEADER.len() as u64,
                crc32: 0,
                received_at: Timestamp(1_700_000_000_000),
            },
            recipients: vec![reported("dead@example.net", became, last)],
            content: HEADER.to_vec(),
            to: "sender@example.org".parse().unwrap(),
        }
    }

    fn failed() -> Self {
        Self::of(Became::Failed, said("5.1.1", 550, "no such user"))
    }

    fn with_content(mut self, content: &[u8]) -> Self {
        self.content = content.to_vec();
        self.message.size = content.len() as u64;
        self
    }

    fn whole(mut self) -> Self {
        self.message.envelope.ret_full = Some(true);
        self
    }

    fn write(&self) -> Written {
        let written = Dsn {
            hostname: "mail.example.com",
            id: MessageId::new(5, ShardId(0), 9),
            original: MessageId::new(1, ShardId(0), 1),
            message: &self.message,
            received_from: Some(&self.message.envelope.client),
            recipients: &self.recipients,
            content: Original {
                octets: &self.content,
                is_whole: self.content.len() as u64 == self.message.size,
            },
            to: &self.to,
            at: Timestamp(1_700_000_200_000),
        }
        .write();
        travels(&written);
        written
    }

    fn parts(&self) -> Vec<(String, Vec<u8>)> {
        parts(&self.write().content)
    }

    fn text(&self) -> String {
        String::from_utf8(self.write().content).unwrap()
    }

    /// The fields for programs, unfolded.
    fn fields(&self) -> String {
        let (_, fields) =
            self.parts().into_iter().find(|(kind, _)| kind.ends_with("delivery-status")).unwrap();
        String::from_utf8(fields).unwrap().replace("\r\n\t", " ")
    }

    /// The text for people, unfolded.
    fn notice(&self) -> String {
        let notice = self.parts().remove(0);
        assert!(notice.0.starts_with("text/plain"));
        String::from_utf8(notice.1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

#[allow(clippy::unnecessary_wraps, reason = "where it stands there may be none")]
fn said(status: &str, code: u16, text: &str) -> Option<LastReply> {
    Some(LastReply {
        at: Timestamp(1_700_000_100_000),
        code,
        status: status.to_owned(),
        text: text.to_owned(),
        host: "mx.example.net:25".to_owned(),
    })
}

fn reported(address: &str, became: Became, last: Option<LastReply>) -> Reported {
    let recipient = EntryRecipient {
        address: address.parse().unwrap(),
        expanded_from: None,
        orcpt: None,
        notify: 0,
        last,
    };
    Reported { recipient, became }
}

/// Any next hop takes it as it is declared: lines of mail, and nothing beyond ASCII without its extension.
fn travels(written: &Written) {
    let Written { content, body, smtputf8 } = written;
    assert!(part::has_mail_lines(content), "{}", String::from_utf8_lossy(content));
    assert_eq!(*body == BodyType::SevenBit, content.is_ascii());
    let header = content.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
    assert!(content[..header].is_ascii() || *smtputf8);
}

/// The parts with their types, decoded.
fn parts(content: &[u8]) -> Vec<(String, Vec<u8>)> {
    let message = MessageParser::default().parse(content).expect("a message");
    let kind = message.content_type().unwrap();
    assert_eq!((kind.ctype(), kind.subtype()), ("multipart", Some("report")));
    assert_eq!(kind.attribute("report-type"), Some("delivery-status"));
    let PartType::Multipart(ids) = &message.root_part().body else { panic!("no multipart") };
    let decoded = |id: &u32| {
        let part = message.part(*id).unwrap();
        let raw = &content[part.offset_body as usize..part.offset_end as usize];
        let octets = match part.encoding {
            Encoding::QuotedPrintable => quoted_printable::quoted_printable_decode(raw).unwrap(),
            Encoding::None => raw.to_vec(),
            Encoding::Base64 => panic!("not used"),
        };
        let kind = part.content_type().unwrap();
        (format!("{}/{}", kind.ctype(), kind.subtype().unwrap()), octets)
    };
    ids.iter().map(decoded).collect()
}

#[test]
fn a_failure_is_reported_word_for_word() {
    // RFC 3464 §2, RFC 6522 §3, RFC 3834 §5
    let mut facts = Facts::failed();
    facts.message.envelope.envid = Some("QQ+2B314159".to_owned());
    facts.recipients[0].recipient.orcpt = Some("rfc822;De+2Bad@example.net".to_owned());
    let golden = include_str!("tests/failed.eml").replace('\n', "\r\n");
    pretty(&facts.text(), &golden);
}

#[test]
fn a_delay_is_reported_word_for_word() {
    let until = Timestamp(1_700_400_000_000);
    let facts = Facts::of(Became::Delayed { until }, said("4.2.2", 452, "mailbox full"));
    pretty(&facts.text(), &include_str!("tests/delayed.eml").replace('\n', "\r\n"));
}

fn pretty(found: &str, golden: &str) {
    assert!(found == golden, "--- found ---\n{found}\n--- not as expected ---\n{golden}");
}

#[test]
fn each_action_has_its_name_and_a_status_of_its_class() {
    // RFC 3464 §2.3.3, §2.3.4; RFC 3463 §2, §3.5: what only stayed transient is 4.y.z in a failure too
    let until = Timestamp(1_700_400_000_000);
    for (became, last, action, status) in [
        (Became::Failed, said("5.1.1", 550, "no"), "failed", "5.1.1"),
        (Became::Failed, None, "failed", "5.0.0"),
        (Became::Expired, said("4.4.1", 0, "connection refused"), "failed", "4.4.1"),
        (Became::Expired, said("4.0.0", 450, "later"), "failed", "4.4.7"),
        (Became::Expired, None, "failed", "4.4.7"),
        (Became::Delayed { until }, said("4.2.2", 452, "full"), "delayed", "4.2.2"),
        (Became::Delayed { until }, None, "delayed", "4.0.0"),
        (Became::Delivered, said("2.1.5", 250, "ok"), "delivered", "2.1.5"),
        (Became::Relayed, said("", 250, "ok"), "relayed", "2.0.0"),
        (Became::Expanded, None, "expanded", "2.1.5"),
    ] {
        let fields = Facts::of(became, last).fields();
        let wanted =
            format!("Final-Recipient: rfc822; dead@example.net\r\nAction: {action}\r\nStatus: {status}\r\n");
        assert!(fields.contains(&wanted), "{wanted} in {fields}");
        assert_eq!(fields.contains("Will-Retry-Until: Sun, 19 Nov 2023 13:20:00 +0000"), action == "delayed");
    }
}

#[test]
fn only_the_far_ends_words_are_a_diagnostic() {
    // RFC 3464 §2.3.5, §2.3.6
    let theirs = Facts::failed().fields();
    assert!(theirs.contains(
        "Remote-MTA: dns; mx.example.net\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\nLast-Attempt-Date: "
    ));
    let ours = Facts::of(Became::Expired, said("4.4.1", 0, "connection refused"));
    let fields = ours.fields();
    assert!(!fields.contains("Diagnostic-Code") && !fields.contains("Remote-MTA"), "{fields}");
    assert!(ours.notice().contains("The gateway says: connection refused"));
    let without_status = Facts::of(Became::Failed, said("5.0.0", 554, "no")).fields();
    assert!(without_status.contains("smtp; 554 no\r\n"), "the status was ours");
    let success = Facts::of(Became::Relayed, said("2.0.0", 250, "ok")).fields();
    assert!(success.contains("Remote-MTA") && !success.contains("Diagnostic-Code"), "{success}");
}

#[test]
fn a_refusal_that_was_taken_as_temporary_is_quoted_as_it_was_said() {
    for (code, status, quoted) in [
        (554, "4.7.1", "554 5.7.1 no service"),
        (552, "4.5.3", "552 5.5.3 no service"),
        (554, "4.0.0", "554 no service"),
        (450, "4.2.1", "450 4.2.1 no service"),
    ] {
        assert_eq!(status::diagnostic(&said(status, code, "no service").unwrap()), quoted);
    }
}

#[test]
fn an_address_is_a_literal_and_a_port_is_not_told() {
    // RFC 5321 §4.1.3
    let mut facts = Facts::failed();
    facts.message.envelope.client = "2001:db8::1".to_owned();
    for (host, name) in [
        ("192.0.2.9:25", "[192.0.2.9]"),
        ("[2001:db8::9]:25", "[IPv6:2001:db8::9]"),
        ("mx.example.net", "mx.example.net"),
    ] {
        facts.recipients[0].recipient.last.as_mut().unwrap().host = host.to_owned();
        assert!(facts.fields().contains(&format!("Remote-MTA: dns; {name}\r\n")), "{}", facts.fields());
    }
    assert!(facts.fields().contains("Received-From-MTA: dns; [IPv6:2001:db8::1]\r\n"));
}

#[test]
fn several_ends_are_one_report_with_the_worst_in_the_subject() {
    let mut facts = Facts::of(Became::Delivered, said("2.0.0", 250, "ok"));
    assert!(facts.text().contains("Subject: Your message is on its way or delivered\r\n"));
    let until = Timestamp(1_700_400_000_000);
    facts.recipients.push(reported("late@example.net", Became::Delayed { until }, None));
    assert!(facts.text().contains("Subject: Your message is delayed\r\n"));
    facts.recipients.push(reported("gone@example.net", Became::Expired, said("4.2.2", 452, "full")));
    assert!(facts.text().contains("Subject: Your message could not be delivered\r\n"));
    let fields = facts.fields();
    for action in ["delivered", "delayed", "failed"] {
        assert_eq!(fields.matches(&format!("Action: {action}\r\n")).count(), 1);
    }
    let notice = facts.notice();
    let place = |words: &str| notice.find(words).unwrap_or_else(|| panic!("{words} in {notice}"));
    assert!(
        place("given up for: <gone@example.net>") < place("not been delivered yet to: <late@example.net>")
    );
    assert!(
        place("If it cannot be delivered by Sun, 19 Nov 2023") > place("delivered to: <dead@example.net>")
    );
}

#[test]
fn who_wrote_to_a_group_is_told_of_which() {
    let mut facts = Facts::failed();
    facts.recipients[0].recipient.expanded_from = Some("team@example.com".parse().unwrap());
    assert!(
        facts.notice().contains("<dead@example.net> You wrote to <team@example.com>, which leads there.")
    );
    // RFC 3461 §6.3: Original-Recipient is what ORCPT gave, and nothing else.
    assert!(!facts.fields().contains("Original-Recipient"));
}

#[test]
fn a_whole_message_comes_back_for_a_failure_if_it_was_wanted() {
    // RFC 3461 §4.3, §6.2
    let kind = |facts: &Facts| facts.parts().pop().unwrap();
    let full = Facts::failed().whole();
    assert_eq!(kind(&full), ("message/rfc822".to_owned(), HEADER.to_vec()));
    assert!(full.notice().contains("Your message is attached."));
    let header =
        ("text/rfc822-headers".to_owned(), b"Message-ID: <one@example.org>\r\nSubject: x\r\n".to_vec());
    assert_eq!(kind(&Facts::failed()), header, "it was not wanted");
    let until = Timestamp(0);
    assert_eq!(kind(&Facts::of(Became::Delayed { until }, None).whole()), header, "no failure");
    assert_eq!(kind(&Facts::of(Became::Delivered, None).whole()), header, "no failure");

    let all_header = b"Subject: x\r\nX-Last: y\r\n";
    let facts = Facts::failed().whole().with_content(all_header);
    assert_eq!(kind(&facts), ("text/rfc822-headers".to_owned(), all_header.to_vec()), "that is all of it");

    let mut large = Facts::failed().whole();
    large.message.size = RETURNED_OCTETS + 1;
    assert!(!needs_whole(&large.message, &large.recipients));
    assert_eq!(kind(&large), header);
    assert!(large.notice().contains("too large to come back"));

    let mut binary = Facts::failed().whole();
    binary.message.envelope.body = BodyType::BinaryMime;
    assert_eq!(kind(&binary), header);
    for unfit in [
        &b"Subject: x\r\n\r\na\nb"[..],
        b"Subject: x\r\n\r\n\0",
        &[b"A: b\r\n\r\n", &[b'x'; 999][..]].concat(),
    ] {
        let facts = Facts::failed().whole().with_content(unfit);
        assert_eq!(kind(&facts).0, "text/rfc822-headers");
        assert!(facts.notice().contains("is binary and cannot come back"), "{}", facts.notice());
    }
}

#[test]
fn a_whole_message_is_as_eight_bit_as_it_came() {
    // RFC 2045 §6.2, §6.4, RFC 2046 §5.2.1: declared where it is and in every entity around it
    let content = b"Subject: x\r\n\r\n\xe9\r\n";
    let written = Facts::failed().whole().with_content(content).write();
    assert_eq!(written.body, BodyType::EightBitMime);
    assert_eq!(parts(&written.content).pop().unwrap(), ("message/rfc822".to_owned(), content.to_vec()));
    let eight_bit = b"Content-Transfer-Encoding: 8bit\r\n";
    assert_eq!(written.content.windows(eight_bit.len()).filter(|at| at == eight_bit).count(), 2);
}

#[test]
fn a_header_beyond_ascii_travels_encoded_and_comes_out_as_it_was() {
    // RFC 2045 §6.7; RFC 6533 §4.3: the type for UTF-8 is for who knows SMTPUTF8
    let utf8 = Facts::failed().with_content("Subject: \u{fc}\r\n\r\n".as_bytes());
    assert!(utf8.text().contains("text/rfc822-headers; charset=utf-8\r\n"));
    assert_eq!(utf8.parts().pop().unwrap().1, "Subject: \u{fc}\r\n".as_bytes());
    let latin = Facts::failed().with_content(b"Subject: \xfc\r\n\r\n");
    assert!(!latin.text().contains("charset=utf-8"), "only UTF-8 is called so");
    assert_eq!(latin.parts().pop().unwrap().1, b"Subject: \xfc\r\n");
    let mut known = Facts::failed().with_content("Subject: \u{fc}\r\n\r\n".as_bytes());
    known.message.envelope.smtputf8 = true;
    assert_eq!(known.parts().pop().unwrap().0, "message/global-headers");
    assert!(!known.write().smtputf8, "any next hop takes it");
    assert_eq!(known.whole().parts().pop().unwrap().0, "message/global");
}

#[test]
fn addresses_beyond_ascii_have_two_forms() {
    // RFC 6533 §3, §4.1
    let mut facts = Facts::failed();
    let recipient = &mut facts.recipients[0].recipient;
    recipient.expanded_from = Some("team@example.com".parse().unwrap());
    recipient.address = "j\u{f6}rg@b\u{fc}cher.example".parse().unwrap();
    recipient.orcpt = Some("utf-8;j\\x{F6}rg@example.com".to_owned());
    let (kind, _) = facts.parts().remove(1);
    assert_eq!(kind, "message/delivery-status", "the sender wrote to a group and may know nothing of UTF-8");
    let ascii = facts.fields();
    assert!(ascii.contains("Original-Recipient: utf-8; j\\x{F6}rg@example.com\r\n"), "{ascii}");
    assert!(ascii.contains("Final-Recipient: utf-8; j\\x{F6}rg@b\\x{FC}cher.example\r\n"), "{ascii}");
    facts.recipients[0].recipient.address = "joerg@b\u{fc}cher.example".parse().unwrap();
    assert!(facts.fields().contains("Final-Recipient: rfc822; joerg@xn--bcher-kva.example\r\n"));

    facts.message.envelope.smtputf8 = true;
    let (kind, fields) = facts.parts().remove(1);
    let fields = String::from_utf8(fields).unwrap();
    assert_eq!(kind, "message/global-delivery-status");
    assert!(fields.contains("Original-Recipient: utf-8; j\u{f6}rg@example.com\r\n"), "{fields}");
    assert!(fields.contains("Final-Recipient: utf-8; joerg@b\u{fc}cher.example\r\n"), "{fields}");
    assert_eq!(facts.write().body, BodyType::SevenBit, "any next hop takes it");
}

#[test]
fn a_sender_beyond_ascii_gets_all_as_it_is() {
    // RFC 6533 §4.4, §4.5, §6.4: 8bit wherever it can be; nothing goes to this sender without SMTPUTF8 and 8BITMIME
    let mut facts = Facts::failed();
    facts.recipients[0].recipient.address = "j\u{f6}rg@example.net".parse().unwrap();
    facts.to = "s\u{e9}nder@example.org".parse().unwrap();
    let written = facts.write();
    assert!(written.smtputf8 && written.body == BodyType::EightBitMime);
    let text = facts.text();
    assert!(
        text.contains("To: <s\u{e9}nder@example.org>\r\n") && !text.contains("quoted-printable"),
        "{text}"
    );
    facts.to = "sender@b\u{fc}cher.example".parse().unwrap();
    assert!(facts.text().contains("To: <sender@xn--bcher-kva.example>\r\n") && !facts.write().smtputf8);
}

#[test]
fn foreign_text_cannot_add_a_field_or_a_part() {
    let mut facts = Facts::of(Became::Failed, said("5.0.0", 550, "a\r\nBcc: evil@example.com\u{fc}"));
    facts.recipients[0].recipient.orcpt = Some("rfc822\r\nX: y".to_owned());
    facts.message.envelope.envid = Some("x\r\n\r\ny".to_owned());
    let fields = facts.fields();
    assert!(fields.contains("smtp; 550 a??Bcc: evil@example.com?\r\n"), "{fields}");
    assert!(fields.contains("Original-Recipient: rfc822??X: y\r\n"), "{fields}");
    assert!(fields.contains("Original-Envelope-Id: x????y\r\n"), "{fields}");
}

#[test]
fn a_long_header_is_cut_at_a_line() {
    let long = format!("X: {}\r\n", "y".repeat(90)).repeat(1000);
    let (_, header) = Facts::failed().with_content(long.as_bytes()).parts().pop().unwrap();
    assert!(header.len() <= RETURNED_HEADER_OCTETS && header.ends_with(b"yyy\r\n"));
}

#[test]
fn what_has_no_header_brings_nothing_back() {
    for content in [&b""[..], b"\r\nbody\r\n", b"no end"] {
        let facts = Facts::failed().with_content(content);
        assert_eq!(facts.parts().len(), 2);
        assert!(facts.notice().contains("Nothing of your message is attached"));
        assert!(!facts.text().contains("References:"));
    }
}

#[test]
fn the_same_attempt_makes_the_same_id_and_another_attempt_another() {
    let entry = MessageId::new(1, ShardId(3), 1).entry(2);
    let id = dsn_id(entry, LeaseToken(7));
    assert_eq!(id, dsn_id(entry, LeaseToken(7)));
    assert_eq!(id.shard(), ShardId(3), "it lives where the original lives");
    assert_ne!(id, dsn_id(entry, LeaseToken(8)));
    assert_ne!(id, expansion_id(entry.message));
}

fn any_became() -> impl Strategy<Value = Became> {
    prop_oneof![
        Just(Became::Failed),
        Just(Became::Expired),
        any::<u32>().prop_map(|at| Became::Delayed { until: Timestamp(at.into()) }),
        Just(Became::Delivered),
        Just(Became::Relayed),
        Just(Became::Expanded),
    ]
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,80}", "[ -~]{0,1500}", "(?s).{0,40}", "[a-z]{900,1200}"]
}

fn any_address() -> impl Strategy<Value = Mailbox> {
    prop_oneof![
        "[a-z+=]{1,64}@[a-z]{1,60}\\.example",
        "[a-zöü漢]{1,16}@[a-zö]{1,10}\\.example",
        "\"[ -!#-\\[\\]-~]{1,30}\"@a\\.example"
    ]
    .prop_filter_map("no address", |text| text.parse().ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_words_make_a_report_that_travels_and_parses(
        recipients in proptest::collection::vec((any_address(), any_became(), any_text(), any_text(), any_text(), 0u16..600), 1..4),
        to in any_address(),
        content in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "([A-Za-z-]{1,10}: .{0,1100}\r\n){0,3}(\r\n.{0,30}(\r\n)?)?".prop_map(String::into_bytes),
        ],
        (smtputf8, full, envid) in (any::<bool>(), any::<bool>(), proptest::option::of(any_text())),
    ) {
        let mut facts = Facts::failed().with_content(&content);
        facts.message.envelope.smtputf8 = smtputf8;
        facts.message.envelope.ret_full = Some(full);
        facts.message.envelope.envid = envid;
        facts.to = to;
        facts.recipients = recipients
            .into_iter()
            .map(|(address, became, status, text, orcpt, code)| {
                let mut reported = reported("x@y.example", became, said(&status, code, &text));
                reported.recipient.orcpt = Some(format!("utf-8;{orcpt}"));
                reported.recipient.address = address;
                reported
            })
            .collect();
        let parts = facts.parts(); // checks how it travels
        let fields = facts.fields();
        prop_assert_eq!(fields.matches("\r\nAction: ").count(), facts.recipients.len());
        prop_assert!(fields.split("\r\n").all(|line| line.is_empty() || line.contains(": ")), "{}", fields);
        if let [_, _, (kind, octets)] = parts.as_slice() {
            // I8: what comes back is as it was.
            prop_assert!(facts.content.starts_with(octets), "{} {:?}", kind, octets);
        } else {
            prop_assert_eq!(parts.len(), 2);
        }
    }
}
