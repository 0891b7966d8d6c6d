//! Sections: a snapshot's lists, cut into pieces that stay the same when something else changes. Pure.
//!
//! A run of items ends where an item's own name says so, not after so many items: what is added or removed in one place moves no border
//! anywhere else. A run is one section, or several where it is long. An item that is longer than a chunk makes a section of several chunks.

use std::{ops::Range, sync::Arc};

use posthouse_model::QueueName;
use serde::{Deserialize, Serialize};

use crate::{
    domain::MailDomain,
    resource::ResourceName,
    rule::RelayRule,
    snapshot::{Queue, Retired, Snapshot},
    tls::Certificate,
};

/// The most octets of a chunk before it is sealed: no value may keep the queue's Redis busy for long.
pub const CHUNK_LENGTH: usize = 256 << 10;

/// From here on no further item is put into a section.
const SECTION_LENGTH: usize = 128 << 10;

/// One of so many items begins a run: an edit costs about so many items, and 10,000 domains make about 160 lines in the index.
const RUN: u64 = 64;

/// The longest run, however its names turn out.
const LONGEST_RUN: usize = 1024;

/// A list of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum List {
    /// [`Snapshot::queues`].
    Queues,
    /// [`Snapshot::domains`].
    Domains,
    /// [`Snapshot::rules`].
    Rules,
    /// [`Snapshot::retired`].
    Retired,
    /// [`Snapshot::certificates`].
    Certificates,
}

/// What a list is made of.
pub(crate) trait Item: Serialize + Clone + PartialEq {
    const LIST: List;

    /// The list of a snapshot.
    fn list(snapshot: &Snapshot) -> &[Self];

    /// What it is known by: where runs begin, and what a refusal names.
    fn name(&self) -> &str;

    /// Whether it says the same.
    fn is_same(&self, other: &Self) -> bool {
        self == other
    }
}

impl Item for Queue {
    const LIST: List = List::Queues;

    fn list(snapshot: &Snapshot) -> &[Self] {
        &snapshot.queues
    }

    fn name(&self) -> &str {
        QueueName::as_str(&self.name)
    }
}

impl Item for Arc<MailDomain> {
    const LIST: List = List::Domains;

    fn list(snapshot: &Snapshot) -> &[Self] {
        &snapshot.domains
    }

    fn name(&self) -> &str {
        self.domain.as_str()
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(self, other) || self == other
    }
}

impl Item for RelayRule {
    const LIST: List = List::Rules;

    fn list(snapshot: &Snapshot) -> &[Self] {
        &snapshot.rules
    }

    fn name(&self) -> &str {
        ResourceName::as_str(&self.origin)
    }
}

impl Item for Retired {
    const LIST: List = List::Retired;

    fn list(snapshot: &Snapshot) -> &[Self] {
        &snapshot.retired
    }

    fn name(&self) -> &str {
        self.domain.as_str()
    }
}

impl Item for Certificate {
    const LIST: List = List::Certificates;

    fn list(snapshot: &Snapshot) -> &[Self] {
        &snapshot.certificates
    }

    fn name(&self) -> &str {
        ResourceName::as_str(&self.name)
    }
}

/// The runs of a list, in order.
pub(crate) fn runs<T: Item>(items: &[T]) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut start = 0;
    for (place, item) in items.iter().enumerate().skip(1) {
        if begins_a_run(item.name()) || place - start == LONGEST_RUN {
            runs.push(start..place);
            start = place;
        }
    }
    if start < items.len() {
        runs.push(start..items.len());
    }
    runs
}

/// FNV-1a, and its high half, in which all octets of a short name count.
fn begins_a_run(name: &str) -> bool {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 32).is_multiple_of(RUN)
}

/// The sections of a run: each the JSON array of its items, cut into chunks.
pub(crate) fn sections<T: Item>(run: &[T]) -> Result<Vec<Vec<Vec<u8>>>, serde_json::Error> {
    let mut sections = Vec::new();
    let mut open = Vec::new();
    for item in run {
        let encoded = serde_json::to_vec(item)?;
        if !open.is_empty() && open.len() + encoded.len() > SECTION_LENGTH {
            sections.push(closed(std::mem::take(&mut open)));
        }
        open.push(if open.is_empty() { b'[' } else { b',' });
        open.extend_from_slice(&encoded);
    }
    if !open.is_empty() {
        sections.push(closed(open));
    }
    Ok(sections)
}

fn closed(mut section: Vec<u8>) -> Vec<Vec<u8>> {
    section.push(b']');
    section.chunks(CHUNK_LENGTH).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retired(names: impl IntoIterator<Item = String>) -> Vec<Retired> {
        let retired = names
            .into_iter()
            .map(|name| Retired { domain: name.parse().unwrap(), until: posthouse_model::Timestamp(1) });
        retired.collect()
    }

    fn borders(items: &[Retired]) -> Vec<&str> {
        runs(items).into_iter().map(|run| items[run.start].name()).collect()
    }

    #[test]
    fn an_item_that_comes_or_goes_moves_no_border_elsewhere() {
        let all = retired((0..10_000).map(|number| format!("d{number:05}.example")));
        let borders_of_all = borders(&all);
        assert!((100..250).contains(&borders_of_all.len()), "{}", borders_of_all.len());
        for gone in [0, 1, 77, 5_000, 9_999] {
            let mut some = all.clone();
            some.remove(gone);
            let now = borders(&some);
            let differing = borders_of_all.iter().filter(|border| !now.contains(border)).count();
            assert!(differing <= 1, "{gone}: {differing} borders moved");
        }
    }

    #[test]
    fn runs_cover_everything_once_and_are_bounded() {
        let same = retired((0..5_000).map(|_| "a.example".to_owned()));
        let runs = runs(&same);
        assert!(runs.iter().all(|run| run.len() <= LONGEST_RUN));
        assert_eq!(runs.iter().map(ExactSizeIterator::len).sum::<usize>(), same.len());
        assert!(super::runs::<Retired>(&[]).is_empty());
    }

    #[test]
    fn a_long_item_is_cut_into_chunks_and_a_long_run_into_sections() {
        let rule = |name: &str, fields: usize| RelayRule {
            origin: name.parse().unwrap(),
            tier: crate::Tier::First,
            order: 0,
            suspended: false,
            matches: crate::Match::Always,
            target: crate::RuleTarget::Direct,
            credentials: None,
            method: crate::AuthenticationMethod::default(),
            tls: crate::ClientTls::default(),
            guarded: false,
            unsupported: vec!["x".repeat(100).into(); fields].into(),
        };
        let sections = sections(&[
            rule("a/a", 600),
            rule("a/b", 600),
            rule("a/c", 600),
            rule("a/long", 9_000),
            rule("a/z", 1),
        ]);
        let sections = sections.unwrap();
        let shape: Vec<_> = sections.iter().map(Vec::len).collect();
        assert_eq!(shape, [1, 1, 4, 1]);
        assert!(sections.iter().flatten().all(|chunk| chunk.len() <= CHUNK_LENGTH));
        let read: Vec<RelayRule> = sections
            .iter()
            .flat_map(|section| serde_json::from_slice::<Vec<_>>(&section.concat()).unwrap())
            .collect();
        assert_eq!(read.len(), 5);
    }
}
