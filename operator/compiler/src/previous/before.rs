//! What was in force before, found by the resource that it is of. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use posthouse_config::{MailDomain, Recipients, RelayRule, ResourceName, Snapshot, UnknownRecipients};

use crate::{
    compile::{Gateways, Input},
    domain::DomainPlan,
    resources::ObjectKey,
};

/// What was in force before, found by resource.
pub(super) struct Before<'a> {
    pub(super) snapshots: &'a BTreeMap<ObjectKey, Arc<Snapshot>>,
    domains: HashMap<(&'a ObjectKey, &'a ResourceName), &'a Arc<MailDomain>>,
    rules: HashMap<(&'a ObjectKey, &'a ResourceName), &'a RelayRule>,
}

impl<'a> Before<'a> {
    pub(super) fn new(input: &Input<'a>) -> Self {
        let snapshots = &input.context.previous;
        let (mut domains, mut rules) = (HashMap::new(), HashMap::new());
        for (gateway, snapshot) in snapshots {
            let forms = snapshot.domains.iter().filter(|form| !is_placeholder(form.as_ref()));
            domains.extend(forms.map(|form| ((gateway, &form.origin), form)));
            rules.extend(snapshot.rules.iter().map(|rule| ((gateway, &rule.origin), rule)));
        }
        Self { snapshots, domains, rules }
    }

    pub(super) fn domain(
        &self,
        gateways: &Gateways<'_>,
        plan: &DomainPlan<'_>,
    ) -> Option<(&'a Arc<MailDomain>, &'a Snapshot)> {
        let gateway = &gateways.at(plan.gateway)?.key;
        Some((self.form(gateway, plan.key)?, self.snapshots.get(gateway)?))
    }

    pub(super) fn form(&self, gateway: &ObjectKey, key: &ObjectKey) -> Option<&'a Arc<MailDomain>> {
        self.domains.get(&(gateway, &key.resource_name()?)).copied()
    }

    pub(super) fn rule(&self, gateway: &ObjectKey, key: &ObjectKey) -> Option<&'a RelayRule> {
        self.rules.get(&(gateway, &key.resource_name()?)).copied()
    }
}

/// Whether this only answers 451 for a domain that could not be programmed.
fn is_placeholder(form: &MailDomain) -> bool {
    form.suspended
        && form.recipients == Recipients::default()
        && form.local_delivery.is_none()
        && form.unknown_recipients == UnknownRecipients::Reject
}
