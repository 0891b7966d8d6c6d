//! What was in force before, found by the resource that it is of. Pure.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use posthouse_config::{MailDomain, Recipients, RelayRule, ResourceName, Snapshot, UnknownRecipients};

use crate::{
    compile::{Gateways, Input},
    domain::DomainPlan,
    resources::ObjectKey,
};

/// What was in force before, found by resource. An edit refuses few, so nothing is sorted before it is looked for.
pub(super) struct Before<'a> {
    pub(super) snapshots: &'a BTreeMap<ObjectKey, Arc<Snapshot>>,
    domains: OnceCell<ByOrigin<'a, Arc<MailDomain>>>,
    rules: OnceCell<ByOrigin<'a, RelayRule>>,
}

/// By gateway and resource.
type ByOrigin<'a, T> = HashMap<(&'a ObjectKey, &'a ResourceName), &'a T>;

impl<'a> Before<'a> {
    pub(super) fn new(input: &Input<'a>) -> Self {
        Self { snapshots: &input.context.previous, domains: OnceCell::new(), rules: OnceCell::new() }
    }

    pub(super) fn domain(
        &self,
        gateways: &Gateways<'_>,
        plan: &DomainPlan<'_>,
    ) -> Option<(&'a Arc<MailDomain>, &'a Snapshot)> {
        let gateway = &gateways.at(plan.gateway)?.key;
        let snapshot = self.snapshots.get(gateway)?;
        // Most often it has its name still, and snapshots are sorted by that.
        let named = plan.parsed.names.iter().find(|name| name.is_own()).and_then(|name| {
            let found = snapshot.domains.binary_search_by(|form| form.domain.cmp(&name.domain));
            snapshot.domains.get(found.ok()?)
        });
        let origin = plan.key.resource_name()?;
        let form = match named.filter(|form| form.origin == origin && !is_placeholder(form)) {
            Some(form) => form,
            None => self.form(gateway, plan.key)?,
        };
        Some((form, snapshot))
    }

    pub(super) fn form(&self, gateway: &ObjectKey, key: &ObjectKey) -> Option<&'a Arc<MailDomain>> {
        let all = || {
            let forms = self.snapshots.iter().flat_map(|(gateway, snapshot)| {
                snapshot.domains.iter().map(move |form| ((gateway, &form.origin), form))
            });
            forms.filter(|(_, form)| !is_placeholder(form)).collect()
        };
        self.domains.get_or_init(all).get(&(gateway, &key.resource_name()?)).copied()
    }

    pub(super) fn rule(&self, gateway: &ObjectKey, key: &ObjectKey) -> Option<&'a RelayRule> {
        let all = || {
            let rules = self.snapshots.iter().flat_map(|(gateway, snapshot)| {
                snapshot.rules.iter().map(move |rule| ((gateway, &rule.origin), rule))
            });
            rules.collect()
        };
        self.rules.get_or_init(all).get(&(gateway, &key.resource_name()?)).copied()
    }
}

/// Whether this only answers 451 for a domain that could not be programmed.
fn is_placeholder(form: &MailDomain) -> bool {
    form.suspended
        && form.recipients == Recipients::default()
        && form.local_delivery.is_none()
        && form.unknown_recipients == UnknownRecipients::Reject
}
