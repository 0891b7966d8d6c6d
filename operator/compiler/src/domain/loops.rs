//! Circles: aliases and groups that lead back to themselves, and domains that forward unknown recipients to each other. Each is cut where it
//! closes, so that what it does not need stays as it is. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{DomainPlan, Place, Unknown, names::Holders, recipients::Aim};
use crate::{claims::Claim, compile::Gateways, reason::Reason, unsupported, verdict::Report};

/// A group or an alias: the place of its domain, and its own there.
type Node = (usize, usize);

/// Cuts the circles of aliases and groups, within a domain and across the domains of a gateway.
pub(crate) fn cut_recipient_loops<'a>(
    plans: &mut [DomainPlan<'a>],
    holders: &Holders<'a>,
    report: &mut Report,
) {
    let (mut starts, mut nodes) = (Vec::with_capacity(plans.len()), 0);
    for plan in plans.iter() {
        starts.push(nodes);
        nodes += plan.listed.expansions.len();
    }
    if nodes == 0 {
        return;
    }
    let mut walk = Walk { plans, holders, starts, seen: vec![Sight::New; nodes], closing: Vec::new() };
    for (place, plan) in plans.iter().enumerate() {
        for at in 0..plan.listed.expansions.len() {
            walk.from((place, at));
        }
    }
    let mut dropped: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    for Closing { node: (place, at), target, circle } in walk.closing {
        let Some(plan) = plans.get(place) else { continue };
        let Some(entry) = plan.listed.expansions.get(at) else { continue };
        let message = format!("this leads back to {} ({circle}): remove one step of the circle", entry.key);
        report.say(plan.subject(), entry.field(target), Reason::AliasLoop, message);
        dropped.entry(place).or_default().push((at, target));
    }
    for (place, targets) in dropped {
        if let Some(plan) = plans.get_mut(place) {
            Arc::make_mut(&mut plan.listed).drop_targets(targets);
        }
    }
}

/// How far the walk is with a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sight {
    New,
    /// It is on the path.
    Open,
    /// All that it leads to was seen.
    Done,
}

/// An edge that closes a circle: the target at this place of the node's list.
struct Closing {
    node: Node,
    target: usize,
    circle: String,
}

struct Walk<'p, 'a> {
    plans: &'p [DomainPlan<'a>],
    holders: &'p Holders<'a>,
    /// Where the nodes of each domain begin in `seen`.
    starts: Vec<usize>,
    seen: Vec<Sight>,
    closing: Vec<Closing>,
}

impl Walk<'_, '_> {
    /// Walks depth first, with a stack of its own: a chain of aliases may be as long as the lists allow.
    fn from(&mut self, start: Node) {
        if self.sight(start) != Sight::New {
            return;
        }
        self.mark(start, Sight::Open);
        let mut path = vec![(start, self.edges(start))];
        while let Some((node, edges)) = path.last_mut() {
            let node = *node;
            let Some((next, target)) = edges.pop() else {
                self.mark(node, Sight::Done);
                path.pop();
                continue;
            };
            match self.sight(next) {
                Sight::Done => {}
                Sight::Open => {
                    let steps = path.iter().map(|(node, _)| *node).skip_while(|node| *node != next);
                    let names: Vec<_> = steps.chain([next]).map(|node| self.name(node)).collect();
                    self.closing.push(Closing { node, target, circle: names.join(" → ") });
                }
                Sight::New => {
                    self.mark(next, Sight::Open);
                    path.push((next, self.edges(next)));
                }
            }
        }
    }

    fn sight(&self, (place, at): Node) -> Sight {
        let start = self.starts.get(place);
        start.and_then(|start| self.seen.get(start + at)).copied().unwrap_or(Sight::Done)
    }

    fn mark(&mut self, (place, at): Node, sight: Sight) {
        if let Some(seen) = self.starts.get(place).and_then(|start| self.seen.get_mut(start + at)) {
            *seen = sight;
        }
    }

