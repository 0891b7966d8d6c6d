//! Who gets what only one can have: a domain name, the role of primary, a queue name, a queue id. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::resources::ObjectKey;

mod claim;
mod held;

pub(crate) use claim::{Claim, ClaimMap};
pub use held::Claims;
pub(crate) use held::{Holding, Settled};

/// A resource that wants something.
#[derive(Clone, Debug)]
pub(crate) struct Claimant<'a> {
    pub(crate) key: &'a ObjectKey,
    pub(crate) created: Option<&'a Time>,
}

/// The claimant that gets it: the oldest; where not all say when they were created (files do not), the one that had it before; else none,
/// for picking one of two by name would give mail to whoever thinks of an earlier name.
pub(crate) fn winner<'a>(
    claim: &Claim,
    claimants: &[Claimant<'a>],
    previous: &Claims,
) -> Option<&'a ObjectKey> {
    if let [only] = claimants {
        return Some(only.key);
    }
    if claimants.iter().all(|claimant| claimant.created.is_some()) {
        return claimants
            .iter()
            .min_by_key(|claimant| (claimant.created, claimant.key))
            .map(|oldest| oldest.key);
    }
    let holder = previous.holder(claim)?;
    claimants.iter().map(|claimant| claimant.key).find(|key| *key == holder)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("mail", name)
    }

    fn time(second: i64) -> Time {
        serde_yaml::from_str(&format!("\"2026-01-01T00:00:{second:02}Z\"")).unwrap()
    }

    #[test]
    fn the_oldest_wins_and_a_tie_goes_by_name() {
        let claim = Claim::queue_id("q");
        let (a, b, early, late) = (key("a"), key("b"), time(1), time(2));
        let at = |key, created| Claimant { key, created: Some(created) };
        let none = Claims::default();
        assert_eq!(winner(&claim, &[at(&a, &late), at(&b, &early)], &none), Some(&b));
        assert_eq!(winner(&claim, &[at(&b, &early), at(&a, &early)], &none), Some(&a));
    }

    #[test]
    fn without_creation_times_the_one_that_had_it_keeps_it_and_else_nobody_gets_it() {
        let claim = Claim::queue_id("q");
        let (a, b) = (key("a"), key("b"));
        let both = [Claimant { key: &a, created: None }, Claimant { key: &b, created: None }];
        assert_eq!(winner(&claim, &both, &Claims::default()), None);
        let held_by = |key| Claims::of([(claim.clone(), Arc::new(key))]);
        let previous = held_by(b.clone());
        assert_eq!(winner(&claim, &both, &previous), Some(&b));
        let gone = held_by(key("c"));
        assert_eq!(winner(&claim, &both, &gone), None);
    }
}
