//! Settling: the end of an attempt as effects. Pure.

use posthouse_model::Timestamp;

use super::{Slot, State, intake::Prepared};
use crate::{
    embedded::{
        effect::{Count, Effect, EntryRow, Head, Phase},
        log::Blobs,
    },
    entry::{EntryRecipient, NewEntry},
    hold::{HoldReason, QueueMode},
    record::{self, EntryBody},
    settle::{LaneSignal, Remainder, Settlement, Tally},
    store::StoreError,
};

/// A settlement that is right in itself: what can be worked out before anybody has to wait.
#[derive(Debug)]
pub(crate) struct Planned {
    staying: Vec<EntryRecipient>,
    tally: Tally,
    pub(crate) child: Option<Prepared>,
}

impl Planned {
    /// Checks a settlement.
    pub(crate) fn new(settlement: &Settlement) -> Result<Self, StoreError> {
        let (staying, tally) = settlement.plan().map_err(|error| StoreError::Refused(error.to_string()))?;
        if let Remainder::Split(parts) = &settlement.remainder {
            parts.iter().try_for_each(super::intake::check_entry)?;
        }
        if settlement.child.as_ref().is_some_and(|child| child.id == settlement.entry.id.message) {
            return Err(StoreError::Refused("a message cannot be its own child".to_owned()));
        }
        let child = settlement.child.as_deref().cloned().map(Prepared::new).transpose()?;
        Ok(Self { staying, tally, child })
    }
}

impl State {
    /// Whether a settlement is of a lease that is not over.
    pub(crate) fn is_current(&self, settlement: &Settlement) -> bool {
        self.find(settlement.entry.id)
            .and_then(|slot| self.leases.get(&slot))
            .is_some_and(|lease| lease.token == settlement.token && lease.who == settlement.who)
    }

    /// The effects of a settlement, and the entry's place. `None`: the lease is no longer this one.
    pub(crate) fn plan_settle(
        &self,
        settlement: &Settlement,
        planned: &Planned,
        blobs: &mut Blobs,
        now: Timestamp,
    ) -> Result<Option<(Slot, Vec<Effect>)>, StoreError> {
        let id = settlement.entry.id;
        let Some(slot) = self.find(id) else { return Ok(None) };
        let (Some(entry), Some(lease)) = (self.slots.at(slot), self.leases.get(&slot)) else {
            return Ok(None);
        };
        if lease.token != settlement.token || lease.who != settlement.who {
            return Ok(None);
        }
        if settlement.entry.recipients.len() != entry.recipients as usize {
            return Err(StoreError::Refused("the settlement is of other recipients than leased".to_owned()));
        }
        let mut sequence = self.hold_sequence;
        let mut effects = Vec::new();
        let confirmation = self.confirmation(entry.message, now, &mut sequence);
        // A fast entry that is settled has been due all along.
        let phase = match entry.head.phase {
            Phase::Incoming { .. } => Phase::Due { since: now },
            phase => phase,
        };
        effects.extend(confirmation);
        let ended = Count::from(planned.tally);
        if ended != Count::default() {
            effects.push(Effect::Ended(ended));
        }
        let gone = Effect::Gone { id: id.message.into(), index: id.index };
        match &settlement.remainder {
            _ if planned.staying.is_empty() => effects.push(gone),
            Remainder::Split(parts) => {
                self.split(slot, settlement, parts, blobs, now, &mut sequence, &mut effects)?;
                effects.push(gone);
            }
            remainder => {
                let held_ms = match remainder {
                    Remainder::GiveBack => entry.head.held_ms,
                    _ => lease.held_ms,
                };
                let phase = match remainder {
                    Remainder::Defer(at) => Phase::Deferred { at: *at },
                    Remainder::HoldAgain(at) => match self.mode(entry.queue, QueueMode::default()).hold {
                        Some(reason) => held(reason, &mut sequence, now),
                        None => Phase::Deferred { at: *at },
                    },
                    Remainder::Quarantine => held(HoldReason::Quarantine, &mut sequence, now),
                    Remainder::GiveBack | Remainder::Split(_) => phase,
                };
                let attend_at = settlement.attend_at;
                let head = Head { phase, attend_at, held_ms, ..entry.head };
                effects.extend(self.rest(slot, settlement, planned, head, blobs)?);
            }
        }
        effects.extend(self.signal(entry.lane, settlement.lane));
        if let Some(child) = &planned.child
            && !self.by_id.contains_key(&child.message.id)
        {
            let message = &child.message;
            let row = child.row(blobs, true, |entry| self.first_phase(entry, &mut sequence, now));
            let recipients = message.entries.iter().map(|entry| entry.recipients.len() as u64).sum();
            effects.push(Effect::Message(row));
            effects.push(Effect::Ended(Count::birth(message.meta.origin, message.named, recipients)));
        }
        Ok(Some((slot, effects)))
    }

