//! A decision with its path, for people and programs. The decision is made by the very function that the node routes by. Pure.

use std::fmt;

use posthouse_model::{ForwardPath, Mailbox, ReversePath, Route, Timestamp};
use serde::Serialize;

use crate::{client::Source, decision::Decision, reroute::Rerouted, router::Router, step::Step};

/// A decision, what it was asked for, and every step that led to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The envelope sender.
    pub sender: ReversePath,
    /// The recipient.
    pub recipient: ForwardPath,
    /// Where the mail comes from, in words.
    pub source: String,
    /// The steps in order.
    pub steps: Vec<Step>,
    /// The decision.
    pub decision: Decision,
}

impl Router {
    /// Decides about one recipient as [`route`](Self::route) does, and says how.
    #[must_use]
    pub fn explain(
        &self,
        sender: &ReversePath,
        recipient: &ForwardPath,
        source: Source<'_>,
        now: Timestamp,
    ) -> Explanation {
        let mut steps = Vec::new();
        let decision = self.route_traced(sender, recipient, source, now, &mut steps);
        let (sender, recipient, source) = (sender.clone(), recipient.clone(), source.to_string());
        Explanation { sender, recipient, source, steps, decision }
    }

    /// Routes a queued recipient again as [`reroute`](Self::reroute) does, and says how.
    #[must_use]
    pub fn explain_reroute(
        &self,
        sender: &ReversePath,
        recipient: &Mailbox,
        expanded_from: Option<&Mailbox>,
        stored: &Route,
    ) -> (Rerouted, Vec<Step>) {
        let mut steps = Vec::new();
        let rerouted = self.reroute_traced(sender, recipient, expanded_from, stored, &mut steps);
        (rerouted, steps)
    }
}

impl fmt::Display for Explanation {
    /// A head line, a numbered line for each step, and what comes of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sender, recipient, source, steps, decision } = self;
        writeln!(f, "from {sender} to {recipient}, {source}")?;
        for (number, step) in (1..).zip(steps) {
            writeln!(f, "{number:3}. {step}")?;
        }
        decision.fmt(f)
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "refused: {}", refusal.reply),
            Self::Accepted(acceptance) => {
                f.write_str("accepted:")?;
                for delivery in &acceptance.deliveries {
                    write!(f, "\n  {delivery}")?;
                }
                for unreachable in &acceptance.unreachable {
                    write!(f, "\n  not for <{}>: {}", unreachable.recipient, unreachable.refusal.reply)?;
                }
                Ok(())
            }
        }
    }
}
