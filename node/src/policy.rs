//! The configuration in force: one snapshot, made ready for use. Swapped whole; what is under way keeps the one it began with.

use std::{collections::HashMap, sync::Arc, time::Duration};

use posthouse_config::{Assembled, Listener, Millis, Snapshot, SnapshotHash};
use posthouse_queue::{HoldReason, QueueMode};
use posthouse_routing::Router;

use crate::{
    delivery::retry::RetrySchedule,
    tls::{
        self,
        server::{BadCertificate, ServerTls},
    },
};

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
    /// The TLS of each listener that has one.
    listeners_tls: HashMap<Box<str>, ServerTls>,
}

impl Policy {
    /// Makes a snapshot ready.
    pub fn new(assembled: &Assembled) -> Result<Self, BadCertificate> {
        let (snapshot, hash) = (Arc::clone(&assembled.snapshot), assembled.pointer.index);
        let retry = RetrySchedule::of(&snapshot.gateway.queue.retry);
        let listeners_tls = tls::server::listeners(&snapshot)?;
        Ok(Self { router: Router::new(Arc::clone(&snapshot)), retry, listeners_tls, hash, snapshot })
    }

    /// A policy without TLS, for tests of what is decided by it.
    #[cfg(test)]
    pub(crate) fn of(snapshot: Snapshot) -> Self {
        let snapshot = Arc::new(snapshot);
        let retry = RetrySchedule::of(&snapshot.gateway.queue.retry);
        Self {
            router: Router::new(Arc::clone(&snapshot)),
            retry,
            listeners_tls: HashMap::new(),
            hash: SnapshotHash::of(b"test"),
            snapshot,
        }
    }

    /// A listener, by its name.
    #[must_use]
    pub fn listener(&self, name: &str) -> Option<&Listener> {
        self.snapshot.gateway.listeners.iter().find(|listener| *listener.name == *name)
    }

    /// The TLS of a listener, if it has one.
    #[must_use]
    pub fn listener_tls(&self, name: &str) -> Option<&ServerTls> {
        self.listeners_tls.get(name)
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
