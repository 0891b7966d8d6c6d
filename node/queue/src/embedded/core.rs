//! The core: the state behind one lock, and the tail of the log that waits to be written. What an operation changes is encoded, given its
//! place in the log and applied under the lock, so the order in the log is the order of the operations. No I/O here: the
//! [committer](super::committer) writes and syncs.

use std::{
    path::PathBuf,
    sync::{Condvar, Mutex, MutexGuard},
};

use posthouse_model::{Incarnation, MessageId};
use tokio::sync::{oneshot, watch};

use super::{
    content::ContentFiles,
    effect::{Effect, Position},
    log::{Blobs, Frame, Place, SEGMENT_HEAD, segments::Segments},
    state::{Slot, State},
};
use crate::store::StoreError;

/// Tokens reserved in the log at a time: the next run starts above them all.
const TOKEN_BLOCK: u64 = 1 << 24;

/// A new block is reserved when fewer than this are left: far more than can be given before it is durable.
const TOKEN_MARGIN: u64 = 1 << 22;

/// Intake waits while so much is still to be written: bounds memory, and leaves the time to make a spare segment.
const MAX_UNWRITTEN: usize = 8 << 20;

/// Ends of leases in one frame: far less than a segment.
const RETURNS_IN_ONE: usize = 1_000;

/// Who waits for something to be done, and how it went.
pub(crate) type Waiter = oneshot::Sender<Result<(), StoreError>>;

/// What tells that it is done; `None`: it is.
pub(crate) type Done = Option<oneshot::Receiver<Result<(), StoreError>>>;

/// What an operation waits for after its change was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Nothing.
    Applied,
    /// It is in the file: a crash of this process does not lose it, and it is synced within [`LAZY_SYNC`](super::committer::LAZY_SYNC).
    Written,
    /// It is on disk.
    Synced,
}

/// Octets on their way into one segment.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) position: Position,
    pub(crate) octets: Vec<u8>,
}

/// Whether the next segment is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spare {
    /// It is.
    Ready,
    /// It was taken; the committer makes another.
    Making,
    /// There was no room for it.
    Missing,
}

/// What is behind the lock.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) state: State,
    /// Why nothing can be done any more.
    pub(crate) failed: Option<String>,
    /// Where the next frame goes.
    pub(crate) end: Position,
    /// The log is on disk up to here.
    pub(crate) durable: Position,
    pub(crate) spare: Spare,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) unwritten: usize,
    pub(crate) after_write: Vec<Waiter>,
    pub(crate) after_sync: Vec<Waiter>,
    pub(crate) unlink: Vec<MessageId>,
    pub(crate) since_checkpoint: u64,
    /// The index is up to here: what recovery starts from.
    pub(crate) checkpoint: Position,
    /// Segments up to this one stay: rows of the index that cannot be read may name them.
    pub(crate) kept: Option<u32>,
    pub(crate) stopping: bool,
    pub(crate) epoch: u32,
    pub(crate) salt: u64,
    pub(crate) segment_size: u32,
}

/// What the handle and the threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    /// The committer has something to do.
    pub(crate) work: Condvar,
    pub(crate) segments: Segments,
    pub(crate) files: ContentFiles,
    pub(crate) folder: PathBuf,
    /// The log is in its files up to here, as a number.
    pub(crate) written: watch::Sender<u64>,
    pub(crate) wakeups: watch::Sender<u64>,
    /// Something for the housekeeper to do.
    pub(crate) chores: Mutex<Chores>,
    pub(crate) chores_changed: Condvar,
}

/// What the housekeeper is asked for.
#[derive(Debug, Default)]
pub(crate) struct Chores {
    pub(crate) unlink: Vec<MessageId>,
    pub(crate) checkpoint: bool,
    pub(crate) stop: bool,
}

