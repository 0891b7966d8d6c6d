//! From decisions to entries: recipients that travel together become one entry. Pure.

use std::{collections::HashMap, sync::Arc, time::Duration};

use posthouse_model::{ForwardPath, Mailbox, Notify, OriginalRecipient, ReversePath, Timestamp};
use posthouse_queue::{EntryRecipient, NewEntry, QueueMode};
use posthouse_routing::Delivery;

use crate::{
    delivery::{delay::Waiting, retry::EntryClock},
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

impl Named {
    /// Whether it is a group: a name that leads to one other address forwards (RFC 3461 §5.2.7.2, §5.2.7.3).
    #[must_use]
    pub fn is_expanded(&self) -> bool {
        self.deliveries.len() > 1
    }
}

/// The entries of a message, in the order in which their first recipients were named. Nobody gets a message twice: a recipient that several
/// names lead to is kept once, with the wishes of its own name if it is among them.
#[must_use]
pub fn entries(
    named: &[Named],
    sender: &ReversePath,
    policy: &Policy,
    received_at: Timestamp,
) -> Vec<NewEntry> {
    let mut seen: HashMap<&Mailbox, (usize, usize)> = HashMap::new();
    let mut entries: Vec<NewEntry> = Vec::new();
    for name in named {
        for delivery in &name.deliveries {
            let recipient = entry_recipient(name, delivery);
            if let Some((entry, place)) = seen.get(&delivery.recipient) {
                let kept = entries.get_mut(*entry).and_then(|entry| entry.recipients.get_mut(*place));
                if let Some(kept) = kept.filter(|_| recipient.expanded_from.is_none()) {
                    *kept = recipient;
                }
                continue;
            }
            let together = entries
                .iter()
                .position(|entry| entry.queue == delivery.queue && entry.route == *delivery.route);
            let place = together.unwrap_or(entries.len());
            if together.is_none() {
                entries.push(entry(delivery, policy));
            }
            if let Some(entry) = entries.get_mut(place) {
                seen.insert(&delivery.recipient, (place, entry.recipients.len()));
                entry.recipients.push(recipient);
            }
        }
    }
    let clock = EntryClock { received_at, held: Duration::ZERO };
    for entry in &mut entries {
        let owes_warning = Waiting::from(&*entry).owes_warning(sender, entry.mode.hold.is_some());
        entry.attend_at = attend_at(policy, &entry.queue, clock, owes_warning, received_at);
    }
    entries
}

/// An entry without recipients.
fn entry(delivery: &Delivery, policy: &Policy) -> NewEntry {
    NewEntry {
        queue: delivery.queue.clone(),
        mode: QueueMode { hold: delivery.mode.hold.map(hold_reason), generation: delivery.mode.generation },
        route: (*Arc::clone(&delivery.route)).clone(),
        source: String::new(),
        snapshot: policy.hash.prefix(),
        recipients: Vec::new(),
        transforms: Vec::new(),
        priority: PRIORITY,
        urgent: false,
        attend_at: Timestamp::default(), // when it has recipients
    }
}

/// When somebody has to look at an entry whatever its lane or hold: when a warning of its delay is due, at the end of its life, or of its longest
/// hold, whichever comes first.
#[must_use]
pub fn attend_at(
    policy: &Policy,
    queue: &posthouse_model::QueueName,
    clock: EntryClock,
    owes_warning: bool,
    now: Timestamp,
) -> Timestamp {
    let expiry = policy.retry.expiry(clock).after(AFTER_EXPIRY);
    let hold_ends = policy.hold_expiry(queue).map(|longest| now.after(longest.saturating_sub(clock.held)));
    let warning = policy.retry.warning(clock).filter(|_| owes_warning);
    // Never at once again: what was looked at and stays is not looked at in a circle.
    [hold_ends, warning]
        .into_iter()
        .flatten()
        .fold(expiry, Timestamp::min)
        .max(now.after(Duration::from_secs(1)))
}

fn entry_recipient(named: &Named, delivery: &Delivery) -> EntryRecipient {
    let expanded_from = named.forward_path.mailbox().filter(|named| **named != delivery.recipient).cloned();
    EntryRecipient {
        address: delivery.recipient.clone(),
        expanded_from,
        orcpt: named.orcpt.as_ref().map(ToString::to_string),
        // RFC 3461 §5.2.7.3 (c), §5.2.7.2
        notify: if named.is_expanded() { named.notify.without_success() } else { named.notify }.bits(),
        last: None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
