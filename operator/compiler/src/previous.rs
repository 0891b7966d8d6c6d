//! What was programmed before, and what of it stays in force where its resource is refused now: a slip of the hand in a manifest must not stop
//! mail that flowed. Nothing stays that was revoked since, or that another resource holds now. Pure.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use posthouse_config::{
    self as config, Hold, MailDomain, Match, Member, Recipients, RelayRule, ResourceName, RuleTarget,
    SenderPattern, Snapshot, UnknownRecipients,
};
use posthouse_crds::{GatewayRef, Kind};
use posthouse_model::{Domain, HostPort, LocalPart, QueueName};

use crate::{
    compile::{Gateways, Input, sorted},
    domain::{DomainPlan, Unknown, key_of},
    gateway::Gateway,
    resources::{Claim, Claims, ObjectKey},
    rule::{RulePlan, is_refused},
    syntax::Target,
    verdict::{Refusal, Report},
};

/// How the name of a queue for local delivery alone begins: see [`posthouse_config::local_queue_name`].
const LOCAL_QUEUE: &str = "local:";

/// What becomes of a resource that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// What was programmed of it before stays in force.
    Kept,
    /// Nothing of it is in force: mail for a domain gets 451, mail for a rule goes as the other rules say.
    Nothing,
}

/// What stays in force of refused resources, by resource.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) domains: BTreeMap<ObjectKey, KeptDomain>,
    /// Each with the place of its gateway.
    pub(crate) rules: BTreeMap<ObjectKey, (usize, RelayRule)>,
    /// Of all refused domains and rules of which something needs to be told.
    pub(crate) standing: BTreeMap<(Kind, ObjectKey), Standing>,
}

/// A domain that stays as it was.
#[derive(Debug)]
pub(crate) struct KeptDomain {
    pub(crate) form: MailDomain,
    /// The queue that it names, as it stands beside that of local delivery.
    pub(crate) queue: Option<config::Queue>,
}

/// Finds out what stays.
pub(crate) fn keep(
    input: &Input<'_>,
    gateways: &Gateways<'_>,
    (domains, rules): (&[DomainPlan<'_>], &[RulePlan<'_>]),
    claims: &Claims,
    report: &Report,
) -> Kept {
    let refused = refused(input, report);
    let mut kept = Kept::default();
    if refused.is_empty() {
        return kept;
    }
    let before = Before::new(input);
    let now = Now::new(input, gateways, domains, claims);
    for plan in domains.iter().filter(|plan| !plan.superseded) {
        let Some(refusal) = refused.get(&(Kind::MailDomain, plan.key.clone())) else { continue };
        let found = before.domain(gateways, plan).filter(|_| *refusal == Refusal::Corrigible);
        let stays = found.filter(|(form, _)| !plan.is_programmable() || takes_away(plan, form));
        let standing = match stays.and_then(|(form, snapshot)| now.keep_domain(plan, form, snapshot)) {
            Some(domain) => {
                kept.domains.insert(plan.key.clone(), domain);
                Standing::Kept
            }
            None if plan.is_programmable() || !has_names(plan) => continue,
            None => Standing::Nothing,
        };
        kept.standing.insert((Kind::MailDomain, plan.key.clone()), standing);
    }
    let programmed: HashSet<&ObjectKey> = rules.iter().map(|plan| &plan.key).collect();
    for (key, object) in sorted(&input.resources.relay_rules) {
        let Some(refusal) = refused.get(&(Kind::RelayRule, key.clone())) else { continue };
        let Some((place, gateway)) = now.gateway_of(&key, &object.spec.gateway_ref) else { continue };
        let is_programmed = programmed.contains(&key);
        let found = before.rule(gateway, &key).filter(|_| *refusal == Refusal::Corrigible);
        // One that waits because it was refused before is no better than what is there now, unless nothing is.
        let stays = found.filter(|rule| !is_programmed || !is_refused(rule));
        let standing = match stays.filter(|rule| now.allows_rule(gateway, rule)) {
            Some(rule) => {
                let rule = RelayRule { suspended: object.spec.suspend, ..rule.clone() };
                kept.rules.insert(key.clone(), (place, rule));
                Standing::Kept
            }
            None if is_programmed => continue,
            None => Standing::Nothing,
        };
        kept.standing.insert((Kind::RelayRule, key), standing);
    }
    kept
}

