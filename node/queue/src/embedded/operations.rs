//! The operations: each a short step under the core's lock, then whatever it has to wait for. Files are read and content is written on
//! the runtime's blocking threads; nothing here blocks the runtime.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use posthouse_model::{EntryId, Incarnation, MessageId, QueueName, ShardId, Timestamp};
use tokio::sync::watch;

use super::{
    EmbeddedStore, SHARD,
    core::{Done, Inner, Shared, Spare, Until},
    effect::{Effect, Head, Phase, Stored},
    log::Blobs,
    reader::{self, Unreadable},
    recovery,
    state::{
        Slot,
        intake::Prepared,
        lease::{Picked, View},
        people::Listed,
        settle::Planned,
    },
};
use crate::{
    accounting::{Accounting, Counts, EntrySummary, ListFilter, ListPage},
    hold::{Claim, ClaimId, HoldReason, QueueMode, Release},
    jobs::{FactKind, Job, JobRun, LeasedJob},
    lease::{LeaseRequest, LeaseToken, Leased},
    message::{NewContent, NewMessage},
    settle::{Settled, Settlement},
    store::{Act, Acted, Enqueued, Finding, Pulse, Reaped, Store, StoreError, Withdrawn},
};

/// Leases that one reap takes back, and messages that it confirms.
const REAP: usize = 250;

/// Places that a queue-wide act looks at in one step.
const WALK: u32 = 2_000;

/// Places that one page of a list looks at.
const LIST_WALK: u32 = 50_000;

/// The longest page of a list.
const MAX_PAGE: u32 = 1_000;

/// How long a release's id is known: far longer than one is repeated or resumed.
const RELEASE_LIFE_MS: u64 = 7 * 86_400_000;

impl EmbeddedStore {
    /// Does a step and waits for what it has to wait for.
    async fn step<T>(
        &self,
        until: Until,
        step: impl FnOnce(&mut Inner) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (value, done) = self.shared.step(until, step)?;
        wait(done).await?;
        Ok(value)
    }

    /// Does what changes nothing for good.
    fn look<T>(&self, look: impl FnOnce(&mut Inner) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.shared.step(Until::Applied, look).map(|(value, _)| value)
    }

    /// Commits effects and waits until they are on disk.
    async fn change(
        &self,
        plan: impl FnOnce(&mut Inner) -> Result<Vec<Effect>, StoreError>,
    ) -> Result<(), StoreError> {
        self.step(Until::Synced, |inner| {
            let effects = plan(inner)?;
            inner.commit(effects, &Blobs::default(), false)
        })
        .await
    }

    /// Does file work where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || work(&shared))
            .await
            .map_err(|error| StoreError::Unavailable(format!("file work was cut off: {error}")))
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

    async fn read_list(&self, listed: Vec<Listed>) -> Result<Vec<EntrySummary>, StoreError> {
        if let Some(end) = listed.iter().map(|listed| listed.view.end()).max() {
            self.shared.until_written(end).await;
        }
        self.blocking(move |shared| {
            listed.iter().map(|listed| reader::summary(&shared.segments, listed)).collect()
        })
        .await
    }

    /// Does an act on a whole queue, a part at a time, so that nobody waits long in between.
    async fn walk(
        &self,
        part: impl Fn(&Inner, Slot) -> (u64, Vec<Effect>, Option<Slot>),
    ) -> Result<u64, StoreError> {
        let (mut changed, mut from) = (0, Some(0));
        while let Some(slot) = from {
            let until = if changed > 0 { Until::Written } else { Until::Applied };
            let (more, next) = self
                .step(until, |inner| {
                    let (more, effects, next) = part(inner, slot);
                    inner.commit(effects, &Blobs::default(), false)?;
                    Ok((more, next))
                })
                .await?;
            changed += more;
            from = next;
        }
        self.step(Until::Synced, |_| Ok(())).await?;
        Ok(changed)
    }
}

async fn wait(done: Done) -> Result<(), StoreError> {
    match done {
        None => Ok(()),
        Some(done) => {
            done.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the store was closed".to_owned())))
        }
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
    })
}

