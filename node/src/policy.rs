//! The configuration in force: one snapshot, made ready for use. Swapped whole; what is under way keeps the one it began with.

use std::{collections::HashMap, sync::Arc, time::Duration};

use posthouse_config::{Assembled, Listener, Millis, ResourceName, Snapshot, SnapshotHash};
use posthouse_model::NextHop;
use posthouse_queue::{HoldReason, QueueMode};
use posthouse_routing::Router;

use crate::{
    delivery::{
        means::{Logins, Means, NoMeans},
        retry::RetrySchedule,
    },
    names::Names,
    own_hops::OwnHops,
    tls::{
        self,
        client::ClientConfigs,
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
    /// By what mail is known that was here before; none where the snapshot came by no publication.
    pub own_hops: Option<OwnHops>,
    /// Whom the node asks for names.
    pub names: Arc<Names>,
    /// What handshakes with next hops are made with.
    client_tls: ClientConfigs,
    /// What next hops are logged in to with.
    logins: Logins,
    /// The TLS of each listener that has one.
    listeners_tls: HashMap<Box<str>, ServerTls>,
}

impl Policy {
    /// Makes a snapshot ready; what did not change is taken from the policy `before`. It may read the system's trusted roots.
    pub fn new(assembled: &Assembled, before: Option<&Self>) -> Result<Self, BadCertificate> {
        let policy = Self::of(Arc::clone(&assembled.snapshot), assembled.pointer.index, before)?;
        Ok(Self { own_hops: assembled.trace.clone().map(OwnHops::new), ..policy })
    }

    /// The same for a snapshot that came by no publication.
    pub fn of(
        snapshot: Arc<Snapshot>,
        hash: SnapshotHash,
        before: Option<&Self>,
    ) -> Result<Self, BadCertificate> {
        let retry = RetrySchedule::of(&snapshot.gateway.queue.retry);
        let listeners_tls = tls::server::listeners(&snapshot)?;
        Ok(Self {
            router: Router::new(Arc::clone(&snapshot)),
            retry,
            own_hops: None,
            names: Names::of(snapshot.gateway.resolver.as_ref(), before.map(|before| &before.names)),
            client_tls: ClientConfigs::of(&snapshot, before.map(|before| &before.client_tls)),
            logins: Logins::of(&snapshot),
            listeners_tls,
            hash,
            snapshot,
        })
    }

    /// A listener, by its name.
    #[must_use]
    pub fn listener(&self, name: &str) -> Option<&Listener> {
        self.snapshot.gateway.listeners.iter().find(|listener| *listener.name == *name)
    }

    /// By what means a next hop is spoken to.
    pub fn means(&self, next_hop: &NextHop) -> Result<Means, NoMeans> {
        Means::of(next_hop, &self.logins, &self.client_tls)
    }

    /// Whether a rule's login is the same as in a policy before.
    #[must_use]
    pub fn has_same_login(&self, before: &Self, rule: &ResourceName) -> bool {
        let now = self.logins.of_rule(rule);
        now.is_some() && now == before.logins.of_rule(rule)
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
