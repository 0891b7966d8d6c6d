//! The contract, operation by operation, over the functions in the server. I/O.

use async_trait::async_trait;
use bytes::Bytes;
use posthouse_model::{EntryId, Incarnation, MessageId, QueueName, ShardId, Timestamp};
use redis::Value;
use tokio::sync::watch;

use super::{
    MOVED_PER_LEASE, OCTETS_PER_LEASE, RedisStore, SHARD, check,
    intake::Argument,
    leases::{self, Found},
    people, reply,
    scripts::Function,
    settling, shared, wire,
};
use crate::{
    Accounting, Act, Acted, CHUNK_SIZE, Claim, ClaimId, Counts, Enqueued, EntrySummary, FactKind, Finding,
    HEARTBEAT_LIFE_MS, HoldReason, Job, JobRun, LeaseRequest, LeaseToken, Leased, LeasedJob, ListFilter,
    ListPage, NewMessage, ORPHAN_CHUNK_LIFE_MS, Pulse, Reaped, Release, Settled, Settlement, Store,
    StoreError, TotalsPage, Withdrawn,
};

#[async_trait]
impl Store for RedisStore {
    async fn time(&self) -> Result<Timestamp, StoreError> {
        let parts = reply::array(self.link.send(&redis::cmd("TIME")).await?)?;
        let (seconds, micros) = (reply::number_at(&parts, 0)?, reply::number_at(&parts, 1)?);
        Ok(Timestamp(seconds * 1000 + micros / 1000))
    }

    async fn check(&self) -> Result<Vec<Finding>, StoreError> {
        check::check(&self.link, &self.settings).await
    }

    fn shards(&self) -> Vec<ShardId> {
        vec![SHARD]
    }

    async fn heartbeat(&self, who: Incarnation, now: Timestamp) -> Result<Pulse, StoreError> {
        self.code(Function::Heartbeat, now, |command| {
            command.arg(&who.0[..]).arg(wire::time(now) + HEARTBEAT_LIFE_MS);
        })
        .await?;
        let mut ask = redis::cmd("INFO");
        ask.arg("memory");
        let text: String = redis::from_redis_value(self.link.send(&ask).await?).unwrap_or_default();
        let octets = |name| check::field(&text, name).and_then(|value| value.parse::<u64>().ok());
        let room = match (octets("maxmemory"), octets("used_memory")) {
            (Some(limit), Some(used)) if limit > 0 => Some(limit.saturating_sub(used)),
            _ => None,
        };
        Ok(Pulse { room })
    }

    async fn depart(&self, who: Incarnation, now: Timestamp) -> Result<Reaped, StoreError> {
        let mut sum = Reaped::default();
        loop {
            let (part, left) = self.reap_part(Some(who), now).await?;
            sum.incarnations += part.incarnations;
            sum.leases += part.leases;
            sum.activated += part.activated;
            if !left {
                return Ok(sum);
            }
        }
    }

    async fn reap(&self, now: Timestamp) -> Result<Reaped, StoreError> {
        self.reap_part(None, now).await.map(|(reaped, _)| reaped)
    }

    fn wakeups(&self) -> watch::Receiver<u64> {
        self.wake.told()
    }

    async fn reserve(
        &self,
        who: Incarnation,
        bytes: u64,
        room: Option<u64>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let code = self
            .code(Function::Reserve, now, |command| {
                command.arg(&who.0[..]).arg(wire::time(Timestamp(bytes)));
                match room {
                    Some(room) => command.arg(wire::time(Timestamp(room))),
                    None => command.arg(""),
                };
            })
            .await?;
        Ok(code == 1)
    }

    async fn put_chunk(
        &self,
        id: MessageId,
        index: u32,
        data: Bytes,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        here(id)?;
        if data.len() > CHUNK_SIZE || data.is_empty() {
            return Err(StoreError::Refused(format!(
                "a chunk has 1 to {CHUNK_SIZE} octets, not {}",
                data.len()
            )));
        }
        let mut note = [0; 8];
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes();
        let sum = crc32fast::hash(&data).to_be_bytes();
        note.iter_mut().zip(length.into_iter().chain(sum)).for_each(|(to, from)| *to = from);
        self.call_with(Function::PutChunk, now, Some(id), |command| {
            command
                .arg(&id.to_bytes()[..])
                .arg(index)
                .arg(&note[..])
                .arg(&data[..])
                .arg(ORPHAN_CHUNK_LIFE_MS);
        })
        .await
        .map(drop)
    }

    async fn drop_chunks(&self, id: MessageId) -> Result<(), StoreError> {
        here(id)?;
        self.call_with(Function::DropChunks, Timestamp(0), Some(id), |command| {
            command.arg(&id.to_bytes()[..]);
        })
        .await
        .map(drop)
    }

