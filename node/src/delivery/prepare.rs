//! Before an attempt: is the entry's time over, does its mail wait, does the current snapshot route it otherwise? Pure.

use posthouse_model::{EnhancedStatus, Mailbox, Timestamp, Transport};
use posthouse_queue::{EntryRecipient, Leased, NewEntry, QueueMode};
use posthouse_routing::Rerouted;

use super::{delay::Waiting, judge};
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
    /// It stays, and its sender is told that it is late.
    Late,
    /// It is routed otherwise now.
    Split(Vec<NewEntry>),
}

/// How a next hop can be reached just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It takes mail, as far as is known.
    Open,
    /// It has all the work that it can take.
    Full,
    /// It is being left alone.
    Down,
}

impl Reach {
    /// Of what a hop says.
    #[must_use]
    pub fn of(is_down: bool, is_full: bool) -> Self {
        match (is_down, is_full) {
            (true, _) => Self::Down,
            (false, true) => Self::Full,
            (false, false) => Self::Open,
        }
    }
}

/// Looks at a leased entry.
#[must_use]
pub fn prepare(policy: &Policy, leased: &Leased, reach: Reach, now: Timestamp) -> Prepared {
    let entry = &leased.entry;
    let clock = judge::clock(leased);
    // Nothing is given up untried: the last attempt is made at the expiry, or after it by who comes back after a long time. Only a next hop that
    // is known to be down is spared the mail of a whole lane, and what is held is not sent.
    let is_expired = policy.retry.is_expired(clock, now);
    if is_expired && leased.attend && (reach == Reach::Down || leased.held) {
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
        let is_late = policy.retry.warning(clock).is_some_and(|at| at <= now);
        let is_held = leased.held || policy.queue_mode(&entry.queue).hold.is_some();
        let sender = &leased.message.envelope.reverse_path;
        match reach {
            _ if !(is_late && Waiting::from(&**entry).owes_warning(sender, is_held)) => {
                return Prepared::Stays;
            }
            // Nobody is warned of what one more attempt delivers: after an outage of this gateway everything is late. If that fails, it warns.
            Reach::Open => {}
            // The attempt would wait for others, or fail like theirs, and keep the place of mail for other next hops.
            Reach::Full | Reach::Down => return Prepared::Late,
        }
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
                        let entry = moved_entry(policy, leased, delivery, recipient, now);
                        match together {
                            Some(to) => {
                                to.attend_at = to.attend_at.min(entry.attend_at);
                                to.recipients.extend(entry.recipients);
                            }
                            None => moved.push(entry),
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
    let waiting = Waiting {
        transport: delivery.route.next_hop.transport,
        recipients: std::slice::from_ref(recipient),
        warned: entry.delay_warned,
    };
    let sender = &leased.message.envelope.reverse_path;
    let owes_warning = waiting.owes_warning(sender, delivery.mode.hold.is_some());
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
        attend_at: attend_at(policy, &delivery.queue, judge::clock(leased), owes_warning, now),
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

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use posthouse_model::Notify;

    use super::*;
    use crate::{delivery::judge::tests::leased, intake::entries::tests::policy};

    const LATE: Timestamp = Timestamp(5 * 3_600_000);

    fn looked_at(change: impl FnOnce(&mut Leased), reach: Reach, now: Timestamp) -> Prepared {
        let policy = policy("held.example");
        let mut leased = leased("<s@src.example>", Transport::Smtp, &[Notify::ABSENT]);
        let entry = Arc::make_mut(&mut leased.entry);
        (leased.attend, entry.snapshot) = (true, policy.hash.prefix());
        change(&mut leased);
        prepare(&policy, &leased, reach, now)
    }

    #[test]
    fn what_is_late_is_attempted_if_that_can_be_and_else_its_sender_is_told() {
        assert!(matches!(looked_at(|_| (), Reach::Open, LATE), Prepared::Attempt));
        for reach in [Reach::Down, Reach::Full] {
            assert!(matches!(looked_at(|_| (), reach, LATE), Prepared::Late), "{reach:?}");
            let early = LATE.before(Duration::from_hours(2));
            assert!(matches!(looked_at(|_| (), reach, early), Prepared::Stays), "{reach:?}");
        }
    }

    #[test]
    fn nobody_is_told_twice_or_of_what_is_held() {
        let warned = |leased: &mut Leased| Arc::make_mut(&mut leased.entry).delay_warned = true;
        let in_held_queue = |leased: &mut Leased| {
            Arc::make_mut(&mut leased.entry).queue = "held.example".parse().unwrap();
        };
        for reach in [Reach::Open, Reach::Down, Reach::Full] {
            assert!(matches!(looked_at(warned, reach, LATE), Prepared::Stays));
            assert!(matches!(looked_at(|leased| leased.held = true, reach, LATE), Prepared::Stays));
            assert!(matches!(looked_at(in_held_queue, reach, LATE), Prepared::Stays));
        }
    }

    #[test]
    fn what_is_over_is_over_and_not_late() {
        let over = Timestamp(0).after(Duration::from_hours(121));
        assert!(matches!(looked_at(|_| (), Reach::Down, over), Prepared::Expired { .. }));
        assert!(
            matches!(looked_at(|_| (), Reach::Full, over), Prepared::Attempt),
            "nothing is given up untried"
        );
    }
}
