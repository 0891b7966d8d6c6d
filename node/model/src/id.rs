//! Identities inside the queue: shards, messages, entries, queue names, incarnations of nodes.
//!
//! A message id is made by the node that accepts the message; it carries its shard, so that every later step finds the one place where
//! the message lives. Its text form is what people see: in the 250 reply, the `Received` line, logs and JSON.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text;

/// Digits of the text form: 32 lowercase letters and digits without `i`, `l`, `o`, `u` (no word, no look-alike).
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Characters in the text form of a [`MessageId`]: 128 bits at five bits each.
pub const MESSAGE_ID_LENGTH: usize = 26;

/// A text that is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}")]
pub struct ParseIdError {
    text: String,
    what: &'static str,
}

impl ParseIdError {
    fn new(text: &str, what: &'static str) -> Self {
        // The text may come from a command line or a damaged record: show enough to recognise it, never all of a megabyte.
        Self { text: text.chars().take(80).collect(), what }
    }
}

/// Where a message lives: the number of a shard of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShardId(pub u16);

/// One message in the queue: 48 bits of time (ms), 16 bits of shard, 64 bits that make it unique. Ordered by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(u128);

impl MessageId {
    /// An id from its parts: `time_ms` keeps its low 48 bits; `unique` is random for accepted mail, a hash for what is born from other mail.
    #[must_use]
    pub fn new(time_ms: u64, shard: ShardId, unique: u64) -> Self {
        let time = u128::from(time_ms & 0xffff_ffff_ffff);
        Self(time << 80 | u128::from(shard.0) << 64 | u128::from(unique))
    }

    /// The shard that the message lives in.
    #[must_use]
    pub fn shard(self) -> ShardId {
        #[allow(clippy::cast_possible_truncation)] // exactly the 16 bits that `new` put there
        ShardId((self.0 >> 64) as u16)
    }

    /// The milliseconds since the epoch at which the id was made (48 bits).
    #[must_use]
    pub fn time_ms(self) -> u64 {
        #[allow(clippy::cast_possible_truncation)] // 48 bits remain
        {
            (self.0 >> 80) as u64
        }
    }

    /// The 16 bytes of the id, most significant first: the form in records.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The id that [`to_bytes`](Self::to_bytes) wrote.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// The id of the entry with this index.
    #[must_use]
    pub fn entry(self, index: u16) -> EntryId {
        EntryId { message: self, index }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; MESSAGE_ID_LENGTH];
        let mut rest = self.0;
        for place in text.iter_mut().rev() {
            *place = DIGITS.get((rest & 31) as usize).copied().unwrap_or(b'0'); // & 31 is always within the 32 digits
            rest >>= 5;
        }
        f.write_str(str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MessageId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let refused = || ParseIdError::new(text, "a message id (26 of 0-9 a-z without i l o u)");
        if text.len() != MESSAGE_ID_LENGTH {
            return Err(refused());
        }
        text.bytes()
            .enumerate()
            .try_fold(0u128, |id, (place, byte)| {
                let digit = DIGITS.iter().position(|d| *d == byte).ok_or_else(refused)?;
                // 26 digits hold 130 bits: the first digit must leave the two that do not exist at zero, or two texts would name one id.
                if place == 0 && digit > 7 { Err(refused()) } else { Ok(id << 5 | digit as u128) }
            })
            .map(Self)
    }
}

/// One entry: the recipients of one message that travel together. Shown as `MESSAGE.INDEX`; 28 to 32 printable ASCII characters, so it
/// serves as the unique id of RFC 1939 UIDL (at most 70 of 0x21 to 0x7E).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// The message that the entry belongs to.
    pub message: MessageId,
    /// The entry's place within the message, from 0.
    pub index: u16,
}

