//! What a stored message asks of a next hop.

use posthouse_model::{Mailbox, NextHop, QueueName, Route, Timestamp, Transport};
use posthouse_queue::Origin;

use super::*;

fn recipient_of(
    address: &str,
    expanded_from: Option<&str>,
    orcpt: Option<&str>,
    notify: u8,
) -> EntryRecipient {
    EntryRecipient {
        address: address.parse().unwrap(),
        expanded_from: expanded_from.map(|text| text.parse().unwrap()),
        orcpt: orcpt.map(str::to_owned),
        notify,
        last: None,
    }
}

fn entry(recipients: Vec<EntryRecipient>) -> Entry {
    Entry {
        id: posthouse_model::MessageId::from_bytes([0; 16]).entry(0),
        queue: QueueName::new("dst.test").unwrap(),
        route: Route {
            next_hop: NextHop::new(Transport::Smtp, Vec::new()),
            origin: String::new(),
            waits: None,
        },
        source: String::new(),
        snapshot: [0; 16],
        recipients,
        transforms: Vec::new(),
        priority: 4,
        urgent: false,
        attempts: 0,
        delay_warned: false,
        attend_at: Timestamp(0),
        held_ms: 0,
    }
}

fn message(from: &str, body: BodyType, smtputf8: bool) -> MessageMeta {
    MessageMeta {
        envelope: Envelope {
            reverse_path: from.parse().unwrap(),
            body,
            smtputf8,
            ret_full: Some(false),
            envid: Some("QQ+2B1".to_owned()),
            client: String::new(),
            login: None,
        },
        origin: Origin::Accepted,
        size: 9,
        crc32: 0,
        received_at: Timestamp(0),
    }
}

#[test]
fn what_the_sender_asked_for_is_asked_of_the_far_end_for_those_who_are_named() {
    let entry = entry(vec![
        recipient_of("a@dst.test", None, Some("rfc822;A@dst.test"), 2),
        recipient_of("b@dst.test", None, None, 0),
        recipient_of("c@dst.test", Some("list@src.test"), None, 1),
    ]);
    let asked = transaction(&message("<x@src.test>", BodyType::BinaryMime, false), &entry, &[0, 2]);
    let originals: Vec<_> =
        asked.recipients.iter().map(|to| to.original.as_ref().unwrap().as_str()).collect();
    assert_eq!(originals, ["rfc822;A@dst.test", "rfc822;list@src.test"]);
    let notify: Vec<_> = asked.recipients.iter().map(|to| to.notify).collect();
    assert_eq!(notify, [Notify::SUCCESS, Notify::NEVER]);
    assert_eq!((asked.body, asked.utf8, asked.size), (Body::Binary, Utf8::NotNeeded, 9));
    assert_eq!((asked.ret, asked.envid.unwrap().as_str()), (Some(Ret::Headers), "QQ+2B1"));
}

#[test]
fn smtputf8_is_asked_for_where_an_address_or_the_header_needs_it() {
    let to = |address: &str| entry(vec![recipient_of(address, None, None, 0)]);
    let of = |from: &str, headers: bool, address: &str| {
        transaction(&message(from, BodyType::EightBitMime, headers), &to(address), &[0]).utf8
    };
    assert_eq!(of("<x@src.test>", false, "a@dst.test"), Utf8::NotNeeded);
    assert_eq!(of("<jörg@src.test>", false, "a@dst.test"), Utf8::Addresses);
    assert_eq!(of("<>", false, "jörg@dst.test"), Utf8::Addresses);
    assert_eq!(of("<>", true, "a@dst.test"), Utf8::Headers);
    let original = transaction(&message("<>", BodyType::SevenBit, false), &to("jörg@dst.test"), &[0]);
    assert_eq!(
        original.recipients[0].original,
        OriginalRecipient::of(&"jörg@dst.test".parse::<Mailbox>().unwrap())
    );
}