    /// The effect on an entry of which something stays.
    fn rest(
        &self,
        slot: Slot,
        settlement: &Settlement,
        planned: &Planned,
        head: Head,
        blobs: &mut Blobs,
    ) -> Result<Option<Effect>, StoreError> {
        let (entry, Some(place)) = (&settlement.entry, self.slots.at(slot)) else { return Ok(None) };
        let counted = matches!(settlement.remainder, Remainder::Defer(_) | Remainder::HoldAgain(_));
        let attempts = entry.attempts.saturating_add(counted.into());
        let (id, index) = (entry.id.message.into(), entry.id.index);
        let same = attempts == entry.attempts
            && settlement.delay_warned == entry.delay_warned
            && planned.staying == entry.recipients;
        if same {
            return Ok(Some(Effect::Entry { id, index, head })); // with the same head too: it tells that the lease is over
        }
        if self.lanes.at(place.lane).is_none_or(|lane| lane.id != entry.lane().id()) {
            return Err(StoreError::Refused("the settlement is of another lane than leased".to_owned()));
        }
        let body = EntryBody {
            queue: entry.queue.clone(),
            route: entry.route.clone(),
            source: entry.source.clone(),
            snapshot: entry.snapshot,
            recipients: planned.staying.clone(),
            transforms: entry.transforms.clone(),
            attempts,
            delay_warned: settlement.delay_warned,
            received_at: self.messages.at(place.message).map(|m| m.received_at).unwrap_or_default(),
        };
        let recipients = u32::try_from(planned.staying.len()).unwrap_or(u32::MAX);
        let body = blobs.push(&encode(&body)?);
        Ok(Some(Effect::Body { id, index, head, recipients, body }))
    }

    #[allow(clippy::too_many_arguments)] // one step of `plan_settle`, on everything that it has at hand
    fn split(
        &self,
        slot: Slot,
        settlement: &Settlement,
        parts: &[NewEntry],
        blobs: &mut Blobs,
        now: Timestamp,
        sequence: &mut u64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        let Some(place) = self.slots.at(slot) else { return Ok(()) };
        let Some(message) = self.messages.at(place.message) else { return Ok(()) };
        let held_ms = self.leases.get(&slot).map_or(place.head.held_ms, |lease| lease.held_ms);
        let last = usize::from(message.next_index) + parts.len();
        let together = message.entries.as_slice().len() + parts.len() - 1;
        if last > usize::from(u16::MAX) || together > crate::MAX_ENTRIES {
            return Err(StoreError::Refused(format!(
                "the split would make a message of {together} entries, up to number {last}"
            )));
        }
        for (index, part) in (message.next_index..).zip(parts) {
            let body = EntryBody {
                attempts: settlement.entry.attempts,
                delay_warned: settlement.delay_warned,
                ..EntryBody::new(part, message.received_at)
            };
            let head = Head {
                phase: self.first_phase(part, sequence, now),
                priority: part.priority,
                urgent: part.urgent,
                attend_at: part.attend_at,
                held_ms,
            };
            let entry = EntryRow {
                index,
                queue: part.queue.clone(),
                lane: part.lane().id(),
                recipients: u32::try_from(part.recipients.len()).unwrap_or(u32::MAX),
                head,
                body: blobs.push(&encode(&body)?),
            };
            effects.push(Effect::Added { id: message.id.into(), entry });
        }
        Ok(())
    }

    /// The phase of an entry that is confirmed from the start.
    fn first_phase(&self, entry: &NewEntry, sequence: &mut u64, now: Timestamp) -> Phase {
        match self.mode_of(&entry.queue, entry.mode).hold {
            Some(reason) => held(reason, sequence, now),
            None => Phase::Due { since: now },
        }
    }

    /// The effect of what is known of a lane.
    fn signal(&self, number: u32, signal: LaneSignal) -> Option<Effect> {
        let lane = self.lanes.at(number)?;
        let until = match signal {
            LaneSignal::None => return None,
            LaneSignal::Works => None,
            LaneSignal::BackOff(until) => Some(lane.until.map_or(until, |stored| stored.max(until))),
        };
        (until != lane.until).then_some(Effect::Lane { lane: lane.id, until })
    }
}

fn held(reason: HoldReason, sequence: &mut u64, since: Timestamp) -> Phase {
    *sequence += 1;
    Phase::Held { reason, sequence: *sequence, since }
}

fn encode(body: &EntryBody) -> Result<Vec<u8>, StoreError> {
    record::encode(body)
        .map_err(|error| StoreError::Refused(format!("the settlement cannot be stored: {error}")))
}
