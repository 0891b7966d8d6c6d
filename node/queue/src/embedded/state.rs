//! The state machine: everything the store knows, in memory, and what each operation makes of it. Pure: no I/O, no clock, no thread.
//!
//! An operation checks, then says what it changes for good as [`Effect`]s; those are appended to the log and applied, and only
//! [`apply`](State::apply) changes what outlives a crash, so that a replayed log leads to the same state. Leases, claims, heartbeats,
//! permits, reservations and rates are changed directly: after a crash there is nobody left who could hold them. Of leases the log tells
//! which there were, so that one can see after a crash what was under way.
//!
//! No content and no recipients are kept here, only where they lie: some 350 octets for a queued entry.

pub(crate) mod apply;
pub(crate) mod hold;
pub(crate) mod index;
pub(crate) mod intake;
pub(crate) mod jobs;
pub(crate) mod lease;
pub(crate) mod limits;
pub(crate) mod people;
pub(crate) mod presence;
pub(crate) mod settle;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use posthouse_model::{EntryId, Incarnation, MessageId, QueueName, Timestamp};

use super::{
    effect::{Count, Head, Location, Phase, Stored},
    slab::Slab,
};
use crate::{
    entry::LaneId,
    hold::{ClaimId, HoldReason, QueueMode, ReleaseId},
    jobs::{FactKind, Job},
    lease::LeaseToken,
    message::Origin,
};

/// The number of an entry's place.
pub(crate) type Slot = u32;

/// An entry.
#[derive(Debug)]
pub(crate) struct EntrySlot {
    pub(crate) message: u32,
    pub(crate) index: u16,
    pub(crate) queue: u32,
    pub(crate) lane: u32,
    pub(crate) recipients: u32,
    pub(crate) leased: bool,
    pub(crate) head: Head,
    pub(crate) body: Location,
}

/// A message.
#[derive(Debug)]
pub(crate) struct MessageSlot {
    pub(crate) id: MessageId,
    pub(crate) origin: Origin,
    pub(crate) received_at: Timestamp,
    pub(crate) named: u32,
    pub(crate) confirmed: bool,
    /// The index has a row of it.
    pub(crate) indexed: bool,
    pub(crate) next_index: u16,
    pub(crate) meta: Location,
    pub(crate) content: Stored<Location>,
    pub(crate) entries: Entries,
    /// Who enqueued it, until it is confirmed.
    pub(crate) owner: Option<Incarnation>,
}

/// The entries of a message: nearly always one.
#[derive(Debug)]
pub(crate) enum Entries {
    /// One.
    One([Slot; 1]),
    /// None or several.
    Many(Vec<Slot>),
}

impl Entries {
    pub(crate) fn as_slice(&self) -> &[Slot] {
        match self {
            Self::One(slot) => slot,
            Self::Many(slots) => slots,
        }
    }

    pub(crate) fn push(&mut self, slot: Slot) {
        match self {
            Self::One([first]) => *self = Self::Many(vec![*first, slot]),
            Self::Many(slots) if slots.is_empty() => *self = Self::One([slot]),
            Self::Many(slots) => slots.push(slot),
        }
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        match self {
            Self::One([only]) if *only == slot => *self = Self::Many(Vec::new()),
            Self::One(_) => {}
            Self::Many(slots) => slots.retain(|other| *other != slot),
        }
    }
}

/// A lane.
#[derive(Debug)]
pub(crate) struct LaneSlot {
    pub(crate) id: LaneId,
    /// Its due entries in the order to lease them.
    pub(crate) due: BTreeSet<DueKey>,
    /// Entries in it, in any state.
    pub(crate) entries: u32,
    /// Backed off until then, and from then on one probe at a time.
    pub(crate) until: Option<Timestamp>,
    /// The probe that is under way.
    pub(crate) probe: Option<Slot>,
    /// When it was last served, as a number that grows with each serving; 0: never.
    pub(crate) served: u64,
    /// Where it stands: in the ready set, among the backed off, or nowhere.
    pub(crate) listed: Listed,
}

/// Where a lane stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// It has nothing to give.
    Nowhere,
    /// Among the ready ones, under the number of its last serving.
    Ready(u64),
    /// Among those that become ready at a time.
    Backed(Timestamp),
}

/// The order within a lane: priority, when it became due, id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DueKey {
    pub(crate) priority: u8,
    pub(crate) since: Timestamp,
    pub(crate) id: [u8; 16],
    pub(crate) index: u16,
    pub(crate) slot: Slot,
}

