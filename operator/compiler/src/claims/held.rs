//! Who holds what: as it is settled, and as one compilation leaves it to the next. Pure.
//!
//! A domain that holds all it wants holds it as one thing, which its manifest made once: with 10,000 domains, what is held by an edit's leave is
//! compared by identity, and copied not at all.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Serialize};

use super::{Claim, ClaimMap};
use crate::resources::ObjectKey;

/// Who holds what. Opaque: what one compilation returns is handed to the next. It may be written down meanwhile, as a sorted list. A copy is the
/// same thing again, at no cost.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Held>", into = "Vec<Held>")]
pub struct Claims(Arc<Parts>);

#[derive(Debug, Default)]
struct Parts {
    domains: Vec<Arc<Holding>>,
    others: BTreeMap<Claim, Arc<ObjectKey>>,
    /// Everything, made when something is first looked up: that is only so where two want one thing.
    index: OnceLock<ClaimMap<Claim, Arc<ObjectKey>>>,
}

/// All that a domain wants, where nobody else wants any of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    /// The domain.
    pub(crate) key: Arc<ObjectKey>,
    /// Its names.
    pub(crate) names: Box<[Claim]>,
    /// Its queue, and the namespace that holds it.
    pub(crate) queue: Option<(Claim, Arc<ObjectKey>)>,
}

impl Holding {
    fn claims(&self) -> impl Iterator<Item = (&Claim, &Arc<ObjectKey>)> {
        let names = self.names.iter().map(|name| (name, &self.key));
        names.chain(self.queue.as_ref().map(|(queue, namespace)| (queue, namespace)))
    }
}

/// Who holds what, as it is settled.
#[derive(Debug, Default)]
pub(crate) struct Settled<'a> {
    domains: Vec<&'a Arc<Holding>>,
    others: BTreeMap<Claim, Arc<ObjectKey>>,
    /// What domains hold, made when something is first looked up.
    index: OnceCell<ClaimMap<&'a Claim, &'a Arc<ObjectKey>>>,
}

impl<'a> Settled<'a> {
    /// From now on this is held.
    pub(crate) fn insert(&mut self, claim: Claim, holder: Arc<ObjectKey>) {
        self.others.insert(claim, holder);
    }

    /// From now on the domain holds all of it. The order of these calls is that of their keys.
    pub(crate) fn insert_holding(&mut self, holding: &'a Arc<Holding>) {
        self.domains.push(holding);
        self.index.take();
    }

    /// Who holds this.
    pub(crate) fn holder(&self, claim: &Claim) -> Option<&ObjectKey> {
        let index = || self.domains.iter().flat_map(|holding| holding.claims()).collect();
        let found = self.others.get(claim).or_else(|| self.index.get_or_init(index).get(claim).copied());
        found.map(AsRef::as_ref)
    }

    /// The whole; where it is as it was before, that itself.
    pub(crate) fn finish(self, before: &Claims) -> Claims {
        let Parts { domains, others, index: _ } = &*before.0;
        let is_same = domains.len() == self.domains.len()
            && domains
                .iter()
                .zip(&self.domains)
                .all(|(one, other)| Arc::ptr_eq(one, other) || **one == ***other)
            && *others == self.others;
        if is_same {
            return before.clone();
        }
        let domains = self.domains.into_iter().map(Arc::clone).collect();
        Claims(Arc::new(Parts { domains, others: self.others, index: OnceLock::new() }))
    }
}

impl Claims {
    #[cfg(test)]
    pub(crate) fn of(claims: impl IntoIterator<Item = (Claim, Arc<ObjectKey>)>) -> Self {
        let others = claims.into_iter().collect();
        Self(Arc::new(Parts { others, ..Parts::default() }))
    }

    /// Who holds this.
    pub(crate) fn holder(&self, claim: &Claim) -> Option<&ObjectKey> {
        let index = || self.all().map(|(claim, holder)| (claim.clone(), Arc::clone(holder))).collect();
        self.0.index.get_or_init(index).get(claim).map(AsRef::as_ref)
    }

    fn all(&self) -> impl Iterator<Item = (&Claim, &Arc<ObjectKey>)> {
        let of_domains = self.0.domains.iter().flat_map(|holding| holding.claims());
        of_domains.chain(self.0.others.iter())
    }

    fn sorted(&self) -> Vec<(&Claim, &Arc<ObjectKey>)> {
        let mut all: Vec<_> = self.all().collect();
        all.sort_unstable();
        all
    }
}

impl PartialEq for Claims {
    fn eq(&self, other: &Self) -> bool {
        // How it is divided does not count: it may have been written down and read meanwhile.
        Arc::ptr_eq(&self.0, &other.0) || self.sorted() == other.sorted()
    }
}

impl Eq for Claims {}

/// One claim as it is written down.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    what: Claim,
    by: Arc<ObjectKey>,
}

impl From<Vec<Held>> for Claims {
    fn from(list: Vec<Held>) -> Self {
        let others = list.into_iter().map(|Held { what, by }| (what, by)).collect();
        Self(Arc::new(Parts { others, ..Parts::default() }))
    }
}

impl From<Claims> for Vec<Held> {
    fn from(claims: Claims) -> Self {
        let sorted = claims.sorted().into_iter();
        sorted.map(|(what, by)| Held { what: what.clone(), by: Arc::clone(by) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_written_as_a_sorted_list_and_read_back() {
        let (edge, holder) =
            (Arc::new(ObjectKey::new("mail", "edge")), Arc::new(ObjectKey::new("mail", "b")));
        let names = Box::new([Claim::domain(&edge, &"b.example".parse().unwrap())]);
        let holding = Arc::new(Holding { key: Arc::clone(&holder), names, queue: None });
        let mut settled = Settled::default();
        settled.insert(Claim::queue_id("q"), Arc::clone(&edge));
        settled.insert(Claim::primary(&edge), holder);
        settled.insert_holding(&holding);
        let claims = settled.finish(&Claims::default());
        let written = serde_json::to_string(&claims).unwrap();
        assert_eq!(
            written,
            r#"[{"what":{"Domain":[{"namespace":"mail","name":"edge"},"b.example"]},"by":{"namespace":"mail","name":"b"}},"#.to_owned()
                + r#"{"what":{"Primary":{"namespace":"mail","name":"edge"}},"by":{"namespace":"mail","name":"b"}},"#
                + r#"{"what":{"QueueId":"q"},"by":{"namespace":"mail","name":"edge"}}]"#
        );
        assert_eq!(serde_json::from_str::<Claims>(&written).unwrap(), claims);
    }
}
