//! The reference: the simplest implementation of the contract, lists and linear scans over one lock, no durability, no I/O.
//!
//! It says what each promise of `store.rs` means. Where the contract leaves a choice (which lane first, which entry to look at first),
//! [`State::legal_lease`] says which answers are right, and the comparison follows the store that is tested.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use posthouse_model::{EntryId, Incarnation, MessageId, QueueName, Timestamp};
use posthouse_queue::{
    Accounting, ClaimId, Entry, FactKind, HoldReason, Job, Lane, LeaseToken, MessageMeta, NewMessage,
    QueueMode, Release, StoreError,
};
use tokio::sync::watch;

mod act;
mod deliver;
mod intake;
mod lease;
mod store;

pub(crate) use lease::Choice;

/// The model: a [`State`] behind a lock, so that it can stand wherever a store stands.
pub(crate) struct Model {
    state: Mutex<State>,
    wakeups: watch::Sender<u64>,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), wakeups: watch::Sender::new(0) }
    }

    /// The state itself: for the comparison, which has to know what the contract leaves open.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What it is now, as a store of its own.
    pub(crate) fn fork(&self) -> Self {
        Self { state: Mutex::new(self.state().clone()), wakeups: watch::Sender::new(0) }
    }

    fn wake(&self) {
        self.wakeups.send_modify(|value| *value += 1);
    }
}

/// Everything that a store knows.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) messages: BTreeMap<MessageId, Kept>,
    pub(crate) items: BTreeMap<EntryId, Item>,
    pub(crate) tombstones: BTreeMap<MessageId, Timestamp>,
    pub(crate) chunks: BTreeMap<MessageId, Chunks>,
    pub(crate) modes: BTreeMap<QueueName, QueueMode>,
    pub(crate) lanes: BTreeMap<Lane, LaneState>,
    pub(crate) releases: Vec<Recorded>,
    pub(crate) claims: Vec<Claimed>,
    /// Incarnations and until when they live.
    pub(crate) alive: BTreeMap<Incarnation, Timestamp>,
    pub(crate) departed: BTreeSet<Incarnation>,
    pub(crate) accounting: Accounting,
    pub(crate) permits: BTreeMap<(String, Incarnation), u32>,
    pub(crate) rates: BTreeMap<String, (Timestamp, u32)>,
    pub(crate) reserved: BTreeMap<Incarnation, u64>,
    pub(crate) facts: BTreeMap<(FactKind, String), (String, Timestamp)>,
    pub(crate) jobs: BTreeMap<String, JobState>,
    /// The latest hold sequence, lease token, turn of a lane, and place in the history of releases and claims.
    pub(crate) sequence: u64,
    pub(crate) token: u64,
    pub(crate) turn: u64,
    pub(crate) history: u64,
    /// The greatest generation whose modes were told.
    pub(crate) told: u64,
}

/// A message.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) meta: Arc<MessageMeta>,
    pub(crate) content: posthouse_queue::Content,
    pub(crate) named: u32,
    pub(crate) owner: Incarnation,
    pub(crate) confirmed: bool,
    pub(crate) next_index: u16,
}

/// An entry and where it stands.
#[derive(Clone)]
pub(crate) struct Item {
    pub(crate) entry: Entry,
    pub(crate) place: Place,
    pub(crate) received_at: Timestamp,
    /// How much of `held_ms` the contract leaves open: an attempt that was given back may count as held or not.
    pub(crate) open_ms: u64,
    /// It was given back, or retried when its time had come: the contract does not say since when it is due.
    pub(crate) open_since: bool,
}

/// Where an entry stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Incoming(QueueMode),
    Due { since: Timestamp },
    Deferred { until: Timestamp },
    Held { reason: HoldReason, sequence: u64, since: Timestamp },
    Active { who: Incarnation, token: LeaseToken, leased_at: Timestamp, before: Box<Place> },
}

/// What is remembered of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LaneState {
    /// Backed off until then, and one probe at a time after it, until the next hop works.
    pub(crate) back_off: Option<Timestamp>,
    pub(crate) probe: Option<EntryId>,
    pub(crate) served: u64,
    /// The contract does not say for how long an empty lane is remembered: whether it has been empty since it was backed off.
    pub(crate) emptied: bool,
}

/// Chunks: a set that was not enqueued goes away.
#[derive(Clone, Default)]
pub(crate) struct Chunks {
    pub(crate) parts: BTreeMap<u32, Bytes>,
    pub(crate) until: Option<Timestamp>,
}

/// A release and what it reaches.
#[derive(Clone)]
pub(crate) struct Recorded {
    pub(crate) release: Release,
    pub(crate) high_water: u64,
    pub(crate) history: u64,
}

/// A claim and what it reaches.
#[derive(Clone)]
pub(crate) struct Claimed {
    pub(crate) id: ClaimId,
    pub(crate) who: Incarnation,
    pub(crate) queue: QueueName,
    pub(crate) high_water: u64,
    pub(crate) history: u64,
}

/// A job and who runs it.
#[derive(Clone)]
pub(crate) struct JobState {
    pub(crate) job: Job,
    pub(crate) lease: Option<(Incarnation, LeaseToken)>,
}

impl State {
    /// Refuses an incarnation that has no live heartbeat.
    pub(crate) fn living(&self, who: Incarnation, now: Timestamp) -> Result<(), StoreError> {
        if self.lives(who, now) { Ok(()) } else { Err(StoreError::Departed) }
    }

    pub(crate) fn lives(&self, who: Incarnation, now: Timestamp) -> bool {
        self.alive.get(&who).is_some_and(|until| now < *until)
    }

    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(crate) fn next_token(&mut self) -> LeaseToken {
        self.token += 1;
        LeaseToken(self.token)
    }

