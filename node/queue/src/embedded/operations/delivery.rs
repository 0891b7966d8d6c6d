//! Deliveries: leases are given in a step and read after it; what cannot be read is set aside. The end of an attempt is one step.

use std::sync::Arc;

use bytes::Bytes;
use posthouse_model::{EntryId, Incarnation, MessageId, QueueName, Timestamp};

use super::super::{
    EmbeddedStore,
    core::{Inner, Shared, Until},
    effect::{Effect, Head, Phase, Stored},
    log::Blobs,
    reader::{self, Unreadable},
    state::{
        Slot,
        lease::{Picked, View},
        settle::Planned,
    },
};
use crate::{
    hold::HoldReason,
    lease::{LeaseRequest, Leased},
    message::{Content, NewContent},
    settle::{Settled, Settlement},
    store::StoreError,
};

impl EmbeddedStore {
    /// Leases what is due, and reads it.
    pub(super) async fn give_leases(
        &self,
        request: &LeaseRequest,
        now: Timestamp,
    ) -> Result<Vec<Leased>, StoreError> {
        // Written: who kills this process must find what was under way.
        let give = |inner: &mut Inner| {
            inner.state.require_alive(request.who, now)?;
            let moved = inner.state.move_on(now);
            inner.commit(moved, &Blobs::default(), false)?;
            let picked = match request.claim {
                Some(claim) => inner.state.lease_claimed(request.who, claim, request.max, now),
                None => inner.state.lease(request, now),
            };
            let slots: Vec<Slot> = picked.iter().map(|picked| picked.slot).collect();
            inner.commit_leases(request.who, &slots)?;
            // What a bounded part left is for the next lease: do not let it wait for a poll.
            inner.state.woken = !inner.state.draining.is_empty();
            Ok(picked)
        };
        let picked = self.step(Until::Written, give).await?;
        self.read(picked, now).await
    }

    /// Leases one entry, and reads it.
    pub(super) async fn give_lease(
        &self,
        who: Incarnation,
        id: EntryId,
        now: Timestamp,
    ) -> Result<Option<Leased>, StoreError> {
        let give = |inner: &mut Inner| {
            inner.state.require_alive(who, now)?;
            let queue = |view: &View| {
                let entry = inner.state.slots.at(inner.state.find(view.id)?)?;
                Some(inner.state.queues.at(entry.queue)?.name.clone())
            };
            let queue = inner.state.find(id).and_then(|slot| queue(&inner.state.view(slot)?));
            let picked = inner.state.lease_entry(who, id, now);
            if let Some(picked) = &picked {
                inner.commit_leases(who, &[picked.slot])?;
            }
            Ok(picked.zip(queue))
        };
        let picked = self.step(Until::Written, give).await?;
        let Some((picked, queue)) = picked else { return Ok(None) };
        self.shared.until_written(picked.view.end()).await;
        let (read, picked) =
            self.blocking(move |shared| (read_or_stand_in(shared, &picked, queue), picked)).await?;
        match read {
            Ok(leased) => Ok(leased),
            Err(error) => {
                self.set_aside(&picked, &error, now)?;
                Ok(None)
            }
        }
    }

