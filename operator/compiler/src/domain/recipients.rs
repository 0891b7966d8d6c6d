//! Whom a domain receives mail for: users, groups and aliases of the domain itself, and users of `MailRecipients`. Pure.

use std::{collections::HashSet, sync::Arc};

use posthouse_config::NameSet;
use posthouse_crds::{
    Kind, MailDomainSpec, MailRecipients,
    mail_domain::{RecipientPolicy, Recipients},
};
use posthouse_model::LocalPart;

use super::{DomainPlan, Unknown};
use crate::{
    claims::Claim,
    compile::Input,
    reason::Reason,
    resources::ObjectKey,
    syntax::{self, Target},
    verdict::{Fault, Report, Subject},
};

/// Whom a domain lists, by its own manifest and its `MailRecipients` together. It depends on nothing else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listed {
    pub(crate) users: NameSet,
    /// The `MailRecipients` among it, in the order of their keys.
    pub(crate) lists: Vec<Arc<MailRecipients>>,
    /// Sorted by key. A name may be a user and an alias at once: then the alias counts, and inside its own list the name is the user.
    pub(crate) expansions: Vec<Entry>,
    /// What is wrong with the domain's own lists.
    faults: Vec<Fault>,
    /// What is wrong with `MailRecipients`, each with its place among those of the domain.
    list_faults: Vec<(usize, Fault)>,
    /// The whole domain is harmed.
    is_refused: bool,
    /// Some group or alias names a recipient that is not listed.
    has_unknown_targets: bool,
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
    /// The key that it is found by.
    pub(crate) key: Box<str>,
    pub(crate) kind: EntryKind,
    pub(crate) local: LocalPart,
    /// Whom it stands for.
    pub(crate) targets: Vec<Aim>,
    /// Its place in the manifest.
    place: usize,
}

/// One whom a name stands for.
#[derive(Clone, Debug)]
pub(crate) struct Aim {
    pub(crate) target: Target,
    /// The key that its local part is found by.
    pub(crate) key: Box<str>,
    /// Who holds this has it; absent: the domain that lists it.
    pub(crate) domain: Option<Claim>,
    /// Its place in the list.
    pub(crate) place: usize,
}

impl Aim {
    fn new(target: Target, gateway: &Arc<ObjectKey>, place: usize) -> Self {
        let (local, domain) = match &target {
            Target::Local(local) => (local, None),
            Target::Mailbox(mailbox) => (mailbox.local(), Some(Claim::domain(gateway, mailbox.domain()))),
        };
        Self { key: key_of(local).into(), domain, target, place }
    }
}

impl Entry {
    /// The field of the target at a place of its list.
    pub(crate) fn field(&self, place: usize) -> String {
        let (path, list) = path_of(self.kind, self.place);
        format!("{path}.{list}[{place}]")
    }
}

fn path_of(kind: EntryKind, place: usize) -> (String, &'static str) {
    match kind {
        EntryKind::Group => (format!("spec.recipients.groups[{place}]"), "members"),
        EntryKind::Alias => (format!("spec.recipients.aliases[{place}]"), "deliverTo"),
    }
}

/// The key that a local part is found by.
pub(crate) fn key_of(local: &LocalPart) -> String {
    local.value().to_ascii_lowercase()
}

