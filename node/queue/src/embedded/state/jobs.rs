//! Facts and timed jobs. Pure.

use posthouse_model::{Incarnation, Timestamp};

use super::State;
use crate::{
    embedded::effect::Effect,
    jobs::{FactKind, Job, JobRun, LeasedJob},
    lease::LeaseToken,
    store::StoreError,
};

/// The longest key of a fact.
const MAX_FACT_KEY: usize = 255;

/// The longest value of a fact.
const MAX_FACT_VALUE: usize = 1_024;

/// The longest key of a job.
const MAX_JOB_KEY: usize = 512;

/// The effect of remembering a fact.
pub(crate) fn plan_fact(
    kind: FactKind,
    key: &str,
    value: &str,
    until: Timestamp,
) -> Result<Effect, StoreError> {
    if key.len() > MAX_FACT_KEY || value.len() > MAX_FACT_VALUE {
        return Err(StoreError::Refused(format!(
            "a fact's key has at most {MAX_FACT_KEY} octets and its value {MAX_FACT_VALUE}"
        )));
    }
    Ok(Effect::Fact { kind, key: key.to_owned(), value: value.to_owned(), until })
}

impl State {
    /// See [`Store::fact`](crate::Store::fact).
    pub(crate) fn fact(&self, kind: FactKind, key: &str, now: Timestamp) -> Option<String> {
        let (value, until) = self.facts.get(&(kind, key.to_owned()))?;
        (*until > now).then(|| value.clone())
    }

    /// The effect of planning a job; `None` if that changes nothing.
    pub(crate) fn plan_job(&self, key: &str, nominal: Timestamp) -> Result<Option<Effect>, StoreError> {
        if key.len() > MAX_JOB_KEY {
            return Err(StoreError::Refused(format!("a job's key has at most {MAX_JOB_KEY} octets")));
        }
        let job = match self.jobs.get(key) {
            Some(slot) if slot.lease.is_some() || slot.job.nominal == nominal => return Ok(None),
            Some(slot) => Job { nominal, ..slot.job.clone() },
            None => Job { key: key.to_owned(), nominal, last_run: None, missed_run: None },
        };
        Ok(Some(Effect::Job(job)))
    }

    /// Leases jobs.
    pub(crate) fn lease_jobs(&mut self, who: Incarnation, max: u32, now: Timestamp) -> Vec<LeasedJob> {
        let mut ready: Vec<(Timestamp, String)> = self
            .jobs
            .values()
            .filter(|slot| slot.job.nominal <= now)
            .filter(|slot| slot.lease.is_none_or(|(holder, _)| !self.is_alive(holder, now)))
            .map(|slot| (slot.job.nominal, slot.job.key.clone()))
            .collect();
        ready.sort_unstable();
        let mut leased = Vec::new();
        for (_, key) in ready.into_iter().take(max as usize) {
            let token = self.next_token();
            if let Some(slot) = self.jobs.get_mut(&key) {
                slot.lease = Some((who, token));
                leased.push(LeasedJob { job: slot.job.clone(), token });
            }
        }
        leased
    }

    /// The effect of the end of a run; `None` if the lease is no longer this one.
    pub(crate) fn plan_finish(
        &self,
        who: Incarnation,
        key: &str,
        token: LeaseToken,
        run: &JobRun,
    ) -> Option<Effect> {
        let slot = self.jobs.get(key).filter(|slot| slot.lease == Some((who, token)))?;
        Some(match run.next {
            None => Effect::NoJob { key: key.to_owned() },
            Some(nominal) => Effect::Job(Job {
                key: key.to_owned(),
                nominal,
                last_run: run.started.or(slot.job.last_run),
                missed_run: run.missed.or(slot.job.missed_run),
            }),
        })
    }

    /// Ends the lease of a job.
    pub(crate) fn end_job_lease(&mut self, key: &str) {
        if let Some(slot) = self.jobs.get_mut(key) {
            slot.lease = None;
        }
    }
}
