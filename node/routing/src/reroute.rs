//! Routing is not frozen: mail that waits is routed again when a newer snapshot is there. Pure.
//!
//! What was accepted stays accepted. A recipient that would be refused for good today keeps the route that the queue has for it, and the far
//! end decides; so does one whose domain was deleted. One that would be refused for now waits, and so does one whose rule was deleted or suspended.
//! That no rule matches sends nothing directly that a resource routed elsewhere when it was accepted: a deletion may be a slip.

use std::borrow::Cow;

use posthouse_model::{Mailbox, ReversePath, Route, Timestamp};

use crate::{
    client::Source,
    decision::{Acceptance, Decision, Refusal, RefusalReason},
    destination::DIRECT_DELIVERY,
    router::Router,
    step::Step,
    trace::{NoTrace, Trace},
    walk::{Names, Walk},
};

/// The kind of resource whose mail drains by its stored route when the resource is gone.
const MAIL_DOMAIN: &str = "MailDomain";

/// The kind of resource whose mail waits then.
const RELAY_RULE: &str = "RelayRule";

/// Where a queued recipient's mail goes now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rerouted {
    /// By these routes; mostly one, and the same as before.
    Routed(Acceptance),
    /// Nowhere for now: it is deferred with this reply.
    Waits(Refusal),
    /// By the route that is stored with it.
    Stored(StoredReason),
}

/// Why a queued recipient keeps its stored route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredReason {
    /// The domain that routed it was deleted, and nothing else routes it.
    OriginGone,
    /// It would be refused today; it was accepted then.
    RefusedToday(Refusal),
}

impl Router {
    /// Routes a recipient of a queued entry again: its address, what the client named where that was expanded, and the route that it has.
    #[must_use]
    pub fn reroute(
        &self,
        sender: &ReversePath,
        recipient: &Mailbox,
        expanded_from: Option<&Mailbox>,
        stored: &Route,
    ) -> Rerouted {
        self.reroute_traced(sender, recipient, expanded_from, stored, &mut NoTrace)
    }

    pub(crate) fn reroute_traced<T: Trace>(
        &self,
        sender: &ReversePath,
        recipient: &Mailbox,
        expanded_from: Option<&Mailbox>,
        stored: &Route,
        trace: &mut T,
    ) -> Rerouted {
        let sent_on_by = expanded_from.and_then(|named| self.own_domain(named.domain()));
        let namespace = sent_on_by
            .map(|own| own.domain.origin.namespace())
            .or_else(|| Some(origin_parts(&stored.origin)?.1.split_once('/')?.0));
        // expanded once, when it came in: a user who is an alias too has been opened already
        let names = if expanded_from.is_some() { Names::Keep } else { Names::Expand };
        // the mail of a retired name drains by its stored route, however long ago the name retired
        let now = Timestamp::default();
        let walk = Walk::new(self, sender, Source::Queue { namespace }, names, now, trace);
        let decision = match walk.run_address(Cow::Borrowed(recipient)) {
            Decision::Accepted(acceptance)
                if is_by_default(&acceptance) && !self.may_go_directly(&stored.origin) =>
            {
                Decision::Refused(Refusal::new(RefusalReason::NoLongerRouted))
            }
            decision => decision,
        };
        match decision {
            Decision::Accepted(acceptance) => Rerouted::Routed(acceptance),
            Decision::Refused(refusal) if self.must_wait(&refusal, stored) => Rerouted::Waits(refusal),
            Decision::Refused(refusal) => {
                trace.step(|| Step::KeepsRoute { origin: stored.origin.clone() });
                Rerouted::Stored(if self.has_origin(&stored.origin) {
                    StoredReason::RefusedToday(refusal)
                } else {
                    StoredReason::OriginGone
                })
            }
        }
    }

    /// Whether a queued recipient that is refused today is not sent by its stored route either: its owner said so, or there is no route just now.
    ///
    /// Mail of a deleted domain drains by its stored route; mail of a deleted rule does not. The rule may have asked for a login or for TLS, of
    /// which the stored route knows nothing: sent by it, the mail would go without.
    fn must_wait(&self, refusal: &Refusal, stored: &Route) -> bool {
        if matches!(refusal.reason, RefusalReason::GatewaySuspended | RefusalReason::DomainSuspended) {
            return true;
        }
        if self.has_origin(&stored.origin) {
            return refusal.is_transient();
        }
        !matches!(origin_parts(&stored.origin), Some((MAIL_DOMAIN, _)))
    }

    /// Whether mail with a route of this origin is sent by MX where no rule matches it now: not if a domain routed it, or a rule that is gone or
    /// suspended. The owner who edited a rule so that it is for other mail said so.
    fn may_go_directly(&self, origin: &str) -> bool {
        match origin_parts(origin) {
            Some((MAIL_DOMAIN, _)) => false,
            Some((RELAY_RULE, name)) => {
                self.snapshot().rules.iter().any(|rule| rule.origin.as_str() == name && !rule.suspended)
            }
            _ => true,
        }
    }

    /// Whether the resource that a route names is in the snapshot.
    fn has_origin(&self, origin: &str) -> bool {
        let snapshot = self.snapshot();
        match origin_parts(origin) {
            Some((MAIL_DOMAIN, name)) => snapshot.domains.iter().any(|domain| domain.origin.as_str() == name),
            Some((RELAY_RULE, name)) => snapshot.rules.iter().any(|rule| rule.origin.as_str() == name),
            _ => false,
        }
    }
}

/// Whether no resource asked for a route.
fn is_by_default(acceptance: &Acceptance) -> bool {
    acceptance.deliveries.iter().any(|delivery| delivery.route.origin == DIRECT_DELIVERY)
}

/// The kind and the name in a route's origin: `RelayRule mail/customer-a`.
fn origin_parts(origin: &str) -> Option<(&str, &str)> {
    origin.split_once(' ')
}