impl EntryId {
    /// The shard that the entry lives in: its message's.
    #[must_use]
    pub fn shard(self) -> ShardId {
        self.message.shard()
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.message, self.index)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EntryId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let refused = || ParseIdError::new(text, "an entry id (message id, dot, number)");
        let (message, index) = text.split_once('.').ok_or_else(refused)?;
        let canonical = !index.is_empty()
            && index.bytes().all(|b| b.is_ascii_digit())
            && (index == "0" || !index.starts_with('0'));
        if !canonical {
            return Err(refused());
        }
        Ok(Self { message: message.parse()?, index: index.parse().map_err(|_| refused())? })
    }
}

/// One run of one node: 128 random bits. A restarted node is another incarnation, so nothing it held before is mistaken for its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub [u8; 16]);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Incarnation {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let refused = || ParseIdError::new(text, "an incarnation (32 hexadecimal digits)");
        if text.len() != 32 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(refused());
        }
        u128::from_str_radix(text, 16).map(|bits| Self(bits.to_be_bytes())).map_err(|_| refused())
    }
}

/// The longest queue name: a domain name's length (RFC 1035 §2.3.4).
pub const QUEUE_NAME_LENGTH: usize = 255;

/// The name of a queue: what ETRN, ATRN and POP3 release. By default a recipient domain; several domains may share one. Lowercase ASCII,
/// 1 to 255 of the printable characters without space, so it can stand in a protocol line, a record and a log unquoted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName(Box<str>);

impl QueueName {
    /// A queue name from text; upper case becomes lower case, as domain names compare (RFC 1035 §2.3.3).
    pub fn new(text: &str) -> Result<Self, ParseIdError> {
        let fits =
            (1..=QUEUE_NAME_LENGTH).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits {
            Ok(Self(text.to_ascii_lowercase().into()))
        } else {
            Err(ParseIdError::new(text, "a queue name (1 to 255 printable ASCII characters, no space)"))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for QueueName {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::new(text)
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

impl Serialize for EntryId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for EntryId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

impl Serialize for Incarnation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Incarnation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

impl Serialize for QueueName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for QueueName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_survives_its_text_and_its_bytes() {
        let id = MessageId::new(0x1234_5678_9abc, ShardId(7), 0xfeed_face_cafe_beef);
        assert_eq!(id.to_string().len(), MESSAGE_ID_LENGTH);
        assert_eq!(id.to_string().parse::<MessageId>().unwrap(), id);
        assert_eq!(MessageId::from_bytes(id.to_bytes()), id);
        assert_eq!((id.shard(), id.time_ms()), (ShardId(7), 0x1234_5678_9abc));
    }

    #[test]
    fn no_two_texts_name_one_id() {
        let id = MessageId::new(u64::MAX, ShardId(u16::MAX), u64::MAX).to_string();
        assert!(id.starts_with('7'));
        assert!(id.replacen('7', "z", 1).parse::<MessageId>().is_err());
        assert!(id.to_uppercase().parse::<MessageId>().is_err());
        let entry = format!("{id}.0");
        assert!(entry.parse::<EntryId>().is_ok());
        for bad in [format!("{id}.00"), format!("{id}."), format!("{id}.+1"), format!("{id}.65536"), id] {
            assert!(bad.parse::<EntryId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_entry_id_fits_uidl() {
        let id = MessageId::new(1, ShardId(0), 2).entry(u16::MAX).to_string();
        assert!(id.len() <= 70 && id.bytes().all(|b| (0x21..=0x7e).contains(&b))); // RFC 1939 §7
    }

    #[test]
    fn later_ids_sort_later() {
        assert!(MessageId::new(1, ShardId(9), u64::MAX) < MessageId::new(2, ShardId(0), 0));
    }

    #[test]
    fn queue_names_fold_case_and_refuse_space() {
        assert_eq!(QueueName::new("Example.COM").unwrap().as_str(), "example.com");
        assert!(
            QueueName::new("").is_err() && QueueName::new("a b").is_err() && QueueName::new("é").is_err()
        );
    }
}
