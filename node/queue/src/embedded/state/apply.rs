//! Applying effects: the only place that changes what outlives a crash; for an operation as it happens and for a log that is replayed. Pure.

use posthouse_model::{Incarnation, MessageId, Timestamp};

use super::{Entries, EntrySlot, JobSlot, MessageSlot, Slot, Small, State};
use crate::{
    embedded::effect::{Effect, EntryRow, Location, MessageRow, Phase, Position, Stored},
    hold::{HoldReason, Release, ReleaseScope},
};

impl State {
    /// Applies an effect whose blobs start at `base`. What it speaks of may be gone already: then it says nothing new.
    pub(crate) fn apply(&mut self, effect: &Effect, base: Position) {
        match effect {
            Effect::Message(row) => self.add_message(&row.map(|blob| base.locate(blob))),
            Effect::Confirmed { id, birth, phases } => {
                self.count.add(birth);
                self.confirm((*id).into(), phases);
            }
            Effect::Withdrawn { id, until } => {
                let id = (*id).into();
                let slots: Vec<Slot> =
                    self.message(id).map(|(_, m)| m.entries.as_slice().to_vec()).unwrap_or_default();
                for slot in slots {
                    self.remove_entry(slot);
                }
                self.tombstones.insert(id, *until);
                self.dirty_small.insert(Small::Tombstone(id));
            }
            Effect::Entry { id, index, head } => {
                if let Some(slot) = self.find(MessageId::from(*id).entry(*index)) {
                    self.end_lease(slot);
                    self.change(slot, |entry| entry.head = *head);
                }
            }
            Effect::Body { id, index, head, recipients, body } => {
                if let Some(slot) = self.find(MessageId::from(*id).entry(*index)) {
                    let (body, before) = (base.locate(*body), self.slots.at(slot).map(|e| e.recipients));
                    self.end_lease(slot);
                    self.move_body(slot, body);
                    self.change(slot, |entry| {
                        entry.head = *head;
                        entry.recipients = *recipients;
                    });
                    self.count_queued(slot, u64::from(*recipients), u64::from(before.unwrap_or(0)));
                }
            }
            Effect::Added { id, entry } => self.add_entry((*id).into(), &entry.map(|blob| base.locate(blob))),
            Effect::Gone { id, index } => {
                if let Some(slot) = self.find(MessageId::from(*id).entry(*index)) {
                    self.remove_entry(slot);
                }
            }
            Effect::Ended(count) => self.count.add(count),
            Effect::Mode { queue, mode } => {
                let number = self.queue_number(queue);
                if let Some(queue) = self.queues.at_mut(number) {
                    queue.mode = *mode;
                }
                self.dirty_small.insert(Small::Queue(queue.clone()));
            }
            Effect::Release { release, high } => self.apply_release(release, *high),
            Effect::Told(generation) => {
                self.told = self.told.max(*generation);
                self.dirty_small.insert(Small::Told);
            }
            Effect::Freed { queue, reason, at, high } => {
                self.hold_sequence = self.hold_sequence.max(*high);
                let number = self.queue_number(queue);
                self.release_queue(number, *reason, *at, *high);
            }
            Effect::Lane { lane, until } => {
                let number = self.lane_number(*lane);
                if let Some(lane) = self.lanes.at_mut(number) {
                    lane.until = *until;
                    self.woken = true;
                }
                self.list_lane(number);
                self.dirty_small.insert(Small::Lane(*lane));
            }
            Effect::Fact { kind, key, value, until } => {
                self.facts.insert((*kind, key.clone()), (value.clone(), *until));
                self.dirty_small.insert(Small::Fact(*kind, key.clone()));
            }
            Effect::NoFact { kind, key } => {
                self.facts.remove(&(*kind, key.clone()));
                self.dirty_small.insert(Small::Fact(*kind, key.clone()));
            }
            Effect::Job(job) => {
                let slot = self
                    .jobs
                    .entry(job.key.clone())
                    .or_insert_with(|| JobSlot { job: job.clone(), lease: None });
                slot.job = job.clone();
                self.dirty_small.insert(Small::Job(job.key.clone()));
            }
            Effect::NoJob { key } => {
                self.jobs.remove(key);
                self.dirty_small.insert(Small::Job(key.clone()));
            }
            Effect::Tokens(ceiling) => self.token_ceiling = self.token_ceiling.max(*ceiling),
            Effect::MovedMessage { id, meta, content } => {
                self.move_message((*id).into(), base.locate(*meta), content.map(|blob| base.locate(blob)));
            }
            Effect::MovedBody { id, index, body } => {
                if let Some(slot) = self.find(MessageId::from(*id).entry(*index)) {
                    self.move_body(slot, base.locate(*body));
                }
            }
            Effect::Leased { who, entries } => {
                for (id, index) in entries {
                    if let Some(slot) = self.find(MessageId::from(*id).entry(*index)) {
                        self.mark_leased(slot, Incarnation(*who));
                    }
                }
            }
        }
    }