    async fn enqueue(
        &self,
        who: Incarnation,
        message: NewMessage,
        fast: &[u16],
        now: Timestamp,
    ) -> Result<Enqueued, StoreError> {
        here(message.id)?;
        let entries = message.entries.len();
        let arguments = settling::message(who, message, fast).map_err(StoreError::Refused)?;
        let values = reply::array(self.intake.message(arguments, now).await?)?;
        match reply::number_at(&values, 0)? {
            1 => {
                let tokens = values.get(1..).unwrap_or_default().iter().map(reply::number);
                let leases = tokens.map(|token| Ok(Some(token?).filter(|token| *token > 0).map(LeaseToken)));
                Ok(Enqueued { leases: leases.collect::<Result<_, StoreError>>()?, duplicate: false })
            }
            2 => Ok(Enqueued { leases: vec![None; entries], duplicate: true }),
            3 => Err(StoreError::Withdrawn),
            4 => Err(StoreError::Departed),
            _ => Err(StoreError::Refused(reason(values))),
        }
    }

    async fn activate(&self, ids: &[MessageId], now: Timestamp) -> Result<(), StoreError> {
        let steps = ids.iter().filter(|id| id.shard() == SHARD).map(|id| {
            let arguments =
                vec![Argument::from(Bytes::from_static(b"a")), Bytes::copy_from_slice(&id.to_bytes()).into()];
            self.intake.step(arguments, now)
        });
        futures::future::try_join_all(steps).await.map(drop)
    }

    async fn withdraw(&self, id: MessageId, now: Timestamp) -> Result<Withdrawn, StoreError> {
        here(id)?;
        let arguments = vec![
            Argument::from(Bytes::from_static(b"w")),
            Bytes::copy_from_slice(&id.to_bytes()).into(),
            Argument::ContentKey(Some(id)),
        ];
        let values = reply::array(self.intake.step(arguments, now).await?)?;
        Ok(match reply::number_at(&values, 0)? {
            1 => Withdrawn::Removed,
            2 => Withdrawn::NotThere,
            _ => Withdrawn::TooLate,
        })
    }

    async fn lease(&self, request: &LeaseRequest, now: Timestamp) -> Result<Vec<Leased>, StoreError> {
        let LeaseRequest { who, max, max_per_lane, skip, claim } = request;
        let skip: Vec<u8> = skip.iter().flat_map(|lane| lane.0).collect();
        let reply = self
            .call(Function::Lease, now, |command| {
                command.arg(&who.0[..]).arg((*max).min(1_000)).arg(*max_per_lane);
                command.arg(claim.as_ref().map_or(&[][..], |claim| &claim.0[..])).arg(&skip[..]);
                command.arg((*max).clamp(MOVED_PER_LEASE, 1_000)).arg(OCTETS_PER_LEASE);
            })
            .await?;
        let (_, mut values) = reply::coded(reply)?;
        for key in reply::array(reply::next(&mut values)?)? {
            let id = leases::entry_id(key)?;
            tracing::warn!(entry = %id, "the record of an entry cannot be read: it is held for quarantine");
        }
        let mut leased = Vec::new();
        for found in leases::lease(values)? {
            match found {
                Found::Usable(lease) => leased.push(*lease),
                Found::Unreadable(id, token) => self.put_aside(*who, id, token, now).await?,
            }
        }
        Ok(leased)
    }

    async fn lease_entry(
        &self,
        who: Incarnation,
        id: EntryId,
        now: Timestamp,
    ) -> Result<Option<Leased>, StoreError> {
        if id.shard() != SHARD {
            return Ok(None);
        }
        let reply = self
            .call(Function::LeaseEntry, now, |command| {
                command.arg(&who.0[..]).arg(&wire::entry_key(id)[..]);
            })
            .await?;
        let (code, mut values) = reply::coded(reply)?;
        if code == 0 {
            return Ok(None);
        }
        let record = reply::octets(reply::next(&mut values)?)?;
        let message = reply::octets(reply::next(&mut values)?)?;
        let content = reply::octets(reply::next(&mut values)?)?;
        let flags = reply::number(&reply::next(&mut values)?)?;
        match leases::leased(id, &record, &message, content, flags)? {
            Found::Usable(lease) => Ok(Some(*lease)),
            Found::Unreadable(id, token) => {
                self.put_aside(who, id, token, now).await?;
                Ok(None)
            }
        }
    }

    async fn chunk(&self, id: MessageId, index: u32) -> Result<Option<Bytes>, StoreError> {
        here(id)?;
        let mut ask = redis::cmd("HGET");
        ask.arg(self.keys.content(id)).arg(index);
        let mut found = self.link.send(&ask).await?;
        if matches!(found, Value::Nil) && index == 0 {
            let mut ask = redis::cmd("HGET");
            ask.arg(self.keys.inline(id)).arg(&id.to_bytes()[..]);
            found = self.link.send(&ask).await?;
        }
        match found {
            Value::Nil => Ok(None),
            value => Ok(Some(reply::octets(value)?.into())),
        }
    }

