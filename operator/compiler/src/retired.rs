//! Names whose domains are gone: for an hour their mail gets 451, so that a resource deleted by mistake loses nothing. Pure: the time is handed in.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use posthouse_config::{MailDomain, Retired, Snapshot};
use posthouse_model::{Domain, Timestamp};

use crate::{compile::Input, resources::ObjectKey};

/// How long a name that is gone is not refused for good.
const RETIREMENT: Duration = Duration::from_hours(1);

/// Fills in the names that each snapshot in force had and the new one has not, where the resource that had them is gone; and those that were
/// gone before, until their time has passed.
pub(crate) fn retire(snapshots: &mut BTreeMap<ObjectKey, Snapshot>, input: &Input<'_>) {
    let now = input.context.now;
    for (key, snapshot) in snapshots {
        let Some(previous) = input.context.previous.get(key) else { continue };
        let mut gone: BTreeMap<&Domain, Timestamp> = BTreeMap::new();
        for form in missing(previous, snapshot) {
            let origin = (form.origin.namespace(), form.origin.name());
            if !input.has_domain(origin) {
                gone.extend(names_of(form).map(|name| (name, now.after(RETIREMENT))));
            }
        }
        let before = previous.retired.iter().filter(|retired| now < retired.until);
        gone.extend(before.map(|retired| (&retired.domain, retired.until)));
        if gone.is_empty() {
            continue; // as nearly always: then nobody needs to know all names
        }
        let present: HashSet<&Domain> = snapshot.domains.iter().flat_map(|form| names_of(form)).collect();
        let retired = gone.into_iter().filter(|(name, _)| !present.contains(name));
        snapshot.retired = retired.map(|(domain, until)| Retired { domain: domain.clone(), until }).collect();
    }
}

/// The domains of one snapshot that are not those of the same resources in the other. Both are sorted.
fn missing<'p>(previous: &'p Snapshot, snapshot: &Snapshot) -> Vec<&'p MailDomain> {
    let mut present = &*snapshot.domains;
    let mut missing = Vec::new();
    for form in &previous.domains {
        while let Some((first, rest)) = present.split_first() {
            // Nearly always it is the same: then nothing needs to be read.
            if Arc::ptr_eq(first, form) || first.domain >= form.domain {
                break;
            }
            present = rest;
        }
        match present.split_first() {
            Some((first, rest)) if Arc::ptr_eq(first, form) => present = rest,
            Some((first, _)) if first.domain == form.domain && first.origin == form.origin => {}
            _ => missing.push(&**form),
        }
    }
    missing
}

fn names_of(form: &MailDomain) -> impl Iterator<Item = &Domain> {
    std::iter::once(&form.domain).chain(&form.aliases)
}
