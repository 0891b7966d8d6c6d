//! What a notification must contain, and what it must not let in.

use posthouse_model::ShardId;
use posthouse_queue::{BodyType, Envelope, LastReply, Origin};

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

fn content(kind: DsnKind, recipients: &[EntryRecipient], start: &[u8]) -> String {
    let id = MessageId::new(5, ShardId(0), 9);
    let dsn = Dsn {
        kind,
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
    let text = content(
        DsnKind::Failed,
        &[recipient("5.1.1", 550, "no such user")],
        b"Subject: x\r\n\r\nsecret body\r\n",
    );
    for field in [
        "Reporting-MTA: dns; mail.example.com\r\nOriginal-Envelope-Id: QQ314159\r\n",
        "Final-Recipient: rfc822; dead@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n",
        "Remote-MTA: dns; mx.example.net\r\nDiagnostic-Code: smtp; 550 no such user\r\n",
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
    assert!(
        content(DsnKind::Expired, &[recipient("4.4.1", 0, "connection refused")], b"")
            .contains("Status: 5.4.7")
    );
}

#[test]
fn foreign_text_cannot_add_a_header_or_a_part() {
    let text = content(DsnKind::Failed, &[recipient("5.0.0", 550, "a\r\nBcc: evil@example.com\u{fc}")], b"");
    assert!(!text.contains("\r\nBcc:") && text.contains("a??Bcc: evil@example.com?"));
}

#[test]
fn only_crlf_ends_lines_and_a_long_header_is_cut_at_a_line() {
    let long = format!("X: {}\r\n", "y".repeat(90)).repeat(1000);
    let text = content(DsnKind::Failed, &[recipient("5.0.0", 550, "no")], long.as_bytes());
    assert!(text.len() < RETURNED_HEADER_OCTETS + 4096);
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    assert!(text.contains("yyy\r\n\r\n--posthouse-"));
}

#[test]
fn the_same_attempt_makes_the_same_id_and_another_attempt_another() {
    let entry = MessageId::new(1, ShardId(3), 1).entry(2);
    let id = dsn_id(entry, LeaseToken(7), DsnKind::Failed);
    assert_eq!(id, dsn_id(entry, LeaseToken(7), DsnKind::Failed));
    assert_eq!(id.shard(), ShardId(3), "it lives where the original lives");
    assert_ne!(id, dsn_id(entry, LeaseToken(8), DsnKind::Failed));
    assert_ne!(id, dsn_id(entry, LeaseToken(7), DsnKind::Expired));
}
