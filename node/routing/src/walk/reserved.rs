//! The recipients whom every host that takes mail takes it for, listed or not: the postmaster (RFC 5321 §4.5.1), and who hears of misuse (RFC 2142 §4); of
//! each domain and of the gateway itself. Pure.

use std::borrow::Cow;

use posthouse_config::{MailDomain, Role, UnknownRecipients};
use posthouse_model::{LocalPart, Mailbox};

use super::{Pending, Visit, Walk};
use crate::{
    decision::{Decision, Reason, RefusalReason},
    router::Own,
    step::{RecipientKind, Step},
    trace::Trace,
};

/// Whether the name gets mail in every domain.
pub(super) fn is_reserved(name: &LocalPart) -> bool {
    name.is_postmaster() || name.is_abuse()
}

impl<'a, T: Trace> Walk<'a, T> {
    /// The address, if it must be taken whatever the lists say.
    pub(super) fn must_be_taken(&self, address: &Cow<'a, Mailbox>) -> Option<Cow<'a, Mailbox>> {
        let is_ours = || self.router.own_domain(address.domain()).is_some() || self.is_own_host(address);
        let must_be = !self.passes_over && is_reserved(address.local()) && is_ours();
        must_be.then(|| address.clone())
    }

    /// Begins anew as if nothing were listed of the names that get mail in every domain: a slip in a list shuts nobody out who would hear of it.
    pub(super) fn passing_over(mut self, address: Cow<'a, Mailbox>) -> Decision {
        self.trace.step(|| Step::TakenUnlisted { name: address.local().clone() });
        self.passes_over = true;
        self.failures.clear();
        self.opened.clear();
        self.places.clear();
        self.run_address(address)
    }

    /// RFC 5321 §4.5.1: `<Postmaster>` without a domain is taken wherever there is anybody to take it.
    pub(super) fn bare_postmaster(&mut self) -> Option<Mailbox> {
        let local = LocalPart::new("postmaster").ok()?;
        let Some(primary) = self.router.primary().map(|own| own.domain) else {
            return Mailbox::new(local, self.router.snapshot().gateway.hostname.clone()).ok();
        };
        let address = Mailbox::new(local, primary.domain.clone()).ok()?;
        self.trace.step(|| Step::BarePostmaster {
            address: address.clone(),
            primary: primary.role == Role::Primary,
        });
        Some(address)
    }

    /// Whether somebody is meant who cares for the gateway itself; its name is none of its domains.
    pub(super) fn is_own_host(&self, address: &Mailbox) -> bool {
        is_reserved(address.local()) && *address.domain() == self.router.snapshot().gateway.hostname
    }

    /// Who cares for the gateway: the primary domain's; without any domain, a rule says where to.
    pub(super) fn visit_own_host(&mut self, pending: &Pending<'a>) -> Visit<'a> {
        let (local, given) = (pending.address.local(), pending.address.domain());
        if let Some(primary) = self.router.primary() {
            let Ok(address) = Mailbox::new(local.clone(), primary.domain.domain.clone()) else {
                return Visit::Refused(RefusalReason::AddressTooLong);
            };
            self.trace.step(|| Step::OwnHost { given: given.clone(), address: Some(address.clone()) });
            return Visit::StandIn(address, pending.via);
        }
        self.trace.step(|| Step::OwnHost { given: given.clone(), address: None });
        // By MX its name leads back here.
        self.visit_by_rule(pending).unwrap_or(Visit::Refused(RefusalReason::NoLocalDelivery))
    }

    /// The postmaster of a domain, who is not listed: where the domain forwards, there; else locally; else the primary domain's postmaster; else
    /// forwarded whatever the forward asks of others.
    pub(super) fn visit_postmaster(&mut self, own: Own<'a>, pending: &Pending<'a>) -> Visit<'a> {
        let Own { domain, destinations } = own;
        let address: &Mailbox = &pending.address;
        self.trace_recipient(address.local(), RecipientKind::Postmaster, &[]);
        let (is_local, primary) = (destinations.local.is_some(), self.router.primary());
        let elsewhere = primary.map(|own| own.domain).filter(|primary| !std::ptr::eq(*primary, domain));
        if let (UnknownRecipients::Forward(forward), Some(destination)) =
            (&domain.unknown_recipients, &destinations.forward)
        {
            let takes = self.forwards(forward, pending, domain);
            if takes == Err(RefusalReason::AliasedRecipient) && !is_local {
                // Under the domain's own name it goes in no circle.
                return self.postmaster_of(domain, pending, pending.via);
            }
            let is_last = !is_local && elsewhere.is_none();
            if takes.is_ok() && (destination.is_ok() || !is_local) || is_last {
                self.trace.step(|| Step::Forwards { host: forward.host.clone() });
                return self.delivery(address, (forward.queue.clone(), destination), Reason::Postmaster);
            }
        }
        match elsewhere {
            Some(primary) if !is_local => self.postmaster_of(primary, pending, Some(domain)),
            _ => self.deliver_locally(own, address, Reason::Postmaster),
        }
    }

    /// Who hears of misuse of a domain, and is not listed: where the domain forwards, or takes anybody, as anybody; else the domain's postmaster, for the
    /// mailbox server may know nobody of the name.
    pub(super) fn visit_abuse(
        &mut self,
        own: Own<'a>,
        pending: &Pending<'a>,
        kind: RecipientKind,
    ) -> Visit<'a> {
        let Own { domain, destinations } = own;
        self.trace_recipient(pending.address.local(), RecipientKind::Abuse, &[]);
        if let (UnknownRecipients::Forward(forward), Some(destination @ Ok(_))) =
            (&domain.unknown_recipients, &destinations.forward)
            && self.forwards(forward, pending, domain).is_ok()
        {
            self.trace.step(|| Step::Forwards { host: forward.host.clone() });
            return self.delivery(&pending.address, (forward.queue.clone(), destination), Reason::Forwarded);
        }
        if kind == RecipientKind::Anybody && destinations.local.is_some() {
            return self.deliver_locally(own, &pending.address, Reason::Local);
        }
        let postmaster = LocalPart::new("postmaster").ok();
        let given = pending.address.domain().clone();
        match postmaster.and_then(|postmaster| Mailbox::new(postmaster, given).ok()) {
            Some(address) => {
                self.trace.step(|| Step::PostmasterHears { address: address.clone() });
                Visit::StandIn(address, pending.via)
            }
            None => Visit::Refused(RefusalReason::AddressTooLong),
        }
    }

    /// The postmaster of this domain takes it instead.
    fn postmaster_of(
        &mut self,
        domain: &MailDomain,
        pending: &Pending<'a>,
        via: Option<&'a MailDomain>,
    ) -> Visit<'a> {
        match Mailbox::new(pending.address.local().clone(), domain.domain.clone()) {
            Ok(address) => {
                self.trace.step(|| Step::PostmasterElsewhere { address: address.clone() });
                Visit::StandIn(address, via)
            }
            Err(_) => Visit::Refused(RefusalReason::AddressTooLong),
        }
    }
}
