//! What was programmed before, and what of it stays in force where its resource is refused now: a slip of the hand in a manifest must not stop
//! mail that flowed. Nothing stays that was revoked since, or that another resource holds now. Pure.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use posthouse_config::{self as config, Hold, MailDomain, RelayRule, Snapshot, UnknownRecipients};
use posthouse_crds::Kind;
use posthouse_model::{Domain, HostPort, QueueName};

use crate::{
    claims::{Claim, Settled},
    compile::{Gateways, Input, sorted, target},
    domain::DomainPlan,
    gateway::Gateway,
    resources::ObjectKey,
    rule::RulePlan,
    secrets::Logins,
    verdict::{Refusal, Report},
};

mod before;
mod lesser;
mod rules;

use before::Before;
use lesser::{has_users, takes_away};

/// How the name of a queue for local delivery alone begins: see [`posthouse_config::local_queue_name`].
const LOCAL_QUEUE: &str = "local:";

/// What becomes of a resource that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// What was programmed of it before stays in force.
    Kept,
    /// What was programmed of it before stays in force, but its mail waits: where it went, or the login that it went with, is not to be used now.
    Waits,
    /// Nothing of it is in force: mail for a domain gets 451, mail for a rule goes as the other rules say.
    Nothing,
}

/// What stays in force of refused resources, by resource.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) domains: BTreeMap<ObjectKey, KeptDomain>,
    /// Each with the place of its gateway.
    pub(crate) rules: BTreeMap<ObjectKey, (usize, RelayRule)>,
    /// Of all refused domains, rules and gateways of which something needs to be told.
    pub(crate) standing: BTreeMap<(Kind, ObjectKey), Standing>,
}

/// A domain that stays as it was.
#[derive(Debug)]
pub(crate) struct KeptDomain {
    /// The place of its gateway.
    pub(crate) gateway: usize,
    pub(crate) form: Arc<MailDomain>,
    /// The queue that it names, as it stands beside that of local delivery.
    pub(crate) queue: Option<config::Queue>,
    /// There is no plan of it: its manifest was refused before anything could be made of it.
    pub(crate) is_alone: bool,
}

/// Finds out what stays. What resources hold that are there only as they were before is theirs until somebody else has it.
pub(crate) fn keep<'a>(
    input: &Input<'a>,
    gateways: &Gateways<'a>,
    (domains, rules): (&[DomainPlan<'a>], &[RulePlan<'_>]),
    claims: &mut Settled<'a>,
    report: &Report,
) -> Kept {
    let refused = refused(input, report);
    let mut kept = Kept::default();
    if refused.is_empty() && input.resources.refused.is_empty() {
        return kept;
    }
    let before = Before::new(input);
    let mut now = Now::new(input, gateways, domains, claims);
    keep_planned(&refused, &before, &mut now, domains, &mut kept);
    rules::keep_planned(&refused, &before, &now, rules, &mut kept);
    keep_alone(&before, &mut now, &mut kept);
    stand_with_gateways(input, gateways, &before, &mut kept);
    let held: Vec<_> = kept.domains.iter().filter(|(_, kept)| kept.is_alone).collect();
    for (key, domain) in held {
        if let Some(gateway) = gateways.at(domain.gateway) {
            hold(claims, key, gateway, domain);
        }
    }
    kept
}

/// Domains of which there is a manifest, and something is wrong with it.
fn keep_planned<'a>(
    refused: &BTreeMap<(Kind, ObjectKey), Refusal>,
    before: &Before<'_>,
    now: &mut Now<'_, 'a>,
    domains: &[DomainPlan<'a>],
    kept: &mut Kept,
) {
    let lists_missing = now.input.resources.refused.iter().filter(|(kind, _)| *kind == Kind::MailRecipients);
    let lists_missing: HashSet<&str> = lists_missing.map(|(_, key)| key.namespace.as_str()).collect();
    let refused = refused.iter().filter(|((kind, _), _)| *kind == Kind::MailDomain);
    let refused: BTreeMap<&ObjectKey, Refusal> = refused.map(|((_, key), refusal)| (key, *refusal)).collect();
    for plan in domains.iter().filter(|plan| !plan.superseded) {
        // Which domain a refused list is of is not known: it may be any of its namespace.
        let is_list_missing = lists_missing.contains(plan.key.namespace.as_str());
        let own = refused.get(plan.key).copied();
        let Some(refusal) = own.or(is_list_missing.then_some(Refusal::Corrigible)) else { continue };
        let found = before.domain(now.gateways, plan).filter(|_| refusal == Refusal::Corrigible);
        let stays = found.filter(|(form, _)| {
            if own.is_some() {
                !plan.is_programmable() || takes_away(plan, form)
            } else {
                !has_users(plan, form)
            }
        });
        let place =
            Place { key: plan.key, gateway: plan.gateway, suspended: Some(plan.object().spec.suspend) };
        let standing = match stays.and_then(|(form, snapshot)| now.keep_domain(&place, form, snapshot)) {
            Some(domain) => {
                now.remember(&domain);
                kept.domains.insert(plan.key.clone(), domain);
                Standing::Kept
            }
            None if plan.is_programmable() || !has_names(plan) => continue,
            None => Standing::Nothing,
        };
        kept.standing.insert((Kind::MailDomain, plan.key.clone()), standing);
    }
}

