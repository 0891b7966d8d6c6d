//! Reading what a lease, a list or a query answers. Pure.

use std::sync::Arc;

use bytes::Bytes;
use posthouse_model::{EntryId, ReversePath, Timestamp};
use redis::Value;

use super::{reply, wire};
use crate::{Content, EntrySummary, HoldReason, LeaseToken, Leased, State, StoreError};

/// One entry of a lease: usable, or with a record that only quarantine is for.
pub(super) enum Found {
    /// It can be attempted.
    Usable(Box<Leased>),
    /// Its body or its message cannot be read.
    Unreadable(EntryId, LeaseToken),
}

/// Reads one leased entry from its four parts.
pub(super) fn leased(
    id: EntryId,
    record: &[u8],
    message: &[u8],
    content: Vec<u8>,
    flags: u64,
) -> Result<Found, StoreError> {
    let token = record
        .get(71..)
        .and_then(<[u8]>::first_chunk::<8>)
        .map(|octets| LeaseToken(u64::from_be_bytes(*octets)));
    let token = token.ok_or_else(|| reply::unexpected("a lease without a head"))?;
    let (Some((_, entry)), Some((chunks, meta))) = (wire::entry(id, record), wire::message(message)) else {
        return Ok(Found::Unreadable(id, token));
    };
    Ok(Found::Usable(Box::new(Leased {
        entry: Arc::new(entry),
        message: Arc::new(meta),
        content: if chunks > 0 { Content::Chunks(chunks) } else { Content::Inline(Bytes::from(content)) },
        token,
        attend: flags & 1 != 0,
        probe: flags & 2 != 0,
        held: flags & 4 != 0,
    })))
}

/// Reads the entries of a lease: five values each.
pub(super) fn lease(values: impl Iterator<Item = Value>) -> Result<Vec<Found>, StoreError> {
    let mut values = values;
    let mut found = Vec::new();
    while let Some(key) = values.next() {
        let id = entry_id(key)?;
        let record = reply::octets(reply::next(&mut values)?)?;
        let message = reply::octets(reply::next(&mut values)?)?;
        let content = reply::octets(reply::next(&mut values)?)?;
        let flags = reply::number(&reply::next(&mut values)?)?;
        found.push(leased(id, &record, &message, content, flags)?);
    }
    Ok(found)
}

/// An entry's id from its key.
pub(super) fn entry_id(key: Value) -> Result<EntryId, StoreError> {
    wire::entry_id(&reply::octets(key)?).ok_or_else(|| reply::unexpected("not an entry's key"))
}

/// Reads entries of a list: six values each.
pub(super) fn summaries(values: impl Iterator<Item = Value>) -> Result<Vec<EntrySummary>, StoreError> {
    let mut values = values;
    let mut found = Vec::new();
    while let Some(key) = values.next() {
        let id = entry_id(key)?;
        let record = reply::octets(reply::next(&mut values)?)?;
        let message = wire::message(&reply::octets(reply::next(&mut values)?)?);
        let state = wire::state(reply::number(&reply::next(&mut values)?)?);
        let hold =
            HoldReason::from_number(u8::try_from(reply::number(&reply::next(&mut values)?)?).unwrap_or(0));
        let backoff = reply::number(&reply::next(&mut values)?)?;
        let state = state.ok_or_else(|| reply::unexpected("not a state"))?;
        let entry = wire::entry(id, &record);
        let next_attempt = match (state, &entry) {
            (State::Deferred, Some((head, _))) => Some(wire::timestamp(head.at)),
            (State::Due, _) if backoff > 0 => Some(wire::timestamp(backoff)),
            _ => None,
        };
        let meta = message.map(|(_, meta)| meta);
        let received_at = match (&meta, &entry) {
            (Some(meta), _) => meta.received_at,
            (None, Some((head, _))) => wire::timestamp(head.received_at),
            (None, None) => Timestamp(id.message.time_ms()),
        };
        found.push(EntrySummary {
            id,
            state,
            received_at,
            size: meta.as_ref().map_or(0, |meta| meta.size),
            reverse_path: meta.map_or(ReversePath::Null, |meta| meta.envelope.reverse_path),
            next_attempt,
            hold,
            entry: entry.map(|(_, entry)| entry),
        });
    }
    Ok(found)
}
