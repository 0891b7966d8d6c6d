//! A door for fuzzing: seals what no publication would ever hold, so that what lies behind the seal meets arbitrary octets too. Whoever has the key
//! could do the same; nothing else is meant to use it.

use crate::seal::{Purpose, SealError, SealingKey};

/// These octets as an index.
pub fn index(key: &SealingKey, plain: &[u8]) -> Result<Vec<u8>, SealError> {
    key.seal(Purpose::Index, plain)
}

/// These octets as a piece.
pub fn chunk(key: &SealingKey, plain: &[u8]) -> Result<Vec<u8>, SealError> {
    key.seal(Purpose::Chunk, plain)
}
