//! What one compilation leaves to the next: what depends on an object alone, found by the identity of its `Arc`. The memory holds that `Arc`,
//! so no other object can come to have its address meanwhile. It changes how long a compilation takes, and never its outcome. Pure.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use posthouse_config::MailDomain as Form;
use posthouse_crds::{MailDomain, MailRecipients};

use crate::{
    domain::{Listed, ParsedDomain},
    resources::{ObjectKey, Resources},
};

/// What is remembered.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    domains: HashMap<usize, RememberedDomain>,
}

#[derive(Debug)]
struct RememberedDomain {
    parsed: Arc<ParsedDomain>,
    /// The lists that `listed` was made of.
    lists: Vec<Arc<MailRecipients>>,
    listed: Arc<Listed>,
    /// What it was compiled to, and from which recipients.
    form: Option<(Arc<Listed>, Arc<Form>)>,
}

/// The domains with their recipients, and the lists of these, each parsed and sorted by key.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) domains: Vec<(Arc<ParsedDomain>, Arc<Listed>)>,
    pub(crate) lists: Vec<(ObjectKey, Arc<MailRecipients>)>,
}

impl Memory {
    /// Parses what was not there before, and forgets what is not there any more.
    pub(crate) fn parse(&mut self, resources: &Resources) -> Parsed {
        let mut lists: Vec<_> = resources
            .recipients
            .iter()
            .map(|list| (ObjectKey::of(&list.metadata), Arc::clone(list)))
            .collect();
        lists.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut lists_of: HashMap<(&str, &str), Vec<Arc<MailRecipients>>> = HashMap::new();
        for (key, list) in &lists {
            let domain = (key.namespace.as_str(), list.spec.domain_ref.name.as_str());
            lists_of.entry(domain).or_default().push(Arc::clone(list));
        }
        let mut domains = Vec::with_capacity(resources.domains.len());
        for object in &resources.domains {
            let metadata = &object.metadata;
            let name = (metadata.namespace.as_deref(), metadata.name.as_deref());
            let lists = lists_of.remove(&(name.0.unwrap_or_default(), name.1.unwrap_or_default()));
            domains.push(self.domain(object, lists.unwrap_or_default()));
        }
        domains.sort_by(|(one, _), (other, _)| one.key.cmp(&other.key));
        if self.domains.len() > resources.domains.len() {
            let present: HashSet<usize> = resources.domains.iter().map(address).collect();
            self.domains.retain(|address, _| present.contains(address));
        }
        Parsed { domains, lists }
    }

    fn domain(
        &mut self,
        object: &Arc<MailDomain>,
        lists: Vec<Arc<MailRecipients>>,
    ) -> (Arc<ParsedDomain>, Arc<Listed>) {
        let remembered = self.domains.entry(address(object)).or_insert_with(|| RememberedDomain {
            parsed: Arc::new(ParsedDomain::new(object)),
            listed: Arc::new(Listed::new(&object.spec, &lists)),
            lists: lists.clone(),
            form: None,
        });
        let is_same = remembered.lists.len() == lists.len()
            && remembered.lists.iter().zip(&lists).all(|(one, other)| Arc::ptr_eq(one, other));
        if !is_same {
            remembered.listed = Arc::new(Listed::new(&object.spec, &lists));
            remembered.lists = lists;
        }
        (Arc::clone(&remembered.parsed), Arc::clone(&remembered.listed))
    }

    /// What the domain was last compiled to, if it had the same recipients then.
    pub(crate) fn form(&self, object: &Arc<MailDomain>, listed: &Arc<Listed>) -> Option<&Arc<Form>> {
        let (from, form) = self.domains.get(&address(object))?.form.as_ref()?;
        Arc::ptr_eq(from, listed).then_some(form)
    }

    /// Remembers what a domain was compiled to.
    pub(crate) fn keep_form(&mut self, object: &Arc<MailDomain>, listed: &Arc<Listed>, form: &Arc<Form>) {
        if let Some(remembered) = self.domains.get_mut(&address(object)) {
            remembered.form = Some((Arc::clone(listed), Arc::clone(form)));
        }
    }
}

fn address<T>(object: &Arc<T>) -> usize {
    Arc::as_ptr(object).addr()
}
