//! Which namespaces a gateway lets in, and which domains it grants them. Pure.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::{
    api::core::v1::Namespace,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};
use posthouse_crds::{NamespaceSelection, NamespacesFrom};
use posthouse_model::Domain;

use crate::{
    reason::Reason,
    syntax::DomainPattern,
    verdict::{Report, Subject},
};

/// The labels of each namespace.
#[derive(Debug)]
pub(crate) struct Namespaces<'a>(HashMap<&'a str, &'a BTreeMap<String, String>>);

impl<'a> Namespaces<'a> {
    pub(crate) fn new(namespaces: &'a [Arc<Namespace>]) -> Self {
        Self(
            namespaces
                .iter()
                .filter_map(|namespace| {
                    Some((namespace.metadata.name.as_deref()?, namespace.metadata.labels.as_ref()?))
                })
                .collect(),
        )
    }

    /// Whether a selection of a gateway in `own` has this namespace. The gateway's own is always in.
    pub(crate) fn selects(&self, selection: &NamespaceSelection, own: &str, namespace: &str) -> bool {
        namespace == own
            || match selection.from {
                NamespacesFrom::Same => false,
                NamespacesFrom::All => true,
                NamespacesFrom::Names => selection.names.iter().any(|name| name == namespace),
                NamespacesFrom::Selector => selection.selector.as_ref().is_some_and(|selector| {
                    let none = BTreeMap::new();
                    matches(selector, self.0.get(namespace).copied().unwrap_or(&none))
                }),
            }
    }
}

/// The rules of Kubernetes' label selectors: everything is joined by AND; an unknown operator matches nothing.
fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = |(key, value): (&String, &String)| labels.get(key) == Some(value);
    let required = |requirement: &LabelSelectorRequirement| {
        let value = labels.get(&requirement.key);
        let listed = value.is_some_and(|value| requirement.values.iter().flatten().any(|one| one == value));
        match requirement.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    };
    selector.match_labels.iter().flatten().all(equal)
        && selector.match_expressions.iter().flatten().all(required)
}

/// Says what is wrong with a selection.
pub(crate) fn check_selection(
    selection: &NamespaceSelection,
    path: &str,
    subject: Subject<'_>,
    report: &mut Report,
) {
    let (names, selector) = (!selection.names.is_empty(), selection.selector.is_some());
    let mut missing = |field: &str, message: &str| {
        report.say(subject, format!("{path}.{field}"), Reason::MissingField, message);
    };
    match selection.from {
        NamespacesFrom::Names if !names => missing("names", "from: Names needs names"),
        NamespacesFrom::Selector if !selector => missing("selector", "from: Selector needs a selector"),
        _ => {}
    }
    for (field, given, from) in
        [("names", names, NamespacesFrom::Names), ("selector", selector, NamespacesFrom::Selector)]
    {
        if given && selection.from != from {
            let message = format!("{field} counts only with from: {from:?}; leave it out or change from");
            report.say(subject, format!("{path}.{field}"), Reason::ConflictingFields, message);
        }
    }
}

/// The domains that a gateway grants, by the domain that a pattern is for: finding one asks once per label, however many grants there are.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    exactly: HashMap<Domain, Vec<NamespaceSelection>>,
    below: HashMap<Domain, Vec<NamespaceSelection>>,
}

impl Grants {
    pub(crate) fn add(&mut self, pattern: DomainPattern, namespaces: &NamespaceSelection) {
        let (map, domain) = match pattern {
            DomainPattern::Exactly(domain) => (&mut self.exactly, domain),
            DomainPattern::Below(domain) => (&mut self.below, domain),
        };
        map.entry(domain).or_default().push(namespaces.clone());
    }

    /// Whether a resource of `namespace` may use the domain at a gateway in `own`.
    pub(crate) fn allow(
        &self,
        namespaces: &Namespaces<'_>,
        own: &str,
        namespace: &str,
        domain: &Domain,
    ) -> bool {
        if namespace == own {
            return true;
        }
        let selected = |grants: Option<&Vec<NamespaceSelection>>| {
            grants.into_iter().flatten().any(|selection| namespaces.selects(selection, own, namespace))
        };
        if selected(self.exactly.get(domain)) {
            return true;
        }
        let mut rest = domain.as_str();
        while let Some((_, parent)) = rest.split_once('.') {
            if Domain::new(parent).is_ok_and(|parent| selected(self.below.get(&parent))) {
                return true;
            }
            rest = parent;
        }
        false
    }
}

/// Tells apart what was seen before; the key's second sight is a duplicate.
#[derive(Debug)]
pub(crate) struct Seen<K>(HashSet<K>);

impl<K> Default for Seen<K> {
    fn default() -> Self {
        Self(HashSet::new())
    }
}

impl<K: Eq + std::hash::Hash> Seen<K> {
    /// Whether this is the first sight.
    pub(crate) fn first(&mut self, key: K) -> bool {
        self.0.insert(key)
    }
}