impl Listed {
    /// Reads the lists of a domain; `lists` are in the order of their keys.
    pub(crate) fn new(
        spec: &MailDomainSpec,
        gateway: &Arc<ObjectKey>,
        lists: Vec<Arc<MailRecipients>>,
    ) -> Self {
        let mut listed = Self { lists, ..Self::default() };
        let own = spec.recipients.as_ref();
        if own.is_some_and(|own| own.policy == RecipientPolicy::AcceptAll) {
            listed.accept_all(own);
            return listed;
        }
        let mut users = Users::default();
        if let Some(own) = own {
            listed.add_own(own, gateway, &mut users);
        }
        for (at, list) in listed.lists.iter().enumerate().filter(|(_, list)| !list.spec.suspend) {
            for (place, name) in list.spec.users.iter().enumerate() {
                let fault = match syntax::local_part(name) {
                    Err(wrong) => (wrong.reason, wrong.message),
                    Ok(local) => {
                        if users.add(local) {
                            continue;
                        }
                        let message =
                            format!("{name:?} is a recipient of the domain already: this entry adds nothing");
                        (Reason::DuplicateRecipient, message)
                    }
                };
                listed.list_faults.push((at, Fault::new(format!("spec.users[{place}]"), fault.0, fault.1)));
            }
        }
        listed.users = NameSet::new(&users.listed);
        listed.expansions.sort_by(|one, other| one.key.cmp(&other.key));
        if !listed.users.is_empty() && spec.local_delivery.is_none() {
            let message =
                "the domain has users, but nothing says where their mail goes: give lmtp or maildrop";
            listed.faults.push(Fault::new("spec.localDelivery", Reason::MissingField, message));
            listed.is_refused = true;
        }
        listed.has_unknown_targets = !listed.unknown_targets().is_empty();
        listed
    }

    fn accept_all(&mut self, own: Option<&Recipients>) {
        if let Some(Recipients { policy: _, users, groups, aliases }) = own
            && !(users.is_empty() && groups.is_empty() && aliases.is_empty())
        {
            let message = "a domain that accepts all asks no list: remove users, groups and aliases, or set policy: Listed";
            self.faults.push(Fault::new("spec.recipients", Reason::AcceptAllWithLists, message));
            self.is_refused = true;
        }
        for (at, list) in self.lists.iter().enumerate() {
            let domain = &list.spec.domain_ref.name;
            let namespace = list.metadata.namespace.as_deref().unwrap_or_default();
            let message = format!(
                "MailDomain {namespace}/{domain} accepts all and asks no list: remove this, or set policy: Listed there"
            );
            self.list_faults.push((at, Fault::new("spec.domainRef", Reason::AcceptAllWithLists, message)));
        }
    }

    fn add_own(&mut self, own: &Recipients, gateway: &Arc<ObjectKey>, users: &mut Users) {
        for (place, user) in own.users.iter().enumerate() {
            let field = || format!("spec.recipients.users[{place}].name");
            let Some(local) = self.parsed(field, syntax::local_part(&user.name)) else { continue };
            if !users.add(local) {
                self.faults.push(Fault::new(field(), Reason::DuplicateEntry, twice(&user.name)));
            }
        }
        let groups = own.groups.iter().enumerate();
        let groups = groups.map(|(place, group)| (EntryKind::Group, place, &group.name, &group.members));
        let aliases = own.aliases.iter().enumerate();
        let aliases = aliases.map(|(place, alias)| (EntryKind::Alias, place, &alias.name, &alias.deliver_to));
        let mut taken = HashSet::new();
        for (kind, place, name, targets) in groups.chain(aliases) {
            let name_field = || format!("{}.name", path_of(kind, place).0);
            let Some(local) = self.parsed(name_field, syntax::local_part(name)) else { continue };
            let key = key_of(&local);
            if taken.contains(&key) || (kind == EntryKind::Group && users.has(&key)) {
                self.faults.push(Fault::new(name_field(), Reason::DuplicateEntry, twice(name)));
                continue;
            }
            if targets.is_empty() {
                let (path, list) = path_of(kind, place);
                let message = format!("{name:?} would deliver to nobody: name at least one recipient");
                self.faults.push(Fault::new(format!("{path}.{list}"), Reason::EmptyList, message));
                continue;
            }
            let mut entry = Entry {
                key: key.as_str().into(),
                kind,
                local,
                targets: Vec::with_capacity(targets.len()),
                place,
            };
            for (place, text) in targets.iter().enumerate() {
                if let Some(target) = self.parsed(|| entry.field(place), syntax::target(text)) {
                    entry.targets.push(Aim::new(target, gateway, place));
                }
            }
            if !entry.targets.is_empty() {
                taken.insert(key);
                self.expansions.push(entry);
            }
        }
    }

    fn parsed<T>(&mut self, field: impl Fn() -> String, parsed: Result<T, syntax::Wrong>) -> Option<T> {
        parsed.map_err(|wrong| self.faults.push(Fault::new(field(), wrong.reason, wrong.message))).ok()
    }

