//! From decisions to entries: recipients that travel together become one entry. Pure.

use std::{collections::HashSet, sync::Arc, time::Duration};

use posthouse_model::{ForwardPath, Mailbox, Notify, OriginalRecipient, Timestamp};
use posthouse_queue::{EntryRecipient, NewEntry, QueueMode};
use posthouse_routing::Delivery;

use crate::{
    delivery::retry::EntryClock,
    policy::{Policy, hold_reason},
};

/// Every recipient has this priority until a later feature says otherwise: the middle of 0 to 9.
const PRIORITY: u8 = 4;

/// How long after its expiry an entry is looked at, if it was not attempted then: the last attempt comes first.
const AFTER_EXPIRY: Duration = Duration::from_secs(5);

/// A recipient that a client named, with what it led to.
pub struct Named {
    /// What RCPT said.
    pub forward_path: ForwardPath,
    /// What its sender wants to be told (RFC 3461 §4.1).
    pub notify: Notify,
    /// Who the sender meant at first (RFC 3461 §4.2).
    pub orcpt: Option<OriginalRecipient>,
    /// Who gets the mail for it.
    pub deliveries: Vec<Delivery>,
}

/// The entries of a message, in the order in which their first recipients were named. Nobody gets a message twice: a recipient that several
/// names lead to is kept once.
#[must_use]
pub fn entries(named: &[Named], policy: &Policy, received_at: Timestamp) -> Vec<NewEntry> {
    let mut seen: HashSet<&Mailbox> = HashSet::new();
    let mut entries: Vec<NewEntry> = Vec::new();
    for name in named {
        for delivery in &name.deliveries {
            if !seen.insert(&delivery.recipient) {
                continue;
            }
            let recipient = entry_recipient(name, delivery);
            let together = entries
                .iter_mut()
                .find(|entry| entry.queue == delivery.queue && entry.route == *delivery.route);
            match together {
                Some(entry) => entry.recipients.push(recipient),
                None => entries.push(entry(delivery, recipient, policy, received_at)),
            }
        }
    }
    entries
}

fn entry(
    delivery: &Delivery,
    recipient: EntryRecipient,
    policy: &Policy,
    received_at: Timestamp,
) -> NewEntry {
    let clock = EntryClock { received_at, held: Duration::ZERO };
    NewEntry {
        queue: delivery.queue.clone(),
        mode: QueueMode { hold: delivery.mode.hold.map(hold_reason), generation: delivery.mode.generation },
        route: (*Arc::clone(&delivery.route)).clone(),
        source: String::new(),
        snapshot: policy.hash.prefix(),
        recipients: vec![recipient],
        transforms: Vec::new(),
        priority: PRIORITY,
        urgent: false,
        attend_at: attend_at(policy, &delivery.queue, clock, received_at),
    }
}

/// When somebody has to look at an entry whatever its lane or hold: at the end of its life or of its longest hold, whichever comes first.
#[must_use]
pub fn attend_at(
    policy: &Policy,
    queue: &posthouse_model::QueueName,
    clock: EntryClock,
    now: Timestamp,
) -> Timestamp {
    let expiry = policy.retry.expiry(clock).after(AFTER_EXPIRY);
    let hold_ends = policy.hold_expiry(queue).map(|longest| now.after(longest.saturating_sub(clock.held)));
    // Never at once again: what was looked at and stays is not looked at in a circle.
    hold_ends.map_or(expiry, |ends| ends.min(expiry)).max(now.after(Duration::from_secs(1)))
}

fn entry_recipient(named: &Named, delivery: &Delivery) -> EntryRecipient {
    let expanded_from = named.forward_path.mailbox().filter(|named| **named != delivery.recipient).cloned();
    EntryRecipient {
        address: delivery.recipient.clone(),
        expanded_from,
        orcpt: named.orcpt.as_ref().map(ToString::to_string),
        notify: named.notify.bits(),
        last: None,
    }
}
