//! From an observation to the status of every resource: one way for all kinds. It knows what was said before (times move only when a status
//! does, and `Programmed` is sticky) and nothing else. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition as Said, jiff::Timestamp};
use posthouse_compiler::{Compilation, Condition, ObjectKey};
use posthouse_crds::{
    Kind,
    status::{AttachedCounts, GatewayStatus, NodeCounts, ObjectStatus, QueueCounts},
};

use super::{
    condition::{self, Answer, Truth, find, whole_seconds},
    figures::{Figures, News},
    observation::{Nodes, Observation, Observed, ResourceId},
    programmed::{Case, Motion},
    remark::{Remark, Remarks, joined},
};

/// The longest request that is echoed, in characters: as the definitions have it.
const MOST_OF_A_REQUEST: usize = 256;

/// What was said last of each resource.
pub(super) type Before = BTreeMap<ResourceId, ObjectStatus>;

/// The status that a resource should have.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judgement {
    pub(super) id: ResourceId,
    pub(super) generation: i64,
    /// None where it is what was said: there are thousands of these at every look.
    pub(super) status: Option<ObjectStatus>,
    /// What is new of a domain's queues. It is no part of `status`, which never waits for it.
    pub(super) figures: Option<News>,
    /// Whether it may still change by itself.
    pub(super) motion: Motion,
}

/// Judges everything. `deserted` are the gateways that have been without any node for a while.
pub(super) fn judge(
    observation: &Observation<'_>,
    before: &Before,
    deserted: &BTreeSet<ObjectKey>,
    now: Timestamp,
) -> Vec<Judgement> {
    let remarks = Remarks::of(observation);
    let origins = origins(observation.compilation);
    let figures = Figures::of(observation.counted);
    let mut attached: BTreeMap<&ObjectKey, AttachedCounts> = BTreeMap::new();
    let mut refused_domains: HashMap<&ObjectKey, String> = HashMap::new();
    let mut judgements = Vec::with_capacity(observation.resources.len());
    let mut resources: Vec<&Observed> = observation.resources.iter().collect();
    resources.sort_by_key(|one| match one.kind {
        Kind::MailGateway => 2,    // it counts all others
        Kind::MailRecipients => 1, // it goes with its domain
        _ => 0,
    });
    for resource in resources {
        let id = (resource.kind, resource.key.clone());
        let nodes = resource.gateway.as_ref().and_then(|gateway| observation.nodes.get(gateway));
        let is_in_snapshot = match resource.kind {
            Kind::MailGateway => observation.compilation.snapshots.contains_key(&resource.key),
            kind => origins.contains(&(kind, resource.key.namespace.as_str(), resource.key.name.as_str())),
        };
        let last = before.get(&id);
        let said = last.map_or(&[][..], ObjectStatus::conditions);
        let case = Case {
            resource,
            remarks: remarks.about(resource.kind, &resource.key),
            standing: observation.compilation.standing.get(&id).copied(),
            is_in_snapshot,
            nodes,
            is_deserted: resource.gateway.as_ref().is_some_and(|gateway| deserted.contains(gateway)),
            domain: resource.domain.as_ref().and_then(|domain| Some(refused_domains.get(domain)?.as_str())),
            before: find(said, condition::PROGRAMMED),
        };
        let (conditions, motion) = conditions(&case, said, now);
        let programmed = find(&conditions, condition::PROGRAMMED).filter(|one| one.status != "True");
        if let Some(programmed) = programmed.filter(|_| resource.kind == Kind::MailDomain) {
            refused_domains.insert(&resource.key, programmed.reason.clone());
        }
        let accepted = find(&conditions, condition::ACCEPTED).is_some_and(|one| one.status == "True");
        if let Some(gateway) = resource.gateway.as_ref().filter(|_| accepted)
            && let Some(count) = attached.entry(gateway).or_default().of_mut(resource.kind)
        {
            *count += 1;
        }
        let figures = match (resource.kind, &resource.gateway) {
            (Kind::MailDomain, Some(gateway)) => figures.news(&resource.key, gateway, last.and_then(queue)),
            _ => None,
        };
        // What others write stays: the figures of a queue, the last run.
        let mut status = last.cloned().unwrap_or_else(|| ObjectStatus::new(resource.kind));
        *status.conditions_mut() = conditions;
        if let ObjectStatus::Gateway(status) = &mut status {
            count(status, nodes, attached.get(&resource.key));
        }
        if motion == Motion::Still && !matches!(status, ObjectStatus::Run(_)) {
            // To judge anew is all that there is to do at once; what runs by a schedule is done elsewhere.
            let request = resource.requested_at.as_ref().map(|text| text.chars().take(MOST_OF_A_REQUEST));
            if let Some(request) = request {
                *status.last_handled_request_mut() = Some(request.collect());
            }
        }
        let status = Some(status).filter(|status| last != Some(status));
        judgements.push(Judgement { id, generation: resource.generation, status, figures, motion });
    }
    judgements
}

