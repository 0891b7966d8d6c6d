//! Circles: aliases and groups that lead back to themselves, and domains that forward unknown recipients to each other. Each is cut where it
//! closes, so that what it does not need stays as it is. Pure.

use std::collections::HashMap;

use posthouse_model::Domain;

use super::{
    DomainPlan, Unknown,
    recipients::{drop_target, key_of},
};
use crate::{compile::Gateways, reason::Reason, syntax::Target, unsupported, verdict::Report};

/// Who holds which name at which gateway.
type Holders = HashMap<(usize, Domain), usize>;

fn holders(plans: &[DomainPlan<'_>]) -> Holders {
    let mut holders = Holders::new();
    for (place, plan) in plans.iter().enumerate() {
        for name in plan.name.iter().chain(&plan.aliases) {
            holders.insert((plan.gateway, name.clone()), place);
        }
    }
    holders
}

/// A group or an alias.
type Node = (usize, String);

/// Cuts the circles of aliases and groups, within a domain and across the domains of a gateway.
pub(crate) fn cut_recipient_loops(plans: &mut [DomainPlan<'_>], report: &mut Report) {
    let holders = holders(plans);
    let mut walk = Walk { plans, holders: &holders, done: HashMap::new(), closing: Vec::new() };
    for (place, plan) in plans.iter().enumerate() {
        for name in plan.entries.expansions.keys() {
            walk.from((place, name.clone()));
        }
    }
    let closing = walk.closing;
    for Closing { node: (place, name), field, circle } in closing {
        let Some(plan) = plans.get_mut(place) else { continue };
        let message = format!("this leads back to {name} ({circle}): remove one step of the circle");
        report.say(plan.subject(), field.clone(), Reason::AliasLoop, message);
        drop_target(&mut plan.entries, &name, &field);
    }
}

/// An edge that closes a circle.
struct Closing {
    node: Node,
    field: String,
    circle: String,
}

struct Walk<'p, 'a> {
    plans: &'p [DomainPlan<'a>],
    holders: &'p Holders,
    /// False while the node is on the path, true once all that it leads to was seen.
    done: HashMap<Node, bool>,
    closing: Vec<Closing>,
}

impl Walk<'_, '_> {
    /// Walks depth first, with a stack of its own: a chain of aliases may be as long as the lists allow.
    fn from(&mut self, start: Node) {
        if self.done.contains_key(&start) {
            return;
        }
        let mut path = vec![(start.clone(), self.edges(&start))];
        self.done.insert(start, false);
        while let Some((node, edges)) = path.last_mut() {
            let Some((next, field)) = edges.pop() else {
                self.done.insert(node.clone(), true);
                path.pop();
                continue;
            };
            match self.done.get(&next) {
                Some(true) => {}
                Some(false) => {
                    let node = node.clone();
                    let steps =
                        path.iter().map(|((_, name), _)| name.as_str()).skip_while(|name| *name != next.1);
                    let circle = steps.chain([next.1.as_str()]).collect::<Vec<_>>().join(" → ");
                    self.closing.push(Closing { node, field, circle });
                }
                None => {
                    self.done.insert(next.clone(), false);
                    let edges = self.edges(&next);
                    path.push((next, edges));
                }
            }
        }
    }

    /// The groups and aliases that one leads to, the first one last.
    fn edges(&self, (place, name): &Node) -> Vec<(Node, String)> {
        let Some(plan) = self.plans.get(*place) else { return Vec::new() };
        let targets =
            plan.entries.expansions.get(name).into_iter().flat_map(|entry| entry.targets.iter().rev());
        let node = |(target, field): &(Target, String)| {
            let node = match target {
                Target::Local(local) => (*place, key_of(local)),
                Target::Mailbox(mailbox) => {
                    let holder = self.holders.get(&(plan.gateway, mailbox.domain().clone()))?;
                    (*holder, key_of(mailbox.local()))
                }
            };
            let entries = &self.plans.get(node.0)?.entries;
            // Inside its own list a name is the user of that name, so an alias may keep a copy for whom it is named after.
            let is_user = node == (*place, name.clone()) && entries.users.contains_key(name);
            (!is_user && entries.expansions.contains_key(&node.1)).then(|| (node, field.clone()))
        };
        targets.filter_map(node).collect()
    }
}

/// Cuts the circles of domains that forward unknown recipients to gateways, this one or others, that forward them on.
pub(crate) fn cut_forward_loops(plans: &mut [DomainPlan<'_>], gateways: &Gateways<'_>, report: &mut Report) {
    let holders = holders(plans);
    let mut by_hostname: HashMap<String, Vec<usize>> = HashMap::new();
    for (place, gateway) in gateways.all.iter().enumerate() {
        if let Some(hostname) = &gateway.hostname {
            by_hostname.entry(hostname.to_lowercase()).or_default().push(place);
        }
    }
    let next: Vec<Option<usize>> = plans
        .iter()
        .map(|plan| {
            let Unknown::Forward(to) = &plan.unknown else { return None };
            let name = plan.name.as_ref()?;
            let mut reached = by_hostname.get(&to.host)?.iter().filter(|place| {
                gateways.at(**place).is_some_and(|gateway| gateway.is_reached_at(&to.host, to.port))
            });
            reached.find_map(|gateway| holders.get(&(*gateway, name.clone())).copied())
        })
        .collect();
    for place in 0..plans.len() {
        // Each domain forwards to one other at most, so whoever comes back to where it began within all of them is on a circle.
        let follow = |from: &usize| next.get(*from).copied().flatten();
        let circle = std::iter::successors(follow(&place), follow).take(plans.len()).any(|at| at == place);
        let Some(plan) = plans.get_mut(place).filter(|_| circle) else { continue };
        let message =
            "unknown recipients would come back here: set action: Reject on one side, or forward elsewhere";
        report.say(plan.subject(), "spec.unknownRecipients.forward.host", Reason::ForwardLoop, message);
        if let Unknown::Forward(host) = &plan.unknown {
            plan.unknown =
                Unknown::Waits(host.clone(), vec![unsupported::refused("unknownRecipients.forward.host")]);
        }
    }
}
