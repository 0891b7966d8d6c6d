//! The durable queue: one contract ([`Store`]) with two implementations, Redis or Valkey (the product) and embedded (local mode), that pass
//! one contract suite.
//!
//! The words: a *message* is content and envelope; an *entry* is the recipients of one message that travel together (one queue name, one
//! lane); a *lane* (queue, next hop, source identity) is what is scheduled and backed off. States of an entry: incoming → due | deferred | held → active → gone.
//! Time is always a parameter ([`Timestamp`](posthouse_model::Timestamp)); nodes read the store's clock by [`Store::time`] so that they agree.

pub mod accounting;
pub mod embedded;
pub mod entry;
pub mod hold;
pub mod jobs;
pub mod lease;
pub mod message;
pub mod record;
pub mod redis;
pub mod settle;
pub mod store;

pub use accounting::{
    Accounting, Counts, EntrySummary, ListFilter, ListPage, QueueTotals, State, TotalsPage,
};
pub use entry::{Entry, EntryRecipient, Lane, LaneId, LastReply, NewEntry, Transform};
pub use hold::{Claim, ClaimId, HoldReason, QueueMode, Release, ReleaseId, ReleaseScope};
pub use jobs::{FactKind, Job, JobRun, LeasedJob};
pub use lease::{LeaseRequest, LeaseToken, Leased};
pub use message::{BodyType, Content, Envelope, MessageMeta, NewContent, NewMessage, Origin};
pub use settle::{LaneSignal, Outcome, Remainder, Settled, Settlement};
pub use store::{Act, Acted, Enqueued, Finding, Pulse, Reaped, Store, StoreError, Withdrawn};

/// Content up to this many octets travels inside the enqueue; larger content is stored before, in chunks of this size.
pub const CHUNK_SIZE: usize = 64 * 1024;

/// The most entries one message may be split into: bounds a record and one atomic step.
pub const MAX_ENTRIES: usize = 1_000;

/// The most recipients in one entry: bounds a record (RFC 5321 §4.5.3.1.8 asks for at least 100 per transaction).
pub const MAX_RECIPIENTS: usize = 10_000;

/// How long an incarnation is taken for alive after its last heartbeat, in milliseconds: 10 s take-over.
pub const HEARTBEAT_LIFE_MS: u64 = 10_000;

/// How long a withdrawn message's id stays refused, in milliseconds: longer than any retry of a lost enqueue can be under way.
pub const TOMBSTONE_LIFE_MS: u64 = 3_600_000;

/// How long chunks of a message that was never enqueued are kept after the last one was written, in milliseconds.
pub const ORPHAN_CHUNK_LIFE_MS: u64 = 3_600_000;
