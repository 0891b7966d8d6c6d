//! One next hop: the work that waits for it, and the workers that carry it, each on a connection of its own.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use posthouse_model::NextHop;
use posthouse_queue::{LaneId, Leased};
use tokio::sync::Notify;

/// Lanes of one hop that are remembered: a lane that is forgotten is leased from once more, no harm.
const REMEMBERED_LANES: usize = 64;

/// A leased message on its way to a worker.
pub struct Job {
    /// The lease.
    pub leased: Leased,
    /// Its place in the hop's and the node's bounds, given back with the job.
    pub load: Load,
}

/// The state of a next hop on this node.
pub struct Hop {
    /// Its name: the text of the next hop.
    pub name: String,
    /// Where to.
    pub next_hop: NextHop,
    /// Jobs that wait or are carried.
    load: AtomicU32,
    /// Connections in a row that could not be made.
    pub failures: AtomicU32,
    work: Mutex<Work>,
    wake: Notify,
}

#[derive(Default)]
struct Work {
    jobs: VecDeque<Job>,
    workers: u32,
    idle: u32,
    /// The lanes that brought work lately, newest last.
    lanes: VecDeque<LaneId>,
}

/// What became of a job that was handed over.
#[derive(Debug, PartialEq, Eq)]
pub enum Handed {
    /// A worker takes it.
    ToWorker,
    /// It waits; one more worker may be started for it.
    StartWorker,
}

/// One job's share of the bounds; given back when dropped.
pub struct Load {
    hop: Arc<Hop>,
    octets: u64,
    total: Arc<Total>,
}

/// What all hops of a node carry together.
#[derive(Default)]
pub struct Total {
    jobs: AtomicU32,
    octets: std::sync::atomic::AtomicU64,
    /// Somebody waits for a bound to be lifted.
    freed: Notify,
}

impl Total {
    /// Octets of content in memory.
    pub fn octets(&self) -> u64 {
        self.octets.load(Ordering::Relaxed)
    }

    /// Jobs that wait or are carried.
    pub fn jobs(&self) -> u32 {
        self.jobs.load(Ordering::Relaxed)
    }

    /// Waits until a job ends.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.hop.load.fetch_sub(1, Ordering::Relaxed);
        self.total.jobs.fetch_sub(1, Ordering::Relaxed);
        self.total.octets.fetch_sub(self.octets, Ordering::Relaxed);
        self.total.freed.notify_waiters();
    }
}

impl Hop {
    /// A next hop without work.
    #[must_use]
    pub fn new(next_hop: NextHop) -> Self {
        Self {
            name: next_hop.to_string(),
            next_hop,
            load: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            work: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Jobs that wait or are carried.
    pub fn load(&self) -> u32 {
        self.load.load(Ordering::Relaxed)
    }

    /// Whether nobody works for it and nothing waits.
    pub fn is_idle(&self) -> bool {
        let work = self.work();
        self.load() == 0 && work.workers == 0
    }

    /// Takes a share of the bounds for content of so many octets.
    pub fn take_load(self: &Arc<Self>, total: &Arc<Total>, octets: u64) -> Load {
        self.load.fetch_add(1, Ordering::Relaxed);
        total.jobs.fetch_add(1, Ordering::Relaxed);
        total.octets.fetch_add(octets, Ordering::Relaxed);
        Load { hop: Arc::clone(self), octets, total: Arc::clone(total) }
    }

    /// Hands a job over; says whether a worker has to be started.
    pub fn hand_over(&self, job: Job, most_workers: u32) -> Handed {
        let mut work = self.work();
        work.jobs.push_back(job);
        if work.idle > 0 {
            drop(work);
            self.wake.notify_one();
            Handed::ToWorker
        } else if work.workers < most_workers.max(1) {
            work.workers += 1;
            Handed::StartWorker
        } else {
            Handed::ToWorker
        }
    }

    /// Remembers that this lane leads here.
    pub fn note_lane(&self, lane: LaneId) {
        let mut work = self.work();
        if work.lanes.contains(&lane) {
            return;
        }
        if work.lanes.len() == REMEMBERED_LANES {
            work.lanes.pop_front();
        }
        work.lanes.push_back(lane);
    }

    /// The lanes that brought work lately: not asked for more while the hop has all that it can take.
    pub fn lanes(&self) -> Vec<LaneId> {
        self.work().lanes.iter().copied().collect()
    }

    /// The next job, if there is one.
    pub fn next(&self) -> Option<Job> {
        self.work().jobs.pop_front()
    }

    /// Everything that waits.
    pub fn take_all(&self) -> Vec<Job> {
        self.work().jobs.drain(..).collect()
    }

    /// A worker begins to wait; it calls [`idle_ended`](Self::idle_ended) when it stops waiting.
    pub fn idle_began(&self) {
        self.work().idle += 1;
    }

    /// A worker stops waiting.
    pub fn idle_ended(&self) {
        self.work().idle -= 1;
    }

    /// Waits to be woken for a job.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// A worker ends, unless there is work: then it must go on.
    pub fn try_leave(&self) -> bool {
        let mut work = self.work();
        if !work.jobs.is_empty() {
            return false;
        }
        work.workers -= 1;
        true
    }

    /// A worker ends, whatever waits: answers what waited if it was the last.
    pub fn leave(&self) -> Vec<Job> {
        let mut work = self.work();
        work.workers -= 1;
        if work.workers == 0 { work.jobs.drain(..).collect() } else { Vec::new() }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        // Nobody panics while holding it; if somebody did, the queue of jobs is still one.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
