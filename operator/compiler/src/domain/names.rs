//! Which domain holds which name: parsing, grants, renames, and the settling of conflicts. Pure.

use std::collections::{BTreeMap, HashMap};

use posthouse_crds::Kind;
use posthouse_model::Domain;

use super::{DomainPlan, wants_primary};
use crate::{
    claims::{Claimant, winner},
    compile::{Gateways, Input},
    reason::Reason,
    resources::{Claim, Claims, ObjectKey},
    syntax,
    tenancy::Seen,
    verdict::{Report, Subject},
};

/// Gives each name, and the role of primary, to at most one domain of each gateway.
pub(crate) fn settle(
    plans: &mut [DomainPlan<'_>],
    input: &Input<'_>,
    gateways: &Gateways<'_>,
    claims: &mut Claims,
    report: &mut Report,
) {
    for plan in plans.iter_mut() {
        want_own_names(plan, input, gateways, report);
    }
    take_over(plans, report);
    settle_names(plans, input, gateways, claims, report);
    settle_primary(plans, input, gateways, claims, report);
}

fn want_own_names(
    plan: &mut DomainPlan<'_>,
    input: &Input<'_>,
    gateways: &Gateways<'_>,
    report: &mut Report,
) {
    let Some(gateway) = gateways.at(plan.gateway) else { return };
    let spec = &plan.object.spec;
    let subject = Subject { kind: Kind::MailDomain, key: &plan.key };
    let own = std::iter::once((&spec.domain, "spec.domain".to_owned()));
    let aliases =
        spec.aliases.iter().enumerate().map(|(place, text)| (text, format!("spec.aliases[{place}]")));
    let mut seen = Seen::default();
    for (text, field) in own.chain(aliases) {
        let name = match syntax::domain(text) {
            Ok(name) => name,
            Err(wrong) => {
                report.say(subject, field, wrong.reason, wrong.message);
                continue;
            }
        };
        if !seen.first(name.clone()) {
            report.say(subject, field, Reason::DuplicateEntry, format!("{text} is named twice: remove one"));
        } else if !gateway.grants.allow(&input.namespaces, &gateway.key.namespace, &plan.key.namespace, &name)
        {
            let message = format!(
                "gateway {} does not grant {text} to namespace {}; its owner can, by allowedRoutes.grants",
                gateway.key, plan.key.namespace
            );
            report.say(subject, field, Reason::DomainNotGranted, message);
        } else {
            plan.wanted.push((name, field));
        }
    }
}

/// A domain with `renamedFrom` takes the names of the old one, which then wants none.
fn take_over(plans: &mut [DomainPlan<'_>], report: &mut Report) {
    let places: HashMap<ObjectKey, usize> =
        plans.iter().enumerate().map(|(place, plan)| (plan.key.clone(), place)).collect();
    let old_of = |plan: &DomainPlan<'_>| {
        let old = plan.object.spec.renamed_from.as_ref()?;
        Some(ObjectKey::new(&plan.key.namespace, &old.name))
    };
    let mut inherited = Vec::new();
    for (place, plan) in plans.iter().enumerate() {
        let mut taken = Vec::new();
        let mut next = old_of(plan);
        while let Some(key) = next {
            let Some(old) = places.get(&key).copied() else {
                if taken.is_empty() {
                    let message = format!(
                        "there is no MailDomain {key} any more: list its name under aliases to keep it, and remove renamedFrom"
                    );
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
            taken.push(old);
            next = plans.get(old).and_then(old_of);
        }
        inherited.push(taken);
    }
    for (place, taken) in inherited.iter().enumerate() {
        let same_gateway = |old: &&usize| {
            plans.get(**old).map(|old| old.gateway) == plans.get(place).map(|plan| plan.gateway)
        };
        let names: Vec<_> = taken
            .iter()
            .filter(same_gateway)
            .filter_map(|old| plans.get(*old))
            .flat_map(|old| old.wanted.iter().filter(|(_, field)| field != "spec.renamedFrom"))
            .map(|(name, _)| (name.clone(), "spec.renamedFrom".to_owned()))
            .collect();
        let Some(plan) = plans.get_mut(place) else { continue };
        for (name, field) in names {
            if !plan.wanted.iter().any(|(wanted, _)| *wanted == name) {
                plan.wanted.push((name, field));
            }
        }
    }
    for (place, taken) in inherited.iter().enumerate() {
        let Some(heir) = plans.get(place).map(|plan| plan.key.clone()) else { continue };
        for old in taken {
            let Some(plan) = plans.get_mut(*old).filter(|plan| !plan.superseded) else { continue };
            plan.superseded = true;
            plan.wanted.clear();
            let message = format!("MailDomain {heir} took its name over: this resource may be deleted");
            report.say(plan.subject(), "", Reason::Superseded, message);
        }
    }
}

fn settle_names(
    plans: &mut [DomainPlan<'_>],
    input: &Input<'_>,
    gateways: &Gateways<'_>,
    claims: &mut Claims,
    report: &mut Report,
) {
    let mut contenders: BTreeMap<(usize, Domain), Vec<(usize, String)>> = BTreeMap::new();
    for (place, plan) in plans.iter().enumerate() {
        for (name, field) in &plan.wanted {
            contenders.entry((plan.gateway, name.clone())).or_default().push((place, field.clone()));
        }
    }
    for ((gateway, name), wanting) in contenders {
        let Some(gateway) = gateways.at(gateway) else { continue };
        let claim = Claim::Domain(gateway.key.clone(), name.to_lowercase());
        let holder = holder_of(&claim, plans, wanting.iter().map(|(place, _)| *place), input);
        let names: Vec<_> =
            wanting.iter().filter_map(|(place, _)| plans.get(*place)).map(|p| p.key.clone()).collect();
        for (place, field) in &wanting {
            let Some(plan) = plans.get_mut(*place) else { continue };
            let own = field == "spec.domain";
            if holder == Some(*place) {
                if own {
                    plan.name = Some(name.clone());
                } else {
                    plan.aliases.push(name.clone());
                }
                continue;
            }
            if holder.is_none() {
                plan.contested.push(name.clone());
            }
            let message = lost(&name, &plan.key, &names, holder.is_some());
            let reason = if own { Reason::DomainClaimed } else { Reason::AliasClaimed };
            report.say(plan.subject(), field.clone(), reason, message);
        }
        let holder = holder.and_then(|holder| plans.get(holder));
        claims.0.extend(holder.map(|holder| (claim, holder.key.clone())));
    }
}

fn settle_primary(
    plans: &mut [DomainPlan<'_>],
    input: &Input<'_>,
    gateways: &Gateways<'_>,
    claims: &mut Claims,
    report: &mut Report,
) {
    const FIELD: &str = "spec.role";
    let mut contenders: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, plan) in plans.iter().enumerate() {
        let Some(gateway) = gateways.at(plan.gateway) else { continue };
        if plan.superseded || !wants_primary(plan.object) {
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
        let claim = Claim::Primary(gateway.key.clone());
        let holder = holder_of(&claim, plans, wanting.iter().copied(), input);
        for place in wanting {
            let Some(plan) = plans.get_mut(place) else { continue };
            plan.primary = holder == Some(place);
            if plan.primary {
                claims.0.insert(claim.clone(), plan.key.clone());
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
        .map(|plan| Claimant { key: &plan.key, created: plan.object.metadata.creation_timestamp.as_ref() })
        .collect();
    let holder = winner(claim, &contenders, &input.context.claims)?;
    places.into_iter().find(|place| plans.get(*place).is_some_and(|plan| plan.key == *holder))
}

/// Says that a name is lost; names the others only inside the own namespace, for who else has which domain is nobody's business.
fn lost(name: &Domain, own: &ObjectKey, all: &[ObjectKey], held: bool) -> String {
    let others: Vec<_> = all
        .iter()
        .filter(|key| *key != own && key.namespace == own.namespace)
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
