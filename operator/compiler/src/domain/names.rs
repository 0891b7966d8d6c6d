//! Which domain holds which name: grants, renames, and the settling of conflicts. Pure.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry as Slot},
    hash::BuildHasherDefault,
    sync::Arc,
};

use posthouse_crds::Kind;
use posthouse_model::Domain;

use super::{DomainPlan, ParsedName, wants_primary};
use crate::{
    claims::{Claim, ClaimMap, Claimant, Settled, winner},
    compile::{Gateways, Input},
    reason::Reason,
    resources::ObjectKey,
    verdict::Report,
};

/// Who holds which name at which gateway: the place of the domain.
#[derive(Debug)]
pub(crate) struct Holders<'a>(ClaimMap<&'a Claim, (usize, Wanted<'a>)>);

impl Holders<'_> {
    /// The place of the domain that holds a name at a gateway.
    pub(crate) fn find(&self, claim: &Claim) -> Option<usize> {
        self.0.get(claim).map(|(place, _)| *place)
    }
}

/// A name that a domain wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a ParsedName,
    /// It is of the domain that `renamedFrom` names.
    pub(super) inherited: bool,
}

impl Wanted<'_> {
    fn is_own(&self) -> bool {
        !self.inherited && self.name.is_own()
    }

    fn field(&self) -> String {
        if self.inherited { "spec.renamedFrom".to_owned() } else { self.name.field() }
    }
}

/// Gives each name, and the role of primary, to at most one domain of each gateway.
pub(crate) fn settle<'a>(
    plans: &mut [DomainPlan<'a>],
    input: &Input<'_>,
    gateways: &Gateways<'_>,
    claims: &mut Settled<'_>,
    report: &mut Report,
) -> Holders<'a> {
    for plan in plans.iter_mut() {
        want_own_names(plan, input, gateways, report);
    }
    take_over(plans, input, report);
    let holders = settle_names(plans, input, report);
    settle_primary(plans, input, gateways, claims, report);
    holders
}

fn want_own_names(
    plan: &mut DomainPlan<'_>,
    input: &Input<'_>,
    gateways: &Gateways<'_>,
    report: &mut Report,
) {
    let Some(gateway) = gateways.at(plan.gateway) else { return };
    plan.parsed.faults.iter().for_each(|fault| report.say_fault(plan.subject(), fault));
    for name in &plan.parsed.names {
        if input.grants(gateway, &plan.key.namespace, &name.domain) {
            plan.wanted.push(Wanted { name, inherited: false });
        } else {
            let message = format!(
                "gateway {} does not grant {} to namespace {}; its owner can, by allowedRoutes.grants",
                gateway.key, name.domain, plan.key.namespace
            );
            report.say(plan.subject(), name.field(), Reason::DomainNotGranted, message);
        }
    }
}