/// Takes back what an incarnation had, `budget` of each kind at most.
fn take_back(
    inner: &mut Inner,
    who: Incarnation,
    budget: usize,
    now: Timestamp,
    reaped: &mut Reaped,
) -> Result<(), StoreError> {
    reaped.incarnations += u64::from(inner.state.end(who, now));
    let effects = inner.state.confirm_orphans(who, budget, now, reaped);
    inner.commit(effects, &Blobs::default(), false)?;
    let leases = inner.state.some_leases(who, budget);
    inner.return_leases(&leases);
    reaped.leases += leases.len() as u64;
    inner.state.forget_ended(who);
    Ok(())
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn time(&self) -> Result<Timestamp, StoreError> {
        Ok(recovery::now())
    }

    async fn check(&self) -> Result<Vec<Finding>, StoreError> {
        let full = self.look(|inner| Ok(inner.spare == Spare::Missing))?;
        let mut findings = Vec::new();
        if full {
            findings.push(Finding {
                refuse: false,
                message: format!(
                    "the disk of {} is full: mail is refused with 452 until there is room; what is queued goes on",
                    self.shared.folder.display()
                ),
            });
        }
        Ok(findings)
    }

    fn shards(&self) -> Vec<ShardId> {
        vec![SHARD]
    }

    async fn heartbeat(&self, who: Incarnation, now: Timestamp) -> Result<Pulse, StoreError> {
        self.look(|inner| inner.state.heartbeat(who, now))?;
        let room = self
            .blocking(|shared| {
                let disk = rustix::fs::statvfs(&shared.folder).ok()?;
                Some(disk.f_bavail.saturating_mul(disk.f_frsize))
            })
            .await?;
        Ok(Pulse { room })
    }

    async fn depart(&self, who: Incarnation, now: Timestamp) -> Result<Reaped, StoreError> {
        self.step(Until::Synced, |inner| {
            let mut reaped = Reaped::default();
            inner.state.hear(now);
            take_back(inner, who, usize::MAX, now, &mut reaped)?;
            Ok(reaped)
        })
        .await
    }

    async fn reap(&self, now: Timestamp) -> Result<Reaped, StoreError> {
        let reaped = self
            .step(Until::Synced, |inner| {
                let mut reaped = Reaped::default();
                inner.state.hear(now);
                for who in inner.state.dead(now) {
                    let done = usize::try_from(reaped.leases + reaped.activated).unwrap_or(usize::MAX);
                    let Some(left) = REAP.checked_sub(done).filter(|left| *left > 0) else { break };
                    take_back(inner, who, left, now, &mut reaped)?;
                }
                inner.state.prune(now, Timestamp(now.0.saturating_sub(RELEASE_LIFE_MS)));
                inner.state.prune_departed(now);
                inner.state.prune_rates(now);
                inner.state.forget_idle(now);
                Ok(reaped)
            })
            .await?;
        self.blocking(move |shared| {
            if let Err(error) = shared.files.prune(now) {
                tracing::warn!(%error, "chunks that nobody enqueued cannot be removed");
            }
        })
        .await?;
        Ok(reaped)
    }

    fn wakeups(&self) -> watch::Receiver<u64> {
        self.shared.wakeups.subscribe()
    }

    async fn reserve(
        &self,
        who: Incarnation,
        bytes: u64,
        room: Option<u64>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.look(|inner| inner.state.reserve(who, bytes, room, now))
    }

    async fn put_chunk(
        &self,
        id: MessageId,
        index: u32,
        data: Bytes,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if self.look(|inner| Ok(inner.state.by_id.contains_key(&id)))? {
            return Ok(()); // a late repetition of a chunk that is in the queue by now
        }
        self.blocking(move |shared| shared.files.put(id, index, &data, now)).await?
    }

    async fn drop_chunks(&self, id: MessageId) -> Result<(), StoreError> {
        if self.look(|inner| Ok(inner.state.by_id.contains_key(&id)))? {
            return Ok(());
        }
        self.blocking(move |shared| shared.files.drop_chunks(id))
            .await?
            .map_err(|error| StoreError::Unavailable(format!("chunks cannot be removed: {error}")))
    }

    async fn enqueue(
        &self,
        who: Incarnation,
        message: NewMessage,
        fast: &[u16],
        now: Timestamp,
    ) -> Result<Enqueued, StoreError> {
        let (id, entries) = (message.id, message.entries.len());
        let known = || Enqueued { leases: vec![None; entries], duplicate: true };
        self.look(|inner| inner.state.require_alive(who, now))?;
        let prepared = Prepared::new(message)?;
        if self.look(|inner| inner.state.admit(who, id, now))? {
            // Perhaps there, and not yet on disk.
            self.step(Until::Synced, |_| Ok(())).await?;
            return Ok(known());
        }
        let chunked = if let NewContent::Chunks(chunks) = prepared.message.content {
            let meta = prepared.message.meta.clone();
            self.blocking(move |shared| shared.files.seal(id, &meta, chunks)).await??;
            true
        } else {
            false
        };
        self.shared.room_to_write().await?;
        self.step(Until::Synced, |inner| {
            if inner.state.admit(who, id, now)? {
                return Ok(known());
            }
            if !fast.is_empty() {
                // What is due by now closes the fast path, whether or not a lease has moved it.
                let moved = inner.state.move_on(now);
                inner.commit(moved, &Blobs::default(), false)?;
            }
            let mut blobs = Blobs::default();
            let row = prepared.row(&mut blobs, false, |entry| Phase::Incoming { mode: entry.mode });
            let open = inner.state.open(&prepared, fast);
            let mut effects = vec![Effect::Message(row)];
            if !open.is_empty() {
                let entries = open.iter().map(|index| (id.into(), *index)).collect();
                effects.push(Effect::Leased { who: who.0, entries });
            }
            inner.commit(effects, &blobs, true)?;
            let leases = inner.state.own(who, &prepared, &open, now);
            let leases = leases.into_iter().map(|picked| picked.map(|picked| picked.token)).collect();
            if chunked {
                self.shared.files.enqueued(id);
            }
            Ok(Enqueued { leases, duplicate: false })
        })
        .await
    }

    async fn activate(&self, ids: &[MessageId], now: Timestamp) -> Result<(), StoreError> {
        self.step(Until::Written, |inner| {
            let effects = inner.state.plan_activate(ids, now);
            inner.commit(effects, &Blobs::default(), false)
        })
        .await
    }

    async fn withdraw(&self, id: MessageId, now: Timestamp) -> Result<Withdrawn, StoreError> {
        let outcome = self
            .step(Until::Synced, |inner| {
                let (outcome, effect) = inner.state.plan_withdraw(id, now);
                inner.commit(effect.into_iter().collect(), &Blobs::default(), false)?;
                Ok(outcome)
            })
            .await?;
        if outcome == Withdrawn::NotThere {
            self.drop_chunks(id).await?;
        }
        Ok(outcome)
    }

    async fn lease(&self, request: &LeaseRequest, now: Timestamp) -> Result<Vec<Leased>, StoreError> {
        let picked = self.look(|inner| {
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
        })?;
        self.read(picked, now).await
    }

    async fn lease_entry(
        &self,
        who: Incarnation,
        id: EntryId,
        now: Timestamp,
    ) -> Result<Option<Leased>, StoreError> {
        let picked = self.look(|inner| {
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
        })?;
        let Some((picked, queue)) = picked else { return Ok(None) };
        self.shared.until_written(picked.view.end()).await;
        let read = self
            .blocking(move |shared| match read_leased(shared, &picked) {
                Err(Unreadable::Io(error)) => Err((picked, error)),
                Ok(leased) => Ok(Some(leased)),
                // For a person's `delete`: what stands for it can be settled like any other.
                Err(_) => Ok(reader::placeholder(&picked.view, queue).map(|entry| {
                    let message = reader::meta(&shared.segments, &picked.view)
                        .unwrap_or_else(|_| reader::placeholder_meta(&picked.view));
                    let content = reader::content(&shared.segments, &picked.view, &message);
                    let content = content.unwrap_or(crate::Content::Inline(Bytes::new()));
                    Leased {
                        entry,
                        message: Arc::new(message),
                        content,
                        token: picked.token,
                        attend: picked.attend,
                        probe: picked.probe,
                    }
                })),
            })
            .await?;
        match read {
            Ok(leased) => Ok(leased),
            Err((picked, error)) => {
                self.set_aside(&picked, &Unreadable::Io(error), now)?;
                Ok(None)
            }
        }
    }

    async fn chunk(&self, id: MessageId, index: u32) -> Result<Option<Bytes>, StoreError> {
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

    async fn settle(&self, settlement: &Settlement, now: Timestamp) -> Result<Settled, StoreError> {
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

    async fn set_queue_modes(&self, modes: &[(QueueName, QueueMode)]) -> Result<(), StoreError> {
        self.change(|inner| inner.state.plan_modes(modes)).await
    }

    async fn release(&self, release: &Release) -> Result<u64, StoreError> {
        self.step(Until::Synced, |inner| {
            let Some((freed, effect)) = inner.state.plan_release(release) else { return Ok(0) };
            inner.commit(vec![effect], &Blobs::default(), false)?;
            Ok(freed)
        })
        .await
    }

    async fn claim(
        &self,
        who: Incarnation,
        id: ClaimId,
        queue: &QueueName,
        max: u32,
        now: Timestamp,
    ) -> Result<Option<Claim>, StoreError> {
        self.look(|inner| {
            inner.state.require_alive(who, now)?;
            inner.state.claim(who, id, queue, max, now)
        })
    }

    async fn unclaim(&self, id: ClaimId, queue: &QueueName) -> Result<(), StoreError> {
        self.look(|inner| {
            inner.state.unclaim(id, queue);
            Ok(())
        })
    }

    async fn act(&self, id: EntryId, act: Act, now: Timestamp) -> Result<Acted, StoreError> {
        self.step(Until::Synced, |inner| {
            let (acted, effects) = inner.state.plan_act(id, act, now);
            inner.commit(effects, &Blobs::default(), false)?;
            Ok(acted)
        })
        .await
    }

    async fn retry(&self, queue: Option<&QueueName>, now: Timestamp) -> Result<u64, StoreError> {
        self.walk(|inner, from| inner.state.plan_retry(queue, from, WALK, now)).await
    }

    async fn hold(&self, queue: Option<&QueueName>, now: Timestamp) -> Result<u64, StoreError> {
        self.walk(|inner, from| inner.state.plan_hold(queue, from, WALK, now)).await
    }

    async fn counts(&self, queue: Option<&QueueName>) -> Result<Counts, StoreError> {
        self.look(|inner| Ok(inner.state.counts(queue)))
    }

    async fn held(&self, queue: &QueueName, reason: HoldReason) -> Result<u64, StoreError> {
        self.look(|inner| Ok(inner.state.held(queue, reason)))
    }

    async fn accounting(&self) -> Result<Accounting, StoreError> {
        self.look(|inner| Ok(inner.state.accounting()))
    }

    async fn list(&self, filter: &ListFilter, from: u64, max: u32) -> Result<ListPage, StoreError> {
        let max = max.clamp(1, MAX_PAGE) as usize;
        let (listed, next) = self
            .look(|inner| Ok(inner.state.list(filter.queue.as_ref(), filter.state, from, max, LIST_WALK)))?;
        Ok(ListPage { entries: self.read_list(listed).await?, next })
    }

    async fn show(&self, id: EntryId) -> Result<Option<EntrySummary>, StoreError> {
        let listed = self.look(|inner| Ok(inner.state.find(id).and_then(|slot| inner.state.listed(slot))))?;
        Ok(self.read_list(listed.into_iter().collect()).await?.pop())
    }

    async fn take_permits(
        &self,
        who: Incarnation,
        next_hop: &str,
        wanted: u32,
        limit: u32,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        self.look(|inner| inner.state.take_permits(who, next_hop, wanted, limit, now))
    }

    async fn return_permits(&self, who: Incarnation, next_hop: &str, permits: u32) -> Result<(), StoreError> {
        self.look(|inner| {
            inner.state.return_permits(who, next_hop, permits);
            Ok(())
        })
    }

    async fn take_rate(
        &self,
        key: &str,
        wanted: u32,
        limit: u32,
        per_ms: u64,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        self.look(|inner| Ok(inner.state.take_rate(key, wanted, limit, per_ms, now)))
    }

    async fn put_fact(
        &self,
        kind: FactKind,
        key: &str,
        value: &str,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        self.change(|_| Ok(vec![super::state::jobs::plan_fact(kind, key, value, until)?])).await
    }

    async fn fact(&self, kind: FactKind, key: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
        self.look(|inner| Ok(inner.state.fact(kind, key, now)))
    }

    async fn drop_fact(&self, kind: FactKind, key: &str) -> Result<(), StoreError> {
        self.change(|inner| {
            let there = inner.state.facts.contains_key(&(kind, key.to_owned()));
            Ok(if there { vec![Effect::NoFact { kind, key: key.to_owned() }] } else { Vec::new() })
        })
        .await
    }

    async fn plan_job(&self, key: &str, nominal: Timestamp) -> Result<(), StoreError> {
        self.change(|inner| Ok(inner.state.plan_job(key, nominal)?.into_iter().collect())).await
    }

    async fn drop_job(&self, key: &str) -> Result<(), StoreError> {
        self.change(|inner| {
            let there = inner.state.jobs.contains_key(key);
            Ok(if there { vec![Effect::NoJob { key: key.to_owned() }] } else { Vec::new() })
        })
        .await
    }

    async fn job(&self, key: &str) -> Result<Option<Job>, StoreError> {
        self.look(|inner| Ok(inner.state.jobs.get(key).map(|slot| slot.job.clone())))
    }

    async fn lease_jobs(
        &self,
        who: Incarnation,
        max: u32,
        now: Timestamp,
    ) -> Result<Vec<LeasedJob>, StoreError> {
        self.look(|inner| {
            inner.state.require_alive(who, now)?;
            Ok(inner.state.lease_jobs(who, max, now))
        })
    }

    async fn finish_job(
        &self,
        who: Incarnation,
        key: &str,
        token: LeaseToken,
        run: &JobRun,
    ) -> Result<Settled, StoreError> {
        self.step(Until::Synced, |inner| {
            let Some(effect) = inner.state.plan_finish(who, key, token, run) else {
                return Ok(Settled::Stale);
            };
            inner.commit(vec![effect], &Blobs::default(), false)?;
            inner.state.end_job_lease(key);
            Ok(Settled::Done)
        })
        .await
    }
}
