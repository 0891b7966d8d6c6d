//! Heads of records: fixed layouts that the functions read with `struct.unpack`, big-endian, in front of bodies that only we read. Pure.

use bytes::Bytes;
use posthouse_model::{EntryId, Incarnation, MessageId, Timestamp};

use super::keys::queue_hash;
use crate::{
    CHUNK_SIZE, Entry, HoldReason, MAX_ENTRIES, MAX_RECIPIENTS, MessageMeta, NewContent, NewEntry,
    NewMessage, Origin, State,
    record::{self, EntryBody},
};

/// The version of both heads.
const FORMAT: u8 = 1;

/// Octets of an entry's head: `ENTRY_SIZE` in `common/entries.lua`.
const ENTRY_HEAD: usize = 107;

/// Octets of a message's head: `MESSAGE_SIZE` in `common/messages.lua`.
const MESSAGE_HEAD: usize = 28;

/// The greatest number that Lua holds exactly; as a time it means "never".
const GREATEST: u64 = (1 << 53) - 1;

/// A time as the functions take it.
pub(super) fn time(at: Timestamp) -> u64 {
    at.0.min(GREATEST)
}

/// A time as the functions gave it.
pub(super) fn timestamp(number: u64) -> Timestamp {
    Timestamp(if number >= GREATEST { u64::MAX } else { number })
}

/// The 18 octets of an entry's key: message id and index.
pub(super) fn entry_key(id: EntryId) -> [u8; 18] {
    let mut key = [0; 18];
    key.iter_mut()
        .zip(id.message.to_bytes().into_iter().chain(id.index.to_be_bytes()))
        .for_each(|(to, from)| *to = from);
    key
}

/// The entry that a key names.
pub(super) fn entry_id(key: &[u8]) -> Option<EntryId> {
    let (message, index) = key.split_first_chunk::<16>()?;
    Some(EntryId {
        message: MessageId::from_bytes(*message),
        index: u16::from_be_bytes(index.try_into().ok()?),
    })
}

/// Checks what the contract asks of a message by itself; says what is wrong.
pub(super) fn check_message(message: &NewMessage) -> Result<(), String> {
    if message.entries.is_empty() || message.entries.len() > MAX_ENTRIES {
        return Err(format!("a message has 1 to {MAX_ENTRIES} entries, not {}", message.entries.len()));
    }
    message.entries.iter().try_for_each(check_entry)?;
    match &message.content {
        NewContent::Inline(content) if content.len() > CHUNK_SIZE => {
            Err(format!("{} octets of content do not travel inside the message", content.len()))
        }
        NewContent::Inline(content) if content.len() as u64 != message.meta.size => {
            Err(format!("the content has {} octets, the message says {}", content.len(), message.meta.size))
        }
        NewContent::Inline(content) if crc32fast::hash(content) != message.meta.crc32 => {
            Err("the checksum is not that of the content".to_owned())
        }
        NewContent::Chunks(count) => {
            let needed = message.meta.size.div_ceil(CHUNK_SIZE as u64);
            if *count == 0 || u64::from(*count) != needed {
                Err(format!("{} octets of content are not {count} chunks", message.meta.size))
            } else {
                Ok(())
            }
        }
        NewContent::Inline(_) => Ok(()),
    }
}

/// Checks what the contract asks of an entry by itself.
pub(super) fn check_entry(entry: &NewEntry) -> Result<(), String> {
    if entry.recipients.is_empty() || entry.recipients.len() > MAX_RECIPIENTS {
        return Err(format!("an entry has 1 to {MAX_RECIPIENTS} recipients, not {}", entry.recipients.len()));
    }
    if entry.priority > 9 {
        return Err(format!("priority {} is not 0 to 9", entry.priority));
    }
    if entry.source.len() > 255 || entry.source.contains('\0') {
        return Err("a source has at most 255 octets and no NUL".to_owned());
    }
    Ok(())
}

/// The record of a new message.
pub(super) fn new_message(message: &NewMessage) -> Result<Vec<u8>, String> {
    let meta = record::encode(&message.meta).map_err(|error| error.to_string())?;
    let entries = u16::try_from(message.entries.len()).map_err(|error| error.to_string())?;
    let chunks = if let NewContent::Chunks(count) = message.content { count } else { 0 };
    let total: usize = message.entries.iter().map(|entry| entry.recipients.len()).sum();
    let total = u32::try_from(total).map_err(|error| error.to_string())?;
    let mut head = Vec::with_capacity(MESSAGE_HEAD + meta.len());
    head.extend([FORMAT, 1]);
    head.extend(entries.to_be_bytes());
    head.extend(entries.to_be_bytes());
    head.extend(chunks.to_be_bytes());
    head.extend([0, if message.meta.origin == Origin::Accepted { 1 } else { 2 }]);
    head.extend(message.named.to_be_bytes());
    head.extend(total.to_be_bytes());
    head.extend(message.meta.size.min(GREATEST).to_be_bytes());
    head.extend(meta);
    Ok(head)
}

/// What is read of a message's record: how many chunks its content has (0: inline), and the rest.
pub(super) fn message(raw: &[u8]) -> Option<(u32, MessageMeta)> {
    let (head, meta) = raw.split_at_checked(MESSAGE_HEAD)?;
    let [FORMAT, 1, _, _, _, _, c0, c1, c2, c3, ..] = *head else { return None };
    Some((u32::from_be_bytes([c0, c1, c2, c3]), record::decode(meta).ok()?))
}

