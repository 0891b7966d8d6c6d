//! Whether the nodes do what a resource says. The answer is per generation and sticky: nodes that come and go do not change it. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as Said;
use posthouse_compiler::{Condition, Standing};
use posthouse_crds::Kind;

use super::{
    condition::{Answer, Truth},
    observation::{LiveNode, NodeRefusal, Nodes, Observed},
    remark::{Remark, joined},
};
use crate::manifests::MAIL_WAITS;

/// The spec is refused, and what was programmed before stands in for it.
const STAYS_IN_FORCE: &str = "StaysInForce";

/// The spec is refused, and nothing stands in for it.
const NOT_IN_FORCE: &str = "NotInForce";

/// What is known of one resource.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) resource: &'a Observed,
    pub(super) remarks: &'a [Remark<'a>],
    /// What becomes of it where it is refused.
    pub(super) standing: Option<Standing>,
    /// Something of it is in the snapshot as it is compiled now.
    pub(super) is_in_snapshot: bool,
    /// The nodes of its gateway; none if nobody runs that.
    pub(super) nodes: Option<&'a Nodes>,
    /// Its gateway has been without any node for a while.
    pub(super) is_deserted: bool,
    /// Why the domain that it is a part of is not programmed, if it is not.
    pub(super) domain: Option<&'a str>,
    /// The condition as it was said last.
    pub(super) before: Option<&'a Said>,
}

/// Whether the answer may still change by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Motion {
    /// It is known.
    Still,
    /// Nodes are at it.
    Moving,
}

