//! What of a peer's limits (RFC 9422) a session has used up.

use std::collections::HashSet;

use posthouse_model::Domain;

use super::Limits;

/// Domains that a session remembers: a peer that allows more gets no more than these in one session.
const MOST_DOMAINS: usize = 1000;

/// What was said in this session, as far as the peer limits it.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// MAIL commands: they count whether they were accepted or not (RFC 9422 §4.1).
    mails: u32,
    /// Domains of recipients; only where the peer limits them.
    domains: HashSet<Domain>,
    /// A recipient was left out because its domain would be one too many.
    domain_left_out: bool,
}

impl Budget {
    pub(super) fn mail_said(&mut self) {
        self.mails = self.mails.saturating_add(1);
    }

    /// Whether one more recipient fits the transaction, which names so many already; takes note of its domain.
    pub(super) fn takes_recipient(&mut self, limits: &Limits, named: u32, domain: &Domain) -> bool {
        if limits.recipients.is_some_and(|limit| named >= limit) {
            return false;
        }
        let Some(limit) = limits.recipient_domains else { return true };
        if self.domains.contains(domain) {
            return true;
        }
        // RFC 9422 §4.3: in a session, not in a transaction: some peers bind to one way of delivery at the first recipient.
        let limit = usize::try_from(limit).map_or(MOST_DOMAINS, |limit| limit.min(MOST_DOMAINS));
        if self.domains.len() >= limit {
            self.domain_left_out = true;
            return false;
        }
        self.domains.insert(domain.clone())
    }

    /// Whether the session is of no more use: the peer takes no other MAIL, or not the domains that are asked for.
    pub(super) fn is_spent(&self, limits: &Limits) -> bool {
        self.domain_left_out || limits.mails.is_some_and(|limit| self.mails >= limit)
    }
}
