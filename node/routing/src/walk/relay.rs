//! A recipient in a domain that is not ours: permission, then the first rule that matches. Pure.

use posthouse_config::{Match, RelayRule, Tier};
use posthouse_model::{Domain, Mailbox, QueueName};

use super::{Pending, Visit, Walk};
use crate::{
    client::Source,
    decision::{Reason, RefusalReason},
    destination::{Destination, RuleDestination},
    step::{RuleVerdict, Step},
    trace::Trace,
};

/// What sets a queue of relayed mail apart from a domain's of the same name.
const QUEUE_PREFIX: &str = "relay:";

/// The longest name of a queue.
const QUEUE_NAME_LENGTH: usize = 255;

impl<'a, T: Trace> Walk<'a, T> {
    pub(super) fn visit_other(&mut self, pending: &Pending<'a>) -> Visit<'a> {
        if !self.permission(pending.via).is_granted() {
            return Visit::Refused(RefusalReason::RelayDenied);
        }
        if let Some(visit) = self.visit_by_rule(pending) {
            return visit;
        }
        let (router, address) = (self.router, &pending.address);
        self.relay(address, &router.direct.to(&router.snapshot().gateway, address.domain()))
    }

    /// Where the first rule that matches sends it, if one does.
    pub(super) fn visit_by_rule(&mut self, pending: &Pending<'a>) -> Option<Visit<'a>> {
        let (router, address): (_, &Mailbox) = (self.router, &pending.address);
        let mut rules = router.rules(self.sender, address.domain(), T::WANTED);
        while let Some((rule, destination)) = rules.next() {
            let matched = self.rule_matches(rule, pending);
            self.trace.step(|| rule_step(rule, verdict(rule, matched)));
            if matched.is_err() {
                continue;
            }
            if T::WANTED {
                for (rule, _) in rules {
                    self.trace.step(|| rule_step(rule, RuleVerdict::NotReached));
                }
            }
            return Some(match destination {
                RuleDestination::Hosts(destination) => self.relay(address, destination),
                RuleDestination::Direct(direct) => {
                    self.trace.step(|| Step::Direct);
                    self.relay(address, &direct.to(&router.snapshot().gateway, address.domain()))
                }
            });
        }
        self.trace.step(|| Step::NoRule);
        None
    }

    fn relay(&mut self, address: &Mailbox, destination: &Destination) -> Visit<'a> {
        match self.relay_queue(address.domain()) {
            Some(queue) => self.delivery(address, (queue, destination), Reason::Relayed),
            None => Visit::Refused(RefusalReason::AddressTooLong), // no domain is: all are printable and at most 255 octets
        }
    }

    /// The places of the patterns that matched, or why the rule does not.
    fn rule_matches(&self, rule: &RelayRule, pending: &Pending<'_>) -> Result<Matched, Mismatch> {
        if rule.suspended {
            return Err(Mismatch::Suspended);
        }
        if rule.tier == Tier::Tenant && !self.is_own_mail(rule.origin.namespace(), pending) {
            return Err(Mismatch::NotItsMail);
        }
        let Match::Addresses { senders, recipients } = &rule.matches else { return Ok(Matched::default()) };
        let sender = match senders.iter().position(|pattern| pattern.matches(self.sender)) {
            Some(place) => Some(place),
            // the null reverse-path has no address: a rule that asks for recipients alone asks nothing that it could answer
            None if self.sender.is_null() => return Err(Mismatch::NullReversePath),
            None if senders.is_empty() => None,
            None => return Err(Mismatch::Sender),
        };
        let recipient = match recipients.iter().position(|pattern| pattern.matches(&pending.address)) {
            Some(place) => Some(place),
            None if recipients.is_empty() => None,
            None => return Err(Mismatch::Recipient),
        };
        Ok(Matched { sender, recipient })
    }

    /// Whether the mail's source is the namespace's own: one of its users sent it, or one of its domains sends it on.
    fn is_own_mail(&self, namespace: &str, pending: &Pending<'_>) -> bool {
        let sent_on_by = pending.via.map(|domain| domain.origin.namespace());
        let sent_by = match self.source {
            Source::Client(client) => client.identity().map(|identity| &*identity.namespace),
            Source::Queue { namespace } => namespace,
            Source::Gateway => None,
        };
        sent_on_by == Some(namespace) || sent_by == Some(namespace)
    }

    /// The queue that mail for another domain waits in: named after it, but never a queue of one of our domains, whose holds and releases are
    /// not for this mail.
    fn relay_queue(&self, domain: &Domain) -> Option<QueueName> {
        let named = QueueName::new(domain.as_str()).ok()?;
        if self.router.snapshot().queue(&named).is_none() {
            return Some(named);
        }
        let name = domain.as_str();
        let start = (QUEUE_PREFIX.len() + name.len()).saturating_sub(QUEUE_NAME_LENGTH);
        QueueName::new(&format!("{QUEUE_PREFIX}{}", name.get(start..)?)).ok()
    }
}

/// The patterns of a rule that matched, by their places; `None`: it asks for none.
#[derive(Clone, Copy, Default)]
struct Matched {
    sender: Option<usize>,
    recipient: Option<usize>,
}

/// Why a rule does not match.
#[derive(Clone, Copy)]
enum Mismatch {
    Suspended,
    NotItsMail,
    NullReversePath,
    Sender,
    Recipient,
}

fn rule_step(rule: &RelayRule, verdict: RuleVerdict) -> Step {
    Step::Rule { origin: rule.origin.clone(), tier: rule.tier, order: rule.order, verdict }
}

fn verdict(rule: &RelayRule, matched: Result<Matched, Mismatch>) -> RuleVerdict {
    match matched {
        Ok(Matched { sender, recipient }) => {
            let (senders, recipients) = match &rule.matches {
                Match::Always => (None, None),
                Match::Addresses { senders, recipients } => (Some(senders), Some(recipients)),
            };
            RuleVerdict::Matches {
                sender: sender.and_then(|place| Some(senders?.get(place)?.to_string())),
                recipient: recipient.and_then(|place| Some(recipients?.get(place)?.to_string())),
            }
        }
        Err(Mismatch::Suspended) => RuleVerdict::Suspended,
        Err(Mismatch::NotItsMail) => RuleVerdict::NotItsMail,
        Err(Mismatch::NullReversePath) => RuleVerdict::NullReversePath,
        Err(Mismatch::Sender) => RuleVerdict::SenderDiffers,
        Err(Mismatch::Recipient) => RuleVerdict::RecipientDiffers,
    }
}
