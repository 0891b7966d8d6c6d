//! A message: its envelope and what is known of its content. No I/O.

use bytes::Bytes;
use posthouse_model::{MessageId, ReversePath, Timestamp};
use serde::{Deserialize, Serialize};

use crate::entry::NewEntry;

/// What the sender declared of the content (RFC 6152, RFC 3030).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodyType {
    /// Nothing declared, or `BODY=7BIT`. Undeclared 8-bit content passes all the same (I8).
    #[default]
    SevenBit,
    /// `BODY=8BITMIME`.
    EightBitMime,
    /// `BODY=BINARYMIME`.
    BinaryMime,
}

/// Where a message came from: decides which counter of the accounting its recipients enter by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// From a client, by SMTP (or fetched by POP3): its recipients count as accepted.
    Accepted,
    /// Born here, a DSN: its recipients count as generated.
    Generated,
}

/// The envelope and the facts of the transaction that belong to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The reverse-path as it was given.
    pub reverse_path: ReversePath,
    /// The declared body type.
    pub body: BodyType,
    /// The client said SMTPUTF8, and a header of the message is beyond ASCII: only a next hop that has SMTPUTF8 may get it (RFC 6531 §3.7.1). That
    /// an address is beyond ASCII is seen from the address.
    pub smtputf8: bool,
    /// `RET=FULL` (`Some(true)`) or `RET=HDRS` (`Some(false)`) of RFC 3461 §4.3.
    pub ret_full: Option<bool>,
    /// `ENVID` as it was given, still in xtext (RFC 3461 §4.4); at most 100 octets.
    pub envid: Option<String>,
    /// The client: its address in text form, for logs, lists and DSNs; empty for generated mail.
    pub client: String,
    /// The login that authenticated, if one did.
    pub login: Option<String>,
}

/// What the store keeps of a message beside its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageMeta {
    /// Envelope and facts.
    pub envelope: Envelope,
    /// Where it came from.
    pub origin: Origin,
    /// Octets of content, CRLF counted, dots unstuffed.
    pub size: u64,
    /// CRC-32 (IEEE) of the content.
    pub crc32: u32,
    /// When it was accepted: when every entry's clock starts.
    pub received_at: Timestamp,
}

/// Content on its way into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewContent {
    /// The whole content, at most [`CHUNK_SIZE`](crate::CHUNK_SIZE) octets.
    Inline(Bytes),
    /// Written before by [`Store::put_chunk`](crate::Store::put_chunk): this many chunks, all but the last of
    /// [`CHUNK_SIZE`](crate::CHUNK_SIZE) octets. Enqueue verifies count, length and checksum.
    Chunks(u32),
}

/// Content as a lease finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The whole content.
    Inline(Bytes),
    /// To be read chunk by chunk with [`Store::chunk`](crate::Store::chunk), indexes from 0.
    Chunks(u32),
}

/// A message to enqueue. The recipients of its entries must be all that were accepted or are born here; the store refuses a message that
/// is wrong in itself before it writes anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// Its id: enqueue is idempotent by it, and it names the shard.
    pub id: MessageId,
    /// Envelope, origin, size, checksum, time.
    pub meta: MessageMeta,
    /// The content.
    pub content: NewContent,
    /// How many recipients the client named in RCPT (for [`Origin::Generated`]: how many were generated). The entries' recipients beyond
    /// that count as expanded; fewer (an alias that names another recipient of the same message) count as discarded.
    pub named: u32,
    /// Its entries, 1 to [`MAX_ENTRIES`](crate::MAX_ENTRIES); the place in the list is the entry's index.
    pub entries: Vec<NewEntry>,
}
