//! The index of a snapshot: what belongs to the gateway as a whole, and the names of the pieces with the rest. Plain data and its sealing.

use serde::{Deserialize, Serialize};

use crate::{
    encoding::{SCHEMA_MAX, SCHEMA_MIN},
    gateway::Gateway,
    pointer::{ChunkName, Epoch, Pointer},
    seal::{self, Purpose, SealError, SealingKey},
    sections::List,
};

/// The most octets of an index before it is sealed: about 3,000 sections, each of some 64 domains.
pub const INDEX_LENGTH: usize = 256 << 10;

/// What a snapshot is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Index {
    /// The version of the snapshot's schema.
    pub(crate) schema: u32,
    /// The same as in the pointer.
    pub(crate) epoch: Epoch,
    /// The gateway.
    pub(crate) gateway: Gateway,
    /// The rest, list by list in their order.
    pub(crate) sections: Vec<Section>,
}

/// A piece of a list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Section {
    /// The list.
    pub(crate) list: List,
    /// Its octets are theirs, one after another.
    pub(crate) chunks: Box<[ChunkName]>,
}

/// What every version of the index has: enough to tell whether the rest can be read.
#[derive(Deserialize)]
struct Header {
    schema: u64,
}

/// Why an index is refused.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// It is not what the pointer names.
    #[error("the index of the snapshot is damaged: it has the hash {0}")]
    WrongHash(ChunkName),
    /// It cannot be opened.
    #[error("the index of the snapshot cannot be opened: {0}")]
    Sealed(#[from] SealError),
    /// Its schema is not read here.
    #[error(
        "the snapshot has schema version {version}; this node reads {SCHEMA_MIN} to {SCHEMA_MAX}: {}",
        if *.version > u64::from(SCHEMA_MAX) { "upgrade the node" } else { "upgrade the operator" }
    )]
    UnknownSchema {
        /// The version that it names.
        version: u64,
    },
    /// It does not follow its schema. Only the place is told: the reader's own words quote values.
    #[error("the index of the snapshot does not follow its schema, at octet {}", .0.column())]
    Malformed(#[from] serde_json::Error),
    /// It is an index, but of another publication than the pointer says.
    #[error(
        "the pointer says publication {pointer}, the index that it names says {index}: the pointer is forged or damaged"
    )]
    WrongEpoch {
        /// What the pointer says.
        pointer: Epoch,
        /// What is authentic.
        index: Epoch,
    },
    /// It is longer than an index may be.
    #[error(
        "the snapshot is too large: its index has {length} octets, and {INDEX_LENGTH} at most are read; split the gateway"
    )]
    TooLong {
        /// Its length.
        length: usize,
    },
}

impl Index {
    pub(crate) fn seal(&self, key: &SealingKey) -> Result<Vec<u8>, IndexError> {
        let plain = serde_json::to_vec(self)?;
        if plain.len() > INDEX_LENGTH {
            return Err(IndexError::TooLong { length: plain.len() });
        }
        Ok(key.seal(Purpose::Index, &plain)?)
    }

    pub(crate) fn open(pointer: &Pointer, sealed: &[u8], keys: &[SealingKey]) -> Result<Self, IndexError> {
        let found = ChunkName::of(sealed);
        if found != ChunkName::from(pointer.index) {
            return Err(IndexError::WrongHash(found));
        }
        let plain = seal::open(keys, Purpose::Index, sealed, INDEX_LENGTH)?;
        let Header { schema: version } = serde_json::from_slice(&plain)?;
        if !(u64::from(SCHEMA_MIN)..=u64::from(SCHEMA_MAX)).contains(&version) {
            return Err(IndexError::UnknownSchema { version });
        }
        let index: Self = serde_json::from_slice(&plain)?;
        if index.epoch != pointer.epoch {
            return Err(IndexError::WrongEpoch { pointer: pointer.epoch, index: index.epoch });
        }
        Ok(index)
    }
}