impl Case<'_> {
    pub(super) fn programmed(&self) -> (Answer, Motion) {
        let still = |answer| (answer, Motion::Still);
        if let Some(answer) = self.refused_from_outside().or_else(|| self.refused_spec()) {
            return still(answer);
        }
        if let Some(answer) = self.refused_by_compiler() {
            return still(answer);
        }
        if self.is_without_domain() {
            return still(Answer::no(
                "DomainRefused",
                "its domain is not programmed as it is written: see there",
            ));
        }
        if self.remarks.iter().any(|remark| remark.reason == "NotReferenced")
            || self.resource.gateway.is_none()
        {
            return still(self.in_force()); // no node needs to know of it
        }
        let Some(nodes) = self.nodes else {
            return still(Answer::no("GatewayNotRunning", "nothing runs its gateway: see there"));
        };
        if nodes.too_old_for.contains(&(self.resource.kind, self.resource.key.clone())) {
            let message =
                "a node is too old to read this: it is programmed when all nodes of the gateway are upgraded";
            return still(Answer::no("NodesTooOld", message));
        }
        if let Some(answer) = self.refused_by_node(nodes) {
            return still(answer);
        }
        if self.is_deserted {
            return (Answer::no("NoNodes", "no node of its gateway runs"), Motion::Moving);
        }
        if self.is_acknowledged(nodes) || self.was_programmed() {
            return still(self.in_force());
        }
        let message = "it waits for the nodes of its gateway to take it";
        (Answer::new(Truth::Unknown, "Pending", message), Motion::Moving)
    }

    fn in_force(&self) -> Answer {
        let of_note: Vec<_> = self.about_it().filter(|remark| remark.status).collect();
        of_note.first().map_or_else(
            || Answer::yes("Programmed", "it is in force"),
            |first| Answer::yes(first.reason.as_ref(), joined(of_note.iter().copied())),
        )
    }

    fn about_it(&self) -> impl Iterator<Item = &Remark<'_>> {
        self.remarks.iter().filter(|remark| remark.condition == Condition::Programmed)
    }

    /// The spec is wrong: then this generation is not programmed, and it is told what is in its place.
    fn refused_spec(&self) -> Option<Answer> {
        let is_refused = self.is_refused();
        let is_lacking = self.fails(Condition::ResolvedRefs);
        let has_parts = matches!(self.resource.kind, Kind::MailDomain | Kind::RelayRule | Kind::MailGateway);
        let is_whole = has_parts && self.is_in_snapshot && !is_refused;
        // A domain also stands or falls with its `MailRecipients`, without a word about itself.
        if self.standing.is_none() && (is_whole || !(is_refused || is_lacking)) {
            return None;
        }
        let was_published = self.resource.kind == Kind::MailGateway
            && self.nodes.is_some_and(|nodes| nodes.published.is_some());
        let is_form = self.remarks.iter().any(|remark| remark.is_form);
        Some(match self.standing {
            Some(Standing::Kept) => stays(),
            Some(Standing::Waits) => Answer::no("MailWaits", MAIL_WAITS),
            Some(Standing::Nothing) if self.resource.kind == Kind::RelayRule => {
                nothing("nothing of it is in force: until it is corrected, mail goes as the other rules say")
            }
            Some(Standing::Nothing) => {
                nothing("nothing of it is in force: until it is corrected, its mail is not taken")
            }
            None if self.is_in_snapshot && is_form => stays(),
            None if self.is_in_snapshot => Answer::no(
                "PartlyInForce",
                "what is good of it is in force; the rest waits until it is corrected",
            ),
            None if was_published => stays(),
            None => nothing("nothing of it is in force"),
        })
    }

    /// What was programmed of a domain before stays with all its parts, but takes no new ones.
    fn is_without_domain(&self) -> bool {
        match self.domain {
            Some(NOT_IN_FORCE | "GatewayRefused") => true,
            Some(STAYS_IN_FORCE) => !self.was_programmed(),
            _ => false,
        }
    }

    fn is_refused(&self) -> bool {
        self.remarks.iter().any(|remark| remark.condition == Condition::Accepted && !remark.status)
    }

    fn fails(&self, condition: Condition) -> bool {
        self.remarks.iter().any(|remark| remark.is_error && remark.condition == condition)
    }

    /// Nothing is wrong with the spec, but with what it needs: its gateway, its queue, a port.
    fn refused_from_outside(&self) -> Option<Answer> {
        let is_outside = !self.is_refused() && self.fails(Condition::Programmed);
        is_outside.then(|| self.refused_by_compiler()).flatten()
    }

    /// The compiler says itself that it is not programmed, or something outside the manifests stands in the way.
    fn refused_by_compiler(&self) -> Option<Answer> {
        let refusals: Vec<_> = self.about_it().filter(|remark| !remark.status).collect();
        let first = refusals.first()?;
        Some(Answer::no(first.reason.as_ref(), joined(refusals.iter().copied())))
    }

    /// Only what a node refuses of the snapshot that was published last counts: a newer one may be the cure, and is on its way.
    fn refused_by_node(&self, nodes: &Nodes) -> Option<Answer> {
        let refuses = |node: &LiveNode, refusal: &NodeRefusal| {
            let is_current = Some(refusal.sequence) == nodes.published && !node.has(refusal.sequence);
            let has_it = self.resource.since.is_none_or(|since| since <= refusal.sequence);
            let lacks_it = self.resource.since.is_some_and(|since| !node.has(since));
            is_current && has_it && (lacks_it || self.is_named_by(refusal))
        };
        let refusals = nodes.live.values().filter_map(|node| Some((node, node.refused.as_ref()?)));
        let mut refusals = refusals.filter(|(node, refusal)| refuses(node, refusal)).map(|(_, one)| one);
        let first = refusals.next()?;
        let named = std::iter::once(first).chain(refusals).find(|refusal| self.is_named_by(refusal));
        let message = match (named, &first.resource) {
            (Some(refusal), _) => format!("a node refuses it: {}", refusal.reason),
            (None, Some(culprit)) => {
                format!("a node refuses the configuration that it came with, because of {culprit}: see there")
            }
            (None, None) => format!("a node refuses the configuration that it came with: {}", first.reason),
        };
        Some(Answer::no("RefusedByNode", message.chars().take(MOST_OF_A_NODE).collect::<String>()))
    }

    fn is_named_by(&self, refusal: &NodeRefusal) -> bool {
        let Observed { kind, key, .. } = self.resource;
        refusal.resource.as_ref().is_some_and(|text| {
            *text == key.to_string()
                || *text == format!("{kind} {key}")
                || *kind == Kind::MailGateway && text.starts_with("spec.")
        })
    }

    fn is_acknowledged(&self, nodes: &Nodes) -> bool {
        let Some(since) = self.resource.since else { return false };
        let mut answering = nodes.answering().peekable();
        answering.peek().is_some() && answering.all(|node| node.has(since))
    }

    fn was_programmed(&self) -> bool {
        self.before.is_some_and(|before| {
            before.status == "True" && before.observed_generation == Some(self.resource.generation)
        })
    }
}

/// No message of a node is repeated at more length, in characters.
const MOST_OF_A_NODE: usize = 1024;

fn stays() -> Answer {
    Answer::no(STAYS_IN_FORCE, "what was programmed of it before stays in force until it is corrected")
}

fn nothing(message: &str) -> Answer {
    Answer::no(NOT_IN_FORCE, message)
}