/// A domain with `renamedFrom` takes the names of the old one, which then wants none.
fn take_over(plans: &mut [DomainPlan<'_>], input: &Input<'_>, report: &mut Report) {
    let renamed: Vec<_> = plans
        .iter()
        .enumerate()
        .filter_map(|(place, plan)| plan.object().spec.renamed_from.as_ref().map(|_| place))
        .collect();
    if renamed.is_empty() {
        return;
    }
    let places: HashMap<_, usize> =
        plans.iter().enumerate().map(|(place, plan)| (plan.key.parts(), place)).collect();
    let old_of = |place: usize| {
        let plan = plans.get(place)?;
        Some((plan.key.namespace.as_str(), plan.object().spec.renamed_from.as_ref()?.name.as_str()))
    };
    let mut inherited = Vec::new();
    for place in renamed {
        let Some(plan) = plans.get(place) else { continue };
        let mut taken = Vec::new();
        let mut next = old_of(place);
        while let Some(key) = next {
            let Some(old) = places.get(&key).copied() else {
                if taken.is_empty() && !input.is_refused(Kind::MailDomain, key) {
                    let message = if input.has_domain(key) {
                        format!(
                            "MailDomain {}/{} is attached to no gateway, so there is no name to take over: see there, or list the \
                             name under aliases and remove renamedFrom",
                            key.0, key.1
                        )
                    } else {
                        format!(
                            "there is no MailDomain {}/{} any more: list its name under aliases to keep it, and remove renamedFrom",
                            key.0, key.1
                        )
                    };
                    report.say(plan.subject(), "spec.renamedFrom", Reason::NothingToTakeOver, message);
                }
                break;
            };
            if old == place || taken.contains(&old) {
                let message = "the chain of renamedFrom leads back here: remove one of them";
                report.say(plan.subject(), "spec.renamedFrom", Reason::ConflictingFields, message);
                taken.clear();
                break;
            }
            if plans.get(old).map(|old| old.gateway) != Some(plan.gateway) {
                let message = format!(
                    "MailDomain {}/{} is at another gateway, which goes on taking its mail: name one of this gateway, or remove \
                     renamedFrom",
                    key.0, key.1
                );
                report.say(plan.subject(), "spec.renamedFrom", Reason::NothingToTakeOver, message);
                break;
            }
            taken.push(old);
            next = old_of(old);
        }
        inherited.push((place, taken));
    }
    for (place, taken) in &inherited {
        let names: Vec<_> = taken
            .iter()
            .filter_map(|old| plans.get(*old))
            .flat_map(|old| old.wanted.iter().filter(|wanted| !wanted.inherited))
            .map(|wanted| wanted.name)
            .collect();
        let Some(plan) = plans.get_mut(*place) else { continue };
        for name in names {
            if !plan.wanted.iter().any(|wanted| wanted.name.domain == name.domain) {
                plan.wanted.push(Wanted { name, inherited: true });
            }
        }
    }
    for (place, taken) in &inherited {
        let Some(heir) = plans.get(*place).map(|plan| plan.key) else { continue };
        for old in taken {
            let Some(plan) = plans.get_mut(*old).filter(|plan| !plan.superseded) else { continue };
            plan.superseded = true;
            plan.wanted.clear();
            let message = format!("MailDomain {heir} took its name over: this resource may be deleted");
            report.say(plan.subject(), "", Reason::Superseded, message);
        }
    }
}

fn settle_names<'a>(plans: &mut [DomainPlan<'a>], input: &Input<'_>, report: &mut Report) -> Holders<'a> {
    let names = plans.iter().map(|plan| plan.wanted.len()).sum();
    let mut holders = Holders(ClaimMap::with_capacity_and_hasher(names, BuildHasherDefault::default()));
    let mut contested: ClaimMap<&'a Claim, Vec<(usize, Wanted<'a>)>> = ClaimMap::default();
    for (place, plan) in plans.iter().enumerate() {
        for wanted in &plan.wanted {
            match holders.0.entry(&wanted.name.claim) {
                Slot::Vacant(slot) => {
                    slot.insert((place, *wanted));
                }
                Slot::Occupied(first) => {
                    contested
                        .entry(&wanted.name.claim)
                        .or_insert_with(|| vec![*first.get()])
                        .push((place, *wanted));
                }
            }
        }
    }
    for (claim, wanting) in &contested {
        let keys: Vec<_> =
            wanting.iter().filter_map(|(place, _)| plans.get(*place)).map(|plan| plan.key).collect();
        let holder = holder_of(claim, plans, wanting.iter().map(|(place, _)| *place), input);
        match wanting.iter().find(|(place, _)| Some(*place) == holder) {
            Some(held) => holders.0.insert(claim, *held),
            None => holders.0.remove(claim),
        };
        for (place, wanted) in wanting.iter().filter(|(place, _)| Some(*place) != holder) {
            let Some(plan) = plans.get_mut(*place) else { continue };
            if holder.is_none() {
                plan.contested.push(&wanted.name.domain);
            }
            let message = lost(&wanted.name.domain, plan.key, &keys, holder.is_some());
            let reason = if wanted.is_own() { Reason::DomainClaimed } else { Reason::AliasClaimed };
            report.say(plan.subject(), wanted.field(), reason, message);
        }
    }
    for (place, plan) in plans.iter_mut().enumerate() {
        for wanted in &plan.wanted {
            let claim = &wanted.name.claim;
            let is_held =
                contested.is_empty() || holders.0.get(claim).is_some_and(|(holder, _)| *holder == place);
            match is_held {
                true if wanted.is_own() => plan.name = Some(wanted.name),
                true => plan.aliases.push(&wanted.name.domain),
                false => {}
            }
        }
        plan.aliases.sort();
        plan.contested.sort(); // they came in no order, and what comes out has one
    }
    holders
}