/// What a new entry's record is made for.
pub(super) struct Making {
    /// Who owns it from the start.
    pub(super) owner: Option<Incarnation>,
    /// A lease is wanted at once.
    pub(super) fast: bool,
    /// When its message was accepted.
    pub(super) received_at: Timestamp,
    /// Attempts and warning that it takes over from the entry that it was split from.
    pub(super) attempts: u32,
    /// See [`Making::attempts`].
    pub(super) delay_warned: bool,
}

/// The record of a new entry.
pub(super) fn new_entry(entry: &NewEntry, making: &Making) -> Result<Vec<u8>, String> {
    let mut body = EntryBody::new(entry, making.received_at);
    (body.attempts, body.delay_warned) = (making.attempts, making.delay_warned);
    let body = record::encode(&body).map_err(|error| error.to_string())?;
    let mut raw = Vec::with_capacity(ENTRY_HEAD + body.len());
    raw.extend([FORMAT, if making.fast { 5 } else { 1 }, 0]);
    raw.extend(entry.lane().id().0);
    raw.extend(queue_hash(&entry.queue));
    raw.extend([entry.priority, u8::from(entry.urgent), entry.mode.hold.map_or(0, HoldReason::number)]);
    raw.extend(entry.mode.generation.min(GREATEST).to_be_bytes());
    raw.extend(time(entry.attend_at).to_be_bytes());
    raw.extend([0; 16]); // due time, hold sequence
    raw.push(0); // hold reason
    raw.extend([0; 24]); // held since, held in all, token
    raw.extend(making.owner.map_or([0; 16], |who| who.0));
    raw.extend(u32::try_from(entry.recipients.len()).map_err(|error| error.to_string())?.to_be_bytes());
    raw.extend(time(making.received_at).to_be_bytes());
    raw.extend(body);
    Ok(raw)
}

/// The body that an entry has from now on: what a settle leaves of it.
pub(super) fn settled_body(
    entry: &Entry,
    recipients: Vec<crate::EntryRecipient>,
    attempts: u32,
    warned: bool,
) -> Result<Vec<u8>, String> {
    record::encode(&EntryBody {
        queue: entry.queue.clone(),
        route: entry.route.clone(),
        source: entry.source.clone(),
        snapshot: entry.snapshot,
        recipients,
        transforms: entry.transforms.clone(),
        attempts,
        delay_warned: warned,
        // A lease does not tell when the message was accepted, so a settle cannot write it: the head keeps it, and is what is read.
        received_at: Timestamp(entry.id.message.time_ms()),
    })
    .map_err(|error| error.to_string())
}

/// The numbers of an entry's head that we read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    priority: u8,
    urgent: bool,
    attend_at: u64,
    /// When it became due, or will be.
    pub(super) at: u64,
    held_ms: u64,
    /// When its message was accepted.
    pub(super) received_at: u64,
}

/// Reads an entry's record; `None`: damaged, or written by a newer program.
pub(super) fn entry(id: EntryId, raw: &[u8]) -> Option<(Head, Entry)> {
    let (head, body) = raw.split_at_checked(ENTRY_HEAD)?;
    let octet = |place: usize| head.get(place).copied();
    let number =
        |place: usize| head.get(place..)?.first_chunk::<8>().map(|octets| u64::from_be_bytes(*octets));
    if octet(0)? != FORMAT {
        return None;
    }
    let head = Head {
        priority: octet(19)?,
        urgent: octet(20)? == 1,
        attend_at: number(30)?,
        at: number(38)?,
        held_ms: number(63)?,
        received_at: number(99)?,
    };
    let body: EntryBody = record::decode(body).ok()?;
    let entry = Entry {
        id,
        queue: body.queue,
        route: body.route,
        source: body.source,
        snapshot: body.snapshot,
        recipients: body.recipients,
        transforms: body.transforms,
        priority: head.priority,
        urgent: head.urgent,
        attempts: body.attempts,
        delay_warned: body.delay_warned,
        attend_at: timestamp(head.attend_at),
        held_ms: head.held_ms,
    };
    Some((head, entry))
}

/// The state with this number.
pub(super) fn state(number: u64) -> Option<State> {
    Some(match number {
        1 => State::Incoming,
        2 => State::Due,
        3 => State::Deferred,
        4 => State::Held,
        5 => State::Active,
        _ => return None,
    })
}

/// The number of a state.
pub(super) fn state_number(state: State) -> u8 {
    match state {
        State::Incoming => 1,
        State::Due => 2,
        State::Deferred => 3,
        State::Held => 4,
        State::Active => 5,
    }
}

/// What the enqueue checks chunks by: the checksum of the whole, and what appending a full chunk, and the last one, does to each bit of a
/// CRC-32, so that checksums of chunks are joined inside the function without reading the chunks.
pub(super) fn chunk_check(message: &NewMessage) -> Bytes {
    let NewContent::Chunks(count) = message.content else { return Bytes::new() };
    let full = CHUNK_SIZE as u64;
    let last = message.meta.size.saturating_sub(u64::from(count.saturating_sub(1)) * full);
    let mut check = Vec::with_capacity(4 + 2 * 128);
    check.extend(message.meta.crc32.to_be_bytes());
    for length in [full, last] {
        for bit in 0..32 {
            let mut hasher = crc32fast::Hasher::new_with_initial(1 << bit);
            hasher.combine(&crc32fast::Hasher::new_with_initial_len(0, length));
            check.extend(hasher.finalize().to_be_bytes());
        }
    }
    check.into()
}