impl Shared {
    pub(crate) fn new(inner: Inner, segments: Segments, files: ContentFiles, folder: PathBuf) -> Self {
        let written = inner.end.number();
        Self {
            inner: Mutex::new(inner),
            work: Condvar::new(),
            segments,
            files,
            folder,
            written: watch::Sender::new(written),
            wakeups: watch::Sender::new(0),
            chores: Mutex::default(),
            chores_changed: Condvar::new(),
        }
    }

    /// The core. After a panic under the lock nobody knows what it left half done: then nothing is done any more.
    pub(crate) fn lock(&self) -> Result<MutexGuard<'_, Inner>, StoreError> {
        let inner = self
            .inner
            .lock()
            .map_err(|_| StoreError::Unavailable("an operation ended in the middle".to_owned()))?;
        match &inner.failed {
            Some(why) => Err(StoreError::Unavailable(why.clone())),
            None => Ok(inner),
        }
    }

    /// The core, even one that failed: for the threads that must bring things to an end.
    pub(crate) fn lock_anyway(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn wait_for_work<'a>(
        &self,
        inner: MutexGuard<'a, Inner>,
        timeout: Option<std::time::Duration>,
    ) -> MutexGuard<'a, Inner> {
        match timeout {
            None => self.work.wait(inner).unwrap_or_else(std::sync::PoisonError::into_inner),
            Some(timeout) => {
                self.work.wait_timeout(inner, timeout).unwrap_or_else(std::sync::PoisonError::into_inner).0
            }
        }
    }

    /// Does a step and tells the committer and who waits for wake-ups. What it waits for is answered by the receiver.
    pub(crate) fn step<T>(
        &self,
        until: Until,
        step: impl FnOnce(&mut Inner) -> Result<T, StoreError>,
    ) -> Result<(T, Done), StoreError> {
        let mut inner = self.lock()?;
        let value = step(&mut inner);
        let done = if value.is_ok() { inner.wait(until) } else { None };
        let (work, woken) = (inner.has_work(), std::mem::take(&mut inner.state.woken));
        drop(inner);
        if work {
            self.work.notify_one();
        }
        if woken {
            self.wakeups.send_modify(|count| *count = count.wrapping_add(1));
        }
        Ok((value?, done))
    }

    /// Waits until intake may go on.
    pub(crate) async fn room_to_write(&self) -> Result<(), StoreError> {
        let mut written = self.written.subscribe();
        loop {
            written.mark_unchanged();
            {
                let inner = self.lock()?;
                let limit = MAX_UNWRITTEN.min(inner.segment_size as usize / 4);
                if inner.unwritten < limit {
                    return Ok(());
                }
            }
            if written.changed().await.is_err() {
                return Err(StoreError::Unavailable("the store is closed".to_owned()));
            }
        }
    }

    /// Waits until the log is in its files up to a position.
    pub(crate) async fn until_written(&self, position: Position) {
        let number = position.number();
        let _ = self.written.subscribe().wait_for(|written| *written >= number).await;
    }
}

impl Inner {
    /// Appends effects to the log and applies them: all or, with an error, nothing.
    pub(crate) fn commit(
        &mut self,
        effects: Vec<Effect>,
        blobs: &Blobs,
        intake: bool,
    ) -> Result<(), StoreError> {
        if let Some((effects, base)) = self.append(effects, blobs, intake)? {
            self.apply(&effects, base);
        }
        Ok(())
    }

    /// The same for the end of a lease: it ends if there is room to say so.
    pub(crate) fn commit_settle(
        &mut self,
        slot: Slot,
        effects: Vec<Effect>,
        blobs: &Blobs,
    ) -> Result<(), StoreError> {
        let appended = self.append(effects, blobs, false)?;
        self.state.end_lease(slot);
        if let Some((effects, base)) = appended {
            self.apply(&effects, base);
        }
        Ok(())
    }

