//! Whom a domain receives mail for: users, groups and aliases of the domain itself, and users of `MailRecipients`. Pure.

use std::collections::{BTreeMap, HashMap, HashSet, btree_map::Entry as Slot};

use posthouse_crds::{Kind, MailRecipients, mail_domain::Recipients};
use posthouse_model::LocalPart;

use super::{DomainPlan, Unknown};
use crate::{
    compile::{Input, sorted},
    reason::Reason,
    resources::ObjectKey,
    syntax::{self, Target},
    verdict::{Report, Subject},
};

/// The recipients of a domain, by local part in lower case.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) users: BTreeMap<String, LocalPart>,
    /// A name may be a user and an alias at once: then the alias counts, and inside its own list the name is the user.
    pub(crate) expansions: BTreeMap<String, Entry>,
}

impl Entries {
    fn has(&self, key: &str) -> bool {
        self.users.contains_key(key) || self.expansions.contains_key(key)
    }
}

/// What a name that stands for others is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Group,
    Alias,
}

/// A group or an alias.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: EntryKind,
    pub(crate) local: LocalPart,
    /// Whom it stands for, each with its field.
    pub(crate) targets: Vec<(Target, String)>,
}

/// The key that a local part is found by.
pub(crate) fn key_of(local: &LocalPart) -> String {
    local.value().to_ascii_lowercase()
}

