//! The contract of the queue: what each operation promises, for every implementation alike.
//!
//! Every operation is atomic, checks everything before it writes anything, and is either durable when it returns `Ok` or, where it says
//! so, becomes durable with the next that is. An operation that returns [`StoreError::Unavailable`] may have happened or not.

use async_trait::async_trait;
use bytes::Bytes;
use posthouse_model::{EntryId, Incarnation, MessageId, QueueName, ShardId, Timestamp};
use tokio::sync::watch;

use crate::{
    accounting::{Accounting, Counts, EntrySummary, ListFilter, ListPage, TotalsPage},
    hold::{Claim, ClaimId, HoldReason, Release},
    jobs::{FactKind, Job, JobRun, LeasedJob},
    lease::{LeaseRequest, LeaseToken, Leased},
    message::NewMessage,
    settle::{Settled, Settlement},
};

/// Why an operation did not happen, or is not known to have.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, is not writable, or did not confirm: the operation may have happened or not.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// There is no room for it now (disk, memory limit): it did not happen.
    #[error("the store has no room: {0}")]
    Full(String),
    /// It contradicts itself or the contract (a caller's mistake), or what is there cannot be opened: it did not happen, and will not when
    /// repeated.
    #[error("refused by the store: {0}")]
    Refused(String),
    /// The message was withdrawn before: it did not happen.
    #[error("the message was withdrawn")]
    Withdrawn,
    /// The incarnation has no live heartbeat: it did not happen.
    #[error("this incarnation has no live heartbeat")]
    Departed,
}

/// The outcome of an enqueue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enqueued {
    /// For each entry, the token if it was leased at once (the fast path).
    pub leases: Vec<Option<LeaseToken>>,
    /// The message was there already: nothing was changed, no lease was given.
    pub duplicate: bool,
}

/// The outcome of a withdrawal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// The message was there, unconfirmed, and is gone.
    Removed,
    /// It was not there; its id is refused from now on.
    NotThere,
    /// It had been activated or an entry of it had been settled: it stays.
    TooLate,
}

/// What a heartbeat tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// Octets that may still be written before the disk or the memory limit is reached; `None`: no limit is known.
    pub room: Option<u64>,
}

/// What was taken over from dead incarnations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Incarnations found dead.
    pub incarnations: u64,
    /// Their leases, now due again, or held as before.
    pub leases: u64,
    /// Their incoming entries, now activated.
    pub activated: u64,
}

/// Something that a person should know about the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Mail must not be accepted while this holds (an evicting policy).
    pub refuse: bool,
    /// What is wrong and the cure, in one sentence.
    pub message: String,
}

/// What a person does to one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Hold it for `Administrator`.
    Hold,
    /// End its hold, whatever the reason but `Quarantine`.
    Release,
    /// Make it due now; its lane is opened as well.
    Retry,
}

/// Whether an [`Act`] happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acted {
    /// It did, or was so already.
    Done,
    /// There is no such entry.
    NotThere,
    /// It is incoming or active: an attempt is under way; try again when it has ended.
    Busy,
    /// It is not in a state that this act changes (released while not held, held in quarantine, in a claim).
    NotApplicable,
}

/// The queue. `now` is the caller's reading of [`Store::time`]'s clock; it need not be exact, but never runs back.
#[async_trait]
pub trait Store: Send + Sync {
    // ---- clock, presence, health -------------------------------------------------------------------------------------------------

    /// The store's clock, so that nodes with different clocks agree.
    async fn time(&self) -> Result<Timestamp, StoreError>;

    /// Checks the store's settings (durability, eviction, memory limit); called at connect and every minute.
    async fn check(&self) -> Result<Vec<Finding>, StoreError>;

    /// The shards there are.
    fn shards(&self) -> Vec<ShardId>;

    /// Says that `who` lives until `now` + [`HEARTBEAT_LIFE_MS`](crate::HEARTBEAT_LIFE_MS). A first heartbeat makes it known; one that
    /// comes after it was reaped is refused with [`StoreError::Departed`]: the node must take a new incarnation.
    async fn heartbeat(&self, who: Incarnation, now: Timestamp) -> Result<Pulse, StoreError>;

    /// Ends `who`: its leases go back (as [`Remainder::GiveBack`](crate::Remainder::GiveBack)), its incoming entries are activated, its
    /// claims, permits, reservations and job leases end.
    async fn depart(&self, who: Incarnation, now: Timestamp) -> Result<Reaped, StoreError>;

    /// Does to every incarnation whose heartbeat has ended what [`depart`](Self::depart) does. At most some hundred entries a call; repeat
    /// while it reports work. Safe for everybody to call at any time. Also prunes what is over: tombstones, facts, orphaned chunks.
    async fn reap(&self, now: Timestamp) -> Result<Reaped, StoreError>;

    /// Tells when there may be something to lease; the value itself means nothing. A poll every second is the fallback.
    fn wakeups(&self) -> watch::Receiver<u64>;

