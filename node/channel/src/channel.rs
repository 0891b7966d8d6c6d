//! The channel of one gateway: pieces, a pointer, reports, totals; over a folder or over Redis. What moves is the same, and so is what it promises.
//!
//! The pointer moves in one step, only forward, and only to a snapshot whose index is there. A reader may find that a piece is gone (it was
//! collected, or lost): then it looks at the pointer again. What a publisher does is done for the holder of the [`Lease`] alone.

use std::{
    collections::{HashMap, HashSet},
    fmt, io,
    path::PathBuf,
};

use posthouse_config::{ChunkName, Epoch, Pointer, Publication};
use posthouse_model::Timestamp;

use crate::{Directory, Holder, Lease, RedisChannel, Report, Totals};

/// Where the pieces of one gateway's snapshots are.
#[derive(Clone, Debug)]
pub enum Channel {
    /// In a folder of this machine. Its calls block for the time of a small file.
    Directory(Directory),
    /// In Redis.
    Redis(RedisChannel),
}

/// What came of an attempt to move the pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It names this publication now.
    Forward,
    /// It names one that is not older: somebody else published meanwhile.
    Outdated(Epoch),
    /// Another one publishes here.
    Held(Holder),
}

/// Why the channel does not answer, or not as it should.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The file system refused.
    #[error("{}: cannot {doing}: {source}", path.display())]
    Io {
        /// What was tried: `read`, `write` …
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Redis cannot be asked, or does not do it.
    #[error("the configuration's Redis: {0}")]
    Redis(String),
    /// What is there is not what belongs there.
    #[error("{what} is damaged: {why}; it is written anew with the next publication")]
    Damaged {
        /// The pointer or a report.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Channel {
    /// What the pointer names; nothing where nothing was published yet.
    pub async fn pointer(&self) -> Result<Option<Pointer>, ChannelError> {
        match self {
            Self::Directory(directory) => directory.pointer(),
            Self::Redis(redis) => redis.pointer().await,
        }
    }

    /// The pieces of these names that are there, as they are: nothing of them is checked.
    pub async fn fetch(&self, names: &[ChunkName]) -> Result<HashMap<ChunkName, Vec<u8>>, ChannelError> {
        match self {
            Self::Directory(directory) => directory.fetch(names),
            Self::Redis(redis) => redis.fetch(names).await,
        }
    }

    /// Takes or renews the publisher's lease; who holds it, if that is another one. A folder belongs to whoever holds its state's lock.
    pub async fn claim(&self, lease: &Lease) -> Result<Option<Holder>, ChannelError> {
        match self {
            Self::Directory(_) => Ok(None),
            Self::Redis(redis) => redis.claim(lease).await,
        }
    }

    /// Gives the lease back, if it is this one's: another publisher need not wait until it lapses.
    pub async fn give_back(&self, lease: &Lease) -> Result<(), ChannelError> {
        match self {
            Self::Directory(_) => Ok(()),
            Self::Redis(redis) => redis.give_back(lease).await,
        }
    }

    /// Uploads the fresh pieces of a publication, then moves the pointer to it and tells those who listen. Doing it twice is doing it once.
    pub async fn publish(&self, publication: &Publication, lease: &Lease) -> Result<Moved, ChannelError> {
        match self {
            Self::Directory(directory) => directory.publish(publication),
            Self::Redis(redis) => redis.publish(publication, lease).await,
        }
    }

    /// The names of the pieces that are there.
    pub async fn names(&self) -> Result<HashSet<ChunkName>, ChannelError> {
        match self {
            Self::Directory(directory) => directory.names(),
            Self::Redis(redis) => redis.names().await,
        }
    }

    /// Removes all pieces but these, if the pointer is still this one.
    pub async fn collect(
        &self,
        pointer: &Pointer,
        keep: &HashSet<ChunkName>,
        lease: &Lease,
    ) -> Result<(), ChannelError> {
        match self {
            Self::Directory(directory) => directory.collect(pointer, keep),
            Self::Redis(redis) => redis.collect(pointer, keep, lease).await,
        }
    }

    /// Replaces a node's report.
    pub async fn report(&self, report: &Report) -> Result<(), ChannelError> {
        match self {
            Self::Directory(directory) => directory.report(report),
            Self::Redis(redis) => redis.report(report).await,
        }
    }

    /// Whether this run's report is there.
    pub async fn has_report(&self, uid: &str) -> Result<bool, ChannelError> {
        match self {
            Self::Directory(directory) => directory.has_report(uid),
            Self::Redis(redis) => redis.has_report(uid).await,
        }
    }

    /// All reports, in no order. One that is damaged is as if it was not there.
    pub async fn reports(&self) -> Result<Vec<Report>, ChannelError> {
        match self {
            Self::Directory(directory) => directory.reports(),
            Self::Redis(redis) => redis.reports().await,
        }
    }

    /// Removes the reports of runs that are over.
    pub async fn forget(&self, uids: &[String], lease: &Lease) -> Result<(), ChannelError> {
        match self {
            Self::Directory(directory) => directory.forget(uids),
            Self::Redis(redis) => redis.forget(uids, lease).await,
        }
    }

    /// When what waits in the queues was counted last.
    pub async fn totals_at(&self) -> Result<Option<Timestamp>, ChannelError> {
        match self {
            Self::Directory(directory) => Ok(directory.totals()?.map(|totals| totals.at)),
            Self::Redis(redis) => redis.totals_at().await,
        }
    }

    /// What waits in the queues. Totals that are damaged are as if they were not there.
    pub async fn totals(&self) -> Result<Option<Totals>, ChannelError> {
        match self {
            Self::Directory(directory) => directory.totals(),
            Self::Redis(redis) => redis.totals().await,
        }
    }

    /// Says what waits in the queues, unless something [later](crate::totals::give_way) is said already; whether it did.
    pub async fn replace_totals(&self, totals: &Totals) -> Result<bool, ChannelError> {
        match self {
            Self::Directory(directory) => directory.replace_totals(totals),
            Self::Redis(redis) => redis.replace_totals(totals).await,
        }
    }
}

impl fmt::Display for Channel {
    /// Where it is, for a person: the URL of a Redis may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => write!(f, "the folder {}", directory.path().display()),
            Self::Redis(redis) => write!(f, "the Redis of the queue {:?}", redis.queue_id()),
        }
    }
}
