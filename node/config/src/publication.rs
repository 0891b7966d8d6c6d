//! A publication: a snapshot as it is uploaded. Only what changed since the one before is encoded, sealed and sent. Pure.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use crate::{
    domain::MailDomain,
    hash::SnapshotHash,
    index::{Index, IndexError, Section},
    pointer::{ChunkName, Epoch, Pointer},
    rule::RelayRule,
    seal::{KeyId, Purpose, SealingKey},
    sections::{Item, List, runs, sections},
    snapshot::{Queue, Retired, Snapshot},
    tls::Certificate,
};

/// A snapshot, cut, sealed and named.
#[derive(Debug)]
pub struct Publication {
    /// What points to it.
    pub pointer: Pointer,
    /// The sealed pieces that the publication before did not have, the index last.
    pub fresh: Vec<(ChunkName, Vec<u8>)>,
    snapshot: Arc<Snapshot>,
    runs: Vec<Run>,
}

/// A run of a list, and where its octets are.
#[derive(Debug)]
struct Run {
    list: List,
    items: Range<usize>,
    sections: Vec<Section>,
}

impl Publication {
    /// Cuts and seals a snapshot whose generation becomes the sequence of its `epoch`. With the publication `before`, what did not change
    /// since is neither encoded nor sealed again, unless the key or the schema is another one.
    pub fn new(
        snapshot: &Arc<Snapshot>,
        epoch: Epoch,
        key: &SealingKey,
        before: Option<&Self>,
    ) -> Result<Self, IndexError> {
        let fits =
            |before: &&Self| before.pointer.key == key.id() && before.pointer.schema == snapshot.schema;
        let mut draft =
            Draft { key, snapshot, before: before.filter(fits), runs: Vec::new(), fresh: Vec::new() };
        draft.cut::<Queue>()?;
        draft.cut::<Arc<MailDomain>>()?;
        draft.cut::<RelayRule>()?;
        draft.cut::<Retired>()?;
        draft.cut::<Certificate>()?;
        let Draft { runs, mut fresh, .. } = draft;
        let index = Index {
            schema: snapshot.schema,
            epoch,
            gateway: snapshot.gateway.clone(),
            sections: runs.iter().flat_map(|run| run.sections.iter().cloned()).collect(),
        };
        let sealed = index.seal(key)?;
        let name = SnapshotHash::of(&sealed);
        fresh.push((name.into(), sealed));
        let pointer = Pointer { epoch, schema: snapshot.schema, index: name, key: key.id() };
        Ok(Self { pointer, fresh, snapshot: Arc::clone(snapshot), runs })
    }

    /// The snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// What it is sealed with.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.pointer.key
    }

    /// Every piece that it is made of, its index included.
    #[must_use]
    pub fn chunks(&self) -> HashSet<ChunkName> {
        let sections = self.runs.iter().flat_map(|run| &run.sections);
        let index = ChunkName::from(self.pointer.index);
        sections.flat_map(|section| section.chunks.iter().copied()).chain([index]).collect()
    }

    /// Lets go of the sealed octets, once they are where they belong.
    pub fn forget_octets(&mut self) {
        self.fresh = Vec::new();
    }
}

struct Draft<'p> {
    key: &'p SealingKey,
    snapshot: &'p Snapshot,
    before: Option<&'p Publication>,
    runs: Vec<Run>,
    fresh: Vec<(ChunkName, Vec<u8>)>,
}

impl Draft<'_> {
    fn cut<T: Item>(&mut self) -> Result<(), IndexError> {
        let items = T::list(self.snapshot);
        let known = self.before.map(|before| before.by_first_name::<T>()).unwrap_or_default();
        for run in runs(items) {
            let part = items.get(run.clone()).unwrap_or_default();
            let first = part.first().map(Item::name);
            let same = first.and_then(|first| known.get(first)).filter(|(_, before)| is_same(before, part));
            let sections = match same {
                Some((known, _)) => known.sections.clone(),
                None => self.seal(part)?,
            };
            self.runs.push(Run { list: T::LIST, items: run, sections });
        }
        Ok(())
    }

    fn seal<T: Item>(&mut self, run: &[T]) -> Result<Vec<Section>, IndexError> {
        let mut sealed_sections = Vec::new();
        for chunks in sections(run)? {
            let mut names = Vec::with_capacity(chunks.len());
            for chunk in chunks {
                let sealed = self.key.seal(Purpose::Chunk, &chunk)?;
                let name = ChunkName::of(&sealed);
                names.push(name);
                self.fresh.push((name, sealed));
            }
            sealed_sections.push(Section { list: T::LIST, chunks: names.into() });
        }
        Ok(sealed_sections)
    }
}

impl Publication {
    /// The runs of a list with their items, by the name of the first.
    fn by_first_name<T: Item>(&self) -> HashMap<&str, (&Run, &[T])> {
        let items = T::list(&self.snapshot);
        let runs = self.runs.iter().filter(|run| run.list == T::LIST);
        runs.filter_map(|run| {
            let part = items.get(run.items.clone())?;
            Some((part.first()?.name(), (run, part)))
        })
        .collect()
    }
}

fn is_same<T: Item>(one: &[T], other: &[T]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.is_same(other))
}