    fn name(&self, (place, at): Node) -> &str {
        let entry = self.plans.get(place).and_then(|plan| plan.listed.expansions.get(at));
        entry.map_or("", |entry| &*entry.key)
    }

    /// The groups and aliases that one leads to, the first one last, each with the place of its target.
    fn edges(&self, (place, at): Node) -> Vec<(Node, usize)> {
        let Some(plan) = self.plans.get(place) else { return Vec::new() };
        let Some(entry) = plan.listed.expansions.get(at) else { return Vec::new() };
        let node = |aim: &Aim| {
            let holder = match &aim.domain {
                None => place,
                Some(claim) => self.holders.find(claim)?,
            };
            let node = (holder, self.plans.get(holder)?.listed.find(&aim.key)?);
            // Inside its own list a name is the user of that name, so an alias may keep a copy for whom it is named after.
            let is_user = node == (place, at) && plan.listed.users.contains(&entry.key);
            (!is_user).then_some((node, aim.place))
        };
        entry.targets.iter().rev().filter_map(node).collect()
    }
}

/// Cuts the circles of domains that forward unknown recipients to gateways, this one or others, that forward them on.
pub(crate) fn cut_forward_loops(
    plans: &mut [DomainPlan<'_>],
    holders: &Holders<'_>,
    gateways: &Gateways<'_>,
    report: &mut Report,
) {
    let mut by_hostname: HashMap<String, Vec<usize>> = HashMap::new();
    for (place, gateway) in gateways.all.iter().enumerate() {
        if let Some(hostname) = &gateway.hostname {
            by_hostname.entry(hostname.to_lowercase()).or_default().push(place);
        }
    }
    let next: Vec<Option<usize>> = plans
        .iter()
        .map(|plan| {
            let Unknown::Forward(Place { host: to, .. }) = &plan.unknown else { return None };
            let name = plan.name?;
            let mut reached = by_hostname.get(&to.host)?.iter().filter(|place| {
                gateways.at(**place).is_some_and(|gateway| gateway.is_reached_at(&to.host, to.port))
            });
            reached.find_map(|place| {
                let gateway = gateways.at(*place)?;
                holders.find(&Claim::domain(&Arc::new(gateway.key.clone()), &name.domain))
            })
        })
        .collect();
    for place in on_circles(&next) {
        let Some(plan) = plans.get_mut(place) else { continue };
        let message =
            "unknown recipients would come back here: set action: Reject on one side, or forward elsewhere";
        report.say(plan.subject(), "spec.unknownRecipients.forward.host", Reason::ForwardLoop, message);
        if let Unknown::Forward(host) = &plan.unknown {
            plan.unknown =
                Unknown::Waits(host.clone(), vec![unsupported::refused("unknownRecipients.forward.host")]);
        }
    }
}

/// Each leads to one other at most. Those that come back to where they began are on a circle.
fn on_circles(next: &[Option<usize>]) -> Vec<usize> {
    let mut walked_from: Vec<Option<usize>> = vec![None; next.len()];
    let mut found = Vec::new();
    for start in 0..next.len() {
        let mut at = start;
        while let Some(walked @ None) = walked_from.get_mut(at) {
            *walked = Some(start);
            let Some(Some(further)) = next.get(at) else { break };
            at = *further;
        }
        // Where this walk met itself, a circle closes; where it met an earlier one or ended, none does.
        let closes = walked_from.get(at) == Some(&Some(start)) && next.get(at).is_some_and(Option::is_some);
        if closes {
            let follow = |from: &usize| next.get(*from).copied().flatten().filter(|to| *to != at);
            found.extend(std::iter::successors(Some(at), follow));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_to_a_circle_is_not_on_it() {
        let mut found = on_circles(&[Some(1), Some(2), Some(1), None, Some(3), Some(5), Some(0)]);
        found.sort_unstable();
        assert_eq!(found, [1, 2, 5]);
        assert_eq!(on_circles(&[Some(1), None, Some(0)]), [0; 0]);
    }
}
