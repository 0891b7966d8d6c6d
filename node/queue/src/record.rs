//! Records: how messages and entries stand in a store, one form for both. No I/O.
//!
//! A record is: one octet format version, four octets CRC-32 (IEEE, big-endian) of what follows, then the postcard encoding. A record of
//! another version or with a wrong checksum is an error that the store answers with quarantine, never with a crash.

use posthouse_model::{QueueName, Route, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::entry::{EntryRecipient, NewEntry, Transform};

/// The format that this program writes. It reads this one and, when there are several, two versions back.
pub const FORMAT: u8 = 1;

/// Octets before the encoded part: version and checksum.
const HEAD: usize = 5;

/// A record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by a newer (or unknown) version.
    #[error("record format {found}; this program reads format {FORMAT}")]
    Version {
        /// The version octet found.
        found: u8,
    },
    /// Shorter than its own head, or its checksum is wrong.
    #[error("damaged record ({0})")]
    Damaged(&'static str),
}

/// Encodes a record.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, RecordError> {
    let mut record =
        postcard::to_extend(value, vec![0; HEAD]).map_err(|_| RecordError::Damaged("cannot be encoded"))?;
    let crc = record.get(HEAD..).map_or(0, crc32fast::hash).to_be_bytes();
    record.iter_mut().zip([FORMAT].into_iter().chain(crc)).for_each(|(place, octet)| *place = octet);
    Ok(record)
}

/// Decodes a record.
pub fn decode<T: DeserializeOwned>(record: &[u8]) -> Result<T, RecordError> {
    let found = *record.first().ok_or(RecordError::Damaged("empty"))?;
    if found != FORMAT {
        return Err(RecordError::Version { found });
    }
    let (crc, encoded) =
        record.get(1..).and_then(<[u8]>::split_first_chunk::<4>).ok_or(RecordError::Damaged("too short"))?;
    if crc32fast::hash(encoded) != u32::from_be_bytes(*crc) {
        return Err(RecordError::Damaged("wrong checksum"));
    }
    postcard::from_bytes(encoded).map_err(|_| RecordError::Damaged("cannot be decoded"))
}

/// The part of an entry that only a settle changes: what a store keeps beside the few numbers that it works on itself (state, times,
/// sequences, token).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryBody {
    /// See [`NewEntry::queue`].
    pub queue: QueueName,
    /// See [`NewEntry::route`].
    pub route: Route,
    /// See [`NewEntry::source`].
    pub source: String,
    /// See [`NewEntry::snapshot`].
    pub snapshot: [u8; 16],
    /// The recipients still to be settled.
    pub recipients: Vec<EntryRecipient>,
    /// See [`NewEntry::transforms`].
    pub transforms: Vec<Transform>,
    /// See [`crate::Entry::attempts`].
    pub attempts: u32,
    /// See [`crate::Entry::delay_warned`].
    pub delay_warned: bool,
    /// When the message was accepted, so that an entry alone tells its age.
    pub received_at: Timestamp,
}

impl EntryBody {
    /// The body of a new entry of a message accepted at `received_at`.
    #[must_use]
    pub fn new(entry: &NewEntry, received_at: Timestamp) -> Self {
        Self {
            queue: entry.queue.clone(),
            route: entry.route.clone(),
            source: entry.source.clone(),
            snapshot: entry.snapshot,
            recipients: entry.recipients.clone(),
            transforms: entry.transforms.clone(),
            attempts: 0,
            delay_warned: false,
            received_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use posthouse_model::{HostPort, NextHop, Transport};

    use super::*;

    #[test]
    fn a_next_hop_with_the_defaults_stands_as_it_always_did() {
        // What is queued by a program that knew of no security must be read by this one, and the other way round.
        #[derive(Serialize)]
        struct Before {
            transport: Transport,
            hosts: Vec<HostPort>,
        }
        let now: NextHop = "smtp:a.example:25,b.example".parse().unwrap();
        let before = Before { transport: now.transport, hosts: now.hosts.clone() };
        assert_eq!(encode(&before).unwrap(), encode(&now).unwrap());
        for text in [
            "lmtp:dovecot:24",
            "smtp:a.example,b.example:25",
            "maildrop",
            "smtps+verified:mail/a@b.example:465",
        ] {
            let hop: NextHop = text.parse().unwrap();
            assert_eq!(decode::<NextHop>(&encode(&hop).unwrap()).unwrap(), hop);
        }
    }

    #[test]
    fn a_record_survives_and_a_damaged_or_newer_one_is_told_apart() {
        let record = encode(&("text".to_owned(), 7u64)).unwrap();
        assert_eq!(decode::<(String, u64)>(&record).unwrap(), ("text".to_owned(), 7));
        let mut newer = record.clone();
        newer[0] = FORMAT + 1;
        assert_eq!(decode::<(String, u64)>(&newer), Err(RecordError::Version { found: FORMAT + 1 }));
        for place in 1..record.len() {
            let mut damaged = record.clone();
            damaged[place] ^= 1;
            assert!(
                matches!(decode::<(String, u64)>(&damaged), Err(RecordError::Damaged(_))),
                "octet {place}"
            );
        }
        assert!(decode::<(String, u64)>(&record[..3]).is_err() && decode::<u8>(&[]).is_err());
    }
}
