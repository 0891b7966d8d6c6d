//! Effects: what an operation changes for good, as it stands in the log and in the index. No I/O.
//!
//! An effect holds the new state, not the request: replaying it needs nothing that a crash forgets (tokens, claims, heartbeats), and
//! replaying it over a state that is already newer does no harm, which is what lets a checkpoint be taken bit by bit.

use posthouse_model::{MessageId, QueueName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    entry::LaneId,
    hold::{HoldReason, QueueMode, Release},
    jobs::{FactKind, Job},
    message::Origin,
    settle::Tally,
};

/// A message id as its 16 octets: the text form of serde would be twice as long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Id(pub(crate) [u8; 16]);

impl From<MessageId> for Id {
    fn from(id: MessageId) -> Self {
        Self(id.to_bytes())
    }
}

impl From<Id> for MessageId {
    fn from(id: Id) -> Self {
        Self::from_bytes(id.0)
    }
}

/// Where octets lie in a frame: from the start of its blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Blob {
    pub(crate) at: u32,
    pub(crate) len: u32,
}

/// Where octets lie in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Location {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

/// A position in the log: a segment and an octet in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
}

impl Position {
    /// Both in one number, in the same order.
    pub(crate) fn number(self) -> u64 {
        u64::from(self.segment) << 32 | u64::from(self.offset)
    }

    /// The place of a blob, if this is where the blobs of its frame start.
    pub(crate) fn locate(self, blob: Blob) -> Location {
        Location { segment: self.segment, offset: self.offset.saturating_add(blob.at), len: blob.len }
    }
}

/// The state of an entry that outlives a crash. A leased entry keeps the phase that it had: that is what it goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Not confirmed; with the mode that the enqueuing node knew.
    Incoming { mode: QueueMode },
    /// Ready since then.
    Due { since: Timestamp },
    /// Waiting for a time.
    Deferred { at: Timestamp },
    /// Held, unless a release at or above the sequence says otherwise.
    Held { reason: HoldReason, sequence: u64, since: Timestamp },
}

/// The few numbers of an entry that the store works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) phase: Phase,
    pub(crate) priority: u8,
    pub(crate) urgent: bool,
    pub(crate) attend_at: Timestamp,
    pub(crate) held_ms: u64,
}

/// An entry: `L` is how its body is found ([`Blob`] in a frame, [`Location`] in the index).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryRow<L> {
    pub(crate) index: u16,
    pub(crate) queue: QueueName,
    pub(crate) lane: LaneId,
    pub(crate) recipients: u32,
    pub(crate) head: Head,
    pub(crate) body: L,
}

/// Where the content of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stored<L> {
    /// In the log.
    Log(L),
    /// In a file of its own, of this many chunks.
    File { chunks: u32 },
}

/// A message with its entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MessageRow<L> {
    pub(crate) id: Id,
    pub(crate) origin: Origin,
    pub(crate) received_at: Timestamp,
    pub(crate) named: u32,
    pub(crate) confirmed: bool,
    /// The index that the next entry gets (by a split).
    pub(crate) next_index: u16,
    pub(crate) meta: L,
    pub(crate) content: Stored<L>,
    pub(crate) entries: Vec<EntryRow<L>>,
}

impl<L: Copy> MessageRow<L> {
    /// The same with its places told in another way.
    pub(crate) fn map<M>(&self, f: impl Fn(L) -> M) -> MessageRow<M> {
        MessageRow {
            id: self.id,
            origin: self.origin,
            received_at: self.received_at,
            named: self.named,
            confirmed: self.confirmed,
            next_index: self.next_index,
            meta: f(self.meta),
            content: self.content.map(&f),
            entries: self.entries.iter().map(|entry| entry.map(&f)).collect(),
        }
    }
}

impl<L: Copy> EntryRow<L> {
    /// The same with its place told in another way.
    pub(crate) fn map<M>(&self, f: impl Fn(L) -> M) -> EntryRow<M> {
        EntryRow {
            index: self.index,
            queue: self.queue.clone(),
            lane: self.lane,
            recipients: self.recipients,
            head: self.head,
            body: f(self.body),
        }
    }
}

