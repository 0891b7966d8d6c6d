//! A settlement and a message as arguments of the functions. Pure.

use bytes::Bytes;
use posthouse_model::{Incarnation, Timestamp};

use super::{
    intake::Argument,
    wire::{self, Making},
};
use crate::{LaneSignal, NewContent, NewMessage, Outcome, Remainder, Settlement};

/// A message's arguments of `enqueue.lua`.
pub(super) fn message(who: Incarnation, message: NewMessage, fast: &[u16]) -> Result<Vec<Argument>, String> {
    wire::check_message(&message)?;
    let mut arguments = Vec::with_capacity(7 + message.entries.len());
    arguments.push(Bytes::copy_from_slice(&who.0).into());
    arguments.push(Bytes::copy_from_slice(&message.id.to_bytes()).into());
    let chunked = matches!(message.content, NewContent::Chunks(_));
    arguments.push(Argument::ContentKey(chunked.then_some(message.id)));
    arguments.push(wire::chunk_check(&message).into());
    arguments.push(wire::new_message(&message)?.into());
    arguments.push(number(message.entries.len()));
    for (index, entry) in message.entries.iter().enumerate() {
        let making = Making {
            owner: Some(who),
            fast: fast.iter().any(|wanted| usize::from(*wanted) == index),
            received_at: message.meta.received_at,
            attempts: 0,
            delay_warned: false,
        };
        arguments.push(wire::new_entry(entry, &making)?.into());
    }
    arguments.insert(5, inline(message.content).into());
    Ok(arguments)
}

/// A settlement's arguments of `commit.lua`.
pub(super) fn settlement(settlement: &Settlement) -> Result<Vec<Argument>, String> {
    let Settlement { who, entry, token, outcomes, remainder, lane, attend_at, delay_warned, child } =
        settlement;
    let (staying, tally) = settlement.plan().map_err(|error| error.to_string())?;
    let none: &[crate::NewEntry] = &[];
    let (kind, time, parts): (u8, Timestamp, &[_]) = match remainder {
        Remainder::GiveBack => (0, Timestamp(0), none),
        Remainder::Defer(at) => (1, *at, none),
        Remainder::HoldAgain(at) => (2, *at, none),
        Remainder::Quarantine => (3, Timestamp(0), none),
        Remainder::Split(parts) => (4, Timestamp(0), parts),
    };
    let parts = if staying.is_empty() { none } else { parts };
    let (signal, backoff) = match lane {
        LaneSignal::None => (0, Timestamp(0)),
        LaneSignal::Works => (1, Timestamp(0)),
        LaneSignal::BackOff(until) => (2, *until),
    };

    let mut control = Vec::with_capacity(103);
    control.extend(wire::entry_key(entry.id));
    control.extend(who.0);
    control.extend(token.0.to_be_bytes());
    control.extend(length(outcomes.len())?);
    control.push(kind);
    control.extend(wire::time(time).to_be_bytes());
    control.push(signal);
    control.extend(wire::time(backoff).to_be_bytes());
    control.extend(wire::time(*attend_at).to_be_bytes());
    for count in [tally.delivered, tally.relayed, tally.failed, tally.fetched, tally.deleted, tally.discarded]
    {
        control.extend(count.to_be_bytes());
    }
    control.extend(length(staying.len())?);
    control.extend(u16::try_from(parts.len()).map_err(|_| "too many parts")?.to_be_bytes());
    control.push(u8::from(child.is_some()));

    let mut arguments =
        vec![Bytes::from_static(b"s").into(), control.into(), Argument::ContentKey(Some(entry.id.message))];
    let attempted = matches!(remainder, Remainder::Defer(_) | Remainder::HoldAgain(_));
    let unchanged = !attempted
        && *delay_warned == entry.delay_warned
        && outcomes.iter().all(|outcome| matches!(outcome, Outcome::Deferred(None)));
    let body = if staying.is_empty() || unchanged || matches!(remainder, Remainder::Split(_)) {
        Vec::new()
    } else {
        let attempts = entry.attempts.saturating_add(u32::from(attempted));
        wire::settled_body(entry, staying, attempts, *delay_warned)?
    };
    arguments.push(body.into());
    for part in parts {
        wire::check_entry(part)?;
        let making = Making {
            owner: None,
            fast: false,
            received_at: Timestamp(entry.id.message.time_ms()), // the function puts the true one into the head
            attempts: entry.attempts,
            delay_warned: *delay_warned,
        };
        arguments.push(wire::new_entry(part, &making)?.into());
    }
    if let Some(child) = child {
        if child.id == entry.id.message {
            return Err("a message cannot be its own child".to_owned());
        }
        if child.id.shard() != entry.id.shard() {
            return Err("a child lives in the shard of the message that it is born from".to_owned());
        }
        let mut own = message(Incarnation([0; 16]), (**child).clone(), &[])?.into_iter();
        // The same as an enqueue's but for the order of the first ones: a child has no incarnation that owns it.
        let (_, id, key, check) = (own.next(), own.next(), own.next(), own.next());
        arguments.extend([key, check, id].into_iter().flatten());
        arguments.extend(own);
    }
    Ok(arguments)
}

fn inline(content: NewContent) -> Bytes {
    match content {
        NewContent::Inline(content) => content,
        NewContent::Chunks(_) => Bytes::new(),
    }
}

fn number(number: usize) -> Argument {
    Bytes::from(number.to_string()).into()
}

fn length(length: usize) -> Result<[u8; 4], String> {
    u32::try_from(length).map(u32::to_be_bytes).map_err(|error| error.to_string())
}