/// Fills in the recipients of all domains.
pub(crate) fn collect(plans: &mut [DomainPlan<'_>], input: &Input<'_>, report: &mut Report) {
    let places: HashMap<ObjectKey, usize> =
        plans.iter().enumerate().map(|(place, plan)| (plan.key.clone(), place)).collect();
    let exists: HashSet<_> =
        input.resources.domains.iter().map(|domain| ObjectKey::of(&domain.metadata)).collect();
    for plan in plans.iter_mut().filter(|plan| !plan.superseded) {
        own_recipients(plan, report);
    }
    for (key, object) in sorted(&input.resources.recipients) {
        let subject = Subject { kind: Kind::MailRecipients, key: &key };
        let domain = ObjectKey::new(&key.namespace, &object.spec.domain_ref.name);
        match places.get(&domain).and_then(|place| plans.get_mut(*place)) {
            Some(plan) => more_recipients(plan, object, subject, report),
            // A domain that is refused as a whole has its own verdict.
            None if exists.contains(&domain) => {}
            None => {
                let message =
                    format!("there is no MailDomain {domain}: create it, or correct spec.domainRef");
                report.say(subject, "spec.domainRef.name", Reason::DomainNotFound, message);
            }
        }
    }
    for plan in plans.iter_mut().filter(|plan| !plan.superseded) {
        need_local_delivery(plan, report);
    }
}

fn own_recipients(plan: &mut DomainPlan<'_>, report: &mut Report) {
    let Some(recipients) = &plan.object.spec.recipients else { return };
    let key = plan.key.clone();
    let subject = Subject { kind: Kind::MailDomain, key: &key };
    if plan.accepts_all() {
        let Recipients { policy: _, users, groups, aliases } = recipients;
        if !(users.is_empty() && groups.is_empty() && aliases.is_empty()) {
            let message = "a domain that accepts all asks no list: remove users, groups and aliases, or set policy: Listed";
            report.say(subject, "spec.recipients", Reason::AcceptAllWithLists, message);
            plan.complete = false;
        }
        return;
    }
    for (place, user) in recipients.users.iter().enumerate() {
        let field = format!("spec.recipients.users[{place}].name");
        let Some(local) = said(report, subject, &field, syntax::local_part(&user.name)) else { continue };
        if plan.entries.users.insert(key_of(&local), local).is_some() {
            report.say(subject, field, Reason::DuplicateEntry, twice(&user.name));
        }
    }
    let groups = recipients.groups.iter().enumerate().map(|(place, group)| {
        let path = format!("spec.recipients.groups[{place}]");
        (EntryKind::Group, &group.name, path, "members", &group.members)
    });
    let aliases = recipients.aliases.iter().enumerate().map(|(place, alias)| {
        let path = format!("spec.recipients.aliases[{place}]");
        (EntryKind::Alias, &alias.name, path, "deliverTo", &alias.deliver_to)
    });
    for (kind, name, path, list, targets) in groups.chain(aliases) {
        let field = format!("{path}.name");
        let Some(local) = said(report, subject, &field, syntax::local_part(name)) else { continue };
        let key = key_of(&local);
        let is_taken = plan.entries.expansions.contains_key(&key)
            || (kind == EntryKind::Group && plan.entries.users.contains_key(&key));
        if is_taken {
            report.say(subject, field, Reason::DuplicateEntry, twice(name));
            continue;
        }
        if targets.is_empty() {
            let message = format!("{name:?} would deliver to nobody: name at least one recipient");
            report.say(subject, format!("{path}.{list}"), Reason::EmptyList, message);
            continue;
        }
        let targets: Vec<_> = targets
            .iter()
            .enumerate()
            .filter_map(|(place, text)| {
                let field = format!("{path}.{list}[{place}]");
                Some((said(report, subject, &field, syntax::target(text))?, field))
            })
            .collect();
        if !targets.is_empty() {
            plan.entries.expansions.insert(key, Entry { kind, local, targets });
        }
    }
}

fn twice(name: &str) -> String {
    format!("{name:?} is a recipient already: rename or remove one (case does not count)")
}

fn said<T>(
    report: &mut Report,
    subject: Subject<'_>,
    field: &str,
    parsed: Result<T, syntax::Wrong>,
) -> Option<T> {
    parsed.map_err(|wrong| report.say(subject, field, wrong.reason, wrong.message)).ok()
}

fn more_recipients(
    plan: &mut DomainPlan<'_>,
    object: &MailRecipients,
    subject: Subject<'_>,
    report: &mut Report,
) {
    if plan.accepts_all() {
        let message = format!(
            "MailDomain {} accepts all and asks no list: remove this, or set policy: Listed there",
            plan.key
        );
        report.say(subject, "spec.domainRef", Reason::AcceptAllWithLists, message);
        return;
    }
    if object.spec.suspend {
        return;
    }
    for (place, name) in object.spec.users.iter().enumerate() {
        let local = match syntax::local_part(name) {
            Ok(local) => local,
            Err(wrong) => {
                report.say(subject, format!("spec.users[{place}]"), wrong.reason, wrong.message);
                continue;
            }
        };
        match plan.entries.users.entry(key_of(&local)) {
            Slot::Vacant(slot) => {
                slot.insert(local);
            }
            Slot::Occupied(_) => {
                let message =
                    format!("{name:?} is a recipient of the domain already: this entry adds nothing");
                report.say(subject, format!("spec.users[{place}]"), Reason::DuplicateRecipient, message);
            }
        }
    }
}

fn need_local_delivery(plan: &mut DomainPlan<'_>, report: &mut Report) {
    if !plan.entries.users.is_empty() && plan.object.spec.local_delivery.is_none() {
        let message = "the domain has users, but nothing says where their mail goes: give lmtp or maildrop";
        report.say(plan.subject(), "spec.localDelivery", Reason::MissingField, message);
        plan.complete = false;
    }
}

/// A group or alias that names a recipient which the domain neither has nor forwards goes without it, and is unknown if none is left;
/// then whoever names that one goes without it too.
pub(crate) fn drop_unknown_targets(plans: &mut [DomainPlan<'_>], report: &mut Report) {
    for plan in plans.iter_mut().filter(|plan| plan.unknown == Unknown::Reject) {
        loop {
            let missing = unknown_targets(plan);
            if missing.is_empty() {
                break;
            }
            for (name, field, local) in missing {
                let message = format!(
                    "the domain has no recipient {local}, or none that leads to anybody: add it, or remove it here"
                );
                report.say(plan.subject(), field.clone(), Reason::RecipientNotFound, message);
                drop_target(&mut plan.entries, &name, &field);
            }
        }
    }
}

fn unknown_targets(plan: &DomainPlan<'_>) -> Vec<(String, String, LocalPart)> {
    let targets = plan
        .entries
        .expansions
        .iter()
        .flat_map(|(name, entry)| entry.targets.iter().map(move |(target, field)| (name, target, field)));
    let unknown = |(name, target, field): (&String, &Target, &String)| match target {
        Target::Local(local) if !plan.entries.has(&key_of(local)) => {
            Some((name.clone(), field.clone(), local.clone()))
        }
        _ => None,
    };
    targets.filter_map(unknown).collect()
}

/// Takes a target out of an entry, and the entry out of the domain if nothing is left of it.
pub(crate) fn drop_target(entries: &mut Entries, name: &str, field: &str) {
    let Some(entry) = entries.expansions.get_mut(name) else { return };
    entry.targets.retain(|(_, kept)| kept != field);
    if entry.targets.is_empty() {
        entries.expansions.remove(name);
    }
}
