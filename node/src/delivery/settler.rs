//! Settles attempts in the background: a worker goes on with the next message while the store confirms the last one. What could not be
//! confirmed is kept and repeated after a reconnect or fail-over (queue.md, Settle).

use std::{sync::Arc, time::Duration};

use posthouse_queue::{Remainder, Settled, Settlement, Store, StoreError};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};
use tokio_util::task::TaskTracker;

use crate::{
    events,
    metrics::Metrics,
    presence::{Life, Presence},
};

/// Settlements under way at most: above it workers wait, so that a store that is away does not fill the memory.
const MOST_UNSETTLED: usize = 4096;

/// Between two tries while the store is away.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Takes settlements and sees them through.
pub struct Settler {
    store: Arc<dyn Store>,
    presence: Arc<Presence>,
    metrics: Arc<Metrics>,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// A settlement with what its confirmation ends.
pub struct Unsettled {
    /// The settlement.
    pub settlement: Settlement,
    /// The life that holds the lease: it is not over before this is.
    pub life: Arc<Life>,
    /// The first octet of content was sent: until this is confirmed, a duplicate is possible.
    pub in_doubt: bool,
    /// When the message was accepted, if this delivers the last of the entry.
    pub delivered_since: Option<posthouse_model::Timestamp>,
}

impl Settler {
    /// A settler with nothing to do.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, presence: Arc<Presence>, metrics: Arc<Metrics>) -> Self {
        let places = Arc::new(Semaphore::new(MOST_UNSETTLED));
        Self { store, presence, metrics, places, tasks: TaskTracker::new() }
    }

    /// Sees a settlement through; returns at once unless there are too many under way.
    pub async fn settle(&self, unsettled: Unsettled) {
        // The semaphore is never closed; without a place the settlement is seen through all the same.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let (store, presence, metrics) =
            (Arc::clone(&self.store), Arc::clone(&self.presence), Arc::clone(&self.metrics));
        self.tasks.spawn(async move {
            see_through(&*store, &presence, &metrics, unsettled, place).await;
        });
    }

    /// Waits until everything is settled.
    pub async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }
}

async fn see_through(
    store: &dyn Store,
    presence: &Presence,
    metrics: &Metrics,
    unsettled: Unsettled,
    _place: Option<OwnedSemaphorePermit>,
) {
    let Unsettled { mut settlement, life: _life, in_doubt, delivered_since } = unsettled;
    loop {
        match store.settle(&settlement, presence.now()).await {
            Ok(Settled::Done) => {
                if let Some(since) = delivered_since {
                    metrics.delivery_seconds.observe(presence.now().since(since).as_secs_f64());
                }
                break;
            }
            // Settled before (a repeat after a lost answer), or taken over: either way this attempt is over.
            Ok(Settled::Stale) => break,
            Err(StoreError::Unavailable(_) | StoreError::Full(_)) => time::sleep(AGAIN_AFTER).await,
            Err(error) => {
                events::StoreTrouble { doing: "settle an attempt", error: &error }.emit();
                // What happened to the recipients must count, whatever is wrong with the rest.
                if settlement.child.take().is_none() {
                    if settlement.remainder == Remainder::Quarantine || matches!(error, StoreError::Departed)
                    {
                        break; // the lease ends with the incarnation
                    }
                    settlement.remainder = Remainder::Quarantine;
                }
            }
        }
    }
    if in_doubt {
        metrics.attempts_in_doubt.dec();
    }
}
