//! Whether what a manifest says now has less than what is in force: then that stays. Pure.

use posthouse_config::{MailDomain, Member, Recipients, UnknownRecipients};
use posthouse_model::LocalPart;

use super::{held_names, names_of};
use crate::{
    domain::{DomainPlan, Unknown, key_of},
    syntax::Target,
};

/// Whether what the manifest says now, without its wrong parts, has less than what is in force. If not, it is programmed: its right parts count,
/// and nobody loses mail by the wrong ones.
pub(super) fn takes_away(plan: &DomainPlan<'_>, form: &MailDomain) -> bool {
    let names = names_of(form).all(|name| held_names(plan).any(|held| held == name));
    let recipients = match &form.recipients {
        Recipients::AcceptAll => plan.accepts_all(),
        Recipients::Listed { .. } if plan.accepts_all() => form.recipients == Recipients::default(),
        Recipients::Listed { users, groups, aliases } => {
            users.iter().all(|name| plan.listed.users.contains(name))
                && groups.iter().chain(aliases).all(|entry| has_members(plan, &entry.name, &entry.members))
        }
    };
    let local = form.local_delivery.is_none() || plan.local.is_some();
    let forward = match (&form.unknown_recipients, &plan.unknown) {
        (UnknownRecipients::Reject, _) | (UnknownRecipients::Forward(_), Unknown::Forward(_)) => true,
        (UnknownRecipients::Forward(_), Unknown::Reject) => false,
        (UnknownRecipients::Forward(forward), Unknown::Waits(..)) => !forward.unsupported.is_empty(),
    };
    !(names && recipients && local && forward)
}

/// Whether all whom the form lists are listed now.
pub(super) fn has_users(plan: &DomainPlan<'_>, form: &MailDomain) -> bool {
    match &form.recipients {
        Recipients::AcceptAll => true,
        Recipients::Listed { users, .. } => {
            plan.accepts_all() || users.iter().all(|name| plan.listed.users.contains(name))
        }
    }
}

fn has_members(plan: &DomainPlan<'_>, name: &LocalPart, members: &[Member]) -> bool {
    let entry = plan.listed.find(&key_of(name)).and_then(|at| plan.listed.expansions.get(at));
    let Some(entry) = entry else { return false };
    members.iter().all(|member| {
        entry.targets.iter().any(|aim| match (member, &aim.target) {
            (Member::Local(one), Target::Local(other)) => one == other,
            (Member::Address(one), Target::Mailbox(other)) => one == other,
            _ => false,
        })
    })
}
