//! The queues that domains share: whose they are, and that they are delivered in one way. Pure.

use std::{
    collections::{BTreeMap, hash_map::Entry as Slot},
    hash::BuildHasherDefault,
    sync::Arc,
};

use posthouse_crds::mail_domain::Delivery;
use posthouse_model::QueueName;

use super::{DomainPlan, parsed::ParsedQueue};
use crate::{
    claims::{Claim, ClaimMap, Claimant, Settled, winner},
    compile::Input,
    reason::Reason,
    resources::ObjectKey,
    verdict::Report,
};

const FIELD: &str = "spec.queue.name";

/// Gives each queue to one namespace, and holds its domains to one way of delivery.
pub(crate) fn settle(
    plans: &mut [DomainPlan<'_>],
    input: &Input<'_>,
    claims: &mut Settled<'_>,
    report: &mut Report,
) {
    let mut first: ClaimMap<&Claim, usize> =
        ClaimMap::with_capacity_and_hasher(plans.len(), BuildHasherDefault::default());
    let mut sharing: ClaimMap<&Claim, (&QueueName, Vec<usize>)> = ClaimMap::default();
    for (place, plan) in plans.iter_mut().enumerate().filter(|(_, plan)| !plan.superseded) {
        if !plan.parsed.names_queue && plan.name.is_none_or(|name| !name.is_own()) {
            continue;
        }
        match &plan.parsed.queue {
            Some(Ok(queue)) => {
                plan.queue = Some(&queue.name);
                match first.entry(&queue.claim) {
                    Slot::Vacant(slot) => {
                        slot.insert(place);
                    }
                    Slot::Occupied(slot) => {
                        let all = sharing.entry(&queue.claim);
                        all.or_insert_with(|| (&queue.name, vec![*slot.get()])).1.push(place);
                    }
                }
            }
            Some(Err(error)) => {
                plan.complete = false;
                report.say(plan.subject(), FIELD, Reason::InvalidName, error);
            }
            None => {}
        }
    }
    for (queue, places) in sharing.into_values() {
        for place in &places {
            if let Some(plan) = plans.get_mut(*place) {
                plan.shares_queue = true;
            }
        }
        let owner = owner(plans, queue, &places, input);
        let (own, foreign): (Vec<_>, Vec<_>) = places.into_iter().partition(|place| {
            plans.get(*place).is_some_and(|plan| Some(&plan.key.namespace) == owner.as_ref())
        });
        for place in foreign {
            let Some(plan) = plans.get_mut(place) else { continue };
            plan.complete = false;
            let message = format!("the queue {queue} belongs to another namespace: choose another name");
            report.say(plan.subject(), FIELD, Reason::QueueNotGranted, message);
        }
        if let Some(queue) = own.first().and_then(|place| parsed_of(plans.get(*place)?)) {
            claims.insert(queue.claim.clone(), Arc::clone(&queue.holder));
        }
        agree(plans, queue, &own, report);
    }
}

fn parsed_of<'a>(plan: &DomainPlan<'a>) -> Option<&'a ParsedQueue> {
    plan.parsed.queue.as_ref()?.as_ref().ok()
}

/// The namespace of the domain that the queue is named after; else that of whoever was first to name it.
fn owner(plans: &[DomainPlan<'_>], queue: &QueueName, places: &[usize], input: &Input<'_>) -> Option<String> {
    let sharing: Vec<_> = places.iter().filter_map(|place| plans.get(*place)).collect();
    let namesake = sharing.iter().find(|plan| is_namesake(plan, queue));
    if let Some(plan) = namesake {
        return Some(plan.key.namespace.clone());
    }
    let claim = &parsed_of(sharing.first()?)?.claim;
    let mut namespaces: BTreeMap<&ObjectKey, _> = BTreeMap::new();
    for plan in &sharing {
        let Some(parsed) = parsed_of(plan) else { continue };
        let created = plan.object().metadata.creation_timestamp.as_ref();
        let oldest = namespaces.entry(&*parsed.holder).or_insert(created);
        *oldest = (*oldest).min(created);
    }
    let contenders: Vec<_> =
        namespaces.iter().map(|(key, created)| Claimant { key, created: *created }).collect();
    winner(claim, &contenders, &input.context.claims).map(|key| key.namespace.clone())
}

fn is_namesake(plan: &DomainPlan<'_>, queue: &QueueName) -> bool {
    plan.name.is_some_and(|name| name.domain.as_str().eq_ignore_ascii_case(queue.as_str()))
}

/// One release frees the whole queue, so whoever shares it must mean the same by it.
fn agree(plans: &mut [DomainPlan<'_>], queue: &QueueName, places: &[usize], report: &mut Report) {
    // Local delivery has a queue of its own beside a held one, so only those that forward must agree.
    let places: Vec<_> =
        places.iter().copied().filter(|place| plans.get(*place).is_some_and(DomainPlan::forwards)).collect();
    let reference = places
        .iter()
        .copied()
        .min_by_key(|place| plans.get(*place).map(|plan| (!is_namesake(plan, queue), plan.key)));
    let Some((terms, model)) =
        reference.and_then(|place| plans.get(place)).map(|plan| (terms(plan), plan.key))
    else {
        return;
    };
    for place in places {
        let Some(plan) = plans.get_mut(place).filter(|plan| self::terms(plan) != terms) else { continue };
        plan.complete = false;
        let message = format!(
            "the queue {queue} is shared with MailDomain {model}, which delivers it differently: make delivery, release and \
             holdExpiresAfter the same, or choose another name"
        );
        report.say(plan.subject(), FIELD, Reason::QueueDeliveryDiffers, message);
    }
}

/// What must be the same on all domains of a queue, as text: it is only compared.
fn terms(plan: &DomainPlan<'_>) -> String {
    let spec = &plan.object().spec;
    let hold = spec.queue.as_ref().and_then(|queue| queue.hold_expires_after);
    let release = spec.release.as_ref().filter(|_| plan.delivery != Delivery::Online);
    format!("{:?} {release:?} {hold:?}", plan.delivery)
}
