//! Taking messages in: enqueue, activation, withdrawal. Pure.

use posthouse_model::{Incarnation, MessageId, Timestamp};

use super::{State, lease::Picked};
use crate::{
    CHUNK_SIZE, MAX_ENTRIES, MAX_RECIPIENTS, TOMBSTONE_LIFE_MS,
    embedded::{
        effect::{Blob, Effect, EntryRow, Head, MessageRow, Phase, Stored},
        log::Blobs,
    },
    entry::{LaneId, NewEntry},
    message::{NewContent, NewMessage},
    record::{self, EntryBody},
    store::{StoreError, Withdrawn},
};

/// The longest [`Lane::source`](crate::Lane::source).
const MAX_SOURCE: usize = 255;

/// A message that is right in itself, encoded: what can be done before anybody has to wait.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) message: NewMessage,
    meta: Vec<u8>,
    bodies: Vec<Vec<u8>>,
    lanes: Vec<LaneId>,
}

impl Prepared {
    /// Checks a message and encodes it.
    pub(crate) fn new(message: NewMessage) -> Result<Self, StoreError> {
        check_message(&message)?;
        let meta = record::encode(&message.meta).map_err(unencodable)?;
        let mut bodies = Vec::with_capacity(message.entries.len());
        for entry in &message.entries {
            let body = EntryBody::new(entry, message.meta.received_at);
            bodies.push(record::encode(&body).map_err(unencodable)?);
        }
        let lanes = message.entries.iter().map(|entry| entry.lane().id()).collect();
        Ok(Self { message, meta, bodies, lanes })
    }

    /// The row of the message, its octets put among `blobs`, each entry with the phase that `phase` gives it.
    pub(crate) fn row(
        &self,
        blobs: &mut Blobs,
        confirmed: bool,
        mut phase: impl FnMut(&NewEntry) -> Phase,
    ) -> MessageRow<Blob> {
        let message = &self.message;
        let meta = blobs.push(&self.meta);
        let mut entries = Vec::with_capacity(message.entries.len());
        for (index, ((entry, body), lane)) in
            (0u16..).zip(message.entries.iter().zip(&self.bodies).zip(&self.lanes))
        {
            entries.push(EntryRow {
                index,
                queue: entry.queue.clone(),
                lane: *lane,
                recipients: u32::try_from(entry.recipients.len()).unwrap_or(u32::MAX),
                head: Head {
                    phase: phase(entry),
                    priority: entry.priority,
                    urgent: entry.urgent,
                    attend_at: entry.attend_at,
                    held_ms: 0,
                },
                body: blobs.push(body),
            });
        }
        let content = match &message.content {
            NewContent::Inline(content) => Stored::Log(blobs.push(content)),
            NewContent::Chunks(chunks) => Stored::File { chunks: *chunks },
        };
        MessageRow {
            id: message.id.into(),
            origin: message.meta.origin,
            received_at: message.meta.received_at,
            named: message.named,
            confirmed,
            next_index: u16::try_from(entries.len()).unwrap_or(u16::MAX),
            meta,
            content,
            entries,
        }
    }
}

/// Whether an entry is right in itself.
pub(crate) fn check_entry(entry: &NewEntry) -> Result<(), StoreError> {
    let recipients = entry.recipients.len();
    if recipients == 0 || recipients > MAX_RECIPIENTS {
        return Err(refused(format!("an entry has 1 to {MAX_RECIPIENTS} recipients, not {recipients}")));
    }
    if entry.priority > 9 {
        return Err(refused(format!("a priority is 0 to 9, not {}", entry.priority)));
    }
    if entry.source.len() > MAX_SOURCE {
        return Err(refused(format!("a source identity has at most {MAX_SOURCE} octets")));
    }
    Ok(())
}