/// Domains and rules that are there, but of which there is nothing to compile.
fn keep_alone(before: &Before<'_>, now: &mut Now<'_, '_>, kept: &mut Kept) {
    for (kind, key) in &now.input.resources.refused {
        if !matches!(kind, Kind::MailDomain | Kind::RelayRule) {
            continue;
        }
        let mut standing = Standing::Nothing;
        for (gateway_key, snapshot) in before.snapshots {
            let Some((place, gateway)) = now.gateway_of(gateway_key) else { continue };
            let is_let_in = !gateway.foreign
                && now.input.namespaces.selects(&gateway.routes, &gateway.key.namespace, &key.namespace);
            if !is_let_in {
                continue;
            }
            if *kind == Kind::RelayRule {
                let rule = before.rule(gateway_key, key);
                if let Some(rule) =
                    rule.and_then(|rule| now.keep_rule(gateway, rule, rules::Secrets::UNKNOWN))
                {
                    standing = rules::standing_of(&rule);
                    kept.rules.insert(key.clone(), (place, rule));
                }
                continue;
            }
            let Some(form) = before.form(gateway_key, key) else { continue };
            let place = Place { key, gateway: place, suspended: None };
            if let Some(domain) = now.keep_domain(&place, form, snapshot) {
                now.remember(&domain);
                kept.domains.insert(key.clone(), KeptDomain { is_alone: true, ..domain });
                standing = Standing::Kept;
            }
        }
        kept.standing.insert((*kind, key.clone()), standing);
    }
}

/// A gateway without a snapshot of its own keeps the last one whole, with all that is in it.
fn stand_with_gateways(input: &Input<'_>, gateways: &Gateways<'_>, before: &Before<'_>, kept: &mut Kept) {
    let is_whole = |gateway: &ObjectKey| {
        before.snapshots.contains_key(gateway)
            && match gateways.place(gateway).and_then(|place| gateways.at(place)) {
                Some(gateway) => !gateway.accepted && !gateway.foreign,
                None => input.is_refused(Kind::MailGateway, gateway.parts()),
            }
    };
    let of = |stays: bool| if stays { Standing::Kept } else { Standing::Nothing };
    for (kind, key) in &input.resources.refused {
        let in_whole = |has: &dyn Fn(&ObjectKey) -> bool| {
            before.snapshots.keys().any(|gateway| is_whole(gateway) && has(gateway))
        };
        let stays = match kind {
            Kind::MailGateway => is_whole(key),
            Kind::MailDomain => in_whole(&|gateway| before.form(gateway, key).is_some()),
            Kind::RelayRule => in_whole(&|gateway| before.rule(gateway, key).is_some()),
            _ => continue,
        };
        let standing = kept.standing.entry((*kind, key.clone())).or_insert(Standing::Nothing);
        *standing = (*standing).min(of(stays)); // Kept comes first
    }
    if !before.snapshots.keys().any(is_whole) {
        return;
    }
    let all = input.parsed.domains.iter().map(|remembered| &remembered.parsed);
    for parsed in all.filter(|parsed| is_whole(&parsed.gateway)) {
        let stays = before.form(&parsed.gateway, &parsed.key).is_some();
        kept.standing.insert((Kind::MailDomain, (*parsed.key).clone()), of(stays));
    }
    for (key, object) in sorted(&input.resources.relay_rules) {
        let gateway = target(&key.namespace, &object.spec.gateway_ref);
        if is_whole(&gateway) {
            let stays = before.rule(&gateway, &key).is_some();
            kept.standing.insert((Kind::RelayRule, key), of(stays));
        }
    }
}

