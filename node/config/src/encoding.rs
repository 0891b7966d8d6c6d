//! A snapshot's encoding in one piece: canonical JSON, for people and for tests. No I/O.
//!
//! Canonical: every part in its order ([`Snapshot::sorted`]), fields in the order of the types, what is absent or default left out, no white
//! space. One snapshot has one encoding. How it travels is in [`publication`](crate::publication).

use serde::Deserialize;

use crate::snapshot::{Disorder, Snapshot};

/// The oldest schema that this node reads.
pub const SCHEMA_MIN: u32 = 1;

/// The newest schema that this node reads, and the one that the compiler writes.
pub const SCHEMA_MAX: u32 = 4;

/// The longest encoding that is read: 10,000 domains with 100,000 recipients need about 8 MiB.
pub const ENCODED_LENGTH: usize = 64 << 20;

/// Why an encoding was refused.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is longer than any snapshot may be.
    #[error("the snapshot has {length} bytes; at most {ENCODED_LENGTH} are read")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// Its schema is not known here.
    #[error(
        "the snapshot has schema version {version}; this node reads {SCHEMA_MIN} to {SCHEMA_MAX}: {}",
        if *.version > u64::from(SCHEMA_MAX) { "upgrade the node" } else { "upgrade the operator" }
    )]
    UnknownSchema {
        /// The version that it names.
        version: u64,
    },
    /// It is no JSON, or not of this schema.
    #[error("the snapshot does not follow its schema: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Its parts are not in their order.
    #[error("the snapshot is not canonical: {0}")]
    Disorder(#[from] Disorder),
}

/// What every version of the document has: enough to tell whether the rest can be read.
#[derive(Deserialize)]
struct Header {
    schema: u64,
}

impl Snapshot {
    /// The encoding.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads an encoding.
    pub fn decode(encoded: &[u8]) -> Result<Self, DecodeError> {
        if encoded.len() > ENCODED_LENGTH {
            return Err(DecodeError::TooLong { length: encoded.len() });
        }
        let Header { schema } = serde_json::from_slice(encoded)?;
        if !(u64::from(SCHEMA_MIN)..=u64::from(SCHEMA_MAX)).contains(&schema) {
            return Err(DecodeError::UnknownSchema { version: schema });
        }
        let snapshot: Self = serde_json::from_slice(encoded)?;
        snapshot.check()?;
        Ok(snapshot)
    }
}
