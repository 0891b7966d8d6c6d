//! Counting: entries by state, recipients by what became of them (I1), and lists for people. No I/O.

use posthouse_model::{EntryId, QueueName, ReversePath, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{entry::Entry, hold::HoldReason};

/// Entries by state. What a release has freed counts as due, whether or not it has been moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Enqueued, not yet confirmed durable.
    pub incoming: u64,
    /// Ready in a lane (the lane may be backed off).
    pub due: u64,
    /// Waiting for a time.
    pub deferred: u64,
    /// Held and not released.
    pub held: u64,
    /// Leased.
    pub active: u64,
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            incoming: self.incoming + other.incoming,
            due: self.due + other.due,
            deferred: self.deferred + other.deferred,
            held: self.held + other.held,
            active: self.active + other.active,
        }
    }
}

/// What one queue has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueTotals {
    /// The queue.
    pub queue: QueueName,
    /// Its entries by state.
    pub counts: Counts,
    /// When the oldest of its deferred and held entries was accepted, as their message ids tell (a notification has the time of what it tells of);
    /// one whose time or release has come may still count. `None`: it has no such entry.
    pub oldest: Option<Timestamp>,
}

/// A part of the queues that have mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotalsPage {
    /// Some queues, in no order; one whose mail changes while the pages are read may be missing or come twice.
    pub queues: Vec<QueueTotals>,
    /// Where to go on, even if this page is empty; `None` at the end.
    pub next: Option<u64>,
}

/// Recipients by what became of them. Invariant I1: accepted + expanded + generated = delivered + relayed + failed + fetched + deleted +
/// discarded + queued, at every moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounting {
    /// Named by clients in messages that are confirmed durable.
    pub accepted: u64,
    /// Added by aliases and groups.
    pub expanded: u64,
    /// Recipients of DSNs.
    pub generated: u64,
    /// Delivered by LMTP or into a maildrop.
    pub delivered: u64,
    /// Accepted by a next SMTP hop.
    pub relayed: u64,
    /// Failed for good or expired.
    pub failed: u64,
    /// Fetched by POP3 or ATRN.
    pub fetched: u64,
    /// Deleted by a person.
    pub deleted: u64,
    /// Dropped by a rule, or merged into another recipient of the same message.
    pub discarded: u64,
    /// In the queue now (quarantined ones too), confirmed durable.
    pub queued: u64,
}

impl Accounting {
    /// Whether I1 holds.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.accepted + self.expanded + self.generated
            == self.delivered
                + self.relayed
                + self.failed
                + self.fetched
                + self.deleted
                + self.discarded
                + self.queued
    }
}

/// The state of an entry, as a person sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Enqueued, not yet confirmed durable.
    Incoming,
    /// Ready (released ones too).
    Due,
    /// Waiting for a time.
    Deferred,
    /// Held and not released.
    Held,
    /// Leased.
    Active,
}

/// Which entries to list.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    /// Only of this queue.
    pub queue: Option<QueueName>,
    /// Only in this state.
    pub state: Option<State>,
}

/// One entry in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntrySummary {
    /// The entry. Where its record cannot be read, `None`: the id is all there is.
    pub entry: Option<Entry>,
    /// Its id.
    pub id: EntryId,
    /// Its state.
    pub state: State,
    /// When its message was accepted.
    pub received_at: Timestamp,
    /// Octets of its message.
    pub size: u64,
    /// Its message's reverse-path.
    pub reverse_path: ReversePath,
    /// When it is tried next: the time of a deferred entry, or of its lane's back-off; `None` = at once, or never by itself.
    pub next_attempt: Option<Timestamp>,
    /// Why it is held.
    pub hold: Option<HoldReason>,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPage {
    /// Some entries, in no order; an entry that changes while the list is read may be missing or come twice.
    pub entries: Vec<EntrySummary>,
    /// Where to go on; `None` at the end.
    pub next: Option<u64>,
}
