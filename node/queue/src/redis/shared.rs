//! What nodes share besides mail: permits, rates, facts and timed jobs. I/O.

use posthouse_model::{Incarnation, Timestamp};
use redis::Value;

use super::{RedisStore, reply, scripts::Function, wire};
use crate::{FactKind, Job, JobRun, LeaseToken, LeasedJob, Settled, StoreError};

pub(super) async fn take_permits(
    store: &RedisStore,
    who: Incarnation,
    next_hop: &str,
    wanted: u32,
    limit: u32,
    now: Timestamp,
) -> Result<u32, StoreError> {
    let reply = store
        .call(Function::TakePermits, now, |command| {
            command.arg(&who.0[..]).arg(next_hop).arg(wanted).arg(limit);
        })
        .await?;
    let (_, mut values) = reply::coded(reply)?;
    granted(&reply::next(&mut values)?)
}

pub(super) async fn return_permits(
    store: &RedisStore,
    who: Incarnation,
    next_hop: &str,
    permits: u32,
) -> Result<(), StoreError> {
    store
        .code(Function::ReturnPermits, Timestamp(0), |command| {
            command.arg(&who.0[..]).arg(next_hop).arg(permits);
        })
        .await
        .map(drop)
}

pub(super) async fn take_rate(
    store: &RedisStore,
    key: &str,
    wanted: u32,
    limit: u32,
    per_ms: u64,
    now: Timestamp,
) -> Result<u32, StoreError> {
    let reply = store
        .call(Function::TakeRate, now, |command| {
            command.arg(key).arg(wanted).arg(limit).arg(wire::time(Timestamp(per_ms)));
        })
        .await?;
    granted(&reply::next(&mut reply::array(reply)?.into_iter())?)
}

pub(super) async fn put_fact(
    store: &RedisStore,
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
    store
        .code(Function::PutFact, Timestamp(0), |command| {
            command.arg(fact_field(kind, key)).arg(wire::time(until)).arg(value);
        })
        .await
        .map(drop)
}

pub(super) async fn fact(
    store: &RedisStore,
    kind: FactKind,
    key: &str,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let mut ask = redis::cmd("HGET");
    ask.arg(&store.keys.facts).arg(fact_field(kind, key));
    let raw = reply::octets(store.link.send(&ask).await?)?;
    let Some((until, value)) = raw.split_first_chunk::<8>() else { return Ok(None) };
    let over = wire::time(now) >= u64::from_be_bytes(*until);
    Ok((!over).then(|| String::from_utf8_lossy(value).into_owned()))
}

pub(super) async fn drop_fact(store: &RedisStore, kind: FactKind, key: &str) -> Result<(), StoreError> {
    store
        .code(Function::DropFact, Timestamp(0), |command| {
            command.arg(fact_field(kind, key));
        })
        .await
        .map(drop)
}

pub(super) async fn plan_job(store: &RedisStore, key: &str, nominal: Timestamp) -> Result<(), StoreError> {
    if key.len() > 512 {
        return Err(StoreError::Refused("a job's key has at most 512 octets".to_owned()));
    }
    store
        .code(Function::PlanJob, Timestamp(0), |command| {
            command.arg(key).arg(wire::time(nominal));
        })
        .await
        .map(drop)
}

pub(super) async fn drop_job(store: &RedisStore, key: &str) -> Result<(), StoreError> {
    store
        .code(Function::DropJob, Timestamp(0), |command| {
            command.arg(key);
        })
        .await
        .map(drop)
}

pub(super) async fn job(store: &RedisStore, key: &str) -> Result<Option<Job>, StoreError> {
    let mut ask = redis::cmd("HGET");
    ask.arg(&store.keys.jobs).arg(key);
    let raw = reply::octets(store.link.send(&ask).await?)?;
    if raw.is_empty() { Ok(None) } else { read_job(key.to_owned(), &raw).map(Some) }
}

pub(super) async fn lease_jobs(
    store: &RedisStore,
    who: Incarnation,
    max: u32,
    now: Timestamp,
) -> Result<Vec<LeasedJob>, StoreError> {
    let reply = store
        .call(Function::LeaseJobs, now, |command| {
            command.arg(&who.0[..]).arg(max.min(1_000));
        })
        .await?;
    let (_, mut values) = reply::coded(reply)?;
    let mut leased = Vec::new();
    while let Some(key) = values.next() {
        let key = String::from_utf8_lossy(&reply::octets(key)?).into_owned();
        let job = read_job(key, &reply::octets(reply::next(&mut values)?)?)?;
        leased.push(LeasedJob { job, token: LeaseToken(reply::number(&reply::next(&mut values)?)?) });
    }
    Ok(leased)
}

pub(super) async fn finish_job(
    store: &RedisStore,
    who: Incarnation,
    key: &str,
    token: LeaseToken,
    run: &JobRun,
) -> Result<Settled, StoreError> {
    let JobRun { started, missed, next } = run;
    let code = store
        .code(Function::FinishJob, Timestamp(0), |command| {
            command.arg(&who.0[..]).arg(key).arg(token.0);
            for time in [started, missed, next] {
                command.arg(time.map(|time| wire::time(time).to_string()).unwrap_or_default());
            }
        })
        .await?;
    Ok(if code == 1 { Settled::Done } else { Settled::Stale })
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
fn read_job(key: String, raw: &[u8]) -> Result<Job, StoreError> {
    let mut numbers = raw.chunks_exact(8).filter_map(|octets| octets.try_into().ok().map(u64::from_be_bytes));
    let (Some(nominal), Some(last), Some(missed)) = (numbers.next(), numbers.next(), numbers.next()) else {
        return Err(reply::unexpected("a job's record"));
    };
    let run = |number: u64| number.checked_sub(1).map(wire::timestamp);
    Ok(Job { key, nominal: wire::timestamp(nominal), last_run: run(last), missed_run: run(missed) })
}
