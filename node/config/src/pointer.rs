//! The pointer: the one small value that says which snapshot holds, and the names of the sealed pieces. No I/O.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    hash::{ParseHashError, SnapshotHash},
    seal::KeyId,
};

/// The most octets of a pointer's text.
pub const POINTER_LENGTH: usize = 1024;

/// The content address of a sealed piece: the SHA-256 of its octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChunkName(SnapshotHash);

impl ChunkName {
    /// The name of these sealed octets.
    #[must_use]
    pub fn of(sealed: &[u8]) -> Self {
        Self(SnapshotHash::of(sealed))
    }
}

impl From<SnapshotHash> for ChunkName {
    /// A snapshot is named by its index, which is kept like any other piece.
    fn from(index: SnapshotHash) -> Self {
        Self(index)
    }
}

impl fmt::Display for ChunkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ChunkName {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        text.parse().map(Self)
    }
}

/// The order of publications: a leader's term, and the number of the publication. Who slept through a change of leaders has the lesser term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Epoch {
    /// How often the leader's lease changed hands.
    pub transitions: u64,
    /// The number of the publication; it grows over all terms, and with it the generation of queue modes.
    pub sequence: u64,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.transitions, self.sequence)
    }
}

/// Which snapshot holds. It is not sealed, but the index that it names is, and says the same epoch: a pointer alone makes nobody believe anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pointer {
    /// Its place in the order of publications.
    pub epoch: Epoch,
    /// The version of its schema, for who looks on; the sealed index has it too.
    pub schema: u32,
    /// Its index, and so its name.
    pub index: SnapshotHash,
    /// What it is sealed with.
    pub key: KeyId,
}

impl Pointer {
    /// Its text.
    pub fn encode(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// The pointer of a text.
    pub fn decode(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }
}
