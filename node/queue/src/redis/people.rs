//! Modes, holds, releases and claims, and what people do and see: over the functions in the server. I/O.

use posthouse_model::{EntryId, Incarnation, QueueName, Timestamp};
use redis::{Cmd, Value};

use super::{
    RELEASES_KEPT, RedisStore, SCANNED_PER_CALL, SHARD,
    keys::{BUCKETS, queue_hash},
    leases, reply,
    scripts::Function,
    wire,
};
use crate::{
    Accounting, Act, Acted, Claim, ClaimId, Counts, EntrySummary, HoldReason, ListFilter, ListPage,
    QueueTotals, Release, ReleaseScope, StoreError, TotalsPage,
};

/// The most modes in one call: bounds the function.
const MAX_MODES: usize = 1_000;

pub(super) async fn set_queue_modes(
    store: &RedisStore,
    generation: u64,
    modes: &[(QueueName, Option<HoldReason>)],
    now: Timestamp,
) -> Result<u64, StoreError> {
    if modes.len() > MAX_MODES {
        return Err(StoreError::Refused(format!(
            "{} queue modes in one call; the most are {MAX_MODES}",
            modes.len()
        )));
    }
    let numbers = store
        .numbers(Function::SetQueueModes, now, |command| {
            command.arg(wire::time(Timestamp(generation))).arg(RELEASES_KEPT).arg(modes.len());
            for (queue, hold) in modes {
                command.arg(&queue_hash(queue)[..]).arg(hold.map_or(0, HoldReason::number));
            }
        })
        .await?;
    numbers.first().copied().ok_or_else(|| reply::unexpected("set_queue_modes"))
}

