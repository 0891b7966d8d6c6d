//! The last step: what was checked becomes one snapshot per gateway. Nothing is judged here. Pure.

use std::{
    collections::{BTreeMap, btree_map::Entry as Slot},
    sync::Arc,
};

use posthouse_config::{
    self as config, MailDomain, Millis, RelayAuthentication, ResourceName, Snapshot, UnknownRecipients,
    bind_port, local_queue_name,
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
    domain::{DomainPlan, EntryKind, LocalDelivery, Unknown},
    gateway::Gateway,
    previous::{Kept, KeptDomain},
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
) -> BTreeMap<ObjectKey, Arc<Snapshot>> {
    let mut drafts: Vec<Option<Draft>> =
        gateways.all.iter().map(|gateway| gateway_of(gateway).map(Draft::new)).collect();
    // Queues first: how local delivery is queued depends on whether any domain holds the queue.
    for plan in domains {
        let Some((Some(draft), gateway)) = drafts.get_mut(plan.gateway).zip(gateways.at(plan.gateway)) else {
            continue;
        };
        match kept.domains.get(&plan.key) {
            Some(kept) => draft.add_queue(kept.queue.clone()),
            None => draft.add_queue(queue_of(plan, gateway)),
        }
    }
    for plan in domains {
        let Some(Some(draft)) = drafts.get_mut(plan.gateway) else { continue };
        match kept.domains.get(&plan.key) {
            Some(kept) => draft.add_kept(kept, plan),
            None => draft.add_domain(plan),
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
    gateways
        .all
        .iter()
        .zip(drafts)
        .filter_map(|(gateway, draft)| Some((gateway.key.clone(), Arc::new(draft?.finish()))))
        .collect()
}

/// A snapshot under construction.
struct Draft {
    gateway: config::Gateway,
    queues: BTreeMap<QueueName, config::Queue>,
    domains: BTreeMap<Domain, MailDomain>,
    rules: Vec<config::RelayRule>,
}

impl Draft {
    fn new(gateway: config::Gateway) -> Self {
        Self { gateway, queues: BTreeMap::new(), domains: BTreeMap::new(), rules: Vec::new() }
    }

    fn finish(self) -> Snapshot {
        let mut snapshot = Snapshot::new(self.gateway);
        snapshot.queues = self.queues.into_values().collect();
        snapshot.domains = self.domains.into_values().map(Arc::new).collect();
        snapshot.rules = self.rules.into();
        snapshot.sorted()
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

    fn add_domain(&mut self, plan: &DomainPlan<'_>) {
        let Some(origin) = plan.key.resource_name() else { return };
        for name in &plan.contested {
            self.refuse_for_now(name, &[], &origin);
        }
        let Some(name) = &plan.name else {
            if let Some((first, rest)) = plan.aliases.split_first() {
                self.refuse_for_now(first, rest, &origin);
            }
            return;
        };
        let Some(queue) = plan.queue.as_ref().filter(|_| plan.is_programmable()) else {
            self.refuse_for_now(name, &plan.aliases, &origin);
            return;
        };
        let spec = &plan.object.spec;
        let mut domain = MailDomain::new(name.clone(), origin);
        domain.suspended = spec.suspend;
        domain.role = if plan.primary { config::Role::Primary } else { config::Role::Member };
        domain.aliases = plan.aliases.as_slice().into();
        domain.recipients = recipients_of(plan);
        domain.local_delivery = plan.local.as_ref().map(|local| self.local_delivery(local, queue));
        domain.unknown_recipients = unknown_of(plan, queue);
        let sizes = spec.message_size.unwrap_or_default();
        domain.message_size = config::MessageSize {
            sent: sizes.sent.map(Size::as_bytes),
            received: sizes.received.map(Size::as_bytes),
        };
        self.domains.insert(name.clone(), domain);
    }

    /// A domain as it was. Names that it has only now get 451, for nothing says yet what they are for.
    fn add_kept(&mut self, kept: &KeptDomain, plan: &DomainPlan<'_>) {
        let mut domain = kept.form.clone();
        if let Some((local, queue)) = domain.local_delivery.as_mut().zip(kept.queue.as_ref()) {
            match local {
                config::LocalDelivery::Lmtp { queue: own, .. } => *own = self.local_queue(&queue.name),
                config::LocalDelivery::Maildrop { queue: own } => *own = self.maildrop_queue(&queue.name),
            }
        }
        let is_new = |name: &&Domain| **name != domain.domain && !domain.aliases.contains(name);
        let held = plan.name.iter().chain(&plan.aliases).filter(is_new).cloned();
        let new: Vec<_> = held.collect();
        if let Some((first, rest)) = new.split_first() {
            self.refuse_for_now(first, rest, &domain.origin);
        }
        self.domains.insert(domain.domain.clone(), domain);
    }

    /// A name whose domain cannot be programmed: its mail gets 451 and comes again, where 550 would lose it.
    fn refuse_for_now(&mut self, name: &Domain, aliases: &[Domain], origin: &ResourceName) {
        let mut domain = MailDomain::new(name.clone(), origin.clone());
        domain.suspended = true;
        domain.aliases = aliases.into();
        self.domains.entry(name.clone()).or_insert(domain);
    }

    fn local_delivery(&mut self, local: &LocalDelivery, queue: &QueueName) -> config::LocalDelivery {
        match local {
            LocalDelivery::Lmtp(host) => {
                config::LocalDelivery::Lmtp { host: host.clone(), queue: self.local_queue(queue) }
            }
            LocalDelivery::Maildrop => config::LocalDelivery::Maildrop { queue: self.maildrop_queue(queue) },
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
    fn local_queue(&mut self, queue: &QueueName) -> QueueName {
        let held = self.queues.get(queue).is_some_and(|queue| queue.hold.is_some());
        // The check of queue names left room for this one.
        let queue =
            if held { local_queue_name(queue).unwrap_or_else(|_| queue.clone()) } else { queue.clone() };
        self.queues.entry(queue.clone()).or_insert_with(|| config::Queue {
            name: queue.clone(),
            hold: None,
            hold_expires_after: None,
        });
        queue
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
        .map(|(listener, closed)| config::Listener {
            name: listener.name.as_str().into(),
            protocol: protocol_of(listener.protocol),
            port: listener.port,
            bind_port: bind_port(listener.port),
            closed: closed.map(Into::into),
        })
        .collect();
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

fn queue_of(plan: &DomainPlan<'_>, gateway: &Gateway<'_>) -> Option<config::Queue> {
    let name = plan.queue.clone().filter(|_| plan.complete && !plan.superseded)?;
    let hold_expires_after = plan.object.spec.queue.as_ref().and_then(|queue| queue.hold_expires_after);
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

fn recipients_of(plan: &DomainPlan<'_>) -> config::Recipients {
    if plan.accepts_all() {
        return config::Recipients::AcceptAll;
    }
    let expansions = |wanted: EntryKind| {
        let entries = plan.entries.expansions.values().filter(move |entry| entry.kind == wanted);
        entries
            .map(|entry| config::Expansion {
                name: entry.local.clone(),
                members: entry
                    .targets
                    .iter()
                    .map(|(target, _)| match target {
                        Target::Local(local) => config::Member::Local(local.clone()),
                        Target::Mailbox(mailbox) => config::Member::Address(mailbox.clone()),
                    })
                    .collect(),
            })
            .collect()
    };
    config::Recipients::Listed {
        users: plan.entries.users.values().collect(),
        groups: expansions(EntryKind::Group),
        aliases: expansions(EntryKind::Alias),
    }
}

fn unknown_of(plan: &DomainPlan<'_>, queue: &QueueName) -> UnknownRecipients {
    let (host, waits_for) = match &plan.unknown {
        Unknown::Reject => return UnknownRecipients::Reject,
        Unknown::Forward(host) => (host.clone(), Vec::new()),
        Unknown::Waits(host, waits_for) => (host.clone(), waits_for.clone()),
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
        target: plan.target.clone(),
        credentials: None,
        unsupported: plan.waits_for.iter().map(|field| field.as_str().into()).collect(),
    })
}