    /// Reads what was leased. What cannot be read is held for Quarantine and left out.
    async fn read(&self, picked: Vec<Picked>, now: Timestamp) -> Result<Vec<Leased>, StoreError> {
        if picked.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(end) = picked.iter().map(|picked| picked.view.end()).max() {
            self.shared.until_written(end).await;
        }
        let lost: Vec<Slot> = picked.iter().map(|picked| picked.slot).collect();
        let read = self
            .blocking(move |shared| {
                picked.into_iter().map(|picked| (read_leased(shared, &picked), picked)).collect::<Vec<_>>()
            })
            .await;
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                self.look(|inner| {
                    inner.return_leases(&lost);
                    Ok(())
                })?;
                return Err(error);
            }
        };
        let mut leased = Vec::new();
        for (result, picked) in read {
            match result {
                Ok(entry) => leased.push(entry),
                Err(error) => self.set_aside(&picked, &error, now)?,
            }
        }
        Ok(leased)
    }

    /// Holds an entry that cannot be read for Quarantine, or gives it back if the disk may be better the next time.
    fn set_aside(&self, picked: &Picked, error: &Unreadable, now: Timestamp) -> Result<(), StoreError> {
        let id = picked.view.id;
        self.look(|inner| {
            if let Unreadable::Io(error) = error {
                inner.return_leases(&[picked.slot]);
                tracing::error!(entry = %id, %error, "an entry cannot be read now; it stays in the queue");
                return Ok(());
            }
            inner.state.end_lease(picked.slot);
            tracing::warn!(entry = %id, %error, "an entry cannot be read; it is held for Quarantine");
            // Nobody can attend to what cannot be read: it waits for a person, however long.
            let phase = Phase::Held {
                reason: HoldReason::Quarantine,
                sequence: inner.state.hold_sequence + 1,
                since: now,
            };
            let head = Head { phase, attend_at: Timestamp(u64::MAX), ..picked.view.head };
            let effect = Effect::Entry { id: id.message.into(), index: id.index, head };
            inner.commit(vec![effect], &Blobs::default(), false)
        })
    }

    /// Reads a chunk of content.
    pub(super) async fn read_chunk(&self, id: MessageId, index: u32) -> Result<Option<Bytes>, StoreError> {
        let view = self.look(|inner| {
            let slot = inner.state.message(id).and_then(|(_, m)| m.entries.as_slice().first().copied());
            Ok(slot.and_then(|slot| inner.state.view(slot)))
        })?;
        let Some(view) = view else { return Ok(None) };
        self.shared.until_written(view.end()).await;
        let read = self
            .blocking(move |shared| match view.content {
                Stored::Log(_) if index > 0 => Ok(None),
                Stored::Log(place) => shared.segments.read(place).map(Some),
                Stored::File { .. } => shared.files.chunk(id, index),
            })
            .await?;
        read.map(|chunk| chunk.map(Bytes::from))
            .map_err(|error| StoreError::Unavailable(format!("content of {id} cannot be read: {error}")))
    }

    /// Ends an attempt.
    pub(super) async fn end_attempt(
        &self,
        settlement: &Settlement,
        now: Timestamp,
    ) -> Result<Settled, StoreError> {
        let planned = match Planned::new(settlement) {
            Ok(planned) => planned,
            // Wrong in itself, and perhaps of a lease that is over: then that is the answer.
            Err(error) => {
                let current = self.look(|inner| Ok(inner.state.is_current(settlement)))?;
                return if current { Err(error) } else { Ok(Settled::Stale) };
            }
        };
        let chunked = planned.child.as_ref().and_then(|child| match child.message.content {
            NewContent::Chunks(chunks) => Some((child.message.id, child.message.meta.clone(), chunks)),
            NewContent::Inline(_) => None,
        });
        let child = chunked.as_ref().map(|(id, ..)| *id);
        if let Some((id, meta, chunks)) = chunked {
            let there = self.look(|inner| Ok(inner.state.by_id.contains_key(&id)))?;
            let sealed = self.blocking(move |shared| shared.files.seal(id, &meta, chunks)).await?;
            // A settlement that is repeated finds its child there already.
            if !there && let Err(error) = sealed {
                let current = self.look(|inner| Ok(inner.state.is_current(settlement)))?;
                return if current { Err(error) } else { Ok(Settled::Stale) };
            }
        }
        self.step(Until::Written, |inner| {
            let mut blobs = Blobs::default();
            let Some((slot, effects)) = inner.state.plan_settle(settlement, &planned, &mut blobs, now)?
            else {
                return Ok(Settled::Stale);
            };
            // Appended first: if there is no room for it the lease stays, and the settlement can be repeated.
            inner.commit_settle(slot, effects, &blobs)?;
            if let Some(child) = child {
                self.shared.files.enqueued(child);
            }
            Ok(Settled::Done)
        })
        .await
    }
}

fn read_leased(shared: &Shared, picked: &Picked) -> Result<Leased, Unreadable> {
    let view = &picked.view;
    let message = reader::meta(&shared.segments, view)?;
    let content = reader::content(&shared.segments, view, &message)?;
    Ok(Leased {
        entry: Arc::new(reader::entry(&shared.segments, view)?),
        message: Arc::new(message),
        content,
        token: picked.token,
        attend: picked.attend,
        probe: picked.probe,
        held: picked.held,
    })
}

/// The same for a person's `delete`: what cannot be read for good is stood in for by what can be settled like any other.
fn read_or_stand_in(
    shared: &Shared,
    picked: &Picked,
    queue: QueueName,
) -> Result<Option<Leased>, Unreadable> {
    let view = &picked.view;
    match read_leased(shared, picked) {
        Ok(leased) => Ok(Some(leased)),
        Err(Unreadable::Io(error)) => Err(Unreadable::Io(error)),
        Err(_) => Ok(reader::placeholder(view, queue).map(|entry| {
            let message =
                reader::meta(&shared.segments, view).unwrap_or_else(|_| reader::placeholder_meta(view));
            let content = reader::content(&shared.segments, view, &message);
            Leased {
                entry,
                message: Arc::new(message),
                content: content.unwrap_or(Content::Inline(Bytes::new())),
                token: picked.token,
                attend: picked.attend,
                probe: picked.probe,
                held: picked.held,
            }
        })),
    }
}