    /// Puts a message and its entries there: from the log or from the index.
    pub(crate) fn add_message(&mut self, row: &MessageRow<Location>) {
        let id = MessageId::from(row.id);
        if self.by_id.contains_key(&id) {
            return; // the index was newer than the log that is replayed over it
        }
        let number = self.messages.insert(MessageSlot {
            id,
            origin: row.origin,
            received_at: row.received_at,
            named: row.named,
            confirmed: row.confirmed,
            indexed: false,
            next_index: row.next_index,
            meta: row.meta,
            content: row.content,
            entries: Entries::Many(Vec::new()),
            owner: None,
        });
        self.by_id.insert(id, number);
        self.live(row.meta, true);
        self.live_content(row.content, true);
        self.dirty.insert(id);
        for entry in &row.entries {
            self.insert_entry(number, entry);
        }
    }

    fn add_entry(&mut self, id: MessageId, row: &EntryRow<Location>) {
        if self.find(id.entry(row.index)).is_some() {
            return;
        }
        if let Some((number, _)) = self.message(id) {
            self.insert_entry(number, row);
            self.dirty.insert(id);
        }
    }

    fn insert_entry(&mut self, message: u32, row: &EntryRow<Location>) {
        let queue = self.queue_number(&row.queue);
        let lane = self.lane_number(row.lane);
        let slot = self.slots.insert(EntrySlot {
            message,
            index: row.index,
            queue,
            lane,
            recipients: row.recipients,
            leased: false,
            head: row.head,
            body: row.body,
        });
        if let Some(queue) = self.queues.at_mut(queue) {
            queue.entries += 1;
        }
        if let Some(lane) = self.lanes.at_mut(lane) {
            lane.entries += 1;
        }
        if let Some(message) = self.messages.at_mut(message) {
            message.entries.push(slot);
            message.next_index = message.next_index.max(row.index.saturating_add(1));
        }
        if let Phase::Held { sequence, .. } = row.head.phase {
            self.hold_sequence = self.hold_sequence.max(sequence);
        }
        self.live(row.body, true);
        self.count_queued(slot, row.recipients.into(), 0);
        self.index(slot);
    }

    fn confirm(&mut self, id: MessageId, phases: &[(u16, Phase)]) {
        let Some((number, _)) = self.message(id) else { return };
        let Some(message) = self.messages.at_mut(number) else { return };
        if message.confirmed {
            return;
        }
        message.confirmed = true;
        if let Some(owner) = message.owner.take()
            && let Some(presence) = self.presences.get_mut(&owner)
        {
            presence.unconfirmed.remove(&number);
        }
        let slots = message.entries.as_slice().to_vec();
        for slot in slots {
            let Some(entry) = self.slots.at(slot) else { continue };
            let (index, recipients) = (entry.index, entry.recipients);
            self.count_queued(slot, recipients.into(), 0);
            // A list of at most MAX_ENTRIES in the order of their indexes, nearly always of one.
            if let Ok(place) = phases.binary_search_by_key(&index, |(index, _)| *index)
                && let Some((_, phase)) = phases.get(place)
            {
                self.change(slot, |entry| entry.head.phase = *phase);
            }
        }
        self.dirty.insert(id);
    }

    fn remove_entry(&mut self, slot: Slot) {
        self.end_lease(slot);
        self.unindex(slot);
        let Some(recipients) = self.slots.at(slot).map(|entry| entry.recipients) else { return };
        self.count_queued(slot, 0, recipients.into());
        let Some(entry) = self.slots.remove(slot) else { return };
        self.live(entry.body, false);
        if let Some(queue) = self.queues.at_mut(entry.queue) {
            queue.entries = queue.entries.saturating_sub(1);
        }
        if let Some(lane) = self.lanes.at_mut(entry.lane) {
            lane.entries = lane.entries.saturating_sub(1);
        }
        let Some(message) = self.messages.at_mut(entry.message) else { return };
        message.entries.remove(slot);
        let (id, indexed, empty) = (message.id, message.indexed, message.entries.as_slice().is_empty());
        if empty {
            self.remove_message(entry.message);
        }
        if empty && !indexed {
            self.dirty.remove(&id); // it came and went between two checkpoints: the index never hears of it
        } else {
            self.dirty.insert(id);
        }
    }

    fn remove_message(&mut self, number: u32) {
        let Some(message) = self.messages.remove(number) else { return };
        self.by_id.remove(&message.id);
        self.live(message.meta, false);
        self.live_content(message.content, false);
        if let Stored::File { .. } = message.content {
            self.unlink.push(message.id);
        }
        if let Some(presence) = message.owner.and_then(|owner| self.presences.get_mut(&owner)) {
            presence.unconfirmed.remove(&number);
        }
    }

