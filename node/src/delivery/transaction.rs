//! What is asked of the far end for one message: from what its sender declared. Pure.

use posthouse_model::{Notify, OriginalRecipient, Ret, ReversePath};
use posthouse_queue::{BodyType, Entry, EntryRecipient, Envelope, MessageMeta};
use posthouse_smtp::client::{Body, Recipient, Transaction, Utf8};

/// A transaction for the recipients of these places in the entry.
#[must_use]
pub fn transaction(message: &MessageMeta, entry: &Entry, places: &[usize]) -> Transaction {
    let recipients = places.iter().filter_map(|place| entry.recipients.get(*place));
    let recipients: Vec<Recipient> = recipients.map(recipient).collect();
    let Envelope { reverse_path, body, smtputf8, ret_full, envid, client: _, login: _ } = &message.envelope;
    let is_ascii = is_ascii(reverse_path) && recipients.iter().all(|recipient| recipient.address.is_ascii());
    let utf8 = match (smtputf8, is_ascii) {
        (true, _) => Utf8::Headers,
        (false, false) => Utf8::Addresses,
        (false, true) => Utf8::NotNeeded,
    };
    Transaction {
        reverse_path: reverse_path.clone(),
        recipients,
        size: message.size,
        body: match body {
            BodyType::SevenBit => Body::SevenBit,
            BodyType::EightBitMime => Body::EightBit,
            BodyType::BinaryMime => Body::Binary,
        },
        utf8,
        ret: ret_full.map(|full| if full { Ret::Full } else { Ret::Headers }),
        envid: envid.as_deref().and_then(|envid| envid.parse().ok()), // it was read by the same rule
    }
}

fn recipient(stored: &EntryRecipient) -> Recipient {
    let EntryRecipient { address, expanded_from, orcpt, notify, last: _ } = stored;
    let given = orcpt.as_deref().and_then(|orcpt| orcpt.parse().ok());
    // RFC 3461 §4.2, §5.2.1 (d): where there was none, of the address that the mail came in with.
    let original = given.or_else(|| OriginalRecipient::of(expanded_from.as_ref().unwrap_or(address)));
    Recipient { address: address.clone(), notify: Notify::from_bits(*notify), original }
}

fn is_ascii(path: &ReversePath) -> bool {
    match path {
        ReversePath::Null => true,
        ReversePath::Mailbox(mailbox) => mailbox.is_ascii(),
    }
}

#[cfg(test)]
mod tests;
