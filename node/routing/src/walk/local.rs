//! A recipient in one of our own domains: listed, forwarded or rejected. Pure.

use posthouse_config::{
    Admits, AliasedRecipients, Expansion, Forward, MailDomain, Recipients, UnknownRecipients,
};
use posthouse_model::{LocalPart, Mailbox};

use super::{Names, Pending, Visit, Walk, reserved::is_reserved};
use crate::{
    decision::{Reason, RefusalReason},
    router::Own,
    step::{RecipientKind, Step},
    trace::Trace,
};

/// What a domain's lists know of a name.
enum Listed<'a> {
    User,
    Opens(&'a Expansion, RecipientKind),
    Not(RecipientKind),
}

impl<'a, T: Trace> Walk<'a, T> {
    pub(super) fn visit_own(&mut self, own: Own<'a>, pending: &Pending<'a>) -> Visit<'a> {
        let Own { domain, destinations: _ } = own;
        if domain.suspended {
            self.trace.step(|| Step::DomainSuspended { origin: domain.origin.clone() });
            return Visit::Refused(RefusalReason::DomainSuspended);
        }
        self.limit_size(own);
        let address: &Mailbox = &pending.address;
        let name = address.local();
        match self.look_up(domain, name) {
            Listed::User => {
                self.trace_recipient(name, RecipientKind::User, &[]);
                self.deliver_locally(own, address, Reason::Local)
            }
            Listed::Opens(expansion, kind) => self.open_or_close(own, pending, expansion, kind),
            Listed::Not(_) if name.is_postmaster() => self.visit_postmaster(own, pending),
            Listed::Not(kind) if name.is_abuse() => self.visit_abuse(own, pending, kind),
            Listed::Not(kind) => {
                self.trace_recipient(name, kind, &[]);
                self.visit_unknown(own, pending, kind)
            }
        }
    }

    fn look_up(&self, domain: &'a MailDomain, name: &LocalPart) -> Listed<'a> {
        if self.passes_over && is_reserved(name) {
            return Listed::Not(RecipientKind::Unknown);
        }
        let name = name.value();
        let (users, groups, aliases) = match &domain.recipients {
            Recipients::AcceptAll => return Listed::Not(RecipientKind::Anybody),
            Recipients::Listed { users, groups, aliases } => (users, groups, aliases),
        };
        if self.names == Names::Keep && users.contains(name) {
            return Listed::User;
        }
        if let Some(alias) = Expansion::find(aliases, name) {
            return Listed::Opens(alias, RecipientKind::Alias);
        }
        if let Some(group) = Expansion::find(groups, name) {
            return Listed::Opens(group, RecipientKind::Group);
        }
        if users.contains(name) { Listed::User } else { Listed::Not(RecipientKind::Unknown) }
    }

    /// Opens a group or an alias, unless it was opened before: then the name is its user, a repetition, or the end of a circle.
    fn open_or_close(
        &mut self,
        own: Own<'a>,
        pending: &Pending<'a>,
        expansion: &'a Expansion,
        kind: RecipientKind,
    ) -> Visit<'a> {
        let Some(&place) = self.places.get(&std::ptr::from_ref(expansion)) else {
            self.trace_recipient(pending.address.local(), kind, &expansion.members);
            return Visit::Opens(expansion, own.domain);
        };
        let name = &expansion.name;
        if is_user(own.domain, name) {
            // an alias that names itself keeps a copy for the user of its name
            self.trace_recipient(name, RecipientKind::User, &[]);
            return self.deliver_locally(own, &pending.address, Reason::Local);
        }
        if let Some(circle) = self.circle(place, pending.parent) {
            self.trace.step(|| {
                let again = std::iter::once(expansion);
                let names = circle.into_iter().chain(again).map(|expansion| expansion.name.to_string());
                Step::Loop { names: names.collect() }
            });
            return Visit::Refused(RefusalReason::AliasLoop);
        }
        self.trace.step(|| Step::ExpandedBefore { name: name.clone() });
        Visit::Nothing
    }

    fn visit_unknown(&mut self, own: Own<'a>, pending: &Pending<'a>, kind: RecipientKind) -> Visit<'a> {
        let Own { domain, destinations } = own;
        match (&domain.unknown_recipients, &destinations.forward) {
            (UnknownRecipients::Forward(forward), Some(destination)) => {
                if let Err(reason) = self.forwards(forward, pending, domain) {
                    return Visit::Refused(reason);
                }
                self.trace.step(|| Step::Forwards { host: forward.host.clone() });
                self.delivery(&pending.address, (forward.queue.clone(), destination), Reason::Forwarded)
            }
            // nobody is listed and nothing forwarded: the mailbox server knows who is there
            _ if kind == RecipientKind::Anybody && destinations.local.is_some() => {
                self.deliver_locally(own, &pending.address, Reason::Local)
            }
            _ => {
                self.trace.step(|| Step::RejectsUnknown);
                Visit::Refused(RefusalReason::UnknownRecipient)
            }
        }
    }

    /// Whether the domain's forward takes this mail.
    pub(super) fn forwards(
        &mut self,
        forward: &Forward,
        pending: &Pending<'a>,
        domain: &MailDomain,
    ) -> Result<(), RefusalReason> {
        let given = pending.address.domain();
        if forward.aliased_recipients == AliasedRecipients::Reject && *given != domain.domain {
            self.trace.step(|| Step::AliasedRejected { given: given.clone() });
            return Err(RefusalReason::AliasedRecipient);
        }
        if forward.admits == Admits::Authorized && !self.permission(pending.via).is_granted() {
            return Err(RefusalReason::NotAdmitted);
        }
        Ok(())
    }

    pub(super) fn deliver_locally(&mut self, own: Own<'a>, address: &Mailbox, reason: Reason) -> Visit<'a> {
        let (Some(local), Some(destination)) = (&own.domain.local_delivery, &own.destinations.local) else {
            self.trace.step(|| Step::NoLocalDelivery);
            return Visit::Refused(RefusalReason::NoLocalDelivery);
        };
        self.delivery(address, (local.queue().clone(), destination), reason)
    }

    pub(super) fn trace_recipient(
        &mut self,
        name: &LocalPart,
        is: RecipientKind,
        members: &[posthouse_config::Member],
    ) {
        self.trace.step(|| Step::Recipient {
            name: name.clone(),
            is,
            members: members.iter().map(ToString::to_string).collect(),
        });
    }
}

fn is_user(domain: &MailDomain, name: &LocalPart) -> bool {
    match &domain.recipients {
        Recipients::AcceptAll => false,
        Recipients::Listed { users, groups: _, aliases: _ } => users.contains(name.value()),
    }
}
