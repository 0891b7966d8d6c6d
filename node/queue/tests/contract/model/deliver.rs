//! The model's settle: what became of each recipient, what stays, what is born.

use posthouse_model::{EntryId, Timestamp};
use posthouse_queue::{HoldReason, LaneSignal, Remainder, Settled, Settlement, StoreError, settle::Tally};

use super::{Place, State};

impl State {
    pub(crate) fn settle(&mut self, settlement: &Settlement, now: Timestamp) -> Result<Settled, StoreError> {
        let id = settlement.entry.id;
        let leased = self.items.get(&id).is_some_and(|item| {
            matches!(item.place, Place::Active { who, token, .. }
                if who == settlement.who && token == settlement.token)
        });
        if !leased {
            return Ok(Settled::Stale);
        }
        let (staying, tally) = settlement.plan().map_err(|error| StoreError::Refused(error.to_string()))?;
        if let Some(child) = &settlement.child {
            self.check_new(child)?;
            if child.id == id.message {
                return Err(StoreError::Refused("a message cannot be its own child".into()));
            }
        }
        self.confirm(id.message, now);
        self.count(tally);
        self.signal(settlement);
        if staying.is_empty() {
            self.remove(id);
        } else {
            let item = self.items.get_mut(&id).unwrap();
            item.entry.recipients = staying;
            item.entry.attend_at = settlement.attend_at;
            item.entry.delay_warned = settlement.delay_warned;
            self.remain(id, &settlement.remainder, now);
        }
        if let Some(child) = &settlement.child
            && !self.messages.contains_key(&child.id)
        {
            self.insert(settlement.who, (**child).clone());
            self.confirm(child.id, now);
        }
        Ok(Settled::Done)
    }

    fn count(&mut self, tally: Tally) {
        let Tally { delivered, relayed, failed, fetched, deleted, discarded } = tally;
        let to = &mut self.accounting;
        to.delivered += u64::from(delivered);
        to.relayed += u64::from(relayed);
        to.failed += u64::from(failed);
        to.fetched += u64::from(fetched);
        to.deleted += u64::from(deleted);
        to.discarded += u64::from(discarded);
        to.queued -= u64::from(delivered + relayed + failed + fetched + deleted + discarded);
    }

    /// What the attempt says of the lane, and the end of its probe.
    fn signal(&mut self, settlement: &Settlement) {
        let state = self.lanes.entry(settlement.entry.lane()).or_default();
        if state.probe == Some(settlement.entry.id) {
            state.probe = None;
        }
        match settlement.lane {
            LaneSignal::None => {}
            LaneSignal::Works => state.back_off = None,
            LaneSignal::BackOff(until) => {
                state.back_off = Some(state.back_off.map_or(until, |stored| stored.max(until)));
                state.emptied = false;
            }
        }
    }

    /// What happens to the recipients that stay.
    fn remain(&mut self, id: EntryId, remainder: &Remainder, now: Timestamp) {
        let item = self.items.get_mut(&id).unwrap();
        match remainder {
            Remainder::GiveBack => self.give_back(id, now),
            Remainder::Defer(until) => {
                item.entry.attempts += 1;
                item.place = Place::Deferred { until: *until };
            }
            Remainder::HoldAgain(until) => {
                item.entry.attempts += 1;
                item.place = Place::Deferred { until: *until };
                let queue = item.entry.queue.clone();
                if let Some(reason) = self.modes.get(&queue).and_then(|mode| mode.hold) {
                    self.hold_item(id, reason, now);
                }
            }
            Remainder::Quarantine => self.hold_item(id, HoldReason::Quarantine, now),
            Remainder::Split(parts) => {
                let whole = item.clone();
                for part in parts {
                    let mode = self.mode_of(&part.queue, part.mode);
                    let place = Place::Due { since: now };
                    let part = self.insert_entry(id.message, part.clone(), whole.received_at, place);
                    if let Some(reason) = mode.hold {
                        self.hold_item(part, reason, now);
                    }
                    let item = self.items.get_mut(&part).unwrap();
                    item.entry.attempts = whole.entry.attempts;
                    item.entry.held_ms = whole.entry.held_ms;
                    item.entry.delay_warned = whole.entry.delay_warned;
                    item.open_ms = whole.open_ms;
                }
                self.remove(id);
            }
        }
    }

    /// Puts an entry back to where it was before its lease.
    pub(crate) fn give_back(&mut self, id: EntryId, now: Timestamp) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let Place::Active { leased_at, before, .. } = item.place.clone() else { return };
        item.open_since = true;
        item.place = match *before {
            Place::Held { reason, sequence, .. } => {
                item.open_ms += now.0.saturating_sub(leased_at.0);
                Place::Held { reason, sequence, since: now }
            }
            before => before,
        };
        let lane = item.entry.lane();
        if let Some(state) = self.lanes.get_mut(&lane)
            && state.probe == Some(id)
        {
            state.probe = None;
        }
    }
}