/// A queue.
#[derive(Debug)]
pub(crate) struct QueueSlot {
    pub(crate) name: QueueName,
    pub(crate) mode: QueueMode,
    /// Entries in it, in any state.
    pub(crate) entries: u32,
    pub(crate) incoming: u64,
    pub(crate) due: u64,
    pub(crate) deferred: u64,
    pub(crate) active: u64,
    pub(crate) reasons: [Held; HoldReason::ALL.len()],
    /// Its deferred and held entries by their messages' ids, which begin with the time: the oldest first. Leased ones are not here.
    pub(crate) waiting: BTreeSet<([u8; 16], Slot)>,
    pub(crate) claim: Option<ClaimId>,
}

/// What a queue holds for one reason.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// In hold order; released ones too, until they are moved. Leased ones are not here.
    pub(crate) entries: BTreeMap<u64, Slot>,
    /// Held and not released.
    pub(crate) kept: u64,
    /// All with this reason in their phase, leased ones too.
    pub(crate) phases: u64,
    /// Releases that may still free something: (sequence reached, when), both growing.
    pub(crate) releases: Vec<(u64, Timestamp)>,
}

impl Held {
    /// Sequences up to this one are released.
    pub(crate) fn high(&self) -> u64 {
        self.releases.last().map_or(0, |(high, _)| *high)
    }

    /// When the entry with this sequence was released: by the first release at or above it.
    pub(crate) fn released_at(&self, sequence: u64) -> Option<Timestamp> {
        let first = self.releases.partition_point(|(high, _)| *high < sequence);
        self.releases.get(first).map(|(_, at)| *at)
    }
}

/// A lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) token: LeaseToken,
    pub(crate) who: Incarnation,
    /// Held time, the hold that this lease ended included.
    pub(crate) held_ms: u64,
}

/// What is known of an incarnation.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    pub(crate) until: Timestamp,
    /// It is over; what it has is being taken back.
    pub(crate) ended: bool,
    /// It is of a process before this one: nobody speaks for it, and it is dead from `until` on.
    pub(crate) former: bool,
    pub(crate) leases: HashSet<Slot>,
    pub(crate) unconfirmed: HashSet<u32>,
    pub(crate) reserved: u64,
    pub(crate) permits: HashMap<Box<str>, u32>,
}

/// A claim.
#[derive(Clone, Debug)]
pub(crate) struct ClaimSlot {
    pub(crate) who: Incarnation,
    pub(crate) queue: u32,
    /// For `OnRequest` and `Scheduled`: what was released before the claim, and up to where the claim reaches.
    pub(crate) ranges: [(HoldReason, u64, u64); 2],
}

impl ClaimSlot {
    /// Whether an entry held so is in the claim.
    pub(crate) fn covers(&self, reason: HoldReason, sequence: u64) -> bool {
        self.ranges.iter().any(|(of, low, high)| *of == reason && sequence > *low && sequence <= *high)
    }
}

/// A job and its lease.
#[derive(Debug)]
pub(crate) struct JobSlot {
    pub(crate) job: Job,
    pub(crate) lease: Option<(Incarnation, LeaseToken)>,
}

/// A small thing whose row in the index is to be written anew.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Small {
    /// A queue's mode and releases.
    Queue(QueueName),
    /// A lane's back-off.
    Lane(LaneId),
    /// A fact.
    Fact(FactKind, String),
    /// A job.
    Job(String),
    /// A tombstone.
    Tombstone(MessageId),
    /// A release that happened.
    Release([u8; 16]),
    /// The generation whose modes were told last.
    Told,
}

/// Everything the store knows.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) slots: Slab<EntrySlot>,
    pub(crate) messages: Slab<MessageSlot>,
    pub(crate) lanes: Slab<LaneSlot>,
    pub(crate) queues: Slab<QueueSlot>,
    pub(crate) by_id: HashMap<MessageId, u32>,
    pub(crate) lane_ids: HashMap<LaneId, u32>,
    pub(crate) queue_names: HashMap<QueueName, u32>,

    pub(crate) ready: BTreeSet<(u64, u32)>,
    pub(crate) backed: BTreeSet<(Timestamp, u32)>,
    pub(crate) deferred: BTreeSet<(Timestamp, Slot)>,
    pub(crate) attend: BTreeSet<(Timestamp, Slot)>,
    /// Queues that may have released entries to move.
    pub(crate) draining: BTreeSet<u32>,

    pub(crate) leases: HashMap<Slot, Lease>,
    /// Claims by session; a session may have one in several queues.
    pub(crate) claims: HashMap<ClaimId, Vec<ClaimSlot>>,
    pub(crate) presences: HashMap<Incarnation, Presence>,
    /// Incarnations that have ended, and when: they do not come back.
    pub(crate) departed: HashMap<Incarnation, Timestamp>,
    /// When the store was opened, until the first `now` says from when on those of before are dead.
    pub(crate) opened: Option<Timestamp>,
    pub(crate) rates: HashMap<Box<str>, limits::Window>,

    pub(crate) facts: HashMap<(FactKind, String), (String, Timestamp)>,
    pub(crate) jobs: BTreeMap<String, JobSlot>,
    pub(crate) tombstones: HashMap<MessageId, Timestamp>,
    pub(crate) releases: HashMap<ReleaseId, Timestamp>,

    pub(crate) count: Count,
    /// Recipients in confirmed messages.
    pub(crate) queued: u64,
    pub(crate) hold_sequence: u64,
    /// The greatest generation whose modes were told.
    pub(crate) told: u64,
    pub(crate) served: u64,
    pub(crate) token: u64,
    /// No token above this one may be given before a greater number is in the log.
    pub(crate) token_ceiling: u64,

    /// Messages whose rows in the index are not what they are here.
    pub(crate) dirty: HashSet<MessageId>,
    pub(crate) dirty_small: HashSet<Small>,
    /// Octets in each segment that are still needed.
    pub(crate) live: BTreeMap<u32, u64>,
    /// Messages whose content files are to be removed once the log is durable.
    pub(crate) unlink: Vec<MessageId>,
    /// There may be something new to lease.
    pub(crate) woken: bool,
}

