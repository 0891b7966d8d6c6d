//! Settling an attempt: what became of each recipient, what happens to the rest, and what is born from it. Pure.

use std::sync::Arc;

use posthouse_model::{Incarnation, Timestamp};

use crate::{
    entry::{Entry, EntryRecipient, LastReply, NewEntry},
    lease::LeaseToken,
    message::NewMessage,
};

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Delivered by LMTP or into a maildrop: leaves the queue.
    Delivered,
    /// Accepted by the next SMTP hop: leaves the queue.
    Relayed,
    /// Refused for good: leaves the queue (the DSN, if one is owed, is the settlement's child).
    Failed,
    /// Its time is over: leaves the queue; counts as failed.
    Expired,
    /// Fetched by POP3 or ATRN: leaves the queue.
    Fetched,
    /// Deleted by a person: leaves the queue.
    Deleted,
    /// Dropped by a rule: leaves the queue.
    Discarded,
    /// Not settled: stays in the entry; with the reply, if there was one.
    Deferred(Option<LastReply>),
}

/// What happens to the recipients that stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remainder {
    /// Given back untouched, no attempt counted: as it was before the lease (due, or held with the sequence that it had).
    GiveBack,
    /// Tried again at this time; the attempt counts.
    Defer(Timestamp),
    /// Held again for the queue's reason with a new sequence, so it waits for the next release; the attempt counts. In a queue that is
    /// Online by now: deferred until this time instead.
    HoldAgain(Timestamp),
    /// The record cannot be used: held for Quarantine.
    Quarantine,
    /// Replaced by these entries (the snapshot changed and routes it otherwise). Together they have exactly the recipients that stay; the
    /// attempts, the clock and the hold time go with them. No attempt counts.
    Split(Vec<NewEntry>),
}

/// What the attempt says of its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneSignal {
    /// Nothing: the next hop was not spoken to.
    None,
    /// The next hop works: the lane is open.
    Works,
    /// The next hop cannot be reached or refuses everybody: the lane is backed off until this time (a later one already stored stays).
    BackOff(Timestamp),
}

/// The end of an attempt, one atomic step.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Who holds the lease.
    pub who: Incarnation,
    /// The entry as it was leased.
    pub entry: Arc<Entry>,
    /// The token of the lease.
    pub token: LeaseToken,
    /// One outcome for each recipient of `entry`, in their order.
    pub outcomes: Vec<Outcome>,
    /// What happens to those that are [`Outcome::Deferred`].
    pub remainder: Remainder,
    /// What is known of the lane now.
    pub lane: LaneSignal,
    /// When the rest has to be looked at next; see [`NewEntry::attend_at`].
    pub attend_at: Timestamp,
    /// The delay warning has been sent, now or before.
    pub delay_warned: bool,
    /// A message that is born in this step, in the same shard: a DSN. Its content is at most one chunk, or stored before.
    pub child: Option<Box<NewMessage>>,
}

/// Whether a settlement counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It did.
    Done,
    /// The lease is no longer this one (settled before, or taken over): nothing was changed.
    Stale,
}

/// How many recipients of a settlement ended how: what is added to the accounting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// [`Outcome::Delivered`].
    pub delivered: u32,
    /// [`Outcome::Relayed`].
    pub relayed: u32,
    /// [`Outcome::Failed`] and [`Outcome::Expired`].
    pub failed: u32,
    /// [`Outcome::Fetched`].
    pub fetched: u32,
    /// [`Outcome::Deleted`].
    pub deleted: u32,
    /// [`Outcome::Discarded`].
    pub discarded: u32,
}

/// A settlement that contradicts itself; nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettlementError {
    /// Not one outcome per recipient.
    #[error("{outcomes} outcomes for {recipients} recipients")]
    Outcomes {
        /// Outcomes given.
        outcomes: usize,
        /// Recipients in the entry.
        recipients: usize,
    },
    /// The split does not have the recipients that stay.
    #[error("a split must have the {staying} recipients that stay, in whatever order; it has others")]
    Split {
        /// Recipients that stay.
        staying: usize,
    },
}

impl Settlement {
    /// The recipients that stay, with their last replies, and the tally of the others. Shared by every store, so that they cannot differ.
    pub fn plan(&self) -> Result<(Vec<EntryRecipient>, Tally), SettlementError> {
        let recipients = &self.entry.recipients;
        if recipients.len() != self.outcomes.len() {
            return Err(SettlementError::Outcomes {
                outcomes: self.outcomes.len(),
                recipients: recipients.len(),
            });
        }
        let mut tally = Tally::default();
        let mut staying = Vec::new();
        for (recipient, outcome) in recipients.iter().zip(&self.outcomes) {
            match outcome {
                Outcome::Delivered => tally.delivered += 1,
                Outcome::Relayed => tally.relayed += 1,
                Outcome::Failed | Outcome::Expired => tally.failed += 1,
                Outcome::Fetched => tally.fetched += 1,
                Outcome::Deleted => tally.deleted += 1,
                Outcome::Discarded => tally.discarded += 1,
                Outcome::Deferred(reply) => {
                    let last = reply.clone().or_else(|| recipient.last.clone());
                    staying.push(EntryRecipient { last, ..recipient.clone() });
                }
            }
        }
        if let Remainder::Split(parts) = &self.remainder {
            let mut wanted: Vec<String> = staying.iter().map(|r| r.address.to_string()).collect();
            let mut found: Vec<String> =
                parts.iter().flat_map(|part| &part.recipients).map(|r| r.address.to_string()).collect();
            wanted.sort_unstable();
            found.sort_unstable();
            if wanted != found {
                return Err(SettlementError::Split { staying: staying.len() });
            }
        }
        Ok((staying, tally))
    }
}
