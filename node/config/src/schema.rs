//! Older schemas: what a snapshot becomes for nodes that do not read the newest one, and what cannot be said to them. Pure.
//!
//! 1: the gateway, queues, domains and rules. 2: retired names. 3: credentials of relay rules.

use std::sync::Arc;

use crate::{
    domain::MailDomain,
    encoding::{SCHEMA_MAX, SCHEMA_MIN},
    resource::ResourceName,
    snapshot::Snapshot,
};

/// The first schema with [`Snapshot::retired`].
const RETIRED: u32 = 2;

/// The first schema with [`RelayRule::credentials`](crate::RelayRule::credentials).
const CREDENTIALS: u32 = 3;

/// A snapshot for nodes that read no newer schema.
#[derive(Clone, Debug)]
pub struct Downgraded {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// Rules of which it cannot say all: their mail waits.
    pub rules: Vec<ResourceName>,
}

/// The schema to write for nodes that read these (oldest, newest): the newest that all of them read; none if there is no such.
#[must_use]
pub fn common_schema(ranges: impl IntoIterator<Item = (u32, u32)>) -> Option<u32> {
    let (mut oldest, mut newest) = (SCHEMA_MIN, SCHEMA_MAX);
    for (min, max) in ranges {
        (oldest, newest) = (oldest.max(min), newest.min(max));
    }
    (oldest <= newest).then_some(newest)
}

impl Snapshot {
    /// The same at an older schema, or at its own.
    #[must_use]
    pub fn at_schema(self: &Arc<Self>, schema: u32) -> Downgraded {
        if schema >= self.schema {
            return Downgraded { snapshot: Arc::clone(self), rules: Vec::new() };
        }
        let mut snapshot = Self::clone(self);
        snapshot.schema = schema;
        let mut rules = Vec::new();
        if schema < CREDENTIALS {
            for rule in snapshot.rules.iter_mut().filter(|rule| rule.credentials.is_some()) {
                rule.credentials = None;
                // Such a node would send without them.
                if rule.unsupported.is_empty() {
                    rule.unsupported = ["relay.authentication".into()].into();
                }
                rules.push(rule.origin.clone());
            }
        }
        if schema < RETIRED {
            // To them a name that is not a domain's is one to refuse for good; a domain that takes no mail answers 451.
            let origin = &snapshot.gateway.origin;
            let retired = snapshot.retired.iter().map(|retired| {
                let mut domain = MailDomain::new(retired.domain.clone(), origin.clone());
                domain.suspended = true;
                Arc::new(domain)
            });
            let mut domains: Vec<_> = snapshot.domains.iter().cloned().chain(retired).collect();
            domains.sort_by(|a, b| a.domain.cmp(&b.domain));
            domains.dedup_by(|a, b| a.domain == b.domain);
            snapshot.domains = domains.into();
            snapshot.retired = Box::default();
        }
        Downgraded { snapshot: Arc::new(snapshot), rules }
    }
}