impl State {
    /// The message with this id.
    pub(crate) fn message(&self, id: MessageId) -> Option<(u32, &MessageSlot)> {
        let number = *self.by_id.get(&id)?;
        Some((number, self.messages.at(number)?))
    }

    /// The place of an entry.
    pub(crate) fn find(&self, id: EntryId) -> Option<Slot> {
        let (_, message) = self.message(id.message)?;
        message
            .entries
            .as_slice()
            .iter()
            .copied()
            .find(|slot| self.slots.at(*slot).is_some_and(|entry| entry.index == id.index))
    }

    /// The id of an entry.
    pub(crate) fn id(&self, entry: &EntrySlot) -> EntryId {
        // Every entry has a message: `apply` makes and removes them together.
        let message = self.messages.at(entry.message).map_or(MessageId::from_bytes([0; 16]), |m| m.id);
        message.entry(entry.index)
    }

    /// The mode that counts, of the stored one and another: the stored one is as of the generation that was told last.
    pub(crate) fn mode(&self, queue: u32, other: QueueMode) -> QueueMode {
        let stored = self.queues.at(queue).map(|queue| queue.mode).unwrap_or_default();
        if stored.generation > 0 && other.generation < self.told { stored } else { other }
    }

    /// The mode that counts for a queue by its name.
    pub(crate) fn mode_of(&self, queue: &QueueName, other: QueueMode) -> QueueMode {
        match self.queue_names.get(queue) {
            Some(queue) => self.mode(*queue, other),
            None => other,
        }
    }

    /// The next token.
    pub(crate) fn next_token(&mut self) -> LeaseToken {
        self.token += 1;
        LeaseToken(self.token)
    }

    /// The release that an entry with this phase had, if it had one.
    pub(crate) fn released_at(&self, queue: u32, phase: Phase) -> Option<Timestamp> {
        let Phase::Held { reason, sequence, .. } = phase else { return None };
        self.queues.at(queue)?.of(reason).released_at(sequence)
    }

    /// Whether an entry is in a claim.
    pub(crate) fn is_claimed(&self, queue: u32, phase: Phase) -> bool {
        let Phase::Held { reason, sequence, .. } = phase else { return false };
        self.claim_of(queue).is_some_and(|claim| claim.covers(reason, sequence))
    }

    /// The claim of a queue.
    pub(crate) fn claim_of(&self, queue: u32) -> Option<&ClaimSlot> {
        let id = self.queues.at(queue)?.claim?;
        self.claims.get(&id)?.iter().find(|claim| claim.queue == queue)
    }
}

impl QueueSlot {
    pub(crate) fn of(&self, reason: HoldReason) -> &Held {
        let [on_request, scheduled, connectivity, administrator, quarantine] = &self.reasons;
        match reason {
            HoldReason::OnRequest => on_request,
            HoldReason::Scheduled => scheduled,
            HoldReason::Connectivity => connectivity,
            HoldReason::Administrator => administrator,
            HoldReason::Quarantine => quarantine,
        }
    }

    pub(crate) fn of_mut(&mut self, reason: HoldReason) -> &mut Held {
        let [on_request, scheduled, connectivity, administrator, quarantine] = &mut self.reasons;
        match reason {
            HoldReason::OnRequest => on_request,
            HoldReason::Scheduled => scheduled,
            HoldReason::Connectivity => connectivity,
            HoldReason::Administrator => administrator,
            HoldReason::Quarantine => quarantine,
        }
    }
}