fn queue(status: &ObjectStatus) -> Option<&QueueCounts> {
    match status {
        ObjectStatus::Domain(status) => status.queue.as_ref(),
        ObjectStatus::Gateway(_) | ObjectStatus::Run(_) | ObjectStatus::Plain(_) => None,
    }
}

/// The domains and rules of which something is in a snapshot.
fn origins(compilation: &Compilation) -> HashSet<(Kind, &str, &str)> {
    let snapshots = compilation.snapshots.values();
    let of_one = snapshots.flat_map(|snapshot| {
        let domains = snapshot.domains.iter().map(|domain| (Kind::MailDomain, &domain.origin));
        domains.chain(snapshot.rules.iter().map(|rule| (Kind::RelayRule, &rule.origin)))
    });
    of_one.map(|(kind, origin)| (kind, origin.namespace(), origin.name())).collect()
}

fn count(status: &mut GatewayStatus, nodes: Option<&Nodes>, attached: Option<&AttachedCounts>) {
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    status.attached = Some(attached.cloned().unwrap_or_default());
    status.nodes = nodes.map(|nodes| NodeCounts {
        desired: i32::try_from(nodes.desired).unwrap_or(i32::MAX),
        ready: number(nodes.ready()),
        programmed: number(match nodes.published {
            Some(published) => nodes.live.values().filter(|node| node.has(published)).count(),
            None => 0,
        }),
    });
    status.replicas = nodes.map(|nodes| number(nodes.live.len()));
}

fn conditions(case: &Case<'_>, before: &[Said], now: Timestamp) -> (Vec<Said>, Motion) {
    let now = whole_seconds(now);
    let accepted = by_remarks(case.remarks, Condition::Accepted, "Accepted", "nothing is wrong with it");
    let is_unseen = case.remarks.iter().any(|remark| remark.is_form);
    let resolved = if is_unseen {
        Answer::new(Truth::Unknown, "NotAccepted", "what it names is looked up once it is accepted")
    } else {
        by_remarks(case.remarks, Condition::ResolvedRefs, "ResolvedRefs", "all that it names is there")
    };
    let (programmed, motion) = case.programmed();
    let shadowed: Vec<_> = speaking_of(case.remarks, Condition::Shadowed).collect();
    let shadowed = (!shadowed.is_empty()).then(|| Answer::yes("Shadowed", joined(shadowed)));
    let suspended =
        case.resource.is_suspended.then(|| Answer::yes("Suspended", "spec.suspend is true, so it rests"));
    let of_nodes = match (case.resource.kind, case.nodes) {
        (Kind::MailGateway, Some(nodes)) => Some(of_nodes(nodes)),
        _ => None,
    };
    let refs_fail = case.remarks.iter().any(|one| one.is_error && one.condition == Condition::ResolvedRefs);
    let no_node = of_nodes.as_ref().filter(|_| case.nodes.is_some_and(|nodes| nodes.ready() == 0));
    let by_spec = Some(&accepted)
        .filter(|one| !one.is_true())
        .or_else(|| Some(&resolved).filter(|_| refs_fail))
        .or_else(|| Some(&programmed).filter(|one| !one.is_true()));
    let store = of_nodes.as_ref().map(|(store, _)| store).filter(|one| !one.is_true());
    let missing = of_nodes.as_ref().map(|(_, ready)| ready).filter(|one| !one.is_true());
    let failing = by_spec.or(store).or(no_node.map(|(_, ready)| ready));
    let noted = [suspended.as_ref(), shadowed.as_ref()].into_iter().flatten().next();
    let ready = match failing {
        Some(failing) => in_place(failing, &programmed),
        None => noted.cloned().unwrap_or_else(|| in_order(case.remarks)),
    };
    // What nodes are at comes right by itself; all else waits for somebody.
    let is_stalled = by_spec.is_some() && motion == Motion::Still;
    let why = |answer: Option<&Answer>| answer.map(|one| Answer { truth: Truth::True, ..one.clone() });
    let stalled = why(failing.filter(|_| is_stalled));
    let reconciling = why(failing.or(missing).filter(|_| !is_stalled));
    let motion = if reconciling.is_some() || missing.is_some() { Motion::Moving } else { motion };
    let (store, nodes_ready) = of_nodes.unzip();
    let all = [
        (condition::ACCEPTED, Some(accepted)),
        (condition::RESOLVED_REFS, Some(resolved)),
        (condition::PROGRAMMED, Some(programmed)),
        (condition::STORE_REACHABLE, store),
        (condition::NODES_READY, nodes_ready),
        (condition::READY, Some(ready)),
        (condition::SHADOWED, shadowed),
        (condition::SUSPENDED, suspended),
        (condition::RECONCILING, reconciling),
        (condition::STALLED, stalled),
    ];
    let generation = case.resource.generation;
    let said = all
        .into_iter()
        .filter_map(|(name, answer)| answer.map(|answer| answer.condition(name, generation, before, now)));
    (said.collect(), motion)
}