    // ---- intake ------------------------------------------------------------------------------------------------------------------

    /// Makes the reservation of `who` in the cluster's byte budget `bytes` in all. True if the sum over live incarnations is at most
    /// `room`, or if it was made smaller; false: nothing changed. Each implementation computes no room itself: the caller passes
    /// the last [`Pulse::room`] less the configured reserve.
    async fn reserve(
        &self,
        who: Incarnation,
        bytes: u64,
        room: Option<u64>,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Stores one chunk of content before its enqueue; indexes from 0, each of [`CHUNK_SIZE`](crate::CHUNK_SIZE) octets but the last.
    /// Idempotent. Chunks that are never enqueued go away by themselves after [`ORPHAN_CHUNK_LIFE_MS`](crate::ORPHAN_CHUNK_LIFE_MS).
    async fn put_chunk(
        &self,
        id: MessageId,
        index: u32,
        data: Bytes,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Drops the chunks of a message that will not be enqueued. Without effect on one that was.
    async fn drop_chunks(&self, id: MessageId) -> Result<(), StoreError>;

    /// Enqueues a message: `Ok` means that it is durable. Its entries are `incoming` and owned by `who` until [`activate`](Self::activate),
    /// but those whose index is in `fast`: they are leased to `who` at once if the queue is not held, the lane is not backed off and has no due
    /// entry. Refused: [`StoreError::Refused`] for a message that is wrong in itself or whose chunks do not match; [`StoreError::Full`];
    /// [`StoreError::Withdrawn`]; [`StoreError::Departed`]. After [`StoreError::Unavailable`] the caller must [`withdraw`](Self::withdraw).
    async fn enqueue(
        &self,
        who: Incarnation,
        message: NewMessage,
        fast: &[u16],
        now: Timestamp,
    ) -> Result<Enqueued, StoreError>;

    /// Says that enqueues were confirmed: the accounting takes them in, and their incoming entries become due, or held where the mode
    /// that counts says so ([`set_queue_modes`](Self::set_queue_modes)). Unknown and activated ids pass. Need not be awaited by who accepts: a dead incarnation's are activated by reap.
    /// The first settle of a leased entry confirms its message as well.
    async fn activate(&self, ids: &[MessageId], now: Timestamp) -> Result<(), StoreError>;

    /// Takes back an enqueue whose outcome is not known, before the client is told 451.
    async fn withdraw(&self, id: MessageId, now: Timestamp) -> Result<Withdrawn, StoreError>;

    // ---- delivery ----------------------------------------------------------------------------------------------------------------

    /// Leases entries: first those whose `attend_at` has come, then lanes in turn (the lane that was served longest ago first), each in the
    /// order priority, then the time at which the entry became due, then id. A lane that was backed off gives one entry as a probe, and no
    /// other until that is settled or given back. Moves what is due by time or by release first, a bounded part at a time. Empty: nothing now.
    /// After [`StoreError::Unavailable`] entries may be leased that nobody knows of: they go back when `who` [departs](Self::depart).
    async fn lease(&self, request: &LeaseRequest, now: Timestamp) -> Result<Vec<Leased>, StoreError>;

    /// Leases this one entry, whatever its lane or hold (not out of a claim, not if it is incoming or active): for a person's `delete`
    /// and `bounce`. `None`: not there or busy.
    async fn lease_entry(
        &self,
        who: Incarnation,
        id: EntryId,
        now: Timestamp,
    ) -> Result<Option<Leased>, StoreError>;

    /// One chunk of a message's content; `None` if it is not there (any more).
    async fn chunk(&self, id: MessageId, index: u32) -> Result<Option<Bytes>, StoreError>;

    /// Settles an attempt, with its child, in one step. The message and its content go with its last entry. Repeating a settlement
    /// is harmless: the second is [`Settled::Stale`]. After [`StoreError::Unavailable`] the caller keeps it and repeats it.
    async fn settle(&self, settlement: &Settlement, now: Timestamp) -> Result<Settled, StoreError>;

    // ---- hold, release, claim ----------------------------------------------------------------------------------------------------

    /// Tells the modes of queues as the snapshot of this generation (from 1) has them, at most 1,000 a call. A queue that was told under a smaller
    /// generation, or never, gets its mode, and in the same step all that it holds for another mode's reason
    /// ([`HoldReason::OF_MODES`]) is released as of `now`: one record per reason, in constant time. Under the same generation nothing happens, so
    /// a telling that was cut off is completed by repeating it, and what was held since stays.
    ///
    /// A queue that is not named keeps its mode, and has it as of this generation: once a generation was told, even without a queue, a smaller
    /// one sets and releases nothing; and an entry that comes with a smaller one follows the queue's stored mode, if there is one. Any
    /// other entry follows its own.
    ///
    /// Answers the generation that was told before. Greater than this one: nothing happened.
    async fn set_queue_modes(
        &self,
        generation: u64,
        modes: &[(QueueName, Option<HoldReason>)],
        now: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Records a release; constant time. The same id again does nothing. Answers how many entries it freed in all shards.
    async fn release(&self, release: &Release) -> Result<u64, StoreError>;

    /// Claims what is held in a queue for `OnRequest` or `Scheduled` and not released, at most `max` entries listed. `None`: another live
    /// session has it. The same id again answers the same claim anew.
    async fn claim(
        &self,
        who: Incarnation,
        id: ClaimId,
        queue: &QueueName,
        max: u32,
        now: Timestamp,
    ) -> Result<Option<Claim>, StoreError>;

    /// Ends a claim; what was not leased is held as before (or free, if it was released meanwhile). Unknown ids pass.
    async fn unclaim(&self, id: ClaimId, queue: &QueueName) -> Result<(), StoreError>;

    // ---- people ------------------------------------------------------------------------------------------------------------------

    /// Does something to one entry.
    async fn act(&self, id: EntryId, act: Act, now: Timestamp) -> Result<Acted, StoreError>;

    /// Makes every deferred entry of a queue (or of all) due now, and opens the backed-off lanes of those that are due already: who says
    /// "retry" has mended the next hop. Answers how many entries that freed. Bounded part at a time inside.
    async fn retry(&self, queue: Option<&QueueName>, now: Timestamp) -> Result<u64, StoreError>;

    /// Holds every due or deferred entry of a queue (or of all) for `Administrator`; answers how many. Bounded part at a time inside.
    async fn hold(&self, queue: Option<&QueueName>, now: Timestamp) -> Result<u64, StoreError>;

    /// Counts entries by state, of one queue or of all. `now` decides nothing but which releases are in force.
    async fn counts(&self, queue: Option<&QueueName>) -> Result<Counts, StoreError>;

    /// What each queue that has mail has, from `from` (0: the beginning): looks at about `max` queues, and at none of their entries.
    async fn queue_totals(&self, from: u64, max: u32) -> Result<TotalsPage, StoreError>;

    /// How many entries of a queue are held for a reason and not released: the counts of ETRN replies are due + deferred + active + this.
    async fn held(&self, queue: &QueueName, reason: HoldReason) -> Result<u64, StoreError>;

    /// The accounting of I1.
    async fn accounting(&self) -> Result<Accounting, StoreError>;

    /// Lists entries from `from` (0: the beginning), about `max` of them.
    async fn list(&self, filter: &ListFilter, from: u64, max: u32) -> Result<ListPage, StoreError>;

    /// One entry as a person sees it.
    async fn show(&self, id: EntryId) -> Result<Option<EntrySummary>, StoreError>;

    // ---- limits shared by nodes --------------------------------------------------------------------------------------------------

    /// Connection permits for a next hop: grants up to `wanted` so that all live incarnations together have at most `limit`.
    async fn take_permits(
        &self,
        who: Incarnation,
        next_hop: &str,
        wanted: u32,
        limit: u32,
        now: Timestamp,
    ) -> Result<u32, StoreError>;

    /// Gives permits back.
    async fn return_permits(&self, who: Incarnation, next_hop: &str, permits: u32) -> Result<(), StoreError>;

    /// Takes up to `wanted` from a rate of `limit` per `per_ms`: fixed windows that begin with their first use. Answers how many.
    async fn take_rate(
        &self,
        key: &str,
        wanted: u32,
        limit: u32,
        per_ms: u64,
        now: Timestamp,
    ) -> Result<u32, StoreError>;

    // ---- facts and timed jobs ----------------------------------------------------------------------------------------------------

    /// Remembers a fact until `until`; replaces the one with that key. Keys up to 255, values up to 1,024 octets.
    async fn put_fact(
        &self,
        kind: FactKind,
        key: &str,
        value: &str,
        until: Timestamp,
    ) -> Result<(), StoreError>;

    /// The fact with that key, if it is not over.
    async fn fact(&self, kind: FactKind, key: &str, now: Timestamp) -> Result<Option<String>, StoreError>;

    /// Forgets a fact.
    async fn drop_fact(&self, kind: FactKind, key: &str) -> Result<(), StoreError>;

    /// Makes a job known, or moves the nominal time of one that is not leased; what it remembers of its runs stays.
    async fn plan_job(&self, key: &str, nominal: Timestamp) -> Result<(), StoreError>;

    /// Forgets a job; a run under way finds its token refused.
    async fn drop_job(&self, key: &str) -> Result<(), StoreError>;

    /// The job with that key.
    async fn job(&self, key: &str) -> Result<Option<Job>, StoreError>;

    /// Leases jobs whose nominal time has come, earliest first.
    async fn lease_jobs(
        &self,
        who: Incarnation,
        max: u32,
        now: Timestamp,
    ) -> Result<Vec<LeasedJob>, StoreError>;

    /// Ends a run; [`Settled::Stale`] if the lease is no longer this one.
    async fn finish_job(
        &self,
        who: Incarnation,
        key: &str,
        token: LeaseToken,
        run: &JobRun,
    ) -> Result<Settled, StoreError>;
}