    /// Gives leases to an incarnation and says so in the log: all, or with an error none. Where there is no room to say so, there is none
    /// for their settlements either.
    pub(crate) fn commit_leases(&mut self, who: Incarnation, slots: &[Slot]) -> Result<(), StoreError> {
        let given = self.state.given(who, slots.iter().copied());
        self.commit(given, &Blobs::default(), false).inspect_err(|_| {
            for slot in slots {
                self.state.end_lease(*slot);
            }
        })
    }

    /// Ends leases; the entries are what they were before.
    pub(crate) fn return_leases(&mut self, slots: &[Slot]) {
        for part in slots.chunks(RETURNS_IN_ONE) {
            let returned = self.state.returned(part);
            // Without room to say so, they look leased after a crash until they are reaped: no harm.
            let _ = self.commit(returned, &Blobs::default(), false);
            for slot in part {
                self.state.end_lease(*slot);
            }
        }
    }

    fn apply(&mut self, effects: &[Effect], base: Position) {
        // Leases are given by the operation itself, with their tokens; what the log says of them is for who replays it.
        for effect in effects.iter().filter(|effect| !matches!(effect, Effect::Leased { .. })) {
            self.state.apply(effect, base);
        }
        self.unlink.append(&mut self.state.unlink);
    }

    fn append(
        &mut self,
        mut effects: Vec<Effect>,
        blobs: &Blobs,
        intake: bool,
    ) -> Result<Option<(Vec<Effect>, Position)>, StoreError> {
        if self.state.token.saturating_add(TOKEN_MARGIN) > self.state.token_ceiling {
            effects.push(Effect::Tokens(self.state.token_ceiling.max(self.state.token) + TOKEN_BLOCK));
        }
        if effects.is_empty() {
            return Ok(None);
        }
        let too_large = || StoreError::Refused("it is larger than a segment of the log".to_owned());
        let frame = Frame::new(&effects, blobs).ok_or_else(too_large)?;
        let len = frame.len();
        if len > self.segment_size.saturating_sub(SEGMENT_HEAD) {
            return Err(too_large());
        }
        let position = self.place(len, intake)?;
        let base = frame.blobs(position);
        let place = Place { position, follows: self.end, durable: self.durable };
        if position.offset == SEGMENT_HEAD || self.pieces.is_empty() {
            self.pieces.push(Piece { position, octets: Vec::new() });
        }
        if let Some(piece) = self.pieces.last_mut() {
            frame.write(self.salt, self.epoch, place, &mut piece.octets);
        }
        self.end = Position { offset: position.offset.saturating_add(len), ..position };
        self.unwritten += len as usize;
        self.since_checkpoint += u64::from(len);
        Ok(Some((effects, base)))
    }

    /// Where a frame goes. Intake leaves a part of the last segment to what drains the store when there is no room for another.
    fn place(&mut self, len: u32, intake: bool) -> Result<Position, StoreError> {
        let full = || StoreError::Full("the disk has no room for another segment of the log".to_owned());
        let after = self.end.offset.checked_add(len).ok_or_else(full)?;
        if after <= self.segment_size {
            let reserve = self.segment_size / 4;
            if intake && self.spare == Spare::Missing && after > self.segment_size - reserve {
                return Err(full());
            }
            return Ok(self.end);
        }
        if self.spare != Spare::Ready {
            return Err(full());
        }
        self.spare = Spare::Making;
        let segment = self.end.segment.checked_add(1).ok_or_else(full)?;
        Ok(Position { segment, offset: SEGMENT_HEAD })
    }

    /// Registers who waits.
    pub(crate) fn wait(&mut self, until: Until) -> Done {
        let waiters = match until {
            Until::Applied => return None,
            Until::Written if self.pieces.is_empty() => return None,
            Until::Written => &mut self.after_write,
            Until::Synced => &mut self.after_sync,
        };
        let (sender, receiver) = oneshot::channel();
        waiters.push(sender);
        Some(receiver)
    }

    /// Whether the committer has something to do.
    pub(crate) fn has_work(&self) -> bool {
        !self.pieces.is_empty() || !self.after_sync.is_empty() || self.stopping
    }
}
