//! The configuration in force: one snapshot, made ready for use. Swapped whole; what is under way keeps the one it began with.

use std::{sync::Arc, time::Duration};

use posthouse_config::{Assembled, Millis, Snapshot, SnapshotHash};
use posthouse_queue::{HoldReason, QueueMode};
use posthouse_routing::Router;

use crate::delivery::retry::RetrySchedule;

/// A snapshot and what is derived from it.
pub struct Policy {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// Its hash.
    pub hash: SnapshotHash,
    /// Decides where mail goes.
    pub router: Router,
    /// When mail is tried again.
    pub retry: RetrySchedule,
}

impl Policy {
    /// Makes a snapshot ready.
    #[must_use]
    pub fn new(assembled: &Assembled) -> Self {
        let (snapshot, hash) = (Arc::clone(&assembled.snapshot), assembled.pointer.index);
        let retry = &snapshot.gateway.queue.retry;
        let retry = RetrySchedule {
            intervals: retry.intervals.iter().map(|interval| span(*interval)).collect(),
            expire_after: span(retry.expire_after),
        };
        Self { router: Router::new(Arc::clone(&snapshot)), retry, hash, snapshot }
    }

    /// The mode of a queue, as this snapshot says.
    #[must_use]
    pub fn queue_mode(&self, queue: &posthouse_model::QueueName) -> QueueMode {
        QueueMode { hold: self.snapshot.hold(queue).map(hold_reason), generation: self.snapshot.generation }
    }

    /// Every queue that this snapshot names, with its mode.
    pub fn queue_modes(&self) -> impl Iterator<Item = (posthouse_model::QueueName, QueueMode)> + '_ {
        self.snapshot.queues.iter().map(|queue| {
            let mode = QueueMode { hold: queue.hold.map(hold_reason), generation: self.snapshot.generation };
            (queue.name.clone(), mode)
        })
    }

    /// How long mail of a queue may be held before it is given up; `None`: hold does not end by itself.
    #[must_use]
    pub fn hold_expiry(&self, queue: &posthouse_model::QueueName) -> Option<Duration> {
        self.snapshot.queue(queue).and_then(|queue| queue.hold_expires_after).map(span)
    }
}

/// The queue's word for a hold of the snapshot.
#[must_use]
pub fn hold_reason(hold: posthouse_config::Hold) -> HoldReason {
    match hold {
        posthouse_config::Hold::OnRequest => HoldReason::OnRequest,
        posthouse_config::Hold::Scheduled => HoldReason::Scheduled,
        posthouse_config::Hold::Connectivity => HoldReason::Connectivity,
    }
}

fn span(millis: Millis) -> Duration {
    millis.duration()
}
