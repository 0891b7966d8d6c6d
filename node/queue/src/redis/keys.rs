//! The keys of a shard: a fixed number, one hash tag, so that every function runs in one slot of a cluster. No I/O.

use posthouse_model::{MessageId, QueueName};
use sha2::{Digest, Sha256};

/// Buckets of records, and as many of inline contents: hashes small enough to be moved and scanned in parts.
pub(super) const BUCKETS: usize = 16;

/// What stands behind the buckets, in the order in which `common/keys.lua` names it.
const INDEXES: [&str; 27] = [
    "due", "held", "owned", "deferred", "attend", "ready", "wait", "backed", "drain", "lanes", "queues",
    "releases", "relids", "claims", "hb", "cnt", "budget", "permits", "rates", "ratex", "facts", "factx",
    "jobs", "jobx", "jobown", "tomb", "ages",
];

/// How many keys every function gets.
pub(super) const FIXED: usize = 2 * BUCKETS + INDEXES.len();

/// The names of one shard's keys.
#[derive(Debug)]
pub(super) struct Keys {
    prefix: String,
    /// Those that every function gets, in their order.
    pub(super) fixed: Vec<String>,
    /// The channel of wake-ups.
    pub(super) channel: String,
    /// Format version and number of shards.
    pub(super) meta: String,
    /// Counters.
    pub(super) counters: String,
    /// Facts.
    pub(super) facts: String,
    /// Jobs.
    pub(super) jobs: String,
    /// Written before every WAIT, so that it waits for something.
    pub(super) barrier: String,
}

impl Keys {
    /// The keys of shard 0 of a queue.
    pub(super) fn new(queue_id: &str) -> Self {
        let prefix = format!("ph:{{{queue_id}.0}}:");
        let name = |suffix: &str| format!("{prefix}{suffix}");
        let buckets = (0..BUCKETS).map(|number| name(&format!("b:{number}")));
        let contents = (0..BUCKETS).map(|number| name(&format!("k:{number}")));
        Self {
            fixed: buckets.chain(contents).chain(INDEXES.iter().map(|suffix| name(suffix))).collect(),
            channel: name("wake"),
            meta: name("meta"),
            counters: name("cnt"),
            facts: name("facts"),
            jobs: name("jobs"),
            barrier: name("barrier"),
            prefix,
        }
    }

    /// The id of the queue, as its keys have it.
    pub(super) fn queue_id(&self) -> &str {
        let name = self.prefix.strip_prefix("ph:{").and_then(|rest| rest.strip_suffix(".0}:"));
        name.unwrap_or_default() // `new` made it so
    }

    /// The bucket of a message's inline content.
    pub(super) fn inline(&self, id: MessageId) -> &str {
        let [.., last] = id.to_bytes();
        self.fixed.get(BUCKETS + usize::from(last) % BUCKETS).map_or("", String::as_str)
    }

    /// The key of a message's chunked content.
    pub(super) fn content(&self, id: MessageId) -> String {
        format!("{}c:{id}", self.prefix)
    }
}

/// A queue's number in records and indexes: the first 64 bits of SHA-256 over its name.
pub(super) fn queue_hash(queue: &QueueName) -> [u8; 8] {
    let digest: [u8; 32] = Sha256::digest(queue.as_str().as_bytes()).into();
    let mut hash = [0; 8];
    hash.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    hash
}