impl<L: Copy> Stored<L> {
    /// The same with its place told in another way.
    pub(crate) fn map<M>(self, f: impl Fn(L) -> M) -> Stored<M> {
        match self {
            Self::Log(place) => Stored::Log(f(place)),
            Self::File { chunks } => Stored::File { chunks },
        }
    }
}

/// What is added to the accounting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) accepted: u64,
    pub(crate) expanded: u64,
    pub(crate) generated: u64,
    pub(crate) delivered: u64,
    pub(crate) relayed: u64,
    pub(crate) failed: u64,
    pub(crate) fetched: u64,
    pub(crate) deleted: u64,
    pub(crate) discarded: u64,
}

impl From<Tally> for Count {
    fn from(tally: Tally) -> Self {
        let Tally { delivered, relayed, failed, fetched, deleted, discarded } = tally;
        Self {
            delivered: delivered.into(),
            relayed: relayed.into(),
            failed: failed.into(),
            fetched: fetched.into(),
            deleted: deleted.into(),
            discarded: discarded.into(),
            ..Self::default()
        }
    }
}

impl Count {
    /// What a message adds when it is confirmed: see [`NewMessage::named`](crate::NewMessage::named).
    pub(crate) fn birth(origin: Origin, named: u32, recipients: u64) -> Self {
        let named = u64::from(named);
        let (accepted, generated) = match origin {
            Origin::Accepted => (named, 0),
            Origin::Generated => (0, named),
        };
        Self {
            accepted,
            generated,
            expanded: recipients.saturating_sub(named),
            discarded: named.saturating_sub(recipients),
            ..Self::default()
        }
    }

    /// Adds the other to this.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { accepted, expanded, generated, delivered, relayed, failed, fetched, deleted, discarded } =
            other;
        self.accepted += accepted;
        self.expanded += expanded;
        self.generated += generated;
        self.delivered += delivered;
        self.relayed += relayed;
        self.failed += failed;
        self.fetched += fetched;
        self.deleted += deleted;
        self.discarded += discarded;
    }
}

/// What an operation changes. A frame of the log is a list of these and is true as a whole or not at all.
///
/// The order of the variants is the format: new ones come last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Effect {
    /// A message is there.
    Message(MessageRow<Blob>),
    /// A message is confirmed: its birth counts, its incoming entries have these phases.
    Confirmed { id: Id, birth: Count, phases: Vec<(u16, Phase)> },
    /// A message is not there, and its id is refused until then.
    Withdrawn { id: Id, until: Timestamp },
    /// The numbers of an entry; its lease, if it had one, is over.
    Entry { id: Id, index: u16, head: Head },
    /// The numbers and the body of an entry; its lease, if it had one, is over.
    Body { id: Id, index: u16, head: Head, recipients: u32, body: Blob },
    /// An entry more.
    Added { id: Id, entry: EntryRow<Blob> },
    /// An entry is gone; with the last one its message.
    Gone { id: Id, index: u16 },
    /// How recipients ended.
    Ended(Count),
    /// A queue's mode.
    Mode { queue: QueueName, mode: QueueMode },
    /// A release, and the hold sequence that it reaches up to.
    Release { release: Release, high: u64 },
    /// A lane's back-off.
    Lane { lane: LaneId, until: Option<Timestamp> },
    /// A fact.
    Fact { kind: FactKind, key: String, value: String, until: Timestamp },
    /// No fact.
    NoFact { kind: FactKind, key: String },
    /// A job.
    Job(Job),
    /// No job.
    NoJob { key: String },
    /// No token up to this one is given again.
    Tokens(u64),
    /// Envelope and content were copied to here.
    MovedMessage { id: Id, meta: Blob, content: Stored<Blob> },
    /// The body of an entry was copied to here.
    MovedBody { id: Id, index: u16, body: Blob },
    /// Entries are leased by an incarnation, until the next that is said of their numbers. It gives nobody the right to settle: it tells
    /// after a crash what was under way.
    Leased { who: [u8; 16], entries: Vec<(Id, u16)> },
    /// The modes of this generation were told: smaller ones have no say any more.
    Told(u64),
    /// With a queue's mode, a release of what it holds for a reason that is not the mode's, and the hold sequence that it reaches up to.
    Freed { queue: QueueName, reason: HoldReason, at: Timestamp, high: u64 },
}
