//! The node's places for outgoing connections (`concurrency.perNode`): a next hop that gets none waits its turn, and is given the next one
//! that is free. No I/O.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use posthouse_config::Concurrency;
use tokio::sync::watch;

use super::hop::Hop;

/// The places.
#[derive(Default)]
pub struct Places {
    inner: Mutex<Inner>,
    /// Some next hop waits for a place.
    wanted: watch::Sender<bool>,
}

#[derive(Default)]
struct Inner {
    taken: u32,
    waiting: VecDeque<Arc<Hop>>,
}

impl Places {
    /// A place for one more worker of a hop: true if it is to be started. Without one, a hop that nobody works for is remembered.
    pub fn take(&self, hop: &Arc<Hop>, bounds: Concurrency) -> bool {
        let mut inner = self.inner();
        if inner.taken < bounds.per_node.max(1) {
            let begins = hop.begin_worker(bounds.per_next_hop);
            inner.taken += u32::from(begins);
            return begins;
        }
        if hop.begin_wait() {
            inner.waiting.push_back(Arc::clone(hop));
            self.say(true);
        }
        false
    }

    /// A worker has left its hop: answers the hop that its place goes to, if one waits.
    pub fn give_back(&self, bounds: Concurrency) -> Option<Arc<Hop>> {
        self.pass_on(self.inner(), bounds)
    }

    /// A worker leaves a hop that may have more work, for others have waited long enough: like [`give_back`](Self::give_back), and the hop
    /// waits in its turn.
    pub fn give_way(&self, hop: &Arc<Hop>, bounds: Concurrency) -> Option<Arc<Hop>> {
        let mut inner = self.inner();
        hop.end_worker();
        if hop.begin_wait() {
            inner.waiting.push_back(Arc::clone(hop));
        }
        self.pass_on(inner, bounds)
    }

    /// Whether a hop waits for a place.
    pub fn are_wanted(&self) -> bool {
        *self.wanted.borrow()
    }

    /// Waits until a hop waits for a place.
    pub async fn wanted(&self) {
        let _ = self.wanted.subscribe().wait_for(|wanted| *wanted).await; // the sender is here
    }

    fn pass_on(&self, mut inner: MutexGuard<'_, Inner>, bounds: Concurrency) -> Option<Arc<Hop>> {
        let mut next = None;
        // The bound may have been made smaller meanwhile.
        while next.is_none()
            && inner.taken <= bounds.per_node.max(1)
            && let Some(hop) = inner.waiting.pop_front()
        {
            hop.end_wait();
            next = hop.begin_worker(bounds.per_next_hop).then_some(hop);
        }
        if next.is_none() {
            inner.taken = inner.taken.saturating_sub(1);
        }
        self.say(!inner.waiting.is_empty());
        next
    }

    fn say(&self, wanted: bool) {
        self.wanted.send_if_modified(|was| std::mem::replace(was, wanted) != wanted);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nobody panics while holding it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
