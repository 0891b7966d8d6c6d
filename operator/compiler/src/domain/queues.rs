//! The queues that domains share: whose they are, and that they are delivered in one way. Pure.

use std::collections::BTreeMap;

use posthouse_config::local_queue_name;
use posthouse_crds::mail_domain::Delivery;
use posthouse_model::QueueName;

use super::DomainPlan;
use crate::{
    claims::{Claimant, winner},
    compile::Input,
    reason::Reason,
    resources::{Claim, Claims, ObjectKey},
    verdict::Report,
};

const FIELD: &str = "spec.queue.name";

/// Gives each queue to one namespace, and holds its domains to one way of delivery.
pub(crate) fn settle(
    plans: &mut [DomainPlan<'_>],
    input: &Input<'_>,
    claims: &mut Claims,
    report: &mut Report,
) {
    let mut sharing: BTreeMap<(usize, QueueName), Vec<usize>> = BTreeMap::new();
    for (place, plan) in plans.iter_mut().enumerate().filter(|(_, plan)| !plan.superseded) {
        let named = plan.object.spec.queue.as_ref().and_then(|queue| queue.name.as_ref());
        let Some(text) = named.cloned().or_else(|| plan.name.as_ref().map(ToString::to_string)) else {
            continue;
        };
        match queue_name(&text) {
            Ok(queue) => {
                plan.queue = Some(queue.clone());
                sharing.entry((plan.gateway, queue)).or_default().push(place);
            }
            Err(error) => {
                plan.complete = false;
                report.say(plan.subject(), FIELD, Reason::InvalidName, error);
            }
        }
    }
    for ((_, queue), places) in sharing {
        if places.len() == 1 {
            remember(plans, &queue, &places, claims);
            continue;
        }
        let owner = owner(plans, &queue, &places, input);
        let (own, foreign): (Vec<_>, Vec<_>) = places.into_iter().partition(|place| {
            plans.get(*place).is_some_and(|plan| Some(&plan.key.namespace) == owner.as_ref())
        });
        for place in foreign {
            let Some(plan) = plans.get_mut(place) else { continue };
            plan.complete = false;
            let message = format!("the queue {queue} belongs to another namespace: choose another name");
            report.say(plan.subject(), FIELD, Reason::QueueNotGranted, message);
        }
        remember(plans, &queue, &own, claims);
        agree(plans, &queue, &own, report);
    }
}

/// A queue name that also leaves room for the local queue beside it.
fn queue_name(text: &str) -> Result<QueueName, String> {
    let queue = QueueName::new(text).map_err(|error| error.to_string())?;
    if queue.as_str().starts_with("local:") {
        return Err(format!("{text:?} begins like the queues for local delivery: choose another name"));
    }
    local_queue_name(&queue)
        .map(|_| queue)
        .map_err(|_| format!("{text:?} is too long: use at most 249 characters"))
}

fn claim_of(plan: &DomainPlan<'_>, queue: &QueueName) -> Claim {
    let gateway = &plan.object.spec.gateway_ref;
    let namespace = gateway.namespace.as_ref().unwrap_or(&plan.key.namespace);
    Claim::Queue(ObjectKey::new(namespace, &gateway.name), queue.as_str().to_owned())
}

fn namespace_key(plan: &DomainPlan<'_>) -> ObjectKey {
    ObjectKey::new(&plan.key.namespace, "")
}

fn remember(plans: &[DomainPlan<'_>], queue: &QueueName, places: &[usize], claims: &mut Claims) {
    if let Some(plan) = places.first().and_then(|place| plans.get(*place)) {
        claims.0.insert(claim_of(plan, queue), namespace_key(plan));
    }
}

/// The namespace of the domain that the queue is named after; else that of whoever was first to name it.
fn owner(plans: &[DomainPlan<'_>], queue: &QueueName, places: &[usize], input: &Input<'_>) -> Option<String> {
    let sharing: Vec<_> = places.iter().filter_map(|place| plans.get(*place)).collect();
    let namesake = sharing.iter().find(|plan| is_namesake(plan, queue));
    if let Some(plan) = namesake {
        return Some(plan.key.namespace.clone());
    }
    let claim = claim_of(sharing.first()?, queue);
    let mut namespaces = BTreeMap::new();
    for plan in &sharing {
        let created = plan.object.metadata.creation_timestamp.as_ref();
        let oldest = namespaces.entry(namespace_key(plan)).or_insert(created);
        *oldest = (*oldest).min(created);
    }
    let contenders: Vec<_> =
        namespaces.iter().map(|(key, created)| Claimant { key, created: *created }).collect();
    winner(&claim, &contenders, &input.context.claims).map(|key| key.namespace.clone())
}

fn is_namesake(plan: &DomainPlan<'_>, queue: &QueueName) -> bool {
    plan.name.as_ref().is_some_and(|name| name.as_str().eq_ignore_ascii_case(queue.as_str()))
}

/// One release frees the whole queue, so whoever shares it must mean the same by it.
fn agree(plans: &mut [DomainPlan<'_>], queue: &QueueName, places: &[usize], report: &mut Report) {
    // Local delivery has a queue of its own beside a held one, so only those that forward must agree.
    let places: Vec<_> =
        places.iter().copied().filter(|place| plans.get(*place).is_some_and(DomainPlan::forwards)).collect();
    let reference = places
        .iter()
        .copied()
        .min_by_key(|place| plans.get(*place).map(|plan| (!is_namesake(plan, queue), plan.key.clone())));
    let Some((terms, model)) =
        reference.and_then(|place| plans.get(place)).map(|plan| (terms(plan), plan.key.clone()))
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
    let spec = &plan.object.spec;
    let hold = spec.queue.as_ref().and_then(|queue| queue.hold_expires_after);
    let release = spec.release.as_ref().filter(|_| plan.delivery != Delivery::Online);
    format!("{:?} {release:?} {hold:?}", plan.delivery)
}
