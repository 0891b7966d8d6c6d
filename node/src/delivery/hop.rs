//! One next hop: the work that waits for it, and the workers that carry it, each on a connection of its own.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use posthouse_model::{NextHop, Timestamp};
use posthouse_queue::{LaneId, Leased};
use tokio::sync::{Mutex as Turns, MutexGuard as Turn, Notify};

use super::{conclude::Lease, means::Means, unreachable::Unreachable};
use crate::presence::Life;

/// How long a far end that refused a connection while others were open is asked for no more than those.
const CROWDED: Duration = Duration::from_mins(1);

/// Lanes of one hop that are remembered: one that is forgotten is leased from once more, and its entry given back.
const REMEMBERED_LANES: usize = 1000;

/// A leased message on its way to a worker.
pub struct Job {
    /// The lease.
    pub leased: Leased,
    /// Whose lease it is.
    pub life: Arc<Life>,
    /// Its place in the hop's and the node's bounds, given back with the job.
    pub load: Load,
}

impl Job {
    /// Its lease, for the settlement.
    pub fn lease(&self) -> Lease<'_> {
        Lease { leased: &self.leased, who: self.life.incarnation() }
    }
}

/// The state of a next hop on this node.
pub struct Hop {
    /// Its name: the text of the next hop.
    pub name: String,
    /// Where to.
    pub next_hop: NextHop,
    /// Jobs that wait or are carried.
    load: AtomicU32,
    work: Mutex<Work>,
    wake: Notify,
    /// Who logs in where it is not known yet whether that works.
    turns: Turns<()>,
}

#[derive(Default)]
struct Work {
    jobs: VecDeque<Job>,
    workers: u32,
    idle: u32,
    /// It stands in the list of those that wait for a place.
    waits: bool,
    /// Outages in a row, and until when the present one keeps the hop waiting.
    outages: u32,
    down_until: Timestamp,
    /// Connections that are open.
    open: u32,
    /// So many connections the far end takes, and until when that is believed: it refused one more while these were open.
    takes: Option<(u32, Instant)>,
    /// Attempts in a row that ended with the loss of the connection in the middle of a transaction.
    losses: u32,
    /// What is known of its login, where it has one.
    login: LoginState,
    /// The lanes that brought work lately, newest last.
    lanes: VecDeque<LaneId>,
}

/// What is known of a next hop's login, by the means that it was tried with: others may do better.
#[derive(Default)]
enum LoginState {
    /// Nothing: one at a time tries it.
    #[default]
    Unknown,
    /// It worked last.
    Works(Means),
    /// The last try failed, and until when that is believed: each one more may be counted against the account.
    Failed(Means, Unreachable, Instant),
}

/// A connection that is open; it is not any more when this is dropped.
pub struct Open(Arc<Hop>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.work().open -= 1;
    }
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
        self.total.freed.notify_one();
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
            work: Mutex::default(),
            wake: Notify::new(),
            turns: Turns::new(()),
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

    /// Hands a job over; true if an idle worker takes it.
    pub fn hand_over(&self, job: Job) -> bool {
        let mut work = self.work();
        work.jobs.push_back(job);
        let taken = work.jobs.len() <= work.idle as usize;
        drop(work);
        if taken {
            self.wake.notify_one();
        }
        taken
    }

    /// One more worker, if there is work for it and there are not `most` already, or as many as the far end is known to take.
    pub fn begin_worker(&self, most: u32) -> bool {
        let mut work = self.work();
        work.takes = work.takes.filter(|(_, until)| Instant::now() < *until);
        let most = work.takes.map_or(most, |(takes, _)| takes.min(most));
        let begins = work.jobs.len() > work.idle as usize && work.workers < most.max(1);
        work.workers += u32::from(begins);
        begins
    }

    /// A worker ends, whatever waits.
    pub fn end_worker(&self) {
        self.work().workers -= 1;
    }

    /// The hop begins to wait for a place: if it has work and no worker, and does not wait yet.
    pub fn begin_wait(&self) -> bool {
        let mut work = self.work();
        let begins = !work.jobs.is_empty() && work.workers == 0 && !work.waits;
        work.waits |= begins;
        begins
    }

    /// The hop waits no more.
    pub fn end_wait(&self) {
        self.work().waits = false;
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

    /// A worker begins to wait, and calls [`idle_ended`](Self::idle_ended) when it stops waiting; or there is a job after all. One step, so that no
    /// job is handed over in between unseen.
    pub fn begin_idle(&self) -> Option<Job> {
        let mut work = self.work();
        let job = work.jobs.pop_front();
        if job.is_none() {
            work.idle += 1;
        }
        job
    }

    /// A connection could not be made. One outage counts once, however many workers meet it; answers until when the hop is left alone.
    pub fn fail(&self, now: Timestamp, interval: impl FnOnce(u32) -> Duration) -> Timestamp {
        let mut work = self.work();
        if now >= work.down_until {
            work.outages = work.outages.saturating_add(1);
            work.login = LoginState::Unknown;
            work.down_until = now.after(interval(work.outages));
        }
        work.down_until
    }

    /// The hop takes mail.
    pub fn succeed(&self) {
        let mut work = self.work();
        work.outages = 0;
        work.losses = 0;
        work.down_until = Timestamp::default();
    }

    /// Whether the hop is being left alone.
    pub fn is_down(&self, now: Timestamp) -> bool {
        now < self.work().down_until
    }

    /// A connection was lost in the middle of a transaction: true if that has happened before since mail was taken, so that it does not lie in
    /// the one message.
    pub fn lost_again(&self) -> bool {
        let mut work = self.work();
        work.losses = work.losses.saturating_add(1);
        work.losses > 1
    }

    /// Waits for the turn to connect. Where a login is needed and did not work last, one at a time tries, and what it meets is everybody's: an account
    /// is not locked by twenty wrong logins at once.
    pub async fn turn(&self, means: &Means) -> Result<Option<Turn<'_, ()>>, Unreachable> {
        let works = matches!(&self.work().login, LoginState::Works(by) if by == means);
        if self.next_hop.security.rule.is_none() || works {
            return Ok(None);
        }
        let turn = self.turns.lock().await;
        match &self.work().login {
            LoginState::Failed(by, unreachable, until) if by == means && Instant::now() < *until => {
                Err(unreachable.clone())
            }
            LoginState::Unknown | LoginState::Works(_) | LoginState::Failed(..) => Ok(Some(turn)),
        }
    }

    /// What a try to connect led to.
    pub fn tried(&self, means: &Means, unreachable: Option<&Unreachable>) {
        let means = means.clone();
        self.work().login = match unreachable {
            None => LoginState::Works(means),
            Some(unreachable) => LoginState::Failed(means, unreachable.clone(), Instant::now() + CROWDED),
        };
    }

    /// A connection was made; it counts as open until what is answered is dropped.
    pub fn opened(self: &Arc<Self>) -> Open {
        self.work().open += 1;
        Open(Arc::clone(self))
    }

    /// Whether mail can go over another connection.
    pub fn is_open(&self) -> bool {
        self.work().open > 0
    }

    /// A worker could make no connection. While others have one or are still trying, the job waits for them and the worker is at its end; if they
    /// have one, the far end takes no more than those. The last one gets its job back, for nobody can carry it.
    pub fn step_back(&self, job: Job) -> Option<Job> {
        let mut work = self.work();
        if work.workers < 2 {
            return Some(job);
        }
        work.jobs.push_front(job);
        work.workers -= 1;
        if work.open > 0 {
            work.takes = Some((work.open, Instant::now() + CROWDED));
        }
        drop(work);
        self.wake.notify_one();
        None
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