    pub(crate) fn next_history(&mut self) -> u64 {
        self.history += 1;
        self.history
    }

    /// The first release that reaches a held entry, whether or not a claim delays it.
    pub(crate) fn release_of(&self, item: &Item) -> Option<&Recorded> {
        let Place::Held { reason, sequence, .. } = &item.place else { return None };
        self.releases.iter().find(|recorded| {
            let queue = match &recorded.release.scope {
                posthouse_queue::ReleaseScope::All => true,
                posthouse_queue::ReleaseScope::Queue(queue) => *queue == item.entry.queue,
            };
            queue && recorded.release.reason == *reason && *sequence <= recorded.high_water
        })
    }

    /// The claim that a held entry is in.
    pub(crate) fn claim_of(&self, item: &Item) -> Option<&Claimed> {
        let Place::Held { reason: HoldReason::OnRequest | HoldReason::Scheduled, sequence, .. } = item.place
        else {
            return None;
        };
        let released = self.release_of(item).map(|recorded| recorded.history);
        self.claims.iter().find(|claim| {
            claim.queue == item.entry.queue
                && sequence <= claim.high_water
                && released.is_none_or(|released| released > claim.history)
        })
    }

    /// When a held entry was released; `None` while it is held or in a claim.
    pub(crate) fn freed(&self, item: &Item) -> Option<Timestamp> {
        let released = self.release_of(item)?.release.at;
        self.claim_of(item).is_none().then_some(released)
    }

    /// Whether an entry is in a claim and has been released: the contract does not say how it is counted.
    pub(crate) fn released_in_claim(&self, item: &Item) -> bool {
        self.claim_of(item).is_some() && self.release_of(item).is_some()
    }

    /// Moves what a release or the time has made due.
    pub(crate) fn ripen(&mut self, now: Timestamp) {
        let all: Vec<EntryId> = self.items.keys().copied().collect();
        for id in all {
            self.ripen_one(id, now);
        }
    }

    /// Moves one entry, if a release or the time has made it due.
    pub(crate) fn ripen_one(&mut self, id: EntryId, now: Timestamp) {
        let Some(item) = self.items.get(&id) else { return };
        let (since, held_ms) = match item.place {
            Place::Deferred { until } if until <= now => (until, 0),
            Place::Held { since, .. } => match self.freed(item) {
                Some(at) => (at, at.0.saturating_sub(since.0)),
                None => return,
            },
            _ => return,
        };
        if let Some(item) = self.items.get_mut(&id) {
            item.place = Place::Due { since };
            item.entry.held_ms += held_ms;
        }
    }

    /// Puts an entry on hold.
    pub(crate) fn hold_item(&mut self, id: EntryId, reason: HoldReason, now: Timestamp) {
        let sequence = self.next_sequence();
        if let Some(item) = self.items.get_mut(&id) {
            item.place = Place::Held { reason, sequence, since: now };
        }
    }

    /// Opens a lane.
    pub(crate) fn open_lane(&mut self, lane: &Lane) {
        if let Some(state) = self.lanes.get_mut(lane) {
            state.back_off = None;
        }
    }

    /// Removes an entry, and its message and content with the last one.
    pub(crate) fn remove(&mut self, id: EntryId) {
        let Some(item) = self.items.remove(&id) else { return };
        let lane = item.entry.lane();
        if self.items.values().all(|other| other.entry.lane() != lane)
            && let Some(state) = self.lanes.get_mut(&lane)
        {
            state.emptied = true;
        }
        if self.items.keys().all(|other| other.message != id.message) {
            self.messages.remove(&id.message);
            self.chunks.remove(&id.message);
        }
    }

    /// The mode that counts for an entry that comes with its own.
    pub(crate) fn mode_of(&self, queue: &QueueName, own: QueueMode) -> QueueMode {
        match self.modes.get(queue) {
            Some(stored) if own.generation < self.told => *stored,
            _ => own,
        }
    }
}

/// Why a message is wrong in itself, if it is.
pub(crate) fn fault(message: &NewMessage, chunks: Option<&Chunks>) -> Option<&'static str> {
    let octets: Vec<u8> = match &message.content {
        posthouse_queue::NewContent::Inline(content) if content.len() > posthouse_queue::CHUNK_SIZE => {
            return Some("too much content for the inside");
        }
        posthouse_queue::NewContent::Inline(content) => content.to_vec(),
        posthouse_queue::NewContent::Chunks(count) => {
            let parts: Vec<&Bytes> = chunks.map(|set| set.parts.values().collect()).unwrap_or_default();
            let numbered = chunks.is_some_and(|set| set.parts.keys().copied().eq(0..*count));
            let full = |part: &&Bytes| part.len() == posthouse_queue::CHUNK_SIZE;
            if !numbered || parts.iter().rev().skip(1).any(|part| !full(part)) {
                return Some("not the chunks that were announced");
            }
            parts.into_iter().flatten().copied().collect()
        }
    };
    let sound_entries = (1..=posthouse_queue::MAX_ENTRIES).contains(&message.entries.len())
        && message.entries.iter().all(|entry| {
            (1..=posthouse_queue::MAX_RECIPIENTS).contains(&entry.recipients.len())
                && entry.priority <= 9
                && entry.source.len() <= 255
        });
    if octets.len() as u64 != message.meta.size || crc32fast::hash(&octets) != message.meta.crc32 {
        Some("another length or checksum")
    } else if sound_entries {
        None
    } else {
        Some("wrong entries")
    }
}
