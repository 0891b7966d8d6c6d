//! What an attempt means: the outcome of each recipient, and what its sender is told of it (RFC 3461 §5.2). Pure.

use std::time::Duration;

use posthouse_model::{Notify, Timestamp, Transport};
use posthouse_queue::{EntryRecipient, LastReply, Leased, Outcome};

use super::{
    delay::Waiting,
    dsn::{Became, Reported},
    retry::{EntryClock, RetrySchedule},
};

/// What an attempt led to, for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The far end took it.
    Taken {
        /// Its reply.
        said: LastReply,
        /// It knows DSN and has taken over what the sender asked to be told: nothing is reported from here (RFC 3461 §5.2.1).
        dsn: bool,
    },
    /// Another attempt is pointless.
    Permanent(LastReply),
    /// Another attempt may do better.
    Transient(LastReply),
    /// Its time is over.
    Expired(LastReply),
    /// The far end takes only so many at once, and was not asked for this one (RFC 9422): no attempt was made.
    NotTried,
}

/// By what an attempt is judged.
#[derive(Clone, Copy)]
pub struct Terms<'t> {
    /// The retry settings.
    pub retry: &'t RetrySchedule,
    /// The entry's queue is held: what stays waits there for a release.
    pub is_held: bool,
    /// The time.
    pub now: Timestamp,
}

/// A judged attempt.
#[derive(Debug, PartialEq, Eq)]
pub struct Judged {
    /// For each recipient what becomes of it, and what was said of it in this attempt.
    pub outcomes: Vec<(Outcome, Option<LastReply>)>,
    /// When those that stay are tried again; none if nobody stays but who was not tried.
    pub next_attempt: Option<Timestamp>,
    /// What the sender is told.
    pub reported: Vec<Reported>,
    /// The sender has been told of the delay, now or before.
    pub delay_warned: bool,
}

/// Judges an attempt. `found` has one element per recipient of the entry.
#[must_use]
pub fn judge(terms: Terms<'_>, leased: &Leased, found: Vec<Found>) -> Judged {
    let Terms { retry, is_held, now } = terms;
    let entry = &leased.entry;
    let clock = clock(leased);
    let again = retry.next_attempt(entry.attempts.saturating_add(1), clock, now);
    let sender = &leased.message.envelope.reverse_path;
    let is_late = retry.warning(clock).is_some_and(|at| at <= now);
    let warns = is_late && Waiting::from(&**entry).owes_warning(sender, is_held);
    // RFC 3461 §5.2.3: delivered where it is at its end; §5.2.2 (b): relayed where others take it further and tell nothing.
    let (taken, as_taken) = match entry.route.next_hop.transport {
        Transport::Smtp => (Outcome::Relayed, Became::Relayed),
        Transport::Lmtp | Transport::Maildrop => (Outcome::Delivered, Became::Delivered),
    };
    let mut judged =
        Judged { outcomes: Vec::new(), next_attempt: None, reported: Vec::new(), delay_warned: false };
    for (recipient, found) in entry.recipients.iter().zip(found) {
        let (outcome, became, last) = match found {
            Found::Taken { said, dsn } => (taken.clone(), (!dsn).then_some(as_taken), said),
            Found::Permanent(said) => (Outcome::Failed, Some(Became::Failed), said),
            Found::Expired(said) => (Outcome::Expired, Some(Became::Expired), said),
            Found::Transient(said) if again.is_none() => (Outcome::Expired, Some(Became::Expired), said),
            Found::Transient(said) => {
                judged.next_attempt = again;
                let delayed = Became::Delayed { until: retry.expiry(clock) };
                (Outcome::Deferred(Some(said.clone())), warns.then_some(delayed), said)
            }
            Found::NotTried => {
                judged.outcomes.push((Outcome::Deferred(None), None));
                continue;
            }
        };
        judged.reported.extend(became.and_then(|became| report(recipient, became, Some(&last))));
        judged.outcomes.push((outcome, Some(last)));
    }
    judged.delay_warned = entry.delay_warned || (warns && judged.next_attempt.is_some());
    judged
}

/// What the sender is told of an entry that still waits and is not attempted now.
#[must_use]
pub fn delayed(retry: &RetrySchedule, leased: &Leased) -> Vec<Reported> {
    let became = Became::Delayed { until: retry.expiry(clock(leased)) };
    leased.entry.recipients.iter().filter_map(|recipient| report(recipient, became, None)).collect()
}

/// The clock of a leased entry.
#[must_use]
pub fn clock(leased: &Leased) -> EntryClock {
    EntryClock { received_at: leased.message.received_at, held: Duration::from_millis(leased.entry.held_ms) }
}

/// A recipient in the report, if its sender wants to be told that (RFC 3461 §4.1).
#[must_use]
pub fn report(recipient: &EntryRecipient, became: Became, last: Option<&LastReply>) -> Option<Reported> {
    let notify = Notify::from_bits(recipient.notify);
    let is_wanted = match became {
        Became::Failed | Became::Expired => notify.of_failure(),
        Became::Delayed { .. } => notify.of_delay(),
        Became::Delivered | Became::Relayed | Became::Expanded => notify.of_success(),
    };
    let last = last.or(recipient.last.as_ref()).cloned();
    is_wanted.then(|| Reported { recipient: EntryRecipient { last, ..recipient.clone() }, became })
}

#[cfg(test)]
pub(crate) mod tests;
