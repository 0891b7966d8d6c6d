//! The operations: each a short step under the core's lock, then whatever it has to wait for. Files are read and content is written on
//! the runtime's blocking threads; nothing here blocks the runtime.

mod delivery;
mod intake;
mod presence;
mod step;

use async_trait::async_trait;
use bytes::Bytes;
use posthouse_model::{EntryId, Incarnation, MessageId, QueueName, ShardId, Timestamp};
use tokio::sync::watch;

use super::{
    EmbeddedStore, SHARD,
    core::{Spare, Until},
    effect::Effect,
    log::Blobs,
    reader, recovery,
    state::people::Listed,
};
use crate::{
    accounting::{Accounting, Counts, EntrySummary, ListFilter, ListPage, TotalsPage},
    hold::{Claim, ClaimId, HoldReason, Release},
    jobs::{FactKind, Job, JobRun, LeasedJob},
    lease::{LeaseRequest, LeaseToken, Leased},
    message::NewMessage,
    settle::{Settled, Settlement},
    store::{Act, Acted, Enqueued, Finding, Pulse, Reaped, Store, StoreError, Withdrawn},
};

/// Places that a queue-wide act looks at in one step.
const WALK: u32 = 2_000;

/// Places that one page of a list looks at.
const LIST_WALK: u32 = 50_000;

/// The longest page of a list.
const MAX_PAGE: u32 = 1_000;

impl EmbeddedStore {
    async fn read_list(&self, listed: Vec<Listed>) -> Result<Vec<EntrySummary>, StoreError> {
        if let Some(end) = listed.iter().map(|listed| listed.view.end()).max() {
            self.shared.until_written(end).await;
        }
        self.blocking(move |shared| {
            listed.iter().map(|listed| reader::summary(&shared.segments, listed)).collect()
        })
        .await
    }
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
        self.end_incarnation(who, now).await
    }

    async fn reap(&self, now: Timestamp) -> Result<Reaped, StoreError> {
        self.take_over(now).await
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
        self.take_in(who, message, fast, now).await
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
        self.give_leases(request, now).await
    }

    async fn lease_entry(
        &self,
        who: Incarnation,
        id: EntryId,
        now: Timestamp,
    ) -> Result<Option<Leased>, StoreError> {
        self.give_lease(who, id, now).await
    }

    async fn chunk(&self, id: MessageId, index: u32) -> Result<Option<Bytes>, StoreError> {
        self.read_chunk(id, index).await
    }

    async fn settle(&self, settlement: &Settlement, now: Timestamp) -> Result<Settled, StoreError> {
        self.end_attempt(settlement, now).await
    }

    async fn set_queue_modes(
        &self,
        generation: u64,
        modes: &[(QueueName, Option<HoldReason>)],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.step(Until::Synced, |inner| {
            let (before, effects) = inner.state.plan_modes(generation, modes, now)?;
            inner.commit(effects, &Blobs::default(), false)?;
            Ok(before)
        })
        .await
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
            Ok(inner.state.claim(who, id, queue, max, now))
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

    async fn queue_totals(&self, from: u64, max: u32) -> Result<TotalsPage, StoreError> {
        let (queues, next) = self.look(|inner| Ok(inner.state.totals(from, max.clamp(1, MAX_PAGE))))?;
        Ok(TotalsPage { queues, next })
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
