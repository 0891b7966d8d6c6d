//! Older schemas: what a snapshot becomes for nodes that do not read the newest one, and what cannot be said to them. Pure.
//!
//! 1: the gateway, queues, domains and rules. 2: retired names. 3: credentials of relay rules. 4: TLS, logins, the PROXY protocol, the resolver,
//! denied networks. What an older node would do in the clear, or to the wrong client, or to a forbidden place, it is told not to do at all.

use std::{mem, sync::Arc};

use crate::{
    domain::{LocalDelivery, MailDomain, UnknownRecipients},
    encoding::{SCHEMA_MAX, SCHEMA_MIN},
    resource::ResourceName,
    snapshot::Snapshot,
    tls::{AuthenticationMethod, TlsMode},
};

/// The first schema with [`Snapshot::retired`].
const RETIRED: u32 = 2;

/// The first schema with [`RelayRule::credentials`](crate::RelayRule::credentials).
const CREDENTIALS: u32 = 3;

/// The first schema with TLS and what else a connection needs.
const SECURITY: u32 = 4;

/// A snapshot for nodes that read no newer schema.
#[derive(Clone, Debug)]
pub struct Downgraded {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// Parts of which it cannot say all: of these something is not done.
    pub parts: Vec<Part>,
}

/// A resource in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The gateway: a listener stays closed.
    Gateway,
    /// A domain: its mail gets 451, or waits.
    Domain(ResourceName),
    /// A relay rule: its mail waits.
    Rule(ResourceName),
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
            return Downgraded { snapshot: Arc::clone(self), parts: Vec::new() };
        }
        let mut snapshot = Self::clone(self);
        snapshot.schema = schema;
        let mut parts = Vec::new();
        if schema < SECURITY {
            snapshot.lose_security(&mut parts);
        }
        if schema < CREDENTIALS {
            snapshot.rules.iter_mut().for_each(|rule| rule.credentials = None); // their mail waits already
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
        Downgraded { snapshot: Arc::new(snapshot), parts }
    }

    /// Takes out what schema 4 brought.
    fn lose_security(&mut self, parts: &mut Vec<Part>) {
        let gateway = &mut self.gateway;
        gateway.resolver = None;
        gateway.denied_networks = Box::default();
        for listener in &mut gateway.listeners {
            // Both go, whatever the other is: an older node refuses a document with what it does not know.
            let (tls, networks) = (listener.tls.take(), mem::take(&mut listener.proxy_networks));
            let is_plain = tls.is_none() && networks.is_empty();
            if !is_plain && listener.closed.is_none() {
                listener.closed = Some("it needs a newer node".into());
                parts.push(Part::Gateway);
            }
        }
        parts.dedup();
        self.certificates = Box::default();
        for domain in &mut self.domains {
            let is_guarded = matches!(domain.local_delivery, Some(LocalDelivery::Lmtp { guarded: true, .. }));
            let forward = match &domain.unknown_recipients {
                UnknownRecipients::Forward(forward) if forward.guarded => Some(forward.clone()),
                _ => None,
            };
            if !is_guarded && forward.is_none() {
                continue;
            }
            parts.push(Part::Domain(domain.origin.clone()));
            let domain = Arc::make_mut(domain);
            if let Some(LocalDelivery::Lmtp { guarded, .. }) = &mut domain.local_delivery {
                domain.suspended |= mem::take(guarded);
            }
            if let Some(mut forward) = forward {
                forward.guarded = false;
                wait_for(&mut forward.unsupported, "unknownRecipients.forward.host");
                domain.unknown_recipients = UnknownRecipients::Forward(forward);
            }
        }
        for rule in &mut self.rules {
            let tls = mem::take(&mut rule.tls);
            let guarded = mem::take(&mut rule.guarded);
            rule.method = AuthenticationMethod::default(); // without credentials it says nothing
            let lost = [
                (rule.credentials.is_some(), "relay.authentication"),
                (tls.verified || tls.mode == TlsMode::Implicit, "relay.tls"),
                (guarded, "relay.hosts"),
            ];
            let Some((_, field)) = lost.into_iter().find(|(is_lost, _)| *is_lost) else { continue };
            wait_for(&mut rule.unsupported, field);
            parts.push(Part::Rule(rule.origin.clone()));
        }
    }
}

/// Marks a part that an older node would do otherwise than it was meant, so that its mail waits.
fn wait_for(unsupported: &mut Box<[Box<str>]>, field: &str) {
    if unsupported.is_empty() {
        *unsupported = [field.into()].into();
    }
}
