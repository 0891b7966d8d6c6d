//! A snapshot put together from its pieces: what did not change since the one that is held is not read again. Pure.
//!
//! Everything is checked before anything is believed: each piece by its name, its seal and its form, the whole by its order and its size.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    domain::MailDomain,
    encoding::ENCODED_LENGTH,
    index::{Index, IndexError, Section},
    pointer::{ChunkName, Pointer},
    rule::RelayRule,
    seal::{self, Purpose, SealError, SealingKey, TraceKey},
    sections::{CHUNK_LENGTH, List},
    snapshot::{Disorder, Queue, Retired, Snapshot},
    tls::Certificate,
};

/// A snapshot with what its pieces were.
#[derive(Clone, Debug)]
pub struct Assembled {
    /// What pointed to it.
    pub pointer: Pointer,
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// What the nodes that have it know their own trace headers by; of the key that it is sealed with.
    pub trace: Option<TraceKey>,
    sections: HashMap<Section, (Arc<Part>, usize)>,
}

/// What a section says.
#[derive(Clone, Debug)]
enum Part {
    Queues(Vec<Queue>),
    Domains(Vec<Arc<MailDomain>>),
    Rules(Vec<RelayRule>),
    Retired(Vec<Retired>),
    Certificates(Vec<Certificate>),
}

/// An index that was opened: the pieces that are wanted are known.
#[derive(Debug)]
pub struct Assembly {
    pointer: Pointer,
    index: Index,
    trace: Option<TraceKey>,
}

/// Why a snapshot is refused: whole, whatever is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Its index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A piece is not what its name says.
    #[error("a piece of the snapshot is damaged: {0} has the hash {1}")]
    WrongHash(ChunkName, ChunkName),
    /// A piece is not there.
    #[error("a piece of the snapshot is missing: {0}")]
    Missing(ChunkName),
    /// A piece cannot be opened.
    #[error("a piece of the snapshot cannot be opened: {0}: {1}")]
    Sealed(ChunkName, SealError),
    /// Something in a piece does not follow the schema. Only the place is told: the reader's own words quote values, and one may be a secret.
    #[error(
        "{} does not follow the snapshot's schema, at octet {} of its section",
        resource.as_deref().unwrap_or("a part"), source.column()
    )]
    Malformed {
        /// The resource, where it can be told.
        resource: Option<String>,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// It is longer than any snapshot may be.
    #[error("the snapshot has more than {ENCODED_LENGTH} octets")]
    TooLong,
    /// Its parts are not in their order.
    #[error("the snapshot is not canonical: {0}")]
    Disorder(#[from] Disorder),
}

impl Refusal {
    /// The resource that is to blame, where one is.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        match self {
            Self::Malformed { resource, .. } => resource.as_deref(),
            _ => None,
        }
    }

    /// Whether it is only that a piece is missing or damaged where it was read: it may be there, whole, the next time.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Missing(_)
                | Self::WrongHash(..)
                | Self::Index(IndexError::WrongHash(_) | IndexError::Sealed(SealError::UnknownKey(_)))
        )
    }
}

impl Assembly {
    /// Opens the index that the pointer names.
    pub fn open(pointer: Pointer, sealed: &[u8], keys: &[SealingKey]) -> Result<Self, Refusal> {
        let index = Index::open(&pointer, sealed, keys)?;
        Ok(Self { pointer, index, trace: seal::trace_key(keys, sealed) })
    }

    /// The pieces that what is `held` does not have.
    #[must_use]
    pub fn wanted(&self, held: Option<&Assembled>) -> Vec<ChunkName> {
        let is_held = |section: &&Section| held.is_some_and(|held| held.sections.contains_key(*section));
        let sections = self.index.sections.iter().filter(|section| !is_held(section));
        let mut wanted: Vec<_> = sections.flat_map(|section| section.chunks.iter().copied()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    /// Puts it together from the pieces that were [`wanted`](Self::wanted), sealed as they are, and what is held.
    pub fn assemble(
        self,
        pieces: &HashMap<ChunkName, Vec<u8>>,
        keys: &[SealingKey],
        held: Option<&Assembled>,
    ) -> Result<Assembled, Refusal> {
        let Self { pointer, index, trace } = self;
        let mut sections = HashMap::with_capacity(index.sections.len());
        let mut certificates = Vec::new();
        let (mut queues, mut domains, mut rules, mut retired) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut octets = 0_usize;
        for section in index.sections {
            let known = held.and_then(|held| held.sections.get(&section));
            let (part, length) = match known {
                Some((part, length)) => (Arc::clone(part), *length),
                None => read(&section, pieces, keys)?,
            };
            octets = octets.saturating_add(length);
            if octets > ENCODED_LENGTH {
                return Err(Refusal::TooLong);
            }
            match &*part {
                Part::Queues(part) => queues.extend_from_slice(part),
                Part::Domains(part) => domains.extend_from_slice(part),
                Part::Rules(part) => rules.extend_from_slice(part),
                Part::Retired(part) => retired.extend_from_slice(part),
                Part::Certificates(part) => certificates.extend_from_slice(part),
            }
            sections.insert(section, (part, length));
        }
        let snapshot = Snapshot {
            schema: index.schema,
            generation: index.epoch.sequence,
            gateway: index.gateway,
            queues: queues.into(),
            domains: domains.into(),
            rules: rules.into(),
            retired: retired.into(),
            certificates: certificates.into(),
        };
        snapshot.check()?;
        Ok(Assembled { pointer, snapshot: Arc::new(snapshot), trace, sections })
    }
}

/// Reads a section; also how many octets it has.
fn read(
    section: &Section,
    pieces: &HashMap<ChunkName, Vec<u8>>,
    keys: &[SealingKey],
) -> Result<(Arc<Part>, usize), Refusal> {
    let mut plain = Vec::new();
    for name in &section.chunks {
        let sealed = pieces.get(name).ok_or(Refusal::Missing(*name))?;
        let found = ChunkName::of(sealed);
        if found != *name {
            return Err(Refusal::WrongHash(*name, found));
        }
        let chunk = seal::open(keys, Purpose::Chunk, sealed, CHUNK_LENGTH);
        plain.append(&mut chunk.map_err(|error| Refusal::Sealed(*name, error))?);
        if plain.len() > ENCODED_LENGTH {
            return Err(Refusal::TooLong);
        }
    }
    let part = match section.list {
        List::Queues => Part::Queues(items(&plain)?),
        List::Domains => Part::Domains(items(&plain)?),
        List::Rules => Part::Rules(items(&plain)?),
        List::Retired => Part::Retired(items(&plain)?),
        List::Certificates => Part::Certificates(items(&plain)?),
    };
    Ok((Arc::new(part), plain.len()))
}

fn items<T: DeserializeOwned>(plain: &[u8]) -> Result<Vec<T>, Refusal> {
    serde_json::from_slice(plain)
        .map_err(|source| Refusal::Malformed { resource: culprit::<T>(plain), source })
}

/// The resource of the first item that is not of this form.
fn culprit<T: DeserializeOwned>(plain: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        origin: Option<String>,
        name: Option<String>,
        domain: Option<String>,
    }
    if plain.len() > 2 * CHUNK_LENGTH {
        return None; // a tree of values takes many times its octets
    }
    let items: Vec<serde_json::Value> = serde_json::from_slice(plain).ok()?;
    let wrong = items.into_iter().find(|item| T::deserialize(item).is_err())?;
    let Named { origin, name, domain } = Named::deserialize(&wrong).ok()?;
    origin.or(domain).or(name)
}
