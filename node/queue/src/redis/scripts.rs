//! The functions that run inside Redis: their sources, put together with what they share, and the names by which they are called. No I/O.

/// What is put in front of every function, in an order in which each part stands behind those that it uses. All of them are locals of the
/// one chunk that a function is; Lua allows it 200.
const COMMON: [&str; 16] = [
    include_str!("../../scripts/common/keys.lua"),
    include_str!("../../scripts/common/counters.lua"),
    include_str!("../../scripts/common/indexes.lua"),
    include_str!("../../scripts/common/lanes.lua"),
    include_str!("../../scripts/common/queues.lua"),
    include_str!("../../scripts/common/batch.lua"),
    include_str!("../../scripts/common/incarnations.lua"),
    include_str!("../../scripts/common/messages.lua"),
    include_str!("../../scripts/common/entries.lua"),
    include_str!("../../scripts/common/releases.lua"),
    include_str!("../../scripts/common/claims.lua"),
    include_str!("../../scripts/common/holds.lua"),
    include_str!("../../scripts/common/leases.lua"),
    include_str!("../../scripts/common/quarantine.lua"),
    include_str!("../../scripts/common/ripening.lua"),
    include_str!("../../scripts/common/contents.lua"),
];

macro_rules! functions {
    ($($variant:ident => $file:literal),* $(,)?) => {
        /// A function; what it takes and answers is said at the head of its file in `scripts/`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Function {
            $($variant),*
        }

        impl Function {
            /// File names and sources in the order of the variants.
            const SOURCES: &[(&str, &str)] =
                &[$(($file, include_str!(concat!("../../scripts/", $file, ".lua")))),*];
        }
    };
}

functions! {
    Act => "act",
    Claim => "claim",
    Commit => "commit",
    Counts => "counts",
    DropChunks => "drop_chunks",
    DropFact => "drop_fact",
    DropJob => "drop_job",
    Enqueue => "enqueue",
    FinishJob => "finish_job",
    Heartbeat => "heartbeat",
    Lease => "lease",
    LeaseEntry => "lease_entry",
    LeaseJobs => "lease_jobs",
    List => "list",
    OpenLanes => "open_lanes",
    PlanJob => "plan_job",
    PutChunk => "put_chunk",
    PutFact => "put_fact",
    Quarantine => "quarantine",
    QueueTotals => "queue_totals",
    Reap => "reap",
    Release => "release",
    Reserve => "reserve",
    ReturnPermits => "return_permits",
    SetQueueModes => "set_queue_modes",
    Sweep => "sweep",
    TakePermits => "take_permits",
    TakeRate => "take_rate",
    Unclaim => "unclaim",
}

impl Function {
    /// Its file's name, for messages.
    pub(super) fn name(self) -> &'static str {
        Self::SOURCES.get(self as usize).map_or("?", |(name, _)| name)
    }
}

/// The functions as they are loaded.
#[derive(Debug)]
pub(super) struct Library(Vec<redis::Script>, Vec<String>);

impl Library {
    /// Puts every function together with what they share.
    pub(super) fn new() -> Self {
        let sources: Vec<String> = Function::SOURCES.iter().map(|(_, source)| whole(source)).collect();
        Self(sources.iter().map(|source| redis::Script::new(source)).collect(), sources)
    }

    /// The SHA-1 by which a function is called.
    pub(super) fn sha(&self, function: Function) -> &str {
        self.0.get(function as usize).map_or("", redis::Script::get_hash)
    }

    /// All sources, to be loaded.
    pub(super) fn sources(&self) -> impl Iterator<Item = &str> {
        self.1.iter().map(String::as_str)
    }
}

/// The first line, `#!lua` and its flags, has to stay the first.
fn whole(source: &str) -> String {
    let (flags, body) = source.split_once('\n').unwrap_or(("#!lua", source));
    format!("{flags}\n{}\n{body}", COMMON.join("\n"))
}