fn settle_primary(
    plans: &mut [DomainPlan<'_>],
    input: &Input<'_>,
    gateways: &Gateways<'_>,
    claims: &mut Settled<'_>,
    report: &mut Report,
) {
    const FIELD: &str = "spec.role";
    let mut contenders: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, plan) in plans.iter().enumerate() {
        let Some(gateway) = gateways.at(plan.gateway) else { continue };
        if plan.superseded || !wants_primary(plan.object()) {
            continue;
        }
        // Bare logins and bare recipients, postmaster's among them, are the gateway's own affair.
        if plan.key.namespace == gateway.key.namespace {
            contenders.entry(plan.gateway).or_default().push(place);
        } else {
            let message = format!(
                "the primary domain of gateway {} must be in namespace {}: leave role out",
                gateway.key, gateway.key.namespace
            );
            report.say(plan.subject(), FIELD, Reason::PrimaryNotAllowed, message);
        }
    }
    for (gateway, wanting) in contenders {
        let Some(gateway) = gateways.at(gateway) else { continue };
        let claim = Claim::primary(&Arc::new(gateway.key.clone()));
        let holder = holder_of(&claim, plans, wanting.iter().copied(), input);
        for place in wanting {
            let Some(plan) = plans.get_mut(place) else { continue };
            plan.primary = holder == Some(place);
            if plan.primary {
                claims.insert(claim.clone(), Arc::clone(&plan.parsed.key));
                continue;
            }
            let message = match holder {
                Some(_) => {
                    format!("gateway {} has a primary domain already: set role: Member here", gateway.key)
                }
                None => format!(
                    "gateway {} has several primary domains, and nothing says which was first: set role: Member on all but one",
                    gateway.key
                ),
            };
            report.say(plan.subject(), FIELD, Reason::PrimaryClaimed, message);
        }
    }
}

fn holder_of(
    claim: &Claim,
    plans: &[DomainPlan<'_>],
    wanting: impl Iterator<Item = usize>,
    input: &Input<'_>,
) -> Option<usize> {
    let places: Vec<_> = wanting.collect();
    let contenders: Vec<_> = places
        .iter()
        .filter_map(|place| plans.get(*place))
        .map(|plan| Claimant { key: plan.key, created: plan.object().metadata.creation_timestamp.as_ref() })
        .collect();
    let holder = winner(claim, &contenders, &input.context.claims)?;
    places.into_iter().find(|place| plans.get(*place).is_some_and(|plan| plan.key == holder))
}

/// Says that a name is lost; names the others only inside the own namespace, for who else has which domain is nobody's business.
fn lost(name: &Domain, own: &ObjectKey, all: &[&ObjectKey], held: bool) -> String {
    let others: Vec<_> = all
        .iter()
        .filter(|key| **key != own && key.namespace == own.namespace)
        .map(|key| format!("MailDomain {key}"))
        .collect();
    let others = if others.is_empty() { "another MailDomain".to_owned() } else { others.join(", ") };
    if held {
        format!("{name} is held by {others}, which was first: remove it here or there")
    } else {
        format!(
            "{name} is claimed by {others} too, and nothing says which was first, so neither has it: remove one"
        )
    }
}
