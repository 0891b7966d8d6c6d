//! What a notification must contain, and what it must not let in.

use posthouse_model::ShardId;
use posthouse_queue::{BodyType, Envelope, Origin};

use super::*;

fn message() -> MessageMeta {
    MessageMeta {
        envelope: Envelope {
            reverse_path: "<sender@example.org>".parse().unwrap(),
            body: BodyType::SevenBit,
            smtputf8: false,
            ret_full: None,
            envid: Some("QQ314159".to_owned()),
            client: "192.0.2.1".to_owned(),
            login: None,
        },
        origin: Origin::Accepted,
        size: 100,
        crc32: 0,
        received_at: Timestamp(1_700_000_000_000),
    }
}

fn recipient(status: &str, code: u16, text: &str) -> EntryRecipient {
    EntryRecipient {
        address: "dead@example.net".parse().unwrap(),
        expanded_from: None,
        orcpt: None,
        notify: 0,
        last: Some(LastReply {
            at: Timestamp(1_700_000_100_000),
            code,
            status: status.to_owned(),
            text: text.to_owned(),
            host: "mx.example.net:25".to_owned(),
        }),
    }
}

fn content(recipients: &[EntryRecipient], start: &[u8]) -> String {
    let id = MessageId::new(5, ShardId(0), 9);
    let dsn = Dsn {
        hostname: "mail.example.com",
        id,
        original: MessageId::new(1, ShardId(0), 1),
        message: &message(),
        recipients,
        content_start: start,
        to: "sender@example.org",
        at: Timestamp(1_700_000_200_000),
    };
    String::from_utf8_lossy(&dsn.to_content()).into_owned()
}

#[test]
fn a_failed_recipient_is_reported_with_status_and_diagnostic() {
    // RFC 3464 §2.2, §2.3: the fields that a program reads.
    let text = content(&[recipient("5.1.1", 550, "no such user")], b"Subject: x\r\n\r\nsecret body\r\n");
    for field in [
        "Reporting-MTA: dns; mail.example.com\r\nOriginal-Envelope-Id: QQ314159\r\n",
        "Final-Recipient: rfc822; dead@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n",
        "Remote-MTA: dns; mx.example.net\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
        "report-type=delivery-status",
        "Auto-Submitted: auto-replied",
        "Subject: x\r\n",
    ] {
        assert!(text.contains(field), "{field} in {text}");
    }
    assert!(!text.contains("secret body"), "only the header is returned");
}

#[test]
fn an_expired_recipient_has_the_status_of_expiry() {
    assert!(content(&[recipient("4.4.1", 0, "connection refused")], b"").contains("Status: 5.4.7"));
}

#[test]
fn each_recipient_has_the_status_and_the_words_of_its_own_end() {
    let text = content(&[recipient("5.1.1", 550, "nobody"), recipient("4.2.2", 452, "full")], b"");
    assert!(text.contains("Status: 5.1.1\r\n") && text.contains("Status: 5.4.7\r\n"), "{text}");
    assert!(text.contains("could not be delivered to:\r\n\r\n") && text.contains("in the time allowed"));
}

#[test]
fn eight_bit_headers_are_declared_and_only_utf8_is_called_so() {
    // RFC 2045 §6.2
    let utf8 = content(&[recipient("5.1.1", 550, "nobody")], "Subject: \u{fc}\r\n\r\n".as_bytes());
    assert_eq!(utf8.matches("Content-Transfer-Encoding: 8bit\r\n").count(), 2, "{utf8}");
    assert!(utf8.contains("text/rfc822-headers; charset=utf-8\r\n"));
    let latin = content(&[recipient("5.1.1", 550, "nobody")], b"Subject: \xfc\r\n\r\n");
    assert!(latin.contains("text/rfc822-headers\r\n") && !latin.contains("utf-8"));
    let ascii = content(&[recipient("5.1.1", 550, "nobody")], b"Subject: x\r\n\r\n");
    assert!(!ascii.contains("Content-Transfer-Encoding"));
}

#[test]
fn foreign_text_cannot_add_a_header_or_a_part() {
    let text = content(&[recipient("5.0.0", 550, "a\r\nBcc: evil@example.com\u{fc}")], b"");
    assert!(!text.contains("\r\nBcc:") && text.contains("a??Bcc: evil@example.com?"));
}

#[test]
fn only_crlf_ends_lines_and_a_long_header_is_cut_at_a_line() {
    let long = format!("X: {}\r\n", "y".repeat(90)).repeat(1000);
    let text = content(&[recipient("5.0.0", 550, "no")], long.as_bytes());
    assert!(text.len() < RETURNED_HEADER_OCTETS + 4096);
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    assert!(text.contains("yyy\r\n\r\n--posthouse-"));
}

#[test]
fn the_same_attempt_makes_the_same_id_and_another_attempt_another() {
    let entry = MessageId::new(1, ShardId(3), 1).entry(2);
    let id = dsn_id(entry, LeaseToken(7));
    assert_eq!(id, dsn_id(entry, LeaseToken(7)));
    assert_eq!(id.shard(), ShardId(3), "it lives where the original lives");
    assert_ne!(id, dsn_id(entry, LeaseToken(8)));
}
