//! The end of an attempt: from what the far end said of each recipient to one settlement, with the notification that is owed.

use std::sync::Arc;

use posthouse_model::{EnhancedStatus, Incarnation, Reply, Timestamp};
use posthouse_queue::{LaneSignal, LastReply, Leased, Outcome, Remainder, Settlement};

use super::{
    delay::Waiting,
    judge::{self, Found, Judged, Terms, judge},
    report,
};
use crate::{events, intake::entries::attend_at, node::Node, policy::Policy};

/// The longest text of a reply that is kept.
const KEPT_TEXT: usize = 512;

/// A lease, with whose it is: it is settled for who took it, even if the node is another incarnation by then.
#[derive(Clone, Copy)]
pub struct Lease<'l> {
    /// The lease.
    pub leased: &'l Leased,
    /// Whose it is.
    pub who: Incarnation,
}

/// What is settled: the outcome for the store and what the logs say of it.
pub struct Conclusion {
    /// For the store.
    pub settlement: Settlement,
    /// Some recipients stay.
    pub stays: bool,
}

/// Something of ours to say about a recipient: no reply of the far end.
#[must_use]
pub fn own_words(at: Timestamp, status: EnhancedStatus, text: &str, host: &str) -> LastReply {
    LastReply { at, code: 0, status: status.to_string(), text: cut(text), host: host.to_owned() }
}

/// What the far end said about a recipient.
#[must_use]
pub fn their_words(at: Timestamp, reply: &Reply, host: &str) -> LastReply {
    let status = reply.status().unwrap_or(match reply.severity() {
        posthouse_model::Severity::Permanent => EnhancedStatus::permanent(0, 0),
        posthouse_model::Severity::Transient => EnhancedStatus::transient(0, 0),
        _ => EnhancedStatus::success(0, 0),
    });
    LastReply {
        at,
        code: reply.code().number(),
        status: status.to_string(),
        text: cut(&reply.text()),
        host: host.to_owned(),
    }
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(KEPT_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// Concludes an attempt. `found` has one element per recipient of the entry.
pub async fn conclude(
    node: &Node,
    policy: &Policy,
    lease: Lease<'_>,
    found: Vec<Found>,
    lane: LaneSignal,
) -> Conclusion {
    let Lease { leased, who } = lease;
    let now = node.presence.now();
    let entry = &leased.entry;
    let is_held = policy.queue_mode(&entry.queue).hold.is_some();
    let terms = Terms { retry: &policy.retry, is_held, now };
    let Judged { outcomes, next_attempt, reported, delay_warned } = judge(terms, leased, found);
    for (recipient, (outcome, last)) in entry.recipients.iter().zip(&outcomes) {
        let Some(last) = last else { continue }; // nothing was attempted
        let again = next_attempt.filter(|_| matches!(outcome, Outcome::Deferred(_)));
        events::Attempted {
            id: entry.id,
            to: &recipient.address,
            outcome,
            origin: &entry.route.origin,
            next_hop: &entry.route.next_hop.to_string(),
            host: &last.host,
            reply: &spoken(last),
            next_attempt: again.map(|at| at.0),
        }
        .emit(&node.metrics);
    }
    let child = report::of_attempt(node, policy, leased, &reported, now).await;
    let stays = outcomes.iter().any(|(outcome, _)| matches!(outcome, Outcome::Deferred(_)));
    let settlement = Settlement {
        who,
        entry: Arc::clone(entry),
        token: leased.token,
        outcomes: outcomes.into_iter().map(|(outcome, _)| outcome).collect(),
        // In a queue that is Online: deferred until then.
        remainder: next_attempt.map_or(Remainder::GiveBack, Remainder::HoldAgain),
        lane,
        attend_at: attend_again(policy, leased, delay_warned, is_held, now),
        delay_warned,
        child,
    };
    Conclusion { settlement, stays }
}

/// Tells the sender that the mail of an entry still waits; the lease goes back without an attempt.
pub async fn warn(node: &Node, policy: &Policy, lease: Lease<'_>) -> Settlement {
    let (leased, now) = (lease.leased, node.presence.now());
    let reported = judge::delayed(&policy.retry, leased);
    Settlement {
        attend_at: attend_again(policy, leased, true, false, now),
        delay_warned: true,
        child: report::of_attempt(node, policy, leased, &reported, now).await,
        ..give_back(node, policy, lease, LaneSignal::None)
    }
}

/// Gives a lease back untouched.
#[must_use]
pub fn give_back(node: &Node, policy: &Policy, lease: Lease<'_>, lane: LaneSignal) -> Settlement {
    rest(node, policy, lease, Remainder::GiveBack, lane)
}

/// Settles a lease without an attempt: every recipient stays.
#[must_use]
pub fn rest(
    node: &Node,
    policy: &Policy,
    lease: Lease<'_>,
    remainder: Remainder,
    lane: LaneSignal,
) -> Settlement {
    let Lease { leased, who } = lease;
    let entry = &leased.entry;
    // What is held waits as somebody wishes; looked at in vain, it would be looked at again and again.
    let is_held = leased.held || policy.queue_mode(&entry.queue).hold.is_some();
    Settlement {
        who,
        entry: Arc::clone(entry),
        token: leased.token,
        outcomes: vec![Outcome::Deferred(None); entry.recipients.len()],
        remainder,
        lane,
        attend_at: attend_again(policy, leased, entry.delay_warned, is_held, node.presence.now()),
        delay_warned: entry.delay_warned,
        child: None,
    }
}

/// When what stays of an entry is looked at again.
fn attend_again(policy: &Policy, leased: &Leased, warned: bool, is_held: bool, now: Timestamp) -> Timestamp {
    let entry = &*leased.entry;
    let waiting = Waiting { warned, ..Waiting::from(entry) };
    let owes_warning = waiting.owes_warning(&leased.message.envelope.reverse_path, is_held);
    attend_at(policy, &entry.queue, judge::clock(leased), owes_warning, now)
}

fn spoken(last: &LastReply) -> String {
    if last.code == 0 {
        format!("{} {}", last.status, last.text)
    } else {
        format!("{} {} {}", last.code, last.status, last.text)
    }
}

#[cfg(test)]
mod tests;
