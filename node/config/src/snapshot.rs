//! The snapshot as a whole, and the one order that its parts have. Plain data.

use std::{cmp::Ordering, sync::Arc};

use posthouse_model::{Domain, LocalPart, ParseIdError, QueueName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{Expansion, MailDomain, Recipients},
    encoding::SCHEMA_MAX,
    gateway::{Connectivity, Gateway},
    names::compare_names,
    resource::ResourceName,
    rule::RelayRule,
    secret::{Credentials, REDACTED, Secret},
    span::Millis,
    tls::Certificate,
};

/// One gateway's compiled configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Snapshot {
    /// The version of this document's schema.
    pub schema: u32,
    /// Greater than that of any snapshot published before: orders the modes of queues that nodes set. The compiler leaves 0.
    pub generation: u64,
    /// The gateway.
    pub gateway: Gateway,
    /// The queues of its domains, sorted by name. Mail that is relayed waits in queues that are not listed.
    pub queues: Box<[Queue]>,
    /// Its domains, sorted by domain. Shared: the next snapshot has most of them too.
    pub domains: Box<[Arc<MailDomain>]>,
    /// Its relay rules, in the order in which they are asked.
    pub rules: Box<[RelayRule]>,
    /// Names that were a domain's until lately, sorted. Since schema 2.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub retired: Box<[Retired]>,
    /// The certificates of its listeners, sorted by name. Since schema 4.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub certificates: Box<[Certificate]>,
}

/// A name whose domain is gone: deleted by mistake, perhaps, so its mail gets 451 for a while before it gets 550.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retired {
    /// The name, a domain's own or an alias.
    pub domain: Domain,
    /// Until when its mail gets 451.
    pub until: Timestamp,
}

/// The queue of a domain, or of several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Queue {
    /// Its name.
    pub name: QueueName,
    /// Why its mail is held; absent: Online.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// How long mail is held before it is given up; absent: as the gateway's retry says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_expires_after: Option<Millis>,
}

/// Why new mail of a queue is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Hold {
    /// Until ETRN, ATRN, POP3 or a schedule releases it.
    OnRequest,
    /// Until the domain's schedule releases it.
    Scheduled,
    /// Until the gateway's connectivity schedule releases it.
    Connectivity,
}

impl std::fmt::Display for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::OnRequest => "held until it is asked for",
            Self::Scheduled => "held until its schedule",
            Self::Connectivity => "held until the gateway's connectivity schedule",
        })
    }
}

/// The name of the queue for local delivery in a domain whose own queue is held: a release, a count or a hold of the one is never the other's.
pub fn local_queue_name(queue: &QueueName) -> Result<QueueName, ParseIdError> {
    QueueName::new(&format!("local:{queue}"))
}

/// A part of a snapshot that is not in its order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disorder {
    /// Queues are not sorted by name, or one stands twice.
    #[error("queue {0} is out of order or doubled")]
    Queue(QueueName),
    /// Domains are not sorted, or one stands twice.
    #[error("domain {0} is out of order or doubled")]
    Domain(Domain),
    /// Retired names are not sorted, or one stands twice.
    #[error("retired name {0} is out of order or doubled")]
    Retired(Domain),
    /// Certificates are not sorted, or one stands twice.
    #[error("certificate {0} is out of order or doubled")]
    Certificate(ResourceName),
    /// A listener names a certificate that is not there.
    #[error("certificate {0} is not there")]
    NoCertificate(ResourceName),
    /// Groups or aliases are not sorted by name, or one stands twice.
    #[error("{name} of domain {domain} is out of order or doubled")]
    Expansion {
        /// The domain.
        domain: Domain,
        /// The group or alias.
        name: LocalPart,
    },
    /// Rules are not in the order in which they are asked.
    #[error("relay rule {0} is out of order or doubled")]
    Rule(ResourceName),
    /// The retry intervals are empty or one is zero.
    #[error("the retry intervals are empty or have a zero")]
    RetryIntervals,
}

impl Snapshot {
    /// A snapshot of the newest schema with a gateway alone.
    #[must_use]
    pub fn new(gateway: Gateway) -> Self {
        Self {
            schema: SCHEMA_MAX,
            generation: 0,
            gateway,
            queues: Box::default(),
            domains: Box::default(),
            rules: Box::default(),
            retired: Box::default(),
            certificates: Box::default(),
        }
    }

