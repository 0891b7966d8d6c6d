//! The store over Redis 7.0 or later, or Valkey: standalone, one shard. I/O.
//!
//! Every operation is one function inside the server (`scripts/*.lua`), so it is atomic; with `appendfsync always` its reply says that it is
//! durable. Intake goes in batches over a connection of its own ([`intake`]); everything else shares another. What is where is said at
//! the head of `scripts/common.lua`. While the server is away every operation fails within the time limit, and works again when it is back.

mod check;
mod gateways;
mod intake;
mod keys;
mod leases;
mod link;
mod reply;
mod scripts;
mod settling;
mod wake;
mod wire;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use posthouse_model::{EntryId, Incarnation, MessageId, QueueName, ShardId, Timestamp};
use redis::{Client, Cmd, IntoConnectionInfo, Value};
use tokio::sync::watch;

use self::{
    intake::{Argument, Confirm, Intake},
    keys::{BUCKETS, FIXED, Keys, queue_hash},
    leases::Found,
    link::Link,
    scripts::{Function, Library},
    wake::Wake,
};
use crate::{
    Accounting, Act, Acted, CHUNK_SIZE, Claim, ClaimId, Counts, Enqueued, EntrySummary, FactKind, Finding,
    HEARTBEAT_LIFE_MS, HoldReason, Job, JobRun, LeaseRequest, LeaseToken, Leased, LeasedJob, ListFilter,
    ListPage, NewMessage, ORPHAN_CHUNK_LIFE_MS, Pulse, QueueMode, Reaped, Release, ReleaseScope, Settled,
    Settlement, Store, StoreError, Withdrawn,
};

/// The shard that there is.
const SHARD: ShardId = ShardId(0);

/// Entries that are moved by time or release at the beginning of one lease, or as many as it asks for: bounds the function.
const MOVED_PER_LEASE: u32 = 200;

/// Octets of content that one lease answers at most: bounds memory and the time on the wire.
const OCTETS_PER_LEASE: u32 = 4 * 1024 * 1024;

/// Entries that one call of the reaper takes.
const REAPED_PER_CALL: u32 = 300;

/// How long a departed incarnation and a release id are remembered, in milliseconds: longer than anything of theirs can be under way.
const MARK_LIFE_MS: u64 = 7 * 86_400_000;

/// Releases that are kept one by one for a queue and reason while what they freed is not moved yet.
const RELEASES_KEPT: u32 = 64;

/// Records that one call of a sweep or a list looks at.
const SCANNED_PER_CALL: u32 = 300;

/// How the store is used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long one reply, or one try to connect, may take. An operation is done or `Unavailable` after at most twice that.
    pub timeout: Duration,
    /// How many replicas have to confirm an enqueue or a settle; 0: the primary's own log is the promise.
    pub confirm_replicas: u32,
    /// How long replicas may take to confirm; less than `timeout`.
    pub confirm_timeout: Duration,
    /// The server's settings, where it does not tell them itself.
    pub declared: Option<Declared>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            confirm_replicas: 0,
            confirm_timeout: Duration::from_secs(2),
            declared: None,
        }
    }
}

/// Settings of a server that forbids CONFIG, as its operator declares them. The default is a server as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// `appendonly`.
    pub appendonly: bool,
    /// `appendfsync`: `always`, `everysec` or `no`.
    pub appendfsync: String,
    /// `maxmemory-policy`.
    pub maxmemory_policy: String,
    /// `maxmemory` in octets; 0: no limit.
    pub maxmemory: u64,
    /// `no-appendfsync-on-rewrite`.
    pub no_appendfsync_on_rewrite: bool,
}

impl Default for Declared {
    fn default() -> Self {
        Self {
            appendonly: true,
            appendfsync: "always".to_owned(),
            maxmemory_policy: "noeviction".to_owned(),
            maxmemory: 1,
            no_appendfsync_on_rewrite: false,
        }
    }
}

/// The queue in Redis or Valkey.
#[derive(Debug)]
pub struct RedisStore {
    settings: Settings,
    keys: Arc<Keys>,
    library: Arc<Library>,
    link: Link,
    intake: Intake,
    wake: Wake,
}