    /// The group or alias of this key.
    pub(crate) fn find(&self, key: &str) -> Option<usize> {
        self.expansions.binary_search_by(|entry| (*entry.key).cmp(key)).ok()
    }

    fn unknown_targets(&self) -> Vec<(usize, usize, LocalPart)> {
        let mut unknown = Vec::new();
        for (at, entry) in self.expansions.iter().enumerate() {
            for aim in &entry.targets {
                if let Target::Local(local) = &aim.target
                    && !self.users.contains(local.value())
                    && self.find(&aim.key).is_none()
                {
                    unknown.push((at, aim.place, local.clone()));
                }
            }
        }
        unknown
    }

    /// Takes targets out of entries, given by their places, and entries out of the domain if nothing is left of them.
    pub(crate) fn drop_targets(&mut self, dropped: impl IntoIterator<Item = (usize, usize)>) {
        for (at, place) in dropped {
            if let Some(entry) = self.expansions.get_mut(at) {
                entry.targets.retain(|aim| aim.place != place);
            }
        }
        self.expansions.retain(|entry| !entry.targets.is_empty());
        self.has_unknown_targets = true; // for all that is known
    }
}

/// Users as they are found.
#[derive(Default)]
struct Users {
    listed: Vec<LocalPart>,
    seen: HashSet<String>,
}

impl Users {
    /// Whether it was not there yet.
    fn add(&mut self, local: LocalPart) -> bool {
        let is_new = self.seen.insert(key_of(&local));
        if is_new {
            self.listed.push(local);
        }
        is_new
    }

    fn has(&self, key: &str) -> bool {
        self.seen.contains(key)
    }
}

fn twice(name: &str) -> String {
    format!("{name:?} is a recipient already: rename or remove one (case does not count)")
}

/// Says what is wrong with the recipients of all domains.
pub(crate) fn judge(plans: &mut [DomainPlan<'_>], input: &Input<'_>, report: &mut Report) {
    for plan in plans.iter_mut().filter(|plan| !plan.superseded) {
        plan.listed.faults.iter().for_each(|fault| report.say_fault(plan.subject(), fault));
        plan.complete &= !plan.listed.is_refused;
    }
    for plan in plans.iter() {
        for (at, fault) in &plan.listed.list_faults {
            let Some(list) = plan.listed.lists.get(*at) else { continue };
            let key = ObjectKey::of(&list.metadata);
            report.say_fault(Subject { kind: Kind::MailRecipients, key: &key }, fault);
        }
    }
    for list in &input.parsed.stray_lists {
        let key = ObjectKey::of(&list.metadata);
        let domain = ObjectKey::new(&key.namespace, &list.spec.domain_ref.name);
        if !input.has_domain(domain.parts()) {
            let message = format!("there is no MailDomain {domain}: create it, or correct spec.domainRef");
            let subject = Subject { kind: Kind::MailRecipients, key: &key };
            report.say(subject, "spec.domainRef.name", Reason::DomainNotFound, message);
        }
    }
}

/// A group or alias that names a recipient which the domain neither has nor forwards goes without it, and is unknown if none is left;
/// then whoever names that one goes without it too.
pub(crate) fn drop_unknown_targets(plans: &mut [DomainPlan<'_>], report: &mut Report) {
    let harmed =
        |plan: &&mut DomainPlan<'_>| plan.unknown == Unknown::Reject && plan.listed.has_unknown_targets;
    for plan in plans.iter_mut().filter(harmed) {
        loop {
            let missing = plan.listed.unknown_targets();
            if missing.is_empty() {
                break;
            }
            for (at, place, local) in &missing {
                let message = format!(
                    "the domain has no recipient {local}, or none that leads to anybody: add it, or remove it here"
                );
                let field = plan.listed.expansions.get(*at).map(|entry| entry.field(*place));
                report.say(plan.subject(), field.unwrap_or_default(), Reason::RecipientNotFound, message);
            }
            let dropped = missing.into_iter().map(|(at, place, _)| (at, place));
            Arc::make_mut(&mut plan.listed).drop_targets(dropped);
        }
    }
}