/// What is refused; a domain also by its `MailRecipients`.
fn refused(input: &Input<'_>, report: &Report) -> BTreeMap<(Kind, ObjectKey), Refusal> {
    let mut refused = report.refused();
    for object in &input.resources.recipients {
        let key = ObjectKey::of(&object.metadata);
        let domain = ObjectKey::new(&key.namespace, &object.spec.domain_ref.name);
        if let Some(refusal) = refused.get(&(Kind::MailRecipients, key)).copied() {
            let whole = refused.entry((Kind::MailDomain, domain)).or_insert(refusal);
            *whole = refusal.max(*whole);
        }
    }
    refused
}

/// What was in force before, found by resource.
struct Before<'a> {
    snapshots: &'a BTreeMap<ObjectKey, Arc<Snapshot>>,
    domains: HashMap<(&'a ObjectKey, &'a ResourceName), &'a Arc<MailDomain>>,
    rules: HashMap<(&'a ObjectKey, &'a ResourceName), &'a RelayRule>,
}

impl<'a> Before<'a> {
    fn new(input: &Input<'a>) -> Self {
        let snapshots = &input.context.previous;
        let (mut domains, mut rules) = (HashMap::new(), HashMap::new());
        for (gateway, snapshot) in snapshots {
            let forms = snapshot.domains.iter().filter(|form| !is_placeholder(form.as_ref()));
            domains.extend(forms.map(|form| ((gateway, &form.origin), form)));
            rules.extend(snapshot.rules.iter().map(|rule| ((gateway, &rule.origin), rule)));
        }
        Self { snapshots, domains, rules }
    }

    fn domain(
        &self,
        gateways: &Gateways<'_>,
        plan: &DomainPlan<'_>,
    ) -> Option<(&'a MailDomain, &'a Snapshot)> {
        let gateway = &gateways.at(plan.gateway)?.key;
        let form = self.domains.get(&(gateway, &plan.key.resource_name()?)).copied()?;
        Some((form, self.snapshots.get(gateway)?))
    }