impl RedisStore {
    /// Connects to `redis://[user:password@]host:port[/db]` or `unix:///path` for the queue with this id: 1 to 128 octets, no braces or space.
    /// [`StoreError::Refused`]: the URL or the id is wrong, or the queue there was written by a newer program; [`StoreError::Unavailable`]:
    /// it cannot be reached now. Once connected the store finds back by itself.
    pub async fn connect(url: &str, queue_id: &str, settings: Settings) -> Result<Self, StoreError> {
        let refused = |why: String| Err(StoreError::Refused(why));
        let fits = (1..=128).contains(&queue_id.len())
            && queue_id.bytes().all(|octet| octet.is_ascii_graphic() && !matches!(octet, b'{' | b'}'));
        if !fits {
            return refused("a queue id has 1 to 128 printable ASCII characters, no braces".to_owned());
        }
        let client = client(url)?;
        let (keys, library) = (Arc::new(Keys::new(queue_id)), Arc::new(Library::new()));
        let timeout = settings.timeout;
        let another = || Link::new(client.clone(), Arc::clone(&keys), Arc::clone(&library), timeout);
        let link = another();
        link.connection().await?;
        let confirm = Confirm { replicas: settings.confirm_replicas, timeout: settings.confirm_timeout };
        let intake = Intake::start(another(), Arc::clone(&keys), Arc::clone(&library), confirm, timeout * 2);
        let wake = Wake::start(client, Arc::clone(&keys), timeout);
        Ok(Self { settings, keys, library, link, intake, wake })
    }

    /// Calls a function; `arguments` adds its own.
    async fn call(
        &self,
        function: Function,
        now: Timestamp,
        arguments: impl FnOnce(&mut Cmd),
    ) -> Result<Value, StoreError> {
        self.call_with(function, now, None, arguments).await
    }

    /// Calls a function that also gets the key of a message's chunked content.
    async fn call_with(
        &self,
        function: Function,
        now: Timestamp,
        content: Option<MessageId>,
        arguments: impl FnOnce(&mut Cmd),
    ) -> Result<Value, StoreError> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.library.sha(function)).arg(FIXED + usize::from(content.is_some()));
        for key in &self.keys.fixed {
            command.arg(key);
        }
        if let Some(id) = content {
            command.arg(self.keys.content(id));
        }
        command.arg(wire::time(now)).arg(&self.keys.channel);
        arguments(&mut command);
        self.link.send(&command).await
    }

    /// Calls a function that answers numbers only.
    async fn numbers(
        &self,
        function: Function,
        now: Timestamp,
        arguments: impl FnOnce(&mut Cmd),
    ) -> Result<Vec<u64>, StoreError> {
        reply::array(self.call(function, now, arguments).await?)?.iter().map(reply::number).collect()
    }

    /// Calls a function whose first number is its answer, and 4 "departed" where it checks that.
    async fn code(
        &self,
        function: Function,
        now: Timestamp,
        arguments: impl FnOnce(&mut Cmd),
    ) -> Result<u64, StoreError> {
        match self.numbers(function, now, arguments).await?.first() {
            Some(4) => Err(StoreError::Departed),
            Some(code) => Ok(*code),
            None => Err(reply::unexpected(function.name())),
        }
    }

    /// Puts an entry aside that was leased but cannot be read.
    async fn put_aside(
        &self,
        who: Incarnation,
        id: EntryId,
        token: LeaseToken,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        tracing::warn!(entry = %id, "the record of an entry cannot be read: it is held for quarantine");
        self.code(Function::Quarantine, now, |command| {
            command.arg(&who.0[..]).arg(&wire::entry_key(id)[..]).arg(token.0);
        })
        .await
        .map(drop)
    }

    /// Reaps by `reap.lua` once; also answers whether more is left.
    async fn reap_part(
        &self,
        only: Option<Incarnation>,
        now: Timestamp,
    ) -> Result<(Reaped, bool), StoreError> {
        let numbers = self
            .numbers(Function::Reap, now, |command| {
                match &only {
                    Some(who) => command.arg(&who.0[..]),
                    None => command.arg(""),
                };
                command.arg(REAPED_PER_CALL).arg(MARK_LIFE_MS);
            })
            .await?;
        let [incarnations, leases, activated, left] = numbers[..] else {
            return Err(reply::unexpected("reap"));
        };
        Ok((Reaped { incarnations, leases, activated }, left == 1))
    }

    /// Goes through all records in parts, with `sweep.lua`.
    async fn sweep(&self, act: &str, queue: Option<&QueueName>, now: Timestamp) -> Result<u64, StoreError> {
        let mut changed = 0;
        for bucket in 0..BUCKETS {
            let mut cursor = "0".to_owned();
            loop {
                let reply = self
                    .call(Function::Sweep, now, |command| {
                        command.arg(act);
                        queue_argument(command, queue);
                        command.arg(bucket).arg(&cursor).arg(SCANNED_PER_CALL);
                    })
                    .await?;
                let mut values = reply::array(reply)?.into_iter();
                changed += reply::number(&reply::next(&mut values)?)?;
                cursor = reply::number(&reply::next(&mut values)?)?.to_string();
                if cursor == "0" {
                    break;
                }
            }
        }
        Ok(changed)
    }

    /// The numbers of `counts.lua`.
    async fn count(&self, queue: Option<&QueueName>) -> Result<Vec<u64>, StoreError> {
        self.numbers(Function::Counts, Timestamp(0), |command| queue_argument(command, queue)).await
    }
}