pub(super) async fn release(store: &RedisStore, release: &Release) -> Result<u64, StoreError> {
    let Release { id, scope, reason, at } = release;
    let numbers = store
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

pub(super) async fn claim(
    store: &RedisStore,
    who: Incarnation,
    id: ClaimId,
    queue: &QueueName,
    max: u32,
    now: Timestamp,
) -> Result<Option<Claim>, StoreError> {
    let reply = store
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

pub(super) async fn unclaim(store: &RedisStore, id: ClaimId, queue: &QueueName) -> Result<(), StoreError> {
    store
        .code(Function::Unclaim, Timestamp(0), |command| {
            command.arg(&id.0[..]).arg(&queue_hash(queue)[..]);
        })
        .await
        .map(drop)
}

pub(super) async fn act(
    store: &RedisStore,
    id: EntryId,
    act: Act,
    now: Timestamp,
) -> Result<Acted, StoreError> {
    if id.shard() != SHARD {
        return Ok(Acted::NotThere);
    }
    let name = match act {
        Act::Hold => "hold",
        Act::Release => "release",
        Act::Retry => "retry",
    };
    let code = store
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

pub(super) async fn retry(
    store: &RedisStore,
    queue: Option<&QueueName>,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let opened = parts(store, Function::OpenLanes, now, |command, cursor| {
        queue_argument(command, queue);
        command.arg(cursor).arg(SCANNED_PER_CALL);
    })
    .await?;
    Ok(opened + sweep(store, "retry", queue, now).await?)
}

pub(super) async fn hold(
    store: &RedisStore,
    queue: Option<&QueueName>,
    now: Timestamp,
) -> Result<u64, StoreError> {
    sweep(store, "hold", queue, now).await
}

pub(super) async fn counts(store: &RedisStore, queue: Option<&QueueName>) -> Result<Counts, StoreError> {
    let numbers = count(store, queue).await?;
    let [incoming, due, deferred, held, active, ..] = numbers[..] else {
        return Err(reply::unexpected("counts"));
    };
    Ok(Counts { incoming, due, deferred, held, active })
}

pub(super) async fn queue_totals(store: &RedisStore, from: u64, max: u32) -> Result<TotalsPage, StoreError> {
    let reply = store
        .call(Function::QueueTotals, Timestamp(0), |command| {
            command.arg(from).arg(max.clamp(10, SCANNED_PER_CALL));
        })
        .await?;
    let mut values = reply::array(reply)?.into_iter();
    let next = reply::number(&reply::next(&mut values)?)?;
    let mut queues = Vec::new();
    while let Some(hash) = values.next() {
        let hash = reply::octets(hash)?;
        let name = reply::octets(reply::next(&mut values)?)?;
        let mut number = || reply::number(&reply::next(&mut values)?);
        let (incoming, due, deferred) = (number()?, number()?, number()?);
        let (held, active) = (number()?, number()?);
        let counts = Counts { incoming, due, deferred, held, active };
        let oldest = reply::octets(reply::next(&mut values)?)?;
        let oldest = wire::entry_id(&oldest).map(|id| Timestamp(id.message.time_ms()));
        let queue = str::from_utf8(&name).ok().and_then(|name| QueueName::new(name).ok());
        // Without its name, all that a queue has are records that cannot be read: those are listed one by one, for quarantine.
        let queue = queue.filter(|queue| queue_hash(queue)[..] == hash[..]);
        queues.extend(queue.map(|queue| QueueTotals { queue, counts, oldest }));
    }
    Ok(TotalsPage { queues, next: (next > 0).then_some(next) })
}

pub(super) async fn held(
    store: &RedisStore,
    queue: &QueueName,
    reason: HoldReason,
) -> Result<u64, StoreError> {
    let numbers = count(store, Some(queue)).await?;
    numbers.get(4 + usize::from(reason.number())).copied().ok_or_else(|| reply::unexpected("counts"))
}

pub(super) async fn accounting(store: &RedisStore) -> Result<Accounting, StoreError> {
    let mut ask = redis::cmd("HMGET");
    ask.arg(&store.keys.counters).arg(&[
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
    let numbers: Vec<u64> = reply::array(store.link.send(&ask).await?)?
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

pub(super) async fn list(
    store: &RedisStore,
    filter: &ListFilter,
    from: u64,
    max: u32,
) -> Result<ListPage, StoreError> {
    let ListFilter { queue, state } = filter;
    // Where to go on: the server's cursor within a bucket, and the bucket in the lowest bits.
    let (mut cursor, mut bucket) = (from / BUCKETS as u64, from % BUCKETS as u64);
    let mut entries: Vec<EntrySummary> = Vec::new();
    loop {
        let reply = store
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

pub(super) async fn show(store: &RedisStore, id: EntryId) -> Result<Option<EntrySummary>, StoreError> {
    let reply = store
        .call(Function::List, Timestamp(0), |command| {
            command.arg(&wire::entry_key(id)[..]);
        })
        .await?;
    Ok(leases::summaries(reply::array(reply)?.into_iter().skip(1))?.pop())
}

/// Goes through all records in parts, with `sweep.lua`.
async fn sweep(
    store: &RedisStore,
    act: &str,
    queue: Option<&QueueName>,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut changed = 0;
    for bucket in 0..BUCKETS {
        changed += parts(store, Function::Sweep, now, |command, cursor| {
            command.arg(act);
            queue_argument(command, queue);
            command.arg(bucket).arg(cursor).arg(SCANNED_PER_CALL);
        })
        .await?;
    }
    Ok(changed)
}

/// Calls a function that answers how many it has changed and the cursor of its next part, until there is none.
async fn parts(
    store: &RedisStore,
    function: Function,
    now: Timestamp,
    arguments: impl Fn(&mut Cmd, &str),
) -> Result<u64, StoreError> {
    let (mut changed, mut cursor) = (0, "0".to_owned());
    loop {
        let reply = store.call(function, now, |command| arguments(command, &cursor)).await?;
        let mut values = reply::array(reply)?.into_iter();
        changed += reply::number(&reply::next(&mut values)?)?;
        cursor = reply::number(&reply::next(&mut values)?)?.to_string();
        if cursor == "0" {
            return Ok(changed);
        }
    }
}

/// The numbers of `counts.lua`.
async fn count(store: &RedisStore, queue: Option<&QueueName>) -> Result<Vec<u64>, StoreError> {
    store.numbers(Function::Counts, Timestamp(0), |command| queue_argument(command, queue)).await
}

/// Adds a queue's hash, or the empty argument for all queues.
fn queue_argument(command: &mut Cmd, queue: Option<&QueueName>) {
    match queue {
        Some(queue) => command.arg(&queue_hash(queue)[..]),
        None => command.arg(""),
    };
}