fn speaking_of<'a>(remarks: &'a [Remark<'a>], condition: Condition) -> impl Iterator<Item = &'a Remark<'a>> {
    remarks.iter().filter(move |remark| remark.condition == condition)
}

/// A condition that only remarks speak of: false if one says so, true otherwise, with what else is worth knowing.
fn by_remarks(remarks: &[Remark<'_>], about: Condition, reason: &str, message: &str) -> Answer {
    let (good, bad): (Vec<_>, Vec<_>) = speaking_of(remarks, about).partition(|remark| remark.status);
    match (bad.first(), good.first()) {
        (Some(first), _) => Answer::no(first.reason.as_ref(), joined(bad.iter().copied())),
        (None, Some(first)) => Answer::yes(first.reason.as_ref(), joined(good.iter().copied())),
        (None, None) => Answer::yes(reason, message),
    }
}

/// What fails, and what holds meanwhile.
fn in_place(failing: &Answer, programmed: &Answer) -> Answer {
    let is_said = failing == programmed || programmed.truth != Truth::False;
    let meanwhile = if is_said { String::new() } else { format!("; {}", programmed.message) };
    Answer { message: format!("{}{meanwhile}", failing.message), ..failing.clone() }
}

/// It works; the reason is what is most worth knowing about it.
fn in_order(remarks: &[Remark<'_>]) -> Answer {
    match remarks.first() {
        Some(first) => Answer::yes(first.reason.as_ref(), joined(remarks)),
        None => Answer::yes("Ready", "it is in force as it is written"),
    }
}

/// Whether the nodes of a gateway reach their store, and whether all are there. Which and how many is in `status.nodes` and in the logs.
fn of_nodes(nodes: &Nodes) -> (Answer, Answer) {
    let store = if nodes.is_store_lost {
        let message = "nodes cannot reach the store of the queue, and take no mail: their logs say why";
        Answer::no("StoreUnreachable", message)
    } else {
        Answer::yes("StoreReachable", "the nodes reach the store of the queue")
    };
    let is_one_missing = u32::try_from(nodes.live.len()).is_ok_and(|live| live < nodes.desired);
    let ready = if nodes.are_all_ready() {
        Answer::yes("NodesReady", "all nodes that are wanted are ready")
    } else if is_one_missing {
        Answer::no("NodeMissing", "fewer nodes run than are wanted: see status.nodes and the operator's log")
    } else {
        Answer::no(
            "NodesNotReady",
            "not all nodes that are wanted are ready: see status.nodes and their logs",
        )
    };
    (store, ready)
}