    /// The same, in the one order that an encoding has. Doubles stay, for [`check`](Self::check) to find.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.queues.sort_by(|a, b| a.name.cmp(&b.name));
        self.domains.sort_by(|a, b| a.domain.cmp(&b.domain));
        for domain in &mut self.domains {
            if !domain.is_sorted() {
                Arc::make_mut(domain).sort();
            }
        }
        self.rules.sort_by(compare_rules);
        self.retired.sort_by(|a, b| a.domain.cmp(&b.domain));
        self.certificates.sort_by(|a, b| a.name.cmp(&b.name));
        self.gateway.denied_networks.sort();
        self.gateway.listeners.iter_mut().for_each(|listener| listener.proxy_networks.sort());
        if let Some(relay_control) = &mut self.gateway.relay_control {
            relay_control.networks.sort();
        }
        self
    }

    /// Whether it says the same, whenever each was published.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let Self { schema, generation: _, gateway, queues, domains, rules, retired, certificates } = self;
        *schema == other.schema
            && *gateway == other.gateway
            && *queues == other.queues
            && *domains == other.domains
            && *rules == other.rules
            && *retired == other.retired
            && *certificates == other.certificates
    }

    /// The same with nothing in it that must not be shown.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let mut shown = self.clone();
        for rule in &mut shown.rules {
            rule.credentials = rule.credentials.as_ref().map(|_| Credentials::redacted());
        }
        for certificate in &mut shown.certificates {
            certificate.key = Secret::new(REDACTED);
        }
        shown
    }

    /// Checks the order that lookups rely on.
    pub fn check(&self) -> Result<(), Disorder> {
        if let Some(queue) = first_out_of_order(&self.queues, |a, b| a.name.cmp(&b.name)) {
            return Err(Disorder::Queue(queue.name.clone()));
        }
        if let Some(found) = first_out_of_order(&self.domains, |a, b| a.domain.cmp(&b.domain)) {
            return Err(Disorder::Domain(found.domain.clone()));
        }
        for domain in &self.domains {
            if let Some(found) = domain.first_expansion_out_of_order() {
                let (domain, name) = (domain.domain.clone(), found.name.clone());
                return Err(Disorder::Expansion { domain, name });
            }
        }
        if let Some(rule) = first_out_of_order(&self.rules, compare_rules) {
            return Err(Disorder::Rule(rule.origin.clone()));
        }
        if let Some(retired) = first_out_of_order(&self.retired, |a, b| a.domain.cmp(&b.domain)) {
            return Err(Disorder::Retired(retired.domain.clone()));
        }
        if let Some(found) = first_out_of_order(&self.certificates, |a, b| a.name.cmp(&b.name)) {
            return Err(Disorder::Certificate(found.name.clone()));
        }
        let is_there = |name: &ResourceName| self.certificate(name).is_some();
        let named = self.gateway.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        if let Some(name) = named.flat_map(|tls| &tls.certificates).find(|name| !is_there(name)) {
            return Err(Disorder::NoCertificate(name.clone()));
        }
        let intervals = &self.gateway.queue.retry.intervals;
        if intervals.is_empty() || intervals.contains(&Millis(0)) {
            return Err(Disorder::RetryIntervals);
        }
        Ok(())
    }

    /// The queue of this name, if it is one of a domain.
    #[must_use]
    pub fn queue(&self, name: &QueueName) -> Option<&Queue> {
        let place = self.queues.binary_search_by(|queue| queue.name.cmp(name)).ok()?;
        self.queues.get(place)
    }

    /// The certificate of this name.
    #[must_use]
    pub fn certificate(&self, name: &ResourceName) -> Option<&Certificate> {
        let place = self.certificates.binary_search_by(|listed| listed.name.cmp(name)).ok()?;
        self.certificates.get(place)
    }

    /// Whether this name was a domain's until so lately that its mail gets 451: it may come back.
    #[must_use]
    pub fn is_retired(&self, name: &Domain, now: Timestamp) -> bool {
        let place = self.retired.binary_search_by(|retired| retired.domain.cmp(name));
        place.ok().and_then(|place| self.retired.get(place)).is_some_and(|retired| now < retired.until)
    }

    /// Why new mail in this queue is held; `None`: it is Online. A queue that is not listed is one of relayed mail and follows the gateway's
    /// connectivity.
    #[must_use]
    pub fn hold(&self, queue: &QueueName) -> Option<Hold> {
        match self.queue(queue) {
            Some(queue) => queue.hold,
            None => match self.gateway.connectivity {
                Connectivity::Online => None,
                Connectivity::Scheduled => Some(Hold::Connectivity),
            },
        }
    }
}

impl MailDomain {
    fn is_sorted(&self) -> bool {
        self.aliases.is_sorted() && self.first_expansion_out_of_order().is_none()
    }

    fn sort(&mut self) {
        self.aliases.sort();
        if let Recipients::Listed { users: _, groups, aliases } = &mut self.recipients {
            groups.sort_by(compare_expansions);
            aliases.sort_by(compare_expansions);
        }
    }

    fn first_expansion_out_of_order(&self) -> Option<&Expansion> {
        let Recipients::Listed { users: _, groups, aliases } = &self.recipients else { return None };
        [groups, aliases].into_iter().find_map(|list| first_out_of_order(list, compare_expansions))
    }
}

impl Expansion {
    /// The group or alias of this name in a sorted list, in any case.
    #[must_use]
    pub fn find<'e>(list: &'e [Self], name: &str) -> Option<&'e Self> {
        let place = list.binary_search_by(|listed| compare_names(listed.name.value(), name)).ok()?;
        list.get(place)
    }
}

fn compare_expansions(a: &Expansion, b: &Expansion) -> Ordering {
    compare_names(a.name.value(), b.name.value())
}

fn compare_rules(a: &RelayRule, b: &RelayRule) -> Ordering {
    a.tier
        .cmp(&b.tier)
        .then_with(|| a.origin.namespace().cmp(b.origin.namespace()))
        .then_with(|| a.order.cmp(&b.order))
        .then_with(|| a.origin.name().cmp(b.origin.name()))
}

fn first_out_of_order<T>(list: &[T], compare: impl Fn(&T, &T) -> Ordering) -> Option<&T> {
    list.iter()
        .zip(list.iter().skip(1))
        .find(|(a, b)| compare(a, b) != Ordering::Less)
        .map(|(_, second)| second)
}
