//! Sending mail on: leases entries, carries them to their next hops, settles what became of them.
//!
//! Small accepted mail comes straight from its session ([`Delivery::offer`]); everything else is leased from the store by the scheduler.

pub mod conclude;
pub mod connect;
pub mod connection;
pub mod delay;
pub mod dsn;
pub mod egress;
pub mod expansion;
pub mod hop;
pub mod judge;
pub mod means;
pub mod offer;
pub mod places;
pub mod prepare;
pub mod progress;
pub mod report;
pub mod retry;
pub mod scheduler;
pub mod settler;
pub mod transaction;
pub mod unreachable;
pub mod without_tls;
pub mod worker;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use posthouse_model::NextHop;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    hop::{Hop, Job, Total},
    places::Places,
    settler::Settler,
    without_tls::WithoutTls,
};
use crate::node::Node;

/// Content that leased work may hold in memory: bounds the node's memory whatever waits in the queue.
pub const MOST_OCTETS: u64 = 8 * 1024 * 1024;

/// Jobs for one next hop at a time for each connection that it may have: enough that no connection waits for the store.
pub const JOBS_PER_CONNECTION: u32 = 4;

/// Next hops that are remembered while nothing goes to them.
const MOST_IDLE_HOPS: usize = 1000;

/// The sending side of a node.
pub struct Delivery {
    hops: Mutex<HashMap<String, Arc<Hop>>>,
    total: Arc<Total>,
    places: Places,
    /// Sees settlements through.
    pub settler: Settler,
    /// The addresses that are spoken to in clear for a while.
    pub without_tls: WithoutTls,
    tasks: TaskTracker,
    /// No new work is begun.
    stop: CancellationToken,
    node: std::sync::OnceLock<Weak<Node>>,
}

impl Delivery {
    /// A sending side that does nothing before [`attach`](Self::attach).
    #[must_use]
    pub fn new(settler: Settler, stop: CancellationToken) -> Self {
        Self {
            hops: Mutex::default(),
            total: Arc::default(),
            places: Places::default(),
            settler,
            without_tls: WithoutTls::default(),
            tasks: TaskTracker::new(),
            stop,
            node: std::sync::OnceLock::new(),
        }
    }

    /// Makes the node known that it works for.
    pub fn attach(&self, node: &Arc<Node>) {
        // A second call would be for the same node.
        let _ = self.node.set(Arc::downgrade(node));
    }

    /// Waits until every attempt has ended and is settled.
    pub async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.settler.finished().await;
    }

    /// Sees something through that is not waited for, but by [`finished`](Self::finished).
    fn in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work);
    }

    fn node(&self) -> Option<Arc<Node>> {
        self.node.get().and_then(Weak::upgrade)
    }

    fn hop(&self, next_hop: &NextHop) -> Arc<Hop> {
        let mut hops = self.hops();
        if hops.len() > MOST_IDLE_HOPS {
            hops.retain(|_, hop| !hop.is_idle());
        }
        let name = next_hop.to_string();
        Arc::clone(hops.entry(name).or_insert_with(|| Arc::new(Hop::new(next_hop.clone()))))
    }

    /// Gives a leased entry to its next hop.
    fn carry(&self, node: &Arc<Node>, hop: &Arc<Hop>, job: Job) {
        if !hop.hand_over(job) && self.places.take(hop, node.concurrency()) {
            self.start_worker(node, hop);
        }
    }

    fn start_worker(&self, node: &Arc<Node>, hop: &Arc<Hop>) {
        self.tasks.spawn(worker::work(Arc::clone(node), Arc::clone(hop), self.stop.clone()));
    }

    fn hops(&self) -> MutexGuard<'_, HashMap<String, Arc<Hop>>> {
        // Nobody panics while holding it.
        self.hops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
