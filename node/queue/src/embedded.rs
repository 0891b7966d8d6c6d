//! The embedded store: the whole [`Store`](crate::Store) for one process, on disk. Files and two threads of its own.
//!
//! * `state`: everything in memory, pure; what an operation changes for good is a list of effects.
//! * `log`: the effects in append-only segments; the only thing that is synced before an enqueue is confirmed. One committer thread writes
//!   what waits with one call and one sync for all.
//! * `index.redb`: an index over the log, written in checkpoints by a housekeeper thread. Recovery loads it and replays the log behind it.
//! * `content/`: content of more than one chunk, a file for each message.
//! * `damaged/`: what a start could not read of the log, a file for each place; nothing reads it again.
//!
//! Enqueues and what people do are on disk when they are answered. A settle and an activation are in the log's file when they are
//! answered, so a killed process does not lose them, and on disk within 20 ms.

mod committer;
mod compaction;
mod content;
mod core;
mod damage;
mod database;
mod effect;
mod housekeeper;
mod log;
mod operations;
mod reader;
mod recovery;
mod slab;
mod state;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    path::Path,
    sync::{Arc, PoisonError},
    thread::JoinHandle,
};

use posthouse_model::ShardId;

use self::core::Shared;
use crate::store::StoreError;

/// The one shard there is.
const SHARD: ShardId = ShardId(0);

/// Octets of a segment of the log.
const SEGMENT_SIZE: u32 = 64 << 20;

/// What tests change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) segment_size: u32,
    /// Octets that the log may take on disk.
    pub(crate) quota: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_size: SEGMENT_SIZE, quota: None }
    }
}

/// A queue in a folder of this machine, for one process.
///
/// Dropping it writes what is left and waits for its threads; do that where blocking for a moment does no harm.
#[derive(Debug)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    committer: Option<JoinHandle<()>>,
    housekeeper: Option<JoinHandle<()>>,
    /// Held until everything is closed.
    _lock: File,
}

impl EmbeddedStore {
    /// Opens the queue in a folder, which is made if it is not there. Blocks while the log is replayed; begin with it, or do it where
    /// blocking does no harm. [`StoreError::Unavailable`]: another process has the folder open. [`StoreError::Refused`]: another try alone
    /// helps nothing; the folder is as it was, and the message names it and what to do.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(dir.as_ref(), Options::default())
    }

    pub(crate) fn open_with(dir: &Path, options: Options) -> Result<Self, StoreError> {
        let recovery::Opened { shared, index, current, lock } = recovery::open(dir, options)?;
        let shared = Arc::new(shared);
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(run)
                .map_err(|error| StoreError::Refused(format!("no thread for the queue: {error}")))
        };
        let committing = shared.clone();
        let committer = spawn("queue-committer", Box::new(move || committer::run(&committing, current)))?;
        let keeping = shared.clone();
        let housekeeper = spawn("queue-keeper", Box::new(move || housekeeper::run(&keeping, &index)))?;
        Ok(Self { shared, committer: Some(committer), housekeeper: Some(housekeeper), _lock: lock })
    }

    /// Ends the threads; `clean`: after what is left was written.
    fn end(&mut self, clean: bool) {
        if clean {
            self.stop_housekeeper();
        }
        {
            let mut inner = self.shared.lock_anyway();
            inner.stopping = true;
            if !clean {
                inner.failed = Some("the store is closed".to_owned());
                inner.pieces.clear();
            }
        }
        self.shared.work.notify_one();
        if let Some(committer) = self.committer.take() {
            let _ = committer.join(); // it said in the log why it ended, if it had to
        }
        self.stop_housekeeper();
        self.shared.lock_anyway().failed = Some("the store is closed".to_owned());
    }

    fn stop_housekeeper(&mut self) {
        {
            let mut chores = self.shared.chores.lock().unwrap_or_else(PoisonError::into_inner);
            chores.stop = true;
        }
        self.shared.chores_changed.notify_one();
        if let Some(housekeeper) = self.housekeeper.take() {
            let _ = housekeeper.join(); // what it left undone, the next start does
        }
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.end(true);
    }
}
