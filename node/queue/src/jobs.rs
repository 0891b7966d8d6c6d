//! Timed jobs and facts with a lifetime: what the cluster remembers beside mail. No I/O.

use posthouse_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::lease::LeaseToken;

/// A timed job: a POP3 pick-up, an ETRN or ATRN call, a scheduled release. One node runs it at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its key: kind and resource, at most 512 octets (`pop3 mail/isp-box`).
    pub key: String,
    /// The nominal time of the next run, by its schedule.
    pub nominal: Timestamp,
    /// When it last ran (its start), if it ever did.
    pub last_run: Option<Timestamp>,
    /// The nominal time of the latest run that was missed: nobody could run it before the next one was due.
    pub missed_run: Option<Timestamp>,
}

/// A job that this incarnation is to run now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedJob {
    /// The job as it stands.
    pub job: Job,
    /// The proof for [`Store::finish_job`](crate::Store::finish_job).
    pub token: LeaseToken,
}

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobRun {
    /// When it started; `None` if it did not run after all (given back, or skipped as missed).
    pub started: Option<Timestamp>,
    /// The nominal time that was passed over without a run, if one was.
    pub missed: Option<Timestamp>,
    /// The next nominal time; `None` ends the job and removes it.
    pub next: Option<Timestamp>,
}

/// What kind of fact: kinds do not see each other's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FactKind {
    /// A login was seen from an address (POP-before-SMTP): key address, value login.
    LoginAddress,
    /// A client is blocked: key address, value why.
    BlockedClient,
}

impl FactKind {
    /// The number in records and scripts.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::LoginAddress => 1,
            Self::BlockedClient => 2,
        }
    }
}