    async fn settle(&self, settlement: &Settlement, now: Timestamp) -> Result<Settled, StoreError> {
        here(settlement.entry.id.message)?;
        let arguments = settling::settlement(settlement).map_err(StoreError::Refused)?;
        let values = reply::array(self.intake.step(arguments, now).await?)?;
        match reply::number_at(&values, 0)? {
            1 => Ok(Settled::Done),
            2 => Ok(Settled::Stale),
            _ => Err(StoreError::Refused(reason(values))),
        }
    }

    async fn set_queue_modes(
        &self,
        generation: u64,
        modes: &[(QueueName, Option<HoldReason>)],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        people::set_queue_modes(self, generation, modes, now).await
    }

    async fn release(&self, release: &Release) -> Result<u64, StoreError> {
        people::release(self, release).await
    }

    async fn claim(
        &self,
        who: Incarnation,
        id: ClaimId,
        queue: &QueueName,
        max: u32,
        now: Timestamp,
    ) -> Result<Option<Claim>, StoreError> {
        people::claim(self, who, id, queue, max, now).await
    }

    async fn unclaim(&self, id: ClaimId, queue: &QueueName) -> Result<(), StoreError> {
        people::unclaim(self, id, queue).await
    }

    async fn act(&self, id: EntryId, act: Act, now: Timestamp) -> Result<Acted, StoreError> {
        people::act(self, id, act, now).await
    }

    async fn retry(&self, queue: Option<&QueueName>, now: Timestamp) -> Result<u64, StoreError> {
        people::retry(self, queue, now).await
    }

    async fn hold(&self, queue: Option<&QueueName>, now: Timestamp) -> Result<u64, StoreError> {
        people::hold(self, queue, now).await
    }

    async fn counts(&self, queue: Option<&QueueName>) -> Result<Counts, StoreError> {
        people::counts(self, queue).await
    }

    async fn queue_totals(&self, from: u64, max: u32) -> Result<TotalsPage, StoreError> {
        people::queue_totals(self, from, max).await
    }

    async fn held(&self, queue: &QueueName, reason: HoldReason) -> Result<u64, StoreError> {
        people::held(self, queue, reason).await
    }

    async fn accounting(&self) -> Result<Accounting, StoreError> {
        people::accounting(self).await
    }

    async fn list(&self, filter: &ListFilter, from: u64, max: u32) -> Result<ListPage, StoreError> {
        people::list(self, filter, from, max).await
    }

    async fn show(&self, id: EntryId) -> Result<Option<EntrySummary>, StoreError> {
        people::show(self, id).await
    }

    async fn take_permits(
        &self,
        who: Incarnation,
        next_hop: &str,
        wanted: u32,
        limit: u32,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        shared::take_permits(self, who, next_hop, wanted, limit, now).await
    }

    async fn return_permits(&self, who: Incarnation, next_hop: &str, permits: u32) -> Result<(), StoreError> {
        shared::return_permits(self, who, next_hop, permits).await
    }

    async fn take_rate(
        &self,
        key: &str,
        wanted: u32,
        limit: u32,
        per_ms: u64,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        shared::take_rate(self, key, wanted, limit, per_ms, now).await
    }

    async fn put_fact(
        &self,
        kind: FactKind,
        key: &str,
        value: &str,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        shared::put_fact(self, kind, key, value, until).await
    }

    async fn fact(&self, kind: FactKind, key: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
        shared::fact(self, kind, key, now).await
    }

    async fn drop_fact(&self, kind: FactKind, key: &str) -> Result<(), StoreError> {
        shared::drop_fact(self, kind, key).await
    }

    async fn plan_job(&self, key: &str, nominal: Timestamp) -> Result<(), StoreError> {
        shared::plan_job(self, key, nominal).await
    }

    async fn drop_job(&self, key: &str) -> Result<(), StoreError> {
        shared::drop_job(self, key).await
    }

    async fn job(&self, key: &str) -> Result<Option<Job>, StoreError> {
        shared::job(self, key).await
    }

    async fn lease_jobs(
        &self,
        who: Incarnation,
        max: u32,
        now: Timestamp,
    ) -> Result<Vec<LeasedJob>, StoreError> {
        shared::lease_jobs(self, who, max, now).await
    }

    async fn finish_job(
        &self,
        who: Incarnation,
        key: &str,
        token: LeaseToken,
        run: &JobRun,
    ) -> Result<Settled, StoreError> {
        shared::finish_job(self, who, key, token, run).await
    }
}

/// Whether a message can be in this store at all.
fn here(id: MessageId) -> Result<(), StoreError> {
    if id.shard() == SHARD {
        Ok(())
    } else {
        Err(StoreError::Refused(format!("there is no shard {}", id.shard().0)))
    }
}

/// Why a function refused.
fn reason(values: Vec<Value>) -> String {
    let text = values.into_iter().nth(1).and_then(|value| reply::octets(value).ok()).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}