    fn rule(&self, gateway: &Gateway<'_>, key: &ObjectKey) -> Option<&'a RelayRule> {
        self.rules.get(&(&gateway.key, &key.resource_name()?)).copied()
    }
}

/// Whether this only answers 451 for a domain that could not be programmed.
fn is_placeholder(form: &MailDomain) -> bool {
    form.suspended
        && form.recipients == Recipients::default()
        && form.local_delivery.is_none()
        && form.unknown_recipients == UnknownRecipients::Reject
}

/// Whether what the manifest says now, without its wrong parts, has less than what is in force. If not, it is programmed: its right parts count,
/// and nobody loses mail by the wrong ones.
fn takes_away(plan: &DomainPlan<'_>, form: &MailDomain) -> bool {
    let named = |name: &Domain| plan.name.iter().chain(&plan.aliases).any(|held| held == name);
    let names = names_of(form).all(named);
    let recipients = match &form.recipients {
        Recipients::AcceptAll => plan.accepts_all(),
        Recipients::Listed { .. } if plan.accepts_all() => form.recipients == Recipients::default(),
        Recipients::Listed { users, groups, aliases } => {
            users.iter().all(|name| plan.entries.users.contains_key(&name.to_ascii_lowercase()))
                && groups.iter().chain(aliases).all(|entry| has_members(plan, &entry.name, &entry.members))
        }
    };
    let local = form.local_delivery.is_none() || plan.local.is_some();
    let forward = match (&form.unknown_recipients, &plan.unknown) {
        (UnknownRecipients::Reject, _) | (UnknownRecipients::Forward(_), Unknown::Forward(_)) => true,
        (UnknownRecipients::Forward(_), Unknown::Reject) => false,
        (UnknownRecipients::Forward(forward), Unknown::Waits(..)) => !forward.unsupported.is_empty(),
    };
    !(names && recipients && local && forward)
}

/// Whether there is a name to answer 451 for.
fn has_names(plan: &DomainPlan<'_>) -> bool {
    plan.name.is_some() || !plan.aliases.is_empty() || !plan.contested.is_empty()
}

fn has_members(plan: &DomainPlan<'_>, name: &LocalPart, members: &[Member]) -> bool {
    let Some(entry) = plan.entries.expansions.get(&key_of(name)) else { return false };
    members.iter().all(|member| {
        entry.targets.iter().any(|(target, _)| match (member, target) {
            (Member::Local(one), Target::Local(other)) => one == other,
            (Member::Address(one), Target::Mailbox(other)) => one == other,
            _ => false,
        })
    })
}

fn names_of(form: &MailDomain) -> impl Iterator<Item = &Domain> {
    std::iter::once(&form.domain).chain(&form.aliases)
}

/// The queue that a domain names. How it is held is what the domain said, or what the gateway says now.
fn queue_of(gateway: &Gateway<'_>, form: &MailDomain, snapshot: &Snapshot) -> Option<config::Queue> {
    let forward = match &form.unknown_recipients {
        UnknownRecipients::Reject => None,
        UnknownRecipients::Forward(forward) => Some(&forward.queue),
    };
    let name = match forward {
        Some(name) => name.clone(),
        None => shared_name(form.local_delivery.as_ref()?.queue())?,
    };
    let before = snapshot.queue(&name);
    let hold = match before.and_then(|queue| queue.hold) {
        _ if forward.is_none() => None,
        Some(hold @ (Hold::OnRequest | Hold::Scheduled)) => Some(hold),
        Some(Hold::Connectivity) | None => gateway.hold(),
    };
    let hold_expires_after = before.and_then(|queue| queue.hold_expires_after);
    Some(config::Queue { name, hold, hold_expires_after })
}

/// The queue beside which one for local delivery alone was made, or this one itself.
fn shared_name(queue: &QueueName) -> Option<QueueName> {
    QueueName::new(queue.as_str().strip_prefix(LOCAL_QUEUE).unwrap_or(queue.as_str())).ok()
}

/// What holds now, for what was compiled before to be judged by.
struct Now<'c, 'a> {
    input: &'c Input<'a>,
    gateways: &'c Gateways<'a>,
    claims: &'c Claims,
    /// Names that several want and nobody has.
    contested: HashSet<(usize, &'c Domain)>,
    primaries: HashMap<usize, &'c ObjectKey>,
    /// Domains that forward, by their queue: those that only deliver locally have nothing to say about it.
    forwarding: HashMap<(usize, &'c QueueName), Vec<&'c DomainPlan<'a>>>,
    plans: HashMap<&'c ObjectKey, &'c DomainPlan<'a>>,
}

impl<'c, 'a> Now<'c, 'a> {
    fn new(
        input: &'c Input<'a>,
        gateways: &'c Gateways<'a>,
        domains: &'c [DomainPlan<'a>],
        claims: &'c Claims,
    ) -> Self {
        let contested = |plan: &'c DomainPlan<'a>| plan.contested.iter().map(|name| (plan.gateway, name));
        let mut forwarding: HashMap<_, Vec<_>> = HashMap::new();
        for plan in domains.iter().filter(|plan| plan.complete && plan.forwards()) {
            if let Some(queue) = &plan.queue {
                forwarding.entry((plan.gateway, queue)).or_default().push(plan);
            }
        }
        let primaries = domains.iter().filter(|plan| plan.primary);
        Self {
            input,
            gateways,
            claims,
            contested: domains.iter().flat_map(contested).collect(),
            primaries: primaries.map(|plan| (plan.gateway, &plan.key)).collect(),
            forwarding,
            plans: domains.iter().map(|plan| (&plan.key, plan)).collect(),
        }
    }

    fn gateway_of(&self, key: &ObjectKey, reference: &GatewayRef) -> Option<(usize, &'c Gateway<'a>)> {
        let place = self.gateways.place(key, reference)?;
        Some((place, self.gateways.at(place)?))
    }

    /// The domain as it was, if all that it has may still be its own.
    fn keep_domain(
        &self,
        plan: &DomainPlan<'_>,
        form: &MailDomain,
        snapshot: &Snapshot,
    ) -> Option<KeptDomain> {
        let gateway = self.gateways.at(plan.gateway)?;
        let queue = queue_of(gateway, form, snapshot);
        let stays = names_of(form).all(|name| self.may_have_name(plan, gateway, name))
            && hosts_of(form).all(|host| self.input.still_allows(gateway, &plan.key.namespace, &host.host))
            && queue.as_ref().is_none_or(|queue| self.may_use_queue(plan, gateway, queue))
            && !self.may_forward_in_a_circle(form);
        let mut form = form.clone();
        form.suspended = plan.object.spec.suspend;
        if self.primaries.get(&plan.gateway).is_some_and(|primary| **primary != plan.key) {
            form.role = config::Role::Member;
        }
        stays.then_some(KeptDomain { form, queue })
    }

    fn may_have_name(&self, plan: &DomainPlan<'_>, gateway: &Gateway<'_>, name: &Domain) -> bool {
        let claim = Claim::Domain(gateway.key.clone(), name.to_lowercase());
        self.claims.0.get(&claim).is_none_or(|holder| *holder == plan.key)
            && !self.contested.contains(&(plan.gateway, name))
            && self.input.grants(gateway, &plan.key.namespace, name)
    }

    /// Whether the queue is not another namespace's, and those who share it now deliver in the same way.
    fn may_use_queue(&self, plan: &DomainPlan<'_>, gateway: &Gateway<'_>, queue: &config::Queue) -> bool {
        let claim = Claim::Queue(gateway.key.clone(), queue.name.as_str().to_owned());
        let mut sharing = self.forwarding.get(&(plan.gateway, &queue.name)).into_iter().flatten();
        self.claims.0.get(&claim).is_none_or(|holder| holder.namespace == plan.key.namespace)
            && sharing.all(|other| other.key == plan.key || other.hold(gateway) == queue.hold)
    }

    /// Whether a gateway that the domain forwards to forwards the same domain itself: that it does not come back was only found out for what
    /// the manifests say now.
    fn may_forward_in_a_circle(&self, form: &MailDomain) -> bool {
        let UnknownRecipients::Forward(forward) = &form.unknown_recipients else { return false };
        let HostPort { host, port } = &forward.host;
        let mut reached = self.gateways.all.iter().filter(|gateway| gateway.is_reached_at(host, *port));
        reached.any(|gateway| {
            let claim = Claim::Domain(gateway.key.clone(), form.domain.to_lowercase());
            let holder = self.claims.0.get(&claim).and_then(|holder| self.plans.get(holder));
            holder.is_some_and(|plan| plan.forwards())
        })
    }

    fn allows_rule(&self, gateway: &Gateway<'_>, rule: &RelayRule) -> bool {
        let namespace = rule.origin.namespace();
        let is_granted = |sender: &SenderPattern| match sender {
            SenderPattern::Address(pattern) => self.input.grants(gateway, namespace, pattern.domain()),
            SenderPattern::Null => true,
        };
        let senders = match &rule.matches {
            Match::Always => true,
            Match::Addresses { senders, recipients: _ } => senders.iter().all(is_granted),
        };
        let hosts = match &rule.target {
            RuleTarget::Direct => true,
            RuleTarget::Relay { hosts } => hosts.iter().all(|host| {
                self.input.still_allows(gateway, namespace, &host.host)
                    && !gateway.is_reached_at(&host.host, host.port)
            }),
        };
        senders && hosts
    }
}

fn hosts_of(form: &MailDomain) -> impl Iterator<Item = &HostPort> {
    let local = match &form.local_delivery {
        Some(config::LocalDelivery::Lmtp { host, queue: _ }) => Some(host),
        Some(config::LocalDelivery::Maildrop { .. }) | None => None,
    };
    let forward = match &form.unknown_recipients {
        UnknownRecipients::Forward(forward) => Some(&forward.host),
        UnknownRecipients::Reject => None,
    };
    local.into_iter().chain(forward)
}