/// A client for a URL, not connected.
fn client(url: &str) -> Result<Client, StoreError> {
    if url.starts_with("rediss:") || url.starts_with("valkeys:") {
        return Err(StoreError::Refused("TLS to the store (rediss://) is not supported yet".to_owned()));
    }
    // The URL may hold a password: it is named in no message.
    let url = url.replacen("valkey://", "redis://", 1);
    url.into_connection_info().and_then(Client::open).map_err(|_| {
        StoreError::Refused("the store's URL is not redis://host:port or unix:///path".to_owned())
    })
}

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
        match leases::leased(id, &record, &message, content, 0)? {
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

    async fn set_queue_modes(&self, modes: &[(QueueName, QueueMode)]) -> Result<(), StoreError> {
        if modes.len() > 1_000 {
            return Err(StoreError::Refused(format!("{} queue modes in one call", modes.len())));
        }
        self.code(Function::SetQueueModes, Timestamp(0), |command| {
            command.arg(modes.len());
            for (queue, mode) in modes {
                command.arg(&queue_hash(queue)[..]).arg(mode.hold.map_or(0, HoldReason::number));
                command.arg(wire::time(Timestamp(mode.generation)));
            }
        })
        .await
        .map(drop)
    }

    async fn release(&self, release: &Release) -> Result<u64, StoreError> {
        let Release { id, scope, reason, at } = release;
        let numbers = self
            .numbers(Function::Release, *at, |command| {
                command.arg(&id.0[..]).arg(reason.number());
                match scope {
                    ReleaseScope::Queue(queue) => command.arg(&queue_hash(queue)[..]),
                    ReleaseScope::All => command.arg("*"),
                };
                command.arg(RELEASES_KEPT);
            })
            .await?;
        numbers.first().copied().ok_or_else(|| reply::unexpected("release"))
    }

    async fn claim(
        &self,
        who: Incarnation,
        id: ClaimId,
        queue: &QueueName,
        max: u32,
        now: Timestamp,
    ) -> Result<Option<Claim>, StoreError> {
        let reply = self
            .call(Function::Claim, now, |command| {
                command.arg(&who.0[..]).arg(&id.0[..]).arg(&queue_hash(queue)[..]).arg(max);
            })
            .await?;
        let (code, mut values) = reply::coded(reply)?;
        if code == 0 {
            return Ok(None);
        }
        let entries = reply::array(reply::next(&mut values)?)?.into_iter().map(leases::entry_id);
        Ok(Some(Claim { id, who, queue: queue.clone(), entries: entries.collect::<Result<_, _>>()? }))
    }

    async fn unclaim(&self, id: ClaimId, queue: &QueueName) -> Result<(), StoreError> {
        self.code(Function::Unclaim, Timestamp(0), |command| {
            command.arg(&id.0[..]).arg(&queue_hash(queue)[..]);
        })
        .await
        .map(drop)
    }

    async fn act(&self, id: EntryId, act: Act, now: Timestamp) -> Result<Acted, StoreError> {
        if id.shard() != SHARD {
            return Ok(Acted::NotThere);
        }
        let name = match act {
            Act::Hold => "hold",
            Act::Release => "release",
            Act::Retry => "retry",
        };
        let code = self
            .code(Function::Act, now, |command| {
                command.arg(&wire::entry_key(id)[..]).arg(name);
            })
            .await?;
        Ok(match code {
            0 => Acted::NotThere,
            1 => Acted::Done,
            2 => Acted::Busy,
            _ => Acted::NotApplicable,
        })
    }

    async fn retry(&self, queue: Option<&QueueName>, now: Timestamp) -> Result<u64, StoreError> {
        self.sweep("retry", queue, now).await
    }

    async fn hold(&self, queue: Option<&QueueName>, now: Timestamp) -> Result<u64, StoreError> {
        self.sweep("hold", queue, now).await
    }

    async fn counts(&self, queue: Option<&QueueName>) -> Result<Counts, StoreError> {
        let numbers = self.count(queue).await?;
        let [incoming, due, deferred, held, active, ..] = numbers[..] else {
            return Err(reply::unexpected("counts"));
        };
        Ok(Counts { incoming, due, deferred, held, active })
    }

    async fn held(&self, queue: &QueueName, reason: HoldReason) -> Result<u64, StoreError> {
        let numbers = self.count(Some(queue)).await?;
        numbers.get(4 + usize::from(reason.number())).copied().ok_or_else(|| reply::unexpected("counts"))
    }

    async fn accounting(&self) -> Result<Accounting, StoreError> {
        let mut ask = redis::cmd("HMGET");
        ask.arg(&self.keys.counters).arg(&[
            "accepted",
            "expanded",
            "generated",
            "delivered",
            "relayed",
            "failed",
            "fetched",
            "deleted",
            "discarded",
            "queued",
        ]);
        let numbers: Vec<u64> = reply::array(self.link.send(&ask).await?)?
            .iter()
            .map(|value| if matches!(value, Value::Nil) { Ok(0) } else { reply::number(value) })
            .collect::<Result<_, _>>()?;
        let [accepted, expanded, generated, delivered, relayed, failed, fetched, deleted, discarded, queued] =
            numbers[..]
        else {
            return Err(reply::unexpected("accounting"));
        };
        Ok(Accounting {
            accepted,
            expanded,
            generated,
            delivered,
            relayed,
            failed,
            fetched,
            deleted,
            discarded,
            queued,
        })
    }

    async fn list(&self, filter: &ListFilter, from: u64, max: u32) -> Result<ListPage, StoreError> {
        let ListFilter { queue, state } = filter;
        // Where to go on: the server's cursor within a bucket, and the bucket in the lowest bits.
        let (mut cursor, mut bucket) = (from / BUCKETS as u64, from % BUCKETS as u64);
        let mut entries: Vec<EntrySummary> = Vec::new();
        loop {
            let reply = self
                .call(Function::List, Timestamp(0), |command| {
                    queue_argument(command, queue.as_ref());
                    command.arg(state.map_or(0, wire::state_number)).arg(bucket).arg(cursor);
                    command.arg(max.clamp(10, SCANNED_PER_CALL));
                })
                .await?;
            let mut values = reply::array(reply)?.into_iter();
            cursor = reply::number(&reply::next(&mut values)?)?;
            entries.extend(leases::summaries(values)?);
            if cursor == 0 {
                bucket += 1;
            }
            if bucket >= BUCKETS as u64 {
                return Ok(ListPage { entries, next: None });
            }
            if entries.len() >= max as usize {
                return Ok(ListPage { entries, next: Some(cursor * BUCKETS as u64 + bucket) });
            }
        }
    }

    async fn show(&self, id: EntryId) -> Result<Option<EntrySummary>, StoreError> {
        let reply = self
            .call(Function::List, Timestamp(0), |command| {
                command.arg(&wire::entry_key(id)[..]);
            })
            .await?;
        Ok(leases::summaries(reply::array(reply)?.into_iter().skip(1))?.pop())
    }

    async fn take_permits(
        &self,
        who: Incarnation,
        next_hop: &str,
        wanted: u32,
        limit: u32,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        let reply = self
            .call(Function::TakePermits, now, |command| {
                command.arg(&who.0[..]).arg(next_hop).arg(wanted).arg(limit);
            })
            .await?;
        let (_, mut values) = reply::coded(reply)?;
        granted(&reply::next(&mut values)?)
    }

    async fn return_permits(&self, who: Incarnation, next_hop: &str, permits: u32) -> Result<(), StoreError> {
        self.code(Function::ReturnPermits, Timestamp(0), |command| {
            command.arg(&who.0[..]).arg(next_hop).arg(permits);
        })
        .await
        .map(drop)
    }

    async fn take_rate(
        &self,
        key: &str,
        wanted: u32,
        limit: u32,
        per_ms: u64,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        let reply = self
            .call(Function::TakeRate, now, |command| {
                command.arg(key).arg(wanted).arg(limit).arg(wire::time(Timestamp(per_ms)));
            })
            .await?;
        granted(&reply::next(&mut reply::array(reply)?.into_iter())?)
    }

    async fn put_fact(
        &self,
        kind: FactKind,
        key: &str,
        value: &str,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        if key.len() > 255 || value.len() > 1_024 {
            return Err(StoreError::Refused(
                "a fact has a key of at most 255 and a value of at most 1,024 octets".to_owned(),
            ));
        }
        self.code(Function::PutFact, Timestamp(0), |command| {
            command.arg(fact_field(kind, key)).arg(wire::time(until)).arg(value);
        })
        .await
        .map(drop)
    }

    async fn fact(&self, kind: FactKind, key: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
        let mut ask = redis::cmd("HGET");
        ask.arg(&self.keys.facts).arg(fact_field(kind, key));
        let raw = reply::octets(self.link.send(&ask).await?)?;
        let Some((until, value)) = raw.split_first_chunk::<8>() else { return Ok(None) };
        let over = wire::time(now) >= u64::from_be_bytes(*until);
        Ok((!over).then(|| String::from_utf8_lossy(value).into_owned()))
    }

    async fn drop_fact(&self, kind: FactKind, key: &str) -> Result<(), StoreError> {
        self.code(Function::DropFact, Timestamp(0), |command| {
            command.arg(fact_field(kind, key));
        })
        .await
        .map(drop)
    }

    async fn plan_job(&self, key: &str, nominal: Timestamp) -> Result<(), StoreError> {
        if key.len() > 512 {
            return Err(StoreError::Refused("a job's key has at most 512 octets".to_owned()));
        }
        self.code(Function::PlanJob, Timestamp(0), |command| {
            command.arg(key).arg(wire::time(nominal));
        })
        .await
        .map(drop)
    }

    async fn drop_job(&self, key: &str) -> Result<(), StoreError> {
        self.code(Function::DropJob, Timestamp(0), |command| {
            command.arg(key);
        })
        .await
        .map(drop)
    }

    async fn job(&self, key: &str) -> Result<Option<Job>, StoreError> {
        let mut ask = redis::cmd("HGET");
        ask.arg(&self.keys.jobs).arg(key);
        let raw = reply::octets(self.link.send(&ask).await?)?;
        if raw.is_empty() { Ok(None) } else { job(key.to_owned(), &raw).map(Some) }
    }

    async fn lease_jobs(
        &self,
        who: Incarnation,
        max: u32,
        now: Timestamp,
    ) -> Result<Vec<LeasedJob>, StoreError> {
        let reply = self
            .call(Function::LeaseJobs, now, |command| {
                command.arg(&who.0[..]).arg(max.min(1_000));
            })
            .await?;
        let (_, mut values) = reply::coded(reply)?;
        let mut leased = Vec::new();
        while let Some(key) = values.next() {
            let key = String::from_utf8_lossy(&reply::octets(key)?).into_owned();
            let job = job(key, &reply::octets(reply::next(&mut values)?)?)?;
            leased.push(LeasedJob { job, token: LeaseToken(reply::number(&reply::next(&mut values)?)?) });
        }
        Ok(leased)
    }

    async fn finish_job(
        &self,
        who: Incarnation,
        key: &str,
        token: LeaseToken,
        run: &JobRun,
    ) -> Result<Settled, StoreError> {
        let JobRun { started, missed, next } = run;
        let code = self
            .code(Function::FinishJob, Timestamp(0), |command| {
                command.arg(&who.0[..]).arg(key).arg(token.0);
                for time in [started, missed, next] {
                    command.arg(time.map(|time| wire::time(time).to_string()).unwrap_or_default());
                }
            })
            .await?;
        Ok(if code == 1 { Settled::Done } else { Settled::Stale })
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

/// Adds a queue's hash, or the empty argument for all queues.
fn queue_argument(command: &mut Cmd, queue: Option<&QueueName>) {
    match queue {
        Some(queue) => command.arg(&queue_hash(queue)[..]),
        None => command.arg(""),
    };
}

/// Why a function refused.
fn reason(values: Vec<Value>) -> String {
    let text = values.into_iter().nth(1).and_then(|value| reply::octets(value).ok()).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

/// How many were granted: never more than was asked for, a 32-bit number.
fn granted(value: &Value) -> Result<u32, StoreError> {
    u32::try_from(reply::number(value)?).map_err(|_| reply::unexpected("granted"))
}

/// Where a fact stands.
fn fact_field(kind: FactKind, key: &str) -> Vec<u8> {
    [&[kind.number()], key.as_bytes()].concat()
}

/// A job from its record: nominal time, last run and missed run (each one more than it is; 0: none).
fn job(key: String, raw: &[u8]) -> Result<Job, StoreError> {
    let mut numbers = raw.chunks_exact(8).filter_map(|octets| octets.try_into().ok().map(u64::from_be_bytes));
    let (Some(nominal), Some(last), Some(missed)) = (numbers.next(), numbers.next(), numbers.next()) else {
        return Err(reply::unexpected("a job's record"));
    };
    let run = |number: u64| number.checked_sub(1).map(wire::timestamp);
    Ok(Job { key, nominal: wire::timestamp(nominal), last_run: run(last), missed_run: run(missed) })
}
