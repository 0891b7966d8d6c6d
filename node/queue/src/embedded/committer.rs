//! The committer: the one thread that writes the log. It takes everything that waits, writes it with one call, syncs once and answers all.
//! Blocking file I/O, on a thread of its own.
//!
//! A failed write or sync ends the store: what the kernel dropped after a failed sync is not known, so nothing may be confirmed any more
//! (and a second sync that succeeds would prove nothing).

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::Arc,
    time::{Duration, Instant},
};

use posthouse_model::MessageId;

use super::{
    core::{Piece, Shared, Spare, Waiter},
    effect::Position,
    log::SEGMENT_HEAD,
};
use crate::store::StoreError;

/// What nobody waits for (settles, activations) is synced at the latest after this.
pub(crate) const LAZY_SYNC: Duration = Duration::from_millis(20);

/// Runs until the store is closed or fails.
pub(crate) fn run(shared: &Shared, current: Arc<File>) {
    let mut committer = Committer { shared, current, unsynced: Vec::new(), since: None, unlink: Vec::new() };
    while let Some(batch) = committer.next() {
        if let Err((error, waiters)) = committer.commit(batch) {
            committer.fail(&error, waiters);
            return;
        }
    }
}

struct Committer<'a> {
    shared: &'a Shared,
    current: Arc<File>,
    /// Files with writes that are not synced.
    unsynced: Vec<Arc<File>>,
    /// Since when there are any.
    since: Option<Instant>,
    /// Content that nothing names any more, once the log is durable.
    unlink: Vec<MessageId>,
}

struct Batch {
    pieces: Vec<Piece>,
    after_write: Vec<Waiter>,
    after_sync: Vec<Waiter>,
    end: Position,
    sync: bool,
}

impl Committer<'_> {
    /// The next thing to do; `None` when everything is done and the store is closed.
    fn next(&mut self) -> Option<Batch> {
        let mut inner = self.shared.lock_anyway();
        loop {
            let lazy = self.since.map(|since| LAZY_SYNC.saturating_sub(since.elapsed()));
            let overdue = lazy.is_some_and(|left| left.is_zero());
            if inner.has_work() || overdue {
                if inner.stopping
                    && inner.pieces.is_empty()
                    && inner.after_sync.is_empty()
                    && self.since.is_none()
                {
                    return None;
                }
                let after_sync = std::mem::take(&mut inner.after_sync);
                self.unlink.append(&mut inner.unlink);
                return Some(Batch {
                    pieces: std::mem::take(&mut inner.pieces),
                    after_write: std::mem::take(&mut inner.after_write),
                    sync: !after_sync.is_empty() || overdue || inner.stopping,
                    after_sync,
                    end: inner.end,
                });
            }
            inner = self.shared.wait_for_work(inner, lazy);
        }
    }

    fn commit(&mut self, batch: Batch) -> Result<(), (io::Error, Vec<Waiter>)> {
        let Batch { pieces, after_write, after_sync, end, sync } = batch;
        let octets: usize = pieces.iter().map(|piece| piece.octets.len()).sum();
        let rotated = match self.write(&pieces) {
            Ok(rotated) => rotated,
            Err(error) => return Err((error, after_write.into_iter().chain(after_sync).collect())),
        };
        drop(pieces);
        {
            let mut inner = self.shared.lock_anyway();
            inner.unwritten = inner.unwritten.saturating_sub(octets);
        }
        self.shared.written.send_replace(end.number());
        answer(after_write, &Ok(()));
        if sync {
            for file in std::mem::take(&mut self.unsynced) {
                if let Err(error) = file.sync_data() {
                    return Err((error, after_sync));
                }
            }
            self.since = None;
            let checkpoint = {
                let mut inner = self.shared.lock_anyway();
                inner.durable = end;
                inner.since_checkpoint
            };
            answer(after_sync, &Ok(()));
            self.hand_over(checkpoint);
        }
        if rotated {
            let spare = match self.shared.segments.make_spare() {
                Ok(()) => Spare::Ready,
                Err(error) => {
                    tracing::warn!(%error, "no room for another segment of the queue's log");
                    Spare::Missing
                }
            };
            self.shared.lock_anyway().spare = spare;
        }
        Ok(())
    }

    fn write(&mut self, pieces: &[Piece]) -> io::Result<bool> {
        let mut rotated = false;
        for piece in pieces {
            if piece.position.offset == SEGMENT_HEAD
                && self.shared.segments.file(piece.position.segment).is_none()
            {
                self.current = self.shared.segments.take_spare(piece.position.segment)?;
                rotated = true;
            }
            self.current.write_all_at(&piece.octets, u64::from(piece.position.offset))?;
            if !self.unsynced.iter().any(|file| Arc::ptr_eq(file, &self.current)) {
                self.unsynced.push(self.current.clone());
            }
            self.since.get_or_insert_with(Instant::now);
        }
        Ok(rotated)
    }

    /// Gives the housekeeper what it may do now that the log is durable.
    fn hand_over(&mut self, since_checkpoint: u64) {
        let checkpoint = since_checkpoint >= super::housekeeper::CHECKPOINT_BYTES;
        if self.unlink.is_empty() && !checkpoint {
            return;
        }
        if let Ok(mut chores) = self.shared.chores.lock() {
            chores.unlink.append(&mut self.unlink);
            chores.checkpoint |= checkpoint;
            self.shared.chores_changed.notify_one();
        }
    }

    fn fail(&self, error: &io::Error, mut waiters: Vec<Waiter>) {
        let why = format!("the queue's log in {} cannot be written: {error}", self.shared.folder.display());
        tracing::error!("{why}; nothing is accepted or confirmed until a restart");
        {
            let mut inner = self.shared.lock_anyway();
            inner.failed = Some(why.clone());
            inner.pieces.clear();
            waiters.append(&mut inner.after_write);
            waiters.append(&mut inner.after_sync);
        }
        answer(waiters, &Err(StoreError::Unavailable(why)));
        // Nobody may wait for a write that does not come.
        self.shared.written.send_replace(u64::MAX);
        self.shared.wakeups.send_modify(|count| *count = count.wrapping_add(1));
    }
}

fn answer(waiters: Vec<Waiter>, result: &Result<(), StoreError>) {
    for waiter in waiters {
        let _ = waiter.send(result.clone()); // who waited may have given up
    }
}
