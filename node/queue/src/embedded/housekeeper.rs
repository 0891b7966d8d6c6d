//! The housekeeper: checkpoints into the index, segments that nothing needs, spare segments, content files to remove. Blocking file I/O, on
//! a thread of its own, so that no operation waits for any of it.

use std::{
    io,
    sync::PoisonError,
    time::{Duration, Instant},
};

use posthouse_model::{MessageId, Timestamp};

use super::{
    compaction,
    core::{Shared, Spare, Until},
    database::{DatabaseError, Index, SmallRow, Summary},
    effect::{EntryRow, Location, MessageRow},
    log::{Blobs, segments},
    state::{Small, State},
};
use crate::hold::HoldReason;

/// A checkpoint is taken after so many octets of log: bounds what recovery replays.
pub(crate) const CHECKPOINT_BYTES: u64 = 64 << 20;

/// How often it looks around without being asked.
const ROUND: Duration = Duration::from_secs(1);

/// Messages whose rows are copied under the lock at a time.
const SLICE: usize = 256;

/// A file that only takes room: removed when the disk is full, so that the index can be written and the store drains.
const RESERVE: &str = "reserve";

/// Its size.
const RESERVE_BYTES: u32 = 8 << 20;

/// Runs until the store is closed; takes a last checkpoint then.
pub(crate) fn run(shared: &Shared, index: &Index) {
    let mut failed = false;
    let mut taken_at: Option<Instant> = None;
    loop {
        let (unlink, asked, stop) = {
            let mut chores = shared.chores.lock().unwrap_or_else(PoisonError::into_inner);
            if chores.unlink.is_empty() && !chores.checkpoint && !chores.stop {
                chores = shared
                    .chores_changed
                    .wait_timeout(chores, ROUND)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
            (std::mem::take(&mut chores.unlink), std::mem::take(&mut chores.checkpoint), chores.stop)
        };
        for id in unlink {
            if let Err(error) = shared.files.remove(id) {
                tracing::warn!(%id, %error, "content of a message that is gone cannot be removed");
            }
        }
        if shared.lock().is_err() {
            return; // the log failed: what the index has and what is in the log is what the next start finds
        }
        // After a failure, or while the disk is full, a round apart, but without being asked again.
        let crowded = !keep_spare(shared);
        let rested = taken_at.is_none_or(|at: Instant| at.elapsed() >= ROUND);
        let due = if crowded || failed { rested } else { asked };
        let dirty = stop && shared.lock().is_ok_and(|inner| inner.since_checkpoint > 0);
        if due || dirty {
            failed = false;
            taken_at = Some(Instant::now());
            if let Err(error) = checkpoint(shared, index) {
                tracing::warn!(%error, "the queue's index cannot be written; it is tried again");
                failed = true;
                if error.is_full() {
                    give_reserve(shared);
                }
            } else if !stop && let Err(error) = compaction::run(shared) {
                tracing::warn!(%error, "the queue's log cannot be compacted; it is tried again");
            }
        }
        if stop {
            return;
        }
    }
}

/// Takes a checkpoint: the position first, then the rows that changed, a slice at a time while operations go on. A row may be newer than the
/// position; the log that is replayed over it says nothing else.
pub(crate) fn checkpoint(shared: &Shared, index: &Index) -> Result<(), DatabaseError> {
    let (summary, dirty, small) = {
        let mut inner = shared.lock_anyway();
        inner.since_checkpoint = 0;
        let end = inner.end;
        // Rows do not tell what is leased: the log says it anew behind the position. Without room for that, a crash forgets it: no harm.
        for leased in inner.state.all_given() {
            let _ = inner.commit(vec![leased], &Blobs::default(), false);
        }
        let state = &mut inner.state;
        let summary = Summary {
            position: end,
            count: state.count,
            hold_sequence: state.hold_sequence,
            token_ceiling: state.token_ceiling,
        };
        (summary, std::mem::take(&mut state.dirty), std::mem::take(&mut state.dirty_small))
    };
    let dirty: Vec<MessageId> = dirty.into_iter().collect();
    let small: Vec<Small> = small.into_iter().collect();
    let written = write(shared, index, &summary, &dirty, &small);
    let mut inner = shared.lock_anyway();
    if written.is_ok() {
        inner.checkpoint = summary.position;
    } else {
        inner.state.dirty.extend(dirty);
        inner.state.dirty_small.extend(small);
    }
    written
}

fn write(
    shared: &Shared,
    index: &Index,
    summary: &Summary,
    dirty: &[MessageId],
    small: &[Small],
) -> Result<(), DatabaseError> {
    let checkpoint = index.begin()?;
    for slice in dirty.chunks(SLICE) {
        let rows: Vec<_> = {
            let mut inner = shared.lock_anyway();
            slice.iter().map(|id| (*id, message_row(&mut inner.state, *id))).collect()
        };
        checkpoint.messages(&rows)?;
    }
    for slice in small.chunks(SLICE) {
        let rows: Vec<_> = {
            let inner = shared.lock_anyway();
            slice.iter().map(|small| (small.clone(), small_row(&inner.state, small))).collect()
        };
        checkpoint.small(&rows)?;
    }
    checkpoint.summary(summary)?;
    // A row may name a place in the log that is not on disk yet.
    if !until_synced(shared) {
        return Err(DatabaseError::Redb(Box::new(redb::Error::Io(io::Error::other("the log failed")))));
    }
    checkpoint.commit()
}

/// Waits until the log is on disk as far as it goes now.
pub(crate) fn until_synced(shared: &Shared) -> bool {
    let waited = shared.step(Until::Synced, |_| Ok(()));
    waited.is_ok_and(|((), done)| done.is_none_or(|done| done.blocking_recv().is_ok_and(|done| done.is_ok())))
}

fn message_row(state: &mut State, id: MessageId) -> Option<MessageRow<Location>> {
    let number = *state.by_id.get(&id)?;
    let message = state.messages.at_mut(number)?;
    message.indexed = true; // from now on its end has to reach the index
    let message = state.messages.at(number)?;
    let entries = message.entries.as_slice().iter().filter_map(|slot| {
        let entry = state.slots.at(*slot)?;
        Some(EntryRow {
            index: entry.index,
            queue: state.queues.at(entry.queue)?.name.clone(),
            lane: state.lanes.at(entry.lane)?.id,
            recipients: entry.recipients,
            head: entry.head,
            body: entry.body,
        })
    });
    Some(MessageRow {
        id: id.into(),
        origin: message.origin,
        received_at: message.received_at,
        named: message.named,
        confirmed: message.confirmed,
        next_index: message.next_index,
        meta: message.meta,
        content: message.content,
        entries: entries.collect(),
    })
}

fn small_row(state: &State, small: &Small) -> Option<SmallRow> {
    match small {
        Small::Queue(name) => {
            let queue = state.queues.at(*state.queue_names.get(name)?)?;
            let releases: Vec<_> = HoldReason::ALL
                .into_iter()
                .map(|reason| (reason, queue.of(reason).releases.clone()))
                .filter(|(_, releases)| !releases.is_empty())
                .collect();
            let worth = queue.mode.generation > 0 || !releases.is_empty();
            worth.then(|| SmallRow::Queue { name: name.clone(), mode: queue.mode, releases })
        }
        Small::Lane(id) => {
            let lane = state.lanes.at(*state.lane_ids.get(id)?)?;
            lane.until.map(|until| SmallRow::Lane { id: *id, until })
        }
        Small::Fact(kind, key) => {
            let (value, until) = state.facts.get(&(*kind, key.clone()))?;
            Some(SmallRow::Fact { kind: *kind, key: key.clone(), value: value.clone(), until: *until })
        }
        Small::Job(key) => state.jobs.get(key).map(|slot| SmallRow::Job(slot.job.clone())),
        Small::Tombstone(id) => {
            let until: Timestamp = *state.tombstones.get(id)?;
            Some(SmallRow::Tombstone { id: id.to_bytes(), until })
        }
        Small::Release(id) => {
            let at = *state.releases.get(&crate::hold::ReleaseId(*id))?;
            Some(SmallRow::Release { id: *id, at })
        }
        Small::Told => Some(SmallRow::Told(state.told)),
    }
}

/// Sees to it that another segment can be begun; false while there is no room for one: a checkpoint may then free some.
fn keep_spare(shared: &Shared) -> bool {
    if shared.lock_anyway().spare != Spare::Missing {
        return true;
    }
    let made = shared.segments.make_spare().is_ok();
    if made {
        tracing::info!("there is room for another segment of the queue's log again");
        shared.lock_anyway().spare = Spare::Ready;
        take_reserve(shared);
    } else {
        give_reserve(shared);
    }
    made
}

/// Makes the reserve file, if there is room for it.
pub(crate) fn take_reserve(shared: &Shared) {
    let path = shared.folder.join(RESERVE);
    if !path.exists() && segments::allocate(&path, RESERVE_BYTES).is_err() {
        let _ = std::fs::remove_file(path); // half a reserve is none
    }
}

fn give_reserve(shared: &Shared) {
    let _ = std::fs::remove_file(shared.folder.join(RESERVE)); // not there: it was given before
}
