//! The last step: what was checked becomes one snapshot per gateway. Nothing is judged here. Pure.

use std::{
    borrow::Cow,
    cmp::Ordering::{Equal, Greater, Less},
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry as Slot},
    sync::Arc,
};

use posthouse_config::{
    self as config, Certificate, MailDomain, Millis, RelayAuthentication, ResourceName, Snapshot,
    UnknownRecipients, bind_port, local_queue_name,
};
use posthouse_crds::{
    Duration,
    mail_domain::{Admits, AliasedRecipients},
    mail_gateway::{self, Protocol},
    size::Size,
};
use posthouse_model::{Domain, QueueName};

use crate::{
    compile::Gateways,
    domain::{DomainPlan, EntryKind, LocalDelivery, Place, Unknown},
    gateway::{CheckedListener, Gateway, Tls},
    memory::Memory,
    previous::{Kept, KeptDomain, held_names},
    resources::ObjectKey,
    rule::RulePlan,
    syntax::Target,
};

/// The snapshot of each gateway that is accepted.
pub(crate) fn build(
    gateways: &Gateways<'_>,
    domains: &[DomainPlan<'_>],
    rules: &[RulePlan<'_>],
    kept: &Kept,
    previous: &BTreeMap<ObjectKey, Arc<Snapshot>>,
    memory: &mut Memory,
) -> BTreeMap<ObjectKey, Snapshot> {
    let mut drafts: Vec<Option<Draft<'_>>> = gateways
        .all
        .iter()
        .map(|gateway| Some(Draft::new(gateway_of(gateway)?, certificates_of(gateway))))
        .collect();
    let kept_of = |plan: &DomainPlan<'_>| kept.domains.get(plan.key); // most often there is none at all
    // What stays as it was may be in a queue that somebody has alone by what the manifests say now.
    let queues = kept.domains.values().filter_map(|kept| Some((kept.gateway, &kept.queue.as_ref()?.name)));
    let kept_queues: HashSet<(usize, &QueueName)> = queues.collect();
    let shares = |plan: &DomainPlan<'_>| {
        let is_kept = |queue| !kept_queues.is_empty() && kept_queues.contains(&(plan.gateway, queue));
        plan.shares_queue || plan.queue.is_some_and(is_kept)
    };
    let alone = || kept.domains.values().filter(|kept| kept.is_alone);
    // Queues first: how local delivery is queued depends on whether any domain holds the queue.
    for plan in domains {
        let Some((Some(draft), gateway)) = drafts.get_mut(plan.gateway).zip(gateways.at(plan.gateway)) else {
            continue;
        };
        match kept_of(plan) {
            Some(kept) => draft.add_queue(kept.queue.clone()),
            None if shares(plan) => draft.add_queue(queue_of(plan, gateway)),
            None => draft.own_queues.extend(queue_of(plan, gateway)),
        }
    }
    for kept in alone() {
        if let Some(Some(draft)) = drafts.get_mut(kept.gateway) {
            draft.add_queue(kept.queue.clone());
        }
    }
    for plan in domains {
        let Some((Some(draft), gateway)) = drafts.get_mut(plan.gateway).zip(gateways.at(plan.gateway)) else {
            continue;
        };
        if let Some(kept) = kept_of(plan) {
            draft.add_kept(kept);
            draft.refuse_new_names(kept, plan);
        } else {
            let holds = (!shares(plan)).then(|| plan.hold(gateway).is_some());
            draft.add_domain(plan, holds, memory);
        }
    }
    for kept in alone() {
        if let Some(Some(draft)) = drafts.get_mut(kept.gateway) {
            draft.add_kept(kept);
        }
    }
    for plan in rules.iter().filter(|plan| !kept.rules.contains_key(&plan.key)) {
        if let Some(Some(draft)) = drafts.get_mut(plan.gateway) {
            draft.rules.extend(rule_of(plan));
        }
    }
    for (place, rule) in kept.rules.values() {
        if let Some(Some(draft)) = drafts.get_mut(*place) {
            draft.rules.push(rule.clone());
        }
    }
    let finished = gateways.all.iter().zip(drafts);
    let finish = |(gateway, draft): (&Gateway<'_>, Option<Draft<'_>>)| {
        Some((gateway.key.clone(), draft?.finish(previous.get(&gateway.key).map(Arc::as_ref))))
    };
    finished.filter_map(finish).collect()
}

/// A snapshot under construction.
struct Draft<'a> {
    gateway: config::Gateway,
    /// Queues that are one domain's alone.
    own_queues: Vec<config::Queue>,
    /// All others.
    queues: HashMap<QueueName, config::Queue>,
    /// Each with its name in lower case, to sort it by.
    domains: Vec<(Cow<'a, str>, Arc<MailDomain>)>,
    /// What stands for names whose domains cannot be programmed.
    placeholders: BTreeMap<Domain, Arc<MailDomain>>,
    rules: Vec<config::RelayRule>,
    certificates: Box<[Certificate]>,
}

impl<'a> Draft<'a> {
    fn new(gateway: config::Gateway, certificates: Box<[Certificate]>) -> Self {
        let (queues, placeholders) = (HashMap::new(), BTreeMap::new());
        let (own_queues, domains, rules) = (Vec::new(), Vec::new(), Vec::new());
        Self { gateway, own_queues, queues, domains, placeholders, rules, certificates }
    }

    fn finish(self, previous: Option<&Snapshot>) -> Snapshot {
        let mut snapshot = Snapshot::new(self.gateway);
        snapshot.rules = self.rules.into();
        snapshot.certificates = self.certificates;
        let mut snapshot = snapshot.sorted();
        let mut queues = self.own_queues;
        queues.extend(self.queues.into_values());
        queues.sort_by(|one, other| one.name.cmp(&other.name)); // nearly sorted: stable is faster
        snapshot.queues = queues.into();
        let mut domains = self.domains;
        let named = |(name, domain): (Domain, _)| (Cow::Owned(name.to_lowercase()), domain);
        domains.extend(self.placeholders.into_iter().map(named));
        // The sort keeps what is equal in order: a domain comes before what only stands for its name.
        domains.sort_by(|(one, _), (other, _)| one.cmp(other));
        domains.dedup_by(|(one, _), (other, _)| one == other);
        // Each is in order by itself: it was made so, or was in force.
        snapshot.domains = domains.into_iter().map(|(_, domain)| domain).collect();
        if let Some(previous) = previous {
            share(&mut snapshot.domains, &previous.domains);
        }
        snapshot
    }

    fn add_queue(&mut self, queue: Option<config::Queue>) {
        let Some(queue) = queue else { return };
        match self.queues.entry(queue.name.clone()) {
            Slot::Vacant(slot) => {
                slot.insert(queue);
            }
            // Those that forward agree on it; those that only deliver locally have nothing to say.
            Slot::Occupied(mut slot) => {
                let first = slot.get_mut();
                first.hold = first.hold.or(queue.hold);
                first.hold_expires_after = first.hold_expires_after.or(queue.hold_expires_after);
            }
        }
    }

    /// `holds`: whether its queue is held, where that is its alone.
    fn add_domain(&mut self, plan: &DomainPlan<'a>, holds: Option<bool>, memory: &mut Memory) {
        let origin = || plan.key.resource_name();
        for name in &plan.contested {
            self.refuse_for_now(name, &[], origin());
        }
        let Some(name) = plan.name else {
            if let Some((first, rest)) = plan.aliases.split_first() {
                self.refuse_for_now(first, rest, origin());
            }
            return;
        };
        let Some(queue) = plan.queue.filter(|_| plan.is_programmable()) else {
            self.refuse_for_now(&name.domain, &plan.aliases, origin());
            return;
        };
        let local = plan.local.as_ref().map(|local| self.local_delivery(local, queue, holds));
        let unknown = unknown_of(plan, queue);
        let remembered = plan.form();
        if let Some(form) = remembered.filter(|form| is_still(form, plan, local.as_ref(), &unknown)) {
            self.domains.push((name.claim.name().into(), Arc::clone(form)));
            return;
        }
        let Some(origin) = origin() else { return };
        let spec = &plan.object().spec;
        let mut domain = MailDomain::new(name.domain.clone(), origin);
        domain.suspended = spec.suspend;
        domain.role = role_of(plan);
        domain.aliases = plan.aliases.iter().map(|alias| (*alias).clone()).collect();
        domain.recipients = recipients_of(plan);
        domain.local_delivery = local;
        domain.unknown_recipients = unknown;
        let sizes = spec.message_size.unwrap_or_default();
        domain.message_size = config::MessageSize {
            sent: sizes.sent.map(Size::as_bytes),
            received: sizes.received.map(Size::as_bytes),
        };
        let domain = Arc::new(domain);
        memory.keep_form(plan.object(), &plan.listed, &domain);
        self.domains.push((name.claim.name().into(), domain));
    }

    /// A domain as it was.
    fn add_kept(&mut self, kept: &KeptDomain) {
        let mut domain = Arc::clone(&kept.form);
        if let Some((local, queue)) = domain.local_delivery.as_ref().zip(kept.queue.as_ref()) {
            let own = match local {
                config::LocalDelivery::Lmtp { .. } => self.local_queue(&queue.name, false),
                config::LocalDelivery::Maildrop { .. } => self.maildrop_queue(&queue.name),
            };
            if own != *local.queue() {
                match &mut Arc::make_mut(&mut domain).local_delivery {
                    Some(
                        config::LocalDelivery::Lmtp { queue, .. } | config::LocalDelivery::Maildrop { queue },
                    ) => *queue = own,
                    None => {}
                }
            }
        }
        self.domains.push((domain.domain.to_lowercase().into(), domain));
    }

    /// Names that a kept domain has only now get 451, for nothing says yet what they are for.
    fn refuse_new_names(&mut self, kept: &KeptDomain, plan: &DomainPlan<'_>) {
        let form = &kept.form;
        let is_new = |name: &&Domain| **name != form.domain && !form.aliases.contains(name);
        let new: Vec<_> = held_names(plan).filter(is_new).collect();
        if let Some((first, rest)) = new.split_first() {
            self.refuse_for_now(first, rest, Some(form.origin.clone()));
        }
    }

    /// A name whose domain cannot be programmed: its mail gets 451 and comes again, where 550 would lose it.
    fn refuse_for_now(&mut self, name: &Domain, aliases: &[&Domain], origin: Option<ResourceName>) {
        let Some(origin) = origin else { return };
        let mut domain = MailDomain::new(name.clone(), origin);
        domain.suspended = true;
        domain.aliases = aliases.iter().map(|alias| (*alias).clone()).collect();
        self.placeholders.entry(name.clone()).or_insert_with(|| Arc::new(domain));
    }

    fn local_delivery(
        &mut self,
        local: &LocalDelivery,
        queue: &QueueName,
        holds: Option<bool>,
    ) -> config::LocalDelivery {
        match (local, holds) {
            (LocalDelivery::Lmtp(Place { host, guarded }), _) => {
                let queue = match holds {
                    Some(false) => queue.clone(),
                    _ => self.local_queue(queue, holds == Some(true)),
                };
                config::LocalDelivery::Lmtp { host: host.clone(), queue, guarded: *guarded }
            }
            (LocalDelivery::Maildrop, _) => {
                config::LocalDelivery::Maildrop { queue: self.maildrop_queue(queue) }
            }
        }
    }

    /// The queue for maildrops in a domain with this queue: its mail is held until somebody fetches it, and is never tried or given up.
    fn maildrop_queue(&mut self, queue: &QueueName) -> QueueName {
        let name = local_queue_name(queue).unwrap_or_else(|_| queue.clone());
        self.queues.insert(
            name.clone(),
            config::Queue {
                name: name.clone(),
                hold: Some(config::Hold::OnRequest),
                hold_expires_after: None,
            },
        );
        name
    }

    /// The queue for local delivery in a domain with this queue.
    fn local_queue(&mut self, queue: &QueueName, is_held: bool) -> QueueName {
        let held = is_held || self.queues.get(queue).is_some_and(|queue| queue.hold.is_some());
        // The check of queue names left room for this one.
        let queue =
            if held { local_queue_name(queue).unwrap_or_else(|_| queue.clone()) } else { queue.clone() };
        if !self.queues.contains_key(&queue) {
            let (hold, hold_expires_after) = (None, None);
            self.queues
                .insert(queue.clone(), config::Queue { name: queue.clone(), hold, hold_expires_after });
        }
        queue
    }
}

/// Replaces what is equal to what the snapshot in force has by that itself: whoever compares identities then sees no change. Both are sorted.
fn share(domains: &mut [Arc<MailDomain>], mut previous: &[Arc<MailDomain>]) {
    for domain in domains {
        while let Some((first, rest)) = previous.split_first() {
            let order = if Arc::ptr_eq(first, domain) { Equal } else { first.domain.cmp(&domain.domain) };
            if order == Equal && !Arc::ptr_eq(first, domain) && first == domain {
                *domain = Arc::clone(first);
            }
            if order != Greater {
                previous = rest;
            }
            if order != Less {
                break;
            }
        }
    }
}

fn gateway_of(gateway: &Gateway<'_>) -> Option<config::Gateway> {
    let (origin, hostname) = (gateway.origin.clone()?, gateway.hostname.clone()?);
    if !gateway.accepted || gateway.foreign {
        return None;
    }
    let spec = &gateway.object.spec;
    let mut compiled = config::Gateway::new(origin, hostname);
    compiled.suspended = spec.suspend;
    compiled.listeners = gateway
        .listeners
        .iter()
        .map(|CheckedListener { object, closed, tls, certificates, proxy_networks }| config::Listener {
            name: object.name.as_str().into(),
            protocol: protocol_of(object.protocol),
            port: object.port,
            bind_port: bind_port(object.port),
            closed: closed.map(Into::into),
            tls: tls.map(|Tls { mode, required }| config::ListenerTls {
                mode,
                required,
                certificates: certificates.iter().map(|one| one.name.clone()).collect(),
            }),
            proxy_networks: proxy_networks.as_slice().into(),
        })
        .collect();
    compiled.resolver.clone_from(&gateway.resolver);
    compiled.denied_networks = gateway.denied_networks.as_slice().into();
    compiled.queue = queue_settings(gateway);
    compiled.relay_control = spec.relay_control.as_ref().map(|control| config::RelayControl {
        networks: gateway.relay_networks.as_slice().into(),
        address_trust: gateway.address_trust,
        authentication: match control.authentication.unwrap_or_default() {
            mail_gateway::RelayAuthentication::Disabled => RelayAuthentication::Disabled,
            mail_gateway::RelayAuthentication::Optional => RelayAuthentication::Optional,
            mail_gateway::RelayAuthentication::Required => RelayAuthentication::Required,
        },
    });
    if let Some(limits) = &spec.limits {
        compiled.limits.recipients_per_message = limits.recipients_per_message;
        compiled.limits.failed_commands = limits.failed_commands;
        if let Some(size) = limits.message_size {
            compiled.limits.message_size = size.as_bytes();
        }
    }
    compiled.connectivity = match gateway.hold() {
        Some(_) => config::Connectivity::Scheduled,
        None => config::Connectivity::Online,
    };
    Some(compiled)
}

/// The certificates of all listeners, each once.
fn certificates_of(gateway: &Gateway<'_>) -> Box<[Certificate]> {
    let all = gateway.listeners.iter().flat_map(|listener| &listener.certificates);
    let by_name: BTreeMap<_, _> = all.map(|one| (&one.name, one)).collect();
    by_name.into_values().cloned().collect()
}

fn queue_of(plan: &DomainPlan<'_>, gateway: &Gateway<'_>) -> Option<config::Queue> {
    let name = plan.queue.filter(|_| plan.complete && !plan.superseded)?.clone();
    let hold_expires_after = plan.object().spec.queue.as_ref().and_then(|queue| queue.hold_expires_after);
    Some(config::Queue { name, hold: plan.hold(gateway), hold_expires_after: hold_expires_after.map(millis) })
}

fn queue_settings(gateway: &Gateway<'_>) -> config::QueueSettings {
    let mut settings =
        config::QueueSettings { id: gateway.queue_id.as_str().into(), ..config::QueueSettings::default() };
    let Some(queue) = &gateway.object.spec.queue else { return settings };
    if let Some(reserve) = queue.reserve {
        settings.reserve = reserve.as_bytes();
    }
    if let Some(retry) = &queue.retry {
        if let Some(intervals) = &retry.intervals {
            settings.retry.intervals = intervals.iter().copied().map(millis).collect();
        }
        settings.retry.expire_after = retry.expire_after.map_or(settings.retry.expire_after, millis);
        settings.retry.warn_after = retry.warn_after.map_or(settings.retry.warn_after, millis);
    }
    if let Some(concurrency) = &queue.concurrency {
        settings.concurrency.per_node = concurrency.per_node.unwrap_or(settings.concurrency.per_node);
        settings.concurrency.per_next_hop =
            concurrency.per_next_hop.unwrap_or(settings.concurrency.per_next_hop);
    }
    settings
}

fn protocol_of(protocol: Protocol) -> config::Protocol {
    match protocol {
        Protocol::Smtp => config::Protocol::Smtp,
        Protocol::Submission => config::Protocol::Submission,
        Protocol::Odmr => config::Protocol::Odmr,
        Protocol::Pop3 => config::Protocol::Pop3,
    }
}

fn millis(duration: Duration) -> Millis {
    Millis::from_secs(duration.as_secs())
}

fn role_of(plan: &DomainPlan<'_>) -> config::Role {
    if plan.primary { config::Role::Primary } else { config::Role::Member }
}

/// Whether a domain that was compiled from the same manifest and the same recipients would be compiled to the same again.
fn is_still(
    form: &MailDomain,
    plan: &DomainPlan<'_>,
    local: Option<&config::LocalDelivery>,
    unknown: &UnknownRecipients,
) -> bool {
    form.role == role_of(plan)
        && form.local_delivery.as_ref() == local
        && form.unknown_recipients == *unknown
        && form.aliases.len() == plan.aliases.len()
        // A name that is taken over may be spelled anew.
        && form.aliases.iter().zip(&plan.aliases).all(|(one, other)| one.as_str() == other.as_str())
}

fn recipients_of(plan: &DomainPlan<'_>) -> config::Recipients {
    if plan.accepts_all() {
        return config::Recipients::AcceptAll;
    }
    let expansions = |wanted: EntryKind| {
        let entries = plan.listed.expansions.iter().filter(move |entry| entry.kind == wanted);
        entries
            .map(|entry| config::Expansion {
                name: entry.local.clone(),
                members: entry
                    .targets
                    .iter()
                    .map(|aim| match &aim.target {
                        Target::Local(local) => config::Member::Local(local.clone()),
                        Target::Mailbox(mailbox) => config::Member::Address(mailbox.clone()),
                    })
                    .collect(),
            })
            .collect()
    };
    config::Recipients::Listed {
        users: plan.listed.users.clone(),
        groups: expansions(EntryKind::Group),
        aliases: expansions(EntryKind::Alias),
    }
}

fn unknown_of(plan: &DomainPlan<'_>, queue: &QueueName) -> UnknownRecipients {
    let (Place { host, guarded }, waits_for) = match &plan.unknown {
        Unknown::Reject => return UnknownRecipients::Reject,
        Unknown::Forward(place) => (place.clone(), Vec::new()),
        Unknown::Waits(place, waits_for) => (place.clone(), waits_for.clone()),
    };
    let forward = plan.forward();
    let aliased = forward.and_then(|forward| forward.aliased_recipients).unwrap_or_default();
    let admits = forward.and_then(|forward| forward.admits).unwrap_or_default();
    UnknownRecipients::Forward(Box::new(config::Forward {
        host,
        queue: queue.clone(),
        aliased_recipients: match aliased {
            AliasedRecipients::Forward => config::AliasedRecipients::Forward,
            AliasedRecipients::Reject => config::AliasedRecipients::Reject,
        },
        admits: match admits {
            Admits::Anyone => config::Admits::Anyone,
            Admits::Authorized => config::Admits::Authorized,
        },
        guarded,
        unsupported: waits_for.into_iter().map(Into::into).collect(),
    }))
}

fn rule_of(plan: &RulePlan<'_>) -> Option<config::RelayRule> {
    Some(config::RelayRule {
        origin: plan.key.resource_name()?,
        tier: plan.tier,
        order: i64::from(plan.object.spec.order),
        suspended: plan.object.spec.suspend,
        matches: plan.matches.clone(),
        target: plan.way.target.clone(),
        credentials: plan.way.credentials.clone(),
        method: plan.way.method,
        tls: plan.way.tls.clone(),
        guarded: plan.way.guarded,
        unsupported: plan.way.waits_for.iter().map(|field| field.as_str().into()).collect(),
    })
}
