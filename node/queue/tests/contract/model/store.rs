//! The model as a store: one lock, one step.

use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use posthouse_model::{EntryId, Incarnation, MessageId, QueueName, ShardId, Timestamp};
use posthouse_queue::{
    Accounting, Act, Acted, Claim, ClaimId, Content, Counts, Enqueued, EntrySummary, FactKind, Finding,
    HEARTBEAT_LIFE_MS, HoldReason, Job, JobRun, LeaseRequest, LeaseToken, Leased, LeasedJob, ListFilter,
    ListPage, NewMessage, ORPHAN_CHUNK_LIFE_MS, Pulse, Reaped, Release, Settled, Settlement, Store,
    StoreError, TotalsPage, Withdrawn,
};
use tokio::sync::watch;

use super::{JobState, Model};

#[async_trait]
impl Store for Model {
    async fn time(&self) -> Result<Timestamp, StoreError> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Ok(Timestamp(u64::try_from(since.as_millis()).unwrap()))
    }

    async fn check(&self) -> Result<Vec<Finding>, StoreError> {
        Ok(Vec::new())
    }

    fn shards(&self) -> Vec<ShardId> {
        vec![ShardId(0)]
    }

    async fn heartbeat(&self, who: Incarnation, now: Timestamp) -> Result<Pulse, StoreError> {
        let mut state = self.state();
        if state.departed.contains(&who) {
            return Err(StoreError::Departed);
        }
        state.alive.insert(who, Timestamp(now.0 + HEARTBEAT_LIFE_MS));
        Ok(Pulse { room: None })
    }

    async fn depart(&self, who: Incarnation, now: Timestamp) -> Result<Reaped, StoreError> {
        let reaped = self.state().depart(who, now);
        self.wake();
        Ok(reaped)
    }

    async fn reap(&self, now: Timestamp) -> Result<Reaped, StoreError> {
        let reaped = self.state().reap(now);
        self.wake();
        Ok(reaped)
    }

    fn wakeups(&self) -> watch::Receiver<u64> {
        self.wakeups.subscribe()
    }

    async fn reserve(
        &self,
        who: Incarnation,
        bytes: u64,
        room: Option<u64>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut state = self.state();
        state.living(who, now)?;
        let before = state.reserved.get(&who).copied().unwrap_or_default();
        let others: u64 = state
            .reserved
            .iter()
            .filter(|(other, _)| **other != who && state.lives(**other, now))
            .map(|(_, bytes)| bytes)
            .sum();
        let fits = room.is_none_or(|room| others.saturating_add(bytes) <= room);
        if fits || bytes < before {
            state.reserved.insert(who, bytes);
            return Ok(true);
        }
        Ok(false)
    }

    async fn put_chunk(
        &self,
        id: MessageId,
        index: u32,
        data: Bytes,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.messages.contains_key(&id) {
            return Ok(());
        }
        let chunks = state.chunks.entry(id).or_default();
        chunks.parts.insert(index, data);
        chunks.until = Some(Timestamp(now.0 + ORPHAN_CHUNK_LIFE_MS));
        Ok(())
    }

    async fn drop_chunks(&self, id: MessageId) -> Result<(), StoreError> {
        let mut state = self.state();
        if !state.messages.contains_key(&id) {
            state.chunks.remove(&id);
        }
        Ok(())
    }

    async fn enqueue(
        &self,
        who: Incarnation,
        message: NewMessage,
        fast: &[u16],
        now: Timestamp,
    ) -> Result<Enqueued, StoreError> {
        self.state().enqueue(who, message, fast, now)
    }

    async fn activate(&self, ids: &[MessageId], now: Timestamp) -> Result<(), StoreError> {
        for id in ids {
            self.state().confirm(*id, now);
        }
        self.wake();
        Ok(())
    }

    async fn withdraw(&self, id: MessageId, now: Timestamp) -> Result<Withdrawn, StoreError> {
        Ok(self.state().withdraw(id, now))
    }

    async fn lease(&self, request: &LeaseRequest, now: Timestamp) -> Result<Vec<Leased>, StoreError> {
        self.state().lease(request, now)
    }

    async fn lease_entry(
        &self,
        who: Incarnation,
        id: EntryId,
        now: Timestamp,
    ) -> Result<Option<Leased>, StoreError> {
        self.state().lease_entry(who, id, now)
    }

    async fn chunk(&self, id: MessageId, index: u32) -> Result<Option<Bytes>, StoreError> {
        let state = self.state();
        if let Some(Content::Inline(octets)) = state.messages.get(&id).map(|kept| &kept.content) {
            return Ok((index == 0).then(|| octets.clone()));
        }
        Ok(state.chunks.get(&id).and_then(|chunks| chunks.parts.get(&index).cloned()))
    }

    async fn settle(&self, settlement: &Settlement, now: Timestamp) -> Result<Settled, StoreError> {
        let settled = self.state().settle(settlement, now);
        self.wake();
        settled
    }

    async fn set_queue_modes(
        &self,
        generation: u64,
        modes: &[(QueueName, Option<HoldReason>)],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        if modes.len() > 1_000 {
            return Err(StoreError::Refused("too many modes".into()));
        }
        let before = self.state().set_modes(generation, modes, now);
        self.wake();
        Ok(before)
    }

    async fn release(&self, release: &Release) -> Result<u64, StoreError> {
        let freed = self.state().release(release);
        self.wake();
        Ok(freed)
    }

    async fn claim(
        &self,
        who: Incarnation,
        id: ClaimId,
        queue: &QueueName,
        max: u32,
        now: Timestamp,
    ) -> Result<Option<Claim>, StoreError> {
        self.state().claim(who, id, queue, max, now)
    }

    async fn unclaim(&self, id: ClaimId, queue: &QueueName) -> Result<(), StoreError> {
        self.state().unclaim(id, queue);
        self.wake();
        Ok(())
    }

    async fn act(&self, id: EntryId, act: Act, now: Timestamp) -> Result<Acted, StoreError> {
        let acted = self.state().act(id, act, now);
        self.wake();
        Ok(acted)
    }

    async fn retry(&self, queue: Option<&QueueName>, now: Timestamp) -> Result<u64, StoreError> {
        let retried = self.state().retry(queue, now);
        self.wake();
        Ok(retried)
    }

    async fn hold(&self, queue: Option<&QueueName>, now: Timestamp) -> Result<u64, StoreError> {
        Ok(self.state().hold(queue, now))
    }

    async fn counts(&self, queue: Option<&QueueName>) -> Result<Counts, StoreError> {
        Ok(self.state().counts(queue))
    }

    async fn queue_totals(&self, from: u64, max: u32) -> Result<TotalsPage, StoreError> {
        let all = self.state().totals();
        let (from, max) = (usize::try_from(from).unwrap(), max.max(1) as usize);
        let next = (from + max < all.len()).then_some((from + max) as u64);
        Ok(TotalsPage { queues: all.into_iter().skip(from).take(max).collect(), next })
    }

    async fn held(&self, queue: &QueueName, reason: HoldReason) -> Result<u64, StoreError> {
        Ok(self.state().held(queue, reason))
    }

    async fn accounting(&self) -> Result<Accounting, StoreError> {
        Ok(self.state().accounting)
    }

    async fn list(&self, filter: &ListFilter, from: u64, max: u32) -> Result<ListPage, StoreError> {
        let all = self.state().list(filter);
        let (from, max) = (usize::try_from(from).unwrap(), max.max(1) as usize);
        let next = from + max;
        let next = (next < all.len()).then_some(next as u64);
        Ok(ListPage { entries: all.into_iter().skip(from).take(max).collect(), next })
    }

    async fn show(&self, id: EntryId) -> Result<Option<EntrySummary>, StoreError> {
        let state = self.state();
        Ok(state.items.get(&id).map(|item| state.summary(item)))
    }

    async fn take_permits(
        &self,
        who: Incarnation,
        next_hop: &str,
        wanted: u32,
        limit: u32,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        let mut state = self.state();
        state.living(who, now)?;
        let taken: u32 = state
            .permits
            .iter()
            .filter(|((hop, holder), _)| hop == next_hop && state.lives(*holder, now))
            .map(|(_, permits)| permits)
            .sum();
        let granted = wanted.min(limit.saturating_sub(taken));
        *state.permits.entry((next_hop.to_owned(), who)).or_default() += granted;
        Ok(granted)
    }

    async fn return_permits(&self, who: Incarnation, next_hop: &str, permits: u32) -> Result<(), StoreError> {
        let mut state = self.state();
        if let Some(held) = state.permits.get_mut(&(next_hop.to_owned(), who)) {
            *held = held.saturating_sub(permits);
        }
        Ok(())
    }

    async fn take_rate(
        &self,
        key: &str,
        wanted: u32,
        limit: u32,
        per_ms: u64,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        let mut state = self.state();
        let (begun, taken) = state.rates.entry(key.to_owned()).or_insert((now, 0));
        if now.0 >= begun.0 + per_ms {
            (*begun, *taken) = (now, 0);
        }
        let granted = wanted.min(limit.saturating_sub(*taken));
        *taken += granted;
        Ok(granted)
    }

    async fn put_fact(
        &self,
        kind: FactKind,
        key: &str,
        value: &str,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        if key.len() > 255 || value.len() > 1_024 {
            return Err(StoreError::Refused("too long a fact".into()));
        }
        self.state().facts.insert((kind, key.to_owned()), (value.to_owned(), until));
        Ok(())
    }

    async fn fact(&self, kind: FactKind, key: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
        let state = self.state();
        let fact = state.facts.get(&(kind, key.to_owned()));
        Ok(fact.filter(|(_, until)| now < *until).map(|(value, _)| value.clone()))
    }

    async fn drop_fact(&self, kind: FactKind, key: &str) -> Result<(), StoreError> {
        self.state().facts.remove(&(kind, key.to_owned()));
        Ok(())
    }

    async fn plan_job(&self, key: &str, nominal: Timestamp) -> Result<(), StoreError> {
        if key.len() > 512 {
            return Err(StoreError::Refused("too long a key".into()));
        }
        let fresh = Job { key: key.to_owned(), nominal, last_run: None, missed_run: None };
        let mut state = self.state();
        let job = state.jobs.entry(key.to_owned()).or_insert(JobState { job: fresh, lease: None });
        if job.lease.is_none() {
            job.job.nominal = nominal;
        }
        Ok(())
    }

    async fn drop_job(&self, key: &str) -> Result<(), StoreError> {
        self.state().jobs.remove(key);
        Ok(())
    }

    async fn job(&self, key: &str) -> Result<Option<Job>, StoreError> {
        Ok(self.state().jobs.get(key).map(|job| job.job.clone()))
    }

    async fn lease_jobs(
        &self,
        who: Incarnation,
        max: u32,
        now: Timestamp,
    ) -> Result<Vec<LeasedJob>, StoreError> {
        let mut state = self.state();
        state.living(who, now)?;
        let mut due: Vec<(Timestamp, String)> = state
            .jobs
            .values()
            .filter(|job| job.lease.is_none() && job.job.nominal <= now)
            .map(|job| (job.job.nominal, job.job.key.clone()))
            .collect();
        due.sort();
        due.truncate(max as usize);
        let leased = due.into_iter().map(|(_, key)| {
            let token = state.next_token();
            let job = state.jobs.get_mut(&key).unwrap();
            job.lease = Some((who, token));
            LeasedJob { job: job.job.clone(), token }
        });
        Ok(leased.collect())
    }

    async fn finish_job(
        &self,
        who: Incarnation,
        key: &str,
        token: LeaseToken,
        run: &JobRun,
    ) -> Result<Settled, StoreError> {
        let mut state = self.state();
        let Some(job) = state.jobs.get_mut(key).filter(|job| job.lease == Some((who, token))) else {
            return Ok(Settled::Stale);
        };
        job.lease = None;
        job.job.last_run = run.started.or(job.job.last_run);
        job.job.missed_run = run.missed.or(job.job.missed_run);
        match run.next {
            Some(next) => job.job.nominal = next,
            None => {
                state.jobs.remove(key);
            }
        }
        Ok(Settled::Done)
    }
}
