//! A node: what its parts share.

use std::sync::{Arc, PoisonError, RwLock};

use posthouse_config::Concurrency;
use posthouse_queue::Store;

use crate::{
    activator::Activator, budget::Budget, delivery::Delivery, here::Here, intake::memory::Memory,
    metrics::Metrics, policy::Policy, presence::Presence, refused_logins::RefusedLogins,
};

/// The shared parts of a node.
pub struct Node {
    /// The queue.
    pub store: Arc<dyn Store>,
    /// Its life in the store.
    pub presence: Arc<Presence>,
    /// Room for mail.
    pub budget: Arc<Budget>,
    /// Memory for messages that are not complete.
    pub memory: Memory,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// The sending side.
    pub delivery: Delivery,
    /// What follows an enqueue.
    pub activator: Activator,
    /// Where it is reached.
    pub here: Here,
    /// The logins that next hops refuse now.
    pub refused_logins: RefusedLogins,
    policy: RwLock<Option<Arc<Policy>>>,
}

impl Node {
    /// A node without a policy: it takes no mail before there is one.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        presence: Arc<Presence>,
        metrics: Arc<Metrics>,
        delivery: Delivery,
        activator: Activator,
    ) -> Arc<Self> {
        let budget = Budget::new(Arc::clone(&store), Arc::clone(&presence));
        Arc::new(Self {
            store,
            presence,
            budget,
            memory: Memory::new(),
            metrics,
            delivery,
            activator,
            here: Here::default(),
            refused_logins: RefusedLogins::default(),
            policy: RwLock::default(),
        })
    }

    /// The policy in force; what begins now keeps it to its end.
    pub fn policy(&self) -> Option<Arc<Policy>> {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a policy in force; answers the one before.
    pub fn set_policy(&self, policy: Arc<Policy>) -> Option<Arc<Policy>> {
        self.policy.write().unwrap_or_else(PoisonError::into_inner).replace(policy)
    }

    /// The name that the node goes by.
    pub fn hostname(&self) -> String {
        self.policy()
            .map_or_else(|| "localhost".to_owned(), |policy| policy.snapshot.gateway.hostname.to_string())
    }

    /// The bounds of outgoing connections.
    pub fn concurrency(&self) -> Concurrency {
        self.policy().map_or_else(Concurrency::default, |policy| policy.snapshot.gateway.queue.concurrency)
    }
}
