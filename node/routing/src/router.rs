//! The router: a snapshot with what lookups need. Made once per snapshot, then only read. Pure.

use std::{collections::HashMap, sync::Arc};

use posthouse_config::{Hold, MailDomain, RelayRule, Role, Snapshot};
use posthouse_model::{Domain, ForwardPath, QueueName, ReversePath, Timestamp};

use crate::{
    client::Source,
    decision::{Decision, QueueMode},
    destination::{Direct, DomainDestinations, RuleDestination},
    rule_index::RuleIndex,
    trace::{NoTrace, Trace},
    walk::{Names, Walk},
};

/// Decides where mail goes, by one snapshot.
#[derive(Debug)]
pub struct Router {
    snapshot: Arc<Snapshot>,
    /// Every domain under each of its names.
    domains: HashMap<Domain, u32>,
    /// For each domain of the snapshot.
    domain_destinations: Box<[DomainDestinations]>,
    /// For each rule of the snapshot.
    rule_destinations: Box<[RuleDestination]>,
    /// Where no rule matches.
    pub(crate) direct: Direct,
    rule_index: RuleIndex,
    /// Whose postmaster the bare `<Postmaster>` is.
    primary: Option<u32>,
}

/// A domain of the snapshot and where its mail goes.
#[derive(Clone, Copy)]
pub(crate) struct Own<'a> {
    pub(crate) domain: &'a MailDomain,
    pub(crate) destinations: &'a DomainDestinations,
}

impl Router {
    /// A router for a snapshot that [`Snapshot::check`] has nothing against.
    #[must_use]
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        let mut domains = HashMap::with_capacity(snapshot.domains.len());
        for (place, domain) in (0..).zip(&snapshot.domains) {
            for alias in &domain.aliases {
                // a domain's own name counts before another's alias; the compiler lets no such pair through
                domains.entry(alias.clone()).or_insert(place);
            }
        }
        for (place, domain) in (0..).zip(&snapshot.domains) {
            domains.insert(domain.domain.clone(), place);
        }
        domains.shrink_to_fit();
        let gateway = &snapshot.gateway;
        let domain_destinations: Box<[_]> =
            snapshot.domains.iter().map(|domain| DomainDestinations::of(gateway, domain)).collect();
        let rule_destinations: Box<[_]> =
            snapshot.rules.iter().map(|rule| RuleDestination::of(gateway, rule)).collect();
        let rule_index = RuleIndex::new(&snapshot.rules);
        let primary = (0..).zip(&snapshot.domains).find(|(_, domain)| domain.role == Role::Primary);
        let primary = primary.map(|(place, _)| place).or((!snapshot.domains.is_empty()).then_some(0));
        let direct = Direct::by_default();
        Self { snapshot, domains, domain_destinations, rule_destinations, direct, rule_index, primary }
    }

    /// The snapshot that it decides by.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Decides about one recipient, at RCPT, now.
    #[must_use]
    pub fn route(
        &self,
        sender: &ReversePath,
        recipient: &ForwardPath,
        source: Source<'_>,
        now: Timestamp,
    ) -> Decision {
        self.route_traced(sender, recipient, source, now, &mut NoTrace)
    }

    /// The same decision, telling its steps.
    pub fn route_traced<T: Trace>(
        &self,
        sender: &ReversePath,
        recipient: &ForwardPath,
        source: Source<'_>,
        now: Timestamp,
        trace: &mut T,
    ) -> Decision {
        Walk::new(self, sender, source, Names::Expand, now, trace).run(recipient)
    }

    /// The mode of a queue as this snapshot has it.
    #[must_use]
    pub fn queue_mode(&self, queue: &QueueName) -> QueueMode {
        QueueMode { hold: self.snapshot.hold(queue), generation: self.snapshot.generation }
    }

    /// Every queue that belongs to a domain, with its mode: what a node sets in the store when it takes a snapshot over.
    pub fn queue_modes(&self) -> impl Iterator<Item = (&QueueName, QueueMode)> {
        let generation = self.snapshot.generation;
        self.snapshot.queues.iter().map(move |queue| {
            let hold: Option<Hold> = queue.hold;
            (&queue.name, QueueMode { hold, generation })
        })
    }

    /// The domain of this name or alias.
    pub(crate) fn own_domain(&self, name: &Domain) -> Option<Own<'_>> {
        self.own_at(*self.domains.get(name)?)
    }

    /// The primary domain; the first for want of one.
    pub(crate) fn primary(&self) -> Option<Own<'_>> {
        self.own_at(self.primary?)
    }

    /// The rules to ask, in their order: those that can match, or every one where somebody wants to know why the others do not.
    pub(crate) fn rules(
        &self,
        sender: &ReversePath,
        recipient: &Domain,
        every: bool,
    ) -> impl Iterator<Item = (&RelayRule, &RuleDestination)> {
        let places =
            if every { self.rule_index.every() } else { self.rule_index.candidates(sender, recipient) };
        places.filter_map(|place| {
            let place = usize::try_from(place).ok()?;
            Some((self.snapshot.rules.get(place)?, self.rule_destinations.get(place)?))
        })
    }

    fn own_at(&self, place: u32) -> Option<Own<'_>> {
        let place = usize::try_from(place).ok()?;
        let (domain, destinations) =
            (self.snapshot.domains.get(place)?, self.domain_destinations.get(place)?);
        Some(Own { domain, destinations })
    }
}