    /// Changes an entry between being taken out of the orders and put back.
    fn change(&mut self, slot: Slot, change: impl FnOnce(&mut EntrySlot)) {
        self.unindex(slot);
        if let Some(entry) = self.slots.at_mut(slot) {
            change(entry);
            if let Phase::Held { sequence, .. } = entry.head.phase {
                self.hold_sequence = self.hold_sequence.max(sequence);
            }
            if let Some(message) = self.messages.at(entry.message) {
                self.dirty.insert(message.id);
            }
        }
        self.index(slot);
    }

    fn apply_release(&mut self, release: &Release, high: u64) {
        self.hold_sequence = self.hold_sequence.max(high);
        self.releases.insert(release.id, release.at);
        self.dirty_small.insert(Small::Release(release.id.0));
        let queues: Vec<u32> = match &release.scope {
            ReleaseScope::Queue(name) => self.queue_names.get(name).copied().into_iter().collect(),
            ReleaseScope::All => self.queues.iter().map(|(number, _)| number).collect(),
        };
        for number in queues {
            self.release_queue(number, release.reason, release.at, high);
        }
    }

    fn release_queue(&mut self, number: u32, reason: HoldReason, at: Timestamp, high: u64) {
        let Some(queue) = self.queues.at_mut(number) else { return };
        let held = queue.of_mut(reason);
        if held.phases == 0 || high <= held.high() {
            return; // nothing is held that the releases before had not freed
        }
        held.releases.push((high, at));
        let freed = std::mem::take(&mut held.kept);
        queue.due += freed;
        let name = queue.name.clone();
        self.dirty_small.insert(Small::Queue(name));
        self.draining.insert(number);
        self.woken = true;
    }

    /// Forgets the releases of a queue that nothing waits for any more.
    pub(crate) fn prune_releases(&mut self, number: u32) {
        let Some(queue) = self.queues.at_mut(number) else { return };
        let mut pruned = false;
        for held in &mut queue.reasons {
            if held.releases.is_empty() {
                continue;
            }
            let before = held.releases.len();
            if held.phases == 0 {
                held.releases.clear();
            } else if held.phases == held.entries.len() as u64
                && let Some((lowest, _)) = held.entries.first_key_value()
            {
                // None of them is leased, so what is held lowest is what is held lowest.
                held.releases.retain(|(high, _)| high >= lowest);
            }
            pruned |= held.releases.len() < before;
        }
        if pruned {
            let name = queue.name.clone();
            self.dirty_small.insert(Small::Queue(name));
        }
    }

    fn move_message(&mut self, id: MessageId, meta: Location, content: Stored<Location>) {
        let Some((number, _)) = self.message(id) else { return };
        let Some(message) = self.messages.at_mut(number) else { return };
        let (old_meta, old_content) =
            (std::mem::replace(&mut message.meta, meta), std::mem::replace(&mut message.content, content));
        self.live(old_meta, false);
        self.live_content(old_content, false);
        self.live(meta, true);
        self.live_content(content, true);
        self.dirty.insert(id);
    }

    fn move_body(&mut self, slot: Slot, body: Location) {
        let Some(entry) = self.slots.at_mut(slot) else { return };
        let (old, message) = (std::mem::replace(&mut entry.body, body), entry.message);
        self.live(old, false);
        self.live(body, true);
        if let Some(message) = self.messages.at(message) {
            self.dirty.insert(message.id);
        }
    }

    fn live(&mut self, location: Location, more: bool) {
        let share = self.live.entry(location.segment).or_default();
        *share =
            if more { *share + u64::from(location.len) } else { share.saturating_sub(location.len.into()) };
    }

    fn live_content(&mut self, content: Stored<Location>, more: bool) {
        if let Stored::Log(location) = content {
            self.live(location, more);
        }
    }

    fn count_queued(&mut self, slot: Slot, more: u64, less: u64) {
        let message = self.slots.at(slot).and_then(|entry| self.messages.at(entry.message));
        if message.is_some_and(|message| message.confirmed) {
            self.queued = (self.queued + more).saturating_sub(less);
        }
    }

    /// What is over at `now` and can be forgotten: tombstones, facts, the ids of old releases.
    pub(crate) fn prune(&mut self, now: Timestamp, releases_before: Timestamp) {
        let dirty = &mut self.dirty_small;
        self.tombstones.retain(|id, until| {
            *until > now || {
                dirty.insert(Small::Tombstone(*id));
                false
            }
        });
        self.facts.retain(|(kind, key), (_, until)| {
            *until > now || {
                dirty.insert(Small::Fact(*kind, key.clone()));
                false
            }
        });
        self.releases.retain(|id, at| {
            *at > releases_before || {
                dirty.insert(Small::Release(id.0));
                false
            }
        });
    }
}