fn check_message(message: &NewMessage) -> Result<(), StoreError> {
    let entries = message.entries.len();
    if entries == 0 || entries > MAX_ENTRIES {
        return Err(refused(format!("a message has 1 to {MAX_ENTRIES} entries, not {entries}")));
    }
    if message.id.shard() != super::super::SHARD {
        return Err(refused(format!("there is no shard {} here", message.id.shard().0)));
    }
    message.entries.iter().try_for_each(check_entry)?;
    match &message.content {
        NewContent::Inline(content) => {
            if content.len() > CHUNK_SIZE {
                return Err(refused(format!("content of {} octets cannot travel inline", content.len())));
            }
            if content.len() as u64 != message.meta.size || crc32fast::hash(content) != message.meta.crc32 {
                return Err(refused("the content has another length or checksum than it should".to_owned()));
            }
        }
        NewContent::Chunks(chunks) => {
            if u64::from(*chunks) != message.meta.size.div_ceil(CHUNK_SIZE as u64) || *chunks == 0 {
                return Err(refused(format!("{} octets are not {chunks} chunks", message.meta.size)));
            }
        }
    }
    Ok(())
}

fn refused(why: String) -> StoreError {
    StoreError::Refused(why)
}

#[allow(clippy::needless_pass_by_value)] // the shape that map_err wants
fn unencodable(error: record::RecordError) -> StoreError {
    StoreError::Refused(format!("the message cannot be stored: {error}"))
}

impl State {
    /// Whether this enqueue may go on. `Some(true)`: it is there already.
    pub(crate) fn admit(&self, who: Incarnation, id: MessageId, now: Timestamp) -> Result<bool, StoreError> {
        self.require_alive(who, now)?;
        if self.tombstones.get(&id).is_some_and(|until| *until > now) {
            return Err(StoreError::Withdrawn);
        }
        Ok(self.by_id.contains_key(&id))
    }

    /// Which of the fast entries of a message find their queue and their lane open.
    pub(crate) fn open(&self, prepared: &Prepared, fast: &[u16]) -> Vec<u16> {
        let entries = (0u16..).zip(prepared.message.entries.iter().zip(&prepared.lanes));
        let open = entries.filter(|(index, (entry, lane))| {
            let lane = self.lane_ids.get(lane).and_then(|number| self.lanes.at(*number));
            fast.contains(index)
                && self.mode_of(&entry.queue, entry.mode).hold.is_none()
                && lane.is_none_or(|lane| lane.until.is_none() && lane.due.is_empty())
        });
        open.map(|(index, _)| index).collect()
    }

    /// Gives a new message its owner, and the entries that found their lane open their leases.
    pub(crate) fn own(
        &mut self,
        who: Incarnation,
        prepared: &Prepared,
        open: &[u16],
        now: Timestamp,
    ) -> Vec<Option<Picked>> {
        let id = prepared.message.id;
        let Some((number, _)) = self.message(id) else { return Vec::new() };
        if let Some(message) = self.messages.at_mut(number) {
            message.owner = Some(who);
        }
        self.presences.entry(who).or_default().unconfirmed.insert(number);
        (0u16..)
            .zip(&prepared.message.entries)
            .map(|(index, _)| {
                let slot = self.find(id.entry(index)).filter(|_| open.contains(&index))?;
                self.begin_lease(slot, who, now, false, false)
            })
            .collect()
    }

    /// The effects of activating messages.
    pub(crate) fn plan_activate(&self, ids: &[MessageId], now: Timestamp) -> Vec<Effect> {
        let mut sequence = self.hold_sequence;
        let mut seen = std::collections::HashSet::new();
        ids.iter()
            .filter(|id| seen.insert(**id))
            .filter_map(|id| self.confirmation(*self.by_id.get(id)?, now, &mut sequence))
            .collect()
    }

    /// What a withdrawal comes to, and its effect.
    pub(crate) fn plan_withdraw(&self, id: MessageId, now: Timestamp) -> (Withdrawn, Option<Effect>) {
        let outcome = match self.message(id) {
            Some((_, message)) if message.confirmed => return (Withdrawn::TooLate, None),
            Some(_) => Withdrawn::Removed,
            None => Withdrawn::NotThere,
        };
        let until = Timestamp(now.0.saturating_add(TOMBSTONE_LIFE_MS));
        (outcome, Some(Effect::Withdrawn { id: id.into(), until }))
    }
}
