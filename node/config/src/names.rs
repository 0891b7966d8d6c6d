//! A set of local parts, as lean as text can be: one string and one offset a name. No I/O.
//!
//! RFC 5321 §2.4: a host should not tell mailboxes apart by case, so names here compare without regard to ASCII case; the spelling that was
//! listed is kept.

use std::{cmp::Ordering, fmt};

use posthouse_model::LocalPart;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeSeed, SeqAccess, Visitor},
    ser::SerializeSeq,
};

/// Local parts by what they mean (without quotes), sorted and without doubles. About twelve octets a name instead of a string of its own.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct NameSet {
    text: Box<str>,
    /// Where each name ends.
    ends: Box<[u32]>,
}

/// Names that are not sorted, or that a set cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("names are not sorted without regard to case, doubled or more than 4 GiB")]
pub struct NamesOutOfOrder;

/// How names compare: without regard to ASCII case.
#[must_use]
pub fn compare_names(a: &str, b: &str) -> Ordering {
    a.bytes().map(|b| b.to_ascii_lowercase()).cmp(b.bytes().map(|b| b.to_ascii_lowercase()))
}

impl NameSet {
    /// The set of these local parts; of names that differ only in case, the one that sorts first stays.
    #[must_use]
    pub fn new<'n>(names: impl IntoIterator<Item = &'n LocalPart>) -> Self {
        let mut sorted: Vec<&str> = names.into_iter().map(LocalPart::value).collect();
        sorted.sort_unstable_by(|a, b| compare_names(a, b).then_with(|| a.cmp(b)));
        sorted.dedup_by(|a, b| a.eq_ignore_ascii_case(b));
        let mut set = Builder::default();
        for name in sorted {
            if set.push(name).is_err() {
                break; // 4 GiB of names: no snapshot is that large
            }
        }
        set.finish()
    }

    /// The name as it is listed, if it is in the set.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&str> {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let listed = self.at(middle)?;
            match compare_names(listed, name) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Some(listed),
            }
        }
        None
    }

    /// Whether the name is in the set, in any case.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// How many names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The names in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).filter_map(|place| self.at(place))
    }

    fn at(&self, place: usize) -> Option<&str> {
        let start = match place.checked_sub(1) {
            None => 0,
            Some(before) => *self.ends.get(before)?,
        };
        self.text.get(start as usize..*self.ends.get(place)? as usize)
    }
}

/// A set under construction: names arrive in order.
#[derive(Default)]
struct Builder {
    text: String,
    ends: Vec<u32>,
    last: usize,
}

impl Builder {
    fn push(&mut self, name: &str) -> Result<(), NamesOutOfOrder> {
        let last = self.text.get(self.last..).unwrap_or_default();
        if !self.ends.is_empty() && compare_names(last, name) != Ordering::Less {
            return Err(NamesOutOfOrder);
        }
        let end = u32::try_from(self.text.len() + name.len()).map_err(|_| NamesOutOfOrder)?;
        self.last = self.text.len();
        self.text.push_str(name);
        self.ends.push(end);
        Ok(())
    }

    fn finish(self) -> NameSet {
        NameSet { text: self.text.into(), ends: self.ends.into() }
    }
}

impl<'n> FromIterator<&'n LocalPart> for NameSet {
    fn from_iter<I: IntoIterator<Item = &'n LocalPart>>(names: I) -> Self {
        Self::new(names)
    }
}

impl fmt::Debug for NameSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for NameSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.len()))?;
        self.iter().try_for_each(|name| seq.serialize_element(name))?;
        seq.end()
    }
}

impl<'de> Deserialize<'de> for NameSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(SetVisitor)
    }
}

struct SetVisitor;

impl<'de> Visitor<'de> for SetVisitor {
    type Value = NameSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sorted list of names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<NameSet, A::Error> {
        let mut set = Builder::default();
        while seq.next_element_seed(NameSeed(&mut set))?.is_some() {}
        Ok(set.finish())
    }
}

/// Reads one name straight into the set, without a string of its own.
struct NameSeed<'b>(&'b mut Builder);

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<(), E> {
        self.0.push(name).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> NameSet {
        let names: Vec<LocalPart> = names.iter().map(|name| name.parse().unwrap()).collect();
        names.iter().collect()
    }

    #[test]
    fn names_are_found_in_any_case_and_keep_their_spelling() {
        // RFC 5321 §2.4
        let set = set(&["bob", "Alice", "ALICE", "\"a b\"", "zoe"]);
        assert_eq!(set.len(), 4);
        assert_eq!(set.find("aLiCe"), Some("ALICE"));
        assert_eq!(set.find("a b"), Some("a b"));
        assert!(set.contains("BOB") && set.contains("zoe") && !set.contains("al") && !set.contains(""));
        assert!(NameSet::default().is_empty() && !NameSet::default().contains("a"));
    }

    #[test]
    fn a_set_survives_its_encoding_and_an_unsorted_list_is_refused() {
        let set = set(&["b", "a", "C"]);
        let json = serde_json::to_string(&set).unwrap();
        assert_eq!(json, r#"["a","b","C"]"#);
        assert_eq!(serde_json::from_str::<NameSet>(&json).unwrap(), set);
        for bad in [r#"["b","a"]"#, r#"["a","A"]"#, r#"["a","a"]"#] {
            assert!(serde_json::from_str::<NameSet>(bad).is_err(), "{bad}");
        }
    }
}
