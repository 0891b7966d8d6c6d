//! Before an attempt: is the entry's time over, does its mail wait, does the current snapshot route it otherwise? Pure.

use std::time::Duration;

use posthouse_model::{EnhancedStatus, Mailbox, Timestamp, Transport};
use posthouse_queue::{EntryRecipient, Leased, NewEntry, QueueMode};
use posthouse_routing::Rerouted;

use super::retry::EntryClock;
use crate::{
    intake::entries::attend_at,
    policy::{Policy, hold_reason},
};

/// What is to be done with a leased entry.
#[derive(Debug)]
pub enum Prepared {
    /// Attempt it.
    Attempt,
    /// Its time is over.
    Expired {
        /// What is said of it where no attempt has said anything.
        status: EnhancedStatus,
        /// In words.
        text: &'static str,
    },
    /// It cannot be sent now; that counts as an attempt.
    Waits {
        /// What is said of it.
        status: EnhancedStatus,
        /// In words.
        text: String,
    },
    /// It was leased to be looked at, and it stays as it is.
    Stays,
    /// It is routed otherwise now.
    Split(Vec<NewEntry>),
}

/// Looks at a leased entry. `down`: its next hop is being left alone just now.
#[must_use]
pub fn prepare(policy: &Policy, leased: &Leased, down: bool, now: Timestamp) -> Prepared {
    let entry = &leased.entry;
    let clock =
        EntryClock { received_at: leased.message.received_at, held: Duration::from_millis(entry.held_ms) };
    // Nothing is given up untried: the last attempt is made at the expiry, or after it by who comes back after a long time. Only a next hop that
    // is known to be down is spared the mail of a whole lane, and what is held is not sent.
    let is_expired = policy.retry.is_expired(clock, now);
    if is_expired && leased.attend && (down || leased.held) {
        return Prepared::Expired {
            status: EnhancedStatus::transient(4, 7),
            text: "the time to deliver it is over",
        };
    }
    // Only while nobody has asked for it: what was released in time is delivered.
    if leased.attend && policy.hold_expiry(&entry.queue).is_some_and(|longest| clock.held >= longest) {
        return Prepared::Expired {
            status: EnhancedStatus::transient(4, 7),
            text: "it was held too long and nobody asked for it",
        };
    }
    if leased.attend && !is_expired {
        return Prepared::Stays;
    }
    if entry.snapshot != policy.hash.prefix() {
        match reroute(policy, leased, now) {
            Moved::No => {}
            Moved::Waits(status, text) => return Prepared::Waits { status, text },
            Moved::To(entries) => return Prepared::Split(entries),
        }
    }
    if let Some(text) = &entry.route.waits {
        return Prepared::Waits { status: EnhancedStatus::transient(3, 5), text: text.clone() };
    }
    if entry.route.next_hop.transport == Transport::Maildrop {
        return Prepared::Waits {
            status: EnhancedStatus::transient(3, 5),
            text: "kept until it is fetched by POP3".to_owned(),
        };
    }
    Prepared::Attempt
}

enum Moved {
    No,
    Waits(EnhancedStatus, String),
    To(Vec<NewEntry>),
}

/// Routes each recipient again. Those that stay keep the entry's form; if all do, nothing moves.
fn reroute(policy: &Policy, leased: &Leased, now: Timestamp) -> Moved {
    let entry = &leased.entry;
    let mut waiting = None;
    let mut kept: Vec<EntryRecipient> = Vec::new();
    let mut moved: Vec<NewEntry> = Vec::new();
    for recipient in &entry.recipients {
        let sender = &leased.message.envelope.reverse_path;
        let route =
            policy.router.reroute(sender, &recipient.address, recipient.expanded_from.as_ref(), &entry.route);
        match route {
            Rerouted::Stored(_) => kept.push(recipient.clone()),
            Rerouted::Waits(refusal) => {
                waiting = Some(refusal.reply);
                kept.push(recipient.clone());
            }
            Rerouted::Routed(acceptance) => {
                match the_same_recipient(&acceptance.deliveries, &recipient.address) {
                    Some(delivery) if delivery.queue != entry.queue || *delivery.route != entry.route => {
                        let together = moved
                            .iter_mut()
                            .find(|to| to.queue == delivery.queue && to.route == *delivery.route);
                        match together {
                            Some(to) => to.recipients.push(recipient.clone()),
                            None => moved.push(moved_entry(policy, leased, delivery, recipient, now)),
                        }
                    }
                    // The same way as before; or a name that has become a group since, whose mail goes the way it was accepted for.
                    _ => kept.push(recipient.clone()),
                }
            }
        }
    }
    match waiting {
        Some(reply) if moved.is_empty() => {
            Moved::Waits(reply.status().unwrap_or(EnhancedStatus::transient(3, 0)), reply.text())
        }
        _ if moved.is_empty() => Moved::No,
        _ => {
            if !kept.is_empty() {
                moved.push(kept_entry(policy, leased, kept));
            }
            Moved::To(moved)
        }
    }
}

fn the_same_recipient<'d>(
    deliveries: &'d [posthouse_routing::Delivery],
    recipient: &Mailbox,
) -> Option<&'d posthouse_routing::Delivery> {
    match deliveries {
        [only] if only.recipient == *recipient => Some(only),
        _ => None,
    }
}

fn moved_entry(
    policy: &Policy,
    leased: &Leased,
    delivery: &posthouse_routing::Delivery,
    recipient: &EntryRecipient,
    now: Timestamp,
) -> NewEntry {
    let entry = &leased.entry;
    let clock =
        EntryClock { received_at: leased.message.received_at, held: Duration::from_millis(entry.held_ms) };
    NewEntry {
        queue: delivery.queue.clone(),
        mode: QueueMode { hold: delivery.mode.hold.map(hold_reason), generation: delivery.mode.generation },
        route: (*delivery.route).clone(),
        source: entry.source.clone(),
        snapshot: policy.hash.prefix(),
        recipients: vec![recipient.clone()],
        transforms: entry.transforms.clone(),
        priority: entry.priority,
        urgent: entry.urgent,
        attend_at: attend_at(policy, &delivery.queue, clock, now),
    }
}

/// What stays of a split entry: its old route and its old snapshot, so that the next lease looks again.
fn kept_entry(policy: &Policy, leased: &Leased, recipients: Vec<EntryRecipient>) -> NewEntry {
    let entry = &leased.entry;
    NewEntry {
        queue: entry.queue.clone(),
        mode: policy.queue_mode(&entry.queue),
        route: entry.route.clone(),
        source: entry.source.clone(),
        snapshot: entry.snapshot,
        recipients,
        transforms: entry.transforms.clone(),
        priority: entry.priority,
        urgent: entry.urgent,
        attend_at: entry.attend_at,
    }
}