/// What is refused; a domain also by its `MailRecipients`.
fn refused(input: &Input<'_>, report: &Report) -> BTreeMap<(Kind, ObjectKey), Refusal> {
    let mut refused = report.refused();
    if !refused.keys().any(|(kind, _)| *kind == Kind::MailRecipients) {
        return refused;
    }
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

/// What a domain that is only there as it was goes on holding.
fn hold(claims: &mut Settled<'_>, key: &ObjectKey, gateway: &Gateway<'_>, domain: &KeptDomain) {
    let (gateway, holder) = (Arc::new(gateway.key.clone()), Arc::new(key.clone()));
    let mut held: Vec<_> =
        names_of(&domain.form).map(|name| (Claim::domain(&gateway, name), Arc::clone(&holder))).collect();
    if let Some(queue) = &domain.queue {
        let namespace = Arc::new(ObjectKey::new(&key.namespace, ""));
        held.push((Claim::queue(&gateway, &queue.name), namespace));
    }
    if domain.form.role == config::Role::Primary {
        held.push((Claim::primary(&gateway), holder));
    }
    for (claim, holder) in held {
        if claims.holder(&claim).is_none() {
            claims.insert(claim, holder);
        }
    }
}

/// The names that a domain holds now.
pub(crate) fn held_names<'p>(plan: &'p DomainPlan<'_>) -> impl Iterator<Item = &'p Domain> {
    plan.name.map(|name| &name.domain).into_iter().chain(plan.aliases.iter().copied())
}

/// Whether there is a name to answer 451 for.
fn has_names(plan: &DomainPlan<'_>) -> bool {
    plan.name.is_some() || !plan.aliases.is_empty() || !plan.contested.is_empty()
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

/// A domain that may stay: which one, and where.
struct Place<'k> {
    key: &'k ObjectKey,
    gateway: usize,
    /// What its manifest says now; absent: there is none to read.
    suspended: Option<bool>,
}

/// What holds now, for what was compiled before to be judged by. What has to be sorted for that is sorted when it is first looked up.
struct Now<'c, 'a> {
    input: &'c Input<'a>,
    gateways: &'c Gateways<'a>,
    claims: &'c Settled<'a>,
    /// By key.
    domains: &'c [DomainPlan<'a>],
    /// Names that several want and nobody has.
    contested: OnceCell<HashSet<(usize, &'c Domain)>>,
    primaries: OnceCell<HashMap<usize, &'c ObjectKey>>,
    /// The names of domains that forward as they did before, whatever their manifests say now.
    kept_forwarding: HashSet<(ObjectKey, Domain)>,
    /// Domains that forward, by their queue: those that only deliver locally have nothing to say about it.
    forwarding: OnceCell<HashMap<(usize, &'c QueueName), Vec<&'c DomainPlan<'a>>>>,
    logins: OnceCell<Logins<'a>>,
}

impl<'c, 'a> Now<'c, 'a> {
    fn new(
        input: &'c Input<'a>,
        gateways: &'c Gateways<'a>,
        domains: &'c [DomainPlan<'a>],
        claims: &'c Settled<'a>,
    ) -> Self {
        Self {
            input,
            gateways,
            claims,
            domains,
            contested: OnceCell::new(),
            primaries: OnceCell::new(),
            kept_forwarding: HashSet::new(),
            forwarding: OnceCell::new(),
            logins: OnceCell::new(),
        }
    }

    fn is_contested(&self, gateway: usize, name: &Domain) -> bool {
        let all = || {
            let of_one = |plan: &'c DomainPlan<'a>| plan.contested.iter().map(|name| (plan.gateway, *name));
            self.domains.iter().flat_map(of_one).collect()
        };
        self.contested.get_or_init(all).contains(&(gateway, name))
    }

    /// The primary domain of a gateway.
    fn primary(&self, gateway: usize) -> Option<&'c ObjectKey> {
        let all = || {
            let primaries = self.domains.iter().filter(|plan| plan.primary);
            primaries.map(|plan| (plan.gateway, plan.key)).collect()
        };
        self.primaries.get_or_init(all).get(&gateway).copied()
    }

    /// The domains that forward from a queue.
    fn forwarding_from<'s>(&'s self, gateway: usize, queue: &'s QueueName) -> &'s [&'c DomainPlan<'a>] {
        let all = || {
            let mut forwarding: HashMap<_, Vec<_>> = HashMap::new();
            for plan in self.domains.iter().filter(|plan| plan.complete && plan.forwards()) {
                if let Some(queue) = plan.queue {
                    forwarding.entry((plan.gateway, queue)).or_default().push(plan);
                }
            }
            forwarding
        };
        self.forwarding.get_or_init(all).get(&(gateway, queue)).map_or(&[], Vec::as_slice)
    }

    fn plan(&self, key: &ObjectKey) -> Option<&'c DomainPlan<'a>> {
        let place = self.domains.binary_search_by(|plan| plan.key.cmp(key)).ok()?;
        self.domains.get(place)
    }

    fn gateway_of(&self, key: &ObjectKey) -> Option<(usize, &'c Gateway<'a>)> {
        let place = self.gateways.place(key)?;
        Some((place, self.gateways.at(place)?))
    }

    /// What stays may close a circle with what is looked at after it.
    fn remember(&mut self, kept: &KeptDomain) {
        let Some(gateway) = self.gateways.at(kept.gateway) else { return };
        if matches!(kept.form.unknown_recipients, UnknownRecipients::Forward(_)) {
            let names = names_of(&kept.form).map(|name| (gateway.key.clone(), name.clone()));
            self.kept_forwarding.extend(names);
        }
    }

    /// The domain as it was, if all that it has may still be its own.
    fn keep_domain(
        &self,
        place: &Place<'_>,
        form: &Arc<MailDomain>,
        snapshot: &Snapshot,
    ) -> Option<KeptDomain> {
        let gateway = self.gateways.at(place.gateway)?;
        let queue = queue_of(gateway, form, snapshot);
        let stays = names_of(form).all(|name| self.may_have_name(place, gateway, name))
            && hosts_of(form)
                .all(|(host, _)| self.input.may_connect(gateway, &place.key.namespace, &host.host))
            && queue.as_ref().is_none_or(|queue| self.may_use_queue(place, gateway, queue))
            && !self.may_forward_in_a_circle(form);
        if !stays {
            return None;
        }
        let suspended = place.suspended.unwrap_or(form.suspended);
        let primary = self.primary(place.gateway);
        let role = if primary.is_some_and(|primary| primary != place.key) {
            config::Role::Member
        } else {
            form.role
        };
        let mut form = Arc::clone(form);
        if (form.suspended, form.role) != (suspended, role) {
            let changed = Arc::make_mut(&mut form);
            (changed.suspended, changed.role) = (suspended, role);
        }
        let guards = |host: &str| self.input.still_guards(gateway, &place.key.namespace, host);
        if hosts_of(&form).any(|(host, guarded)| guards(&host.host) != guarded) {
            let changed = Arc::make_mut(&mut form);
            if let Some(config::LocalDelivery::Lmtp { host, guarded, .. }) = &mut changed.local_delivery {
                *guarded = guards(&host.host);
            }
            if let UnknownRecipients::Forward(forward) = &mut changed.unknown_recipients {
                forward.guarded = guards(&forward.host.host);
            }
        }
        Some(KeptDomain { gateway: place.gateway, form, queue, is_alone: false })
    }

    fn may_have_name(&self, place: &Place<'_>, gateway: &Gateway<'_>, name: &Domain) -> bool {
        let claim = Claim::domain(&Arc::new(gateway.key.clone()), name);
        self.claims.holder(&claim).is_none_or(|holder| holder == place.key)
            && !self.is_contested(place.gateway, name)
            && self.input.grants(gateway, &place.key.namespace, name)
    }

    /// Whether the queue is not another namespace's, and those who share it now deliver in the same way.
    fn may_use_queue(&self, place: &Place<'_>, gateway: &Gateway<'_>, queue: &config::Queue) -> bool {
        let claim = Claim::queue(&Arc::new(gateway.key.clone()), &queue.name);
        let mut sharing = self.forwarding_from(place.gateway, &queue.name).iter();
        self.claims.holder(&claim).is_none_or(|holder| holder.namespace == place.key.namespace)
            && sharing.all(|other| other.key == place.key || other.hold(gateway) == queue.hold)
    }

    /// Whether a gateway that the domain forwards to forwards the same domain itself: that it does not come back was only found out for what
    /// the manifests say now.
    fn may_forward_in_a_circle(&self, form: &MailDomain) -> bool {
        let UnknownRecipients::Forward(forward) = &form.unknown_recipients else { return false };
        let HostPort { host, port } = &forward.host;
        let mut reached = self.gateways.all.iter().filter(|gateway| gateway.is_reached_at(host, *port));
        reached.any(|gateway| {
            let claim = Claim::domain(&Arc::new(gateway.key.clone()), &form.domain);
            let holder = self.claims.holder(&claim).and_then(|holder| self.plan(holder));
            holder.is_some_and(DomainPlan::forwards)
                || self.kept_forwarding.contains(&(gateway.key.clone(), form.domain.clone()))
        })
    }
}

/// The hosts that mail of a domain is brought to, and whether the node looks at their addresses.
fn hosts_of(form: &MailDomain) -> impl Iterator<Item = (&HostPort, bool)> {
    let local = match &form.local_delivery {
        Some(config::LocalDelivery::Lmtp { host, queue: _, guarded }) => Some((host, *guarded)),
        Some(config::LocalDelivery::Maildrop { .. }) | None => None,
    };
    let forward = match &form.unknown_recipients {
        UnknownRecipients::Forward(forward) => Some((&forward.host, forward.guarded)),
        UnknownRecipients::Reject => None,
    };
    local.into_iter().chain(forward)
}
