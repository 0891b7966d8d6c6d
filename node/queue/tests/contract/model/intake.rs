//! The model's intake: enqueue, confirm, withdraw, and what an incarnation's end does.

use std::sync::Arc;

use posthouse_model::{EntryId, Incarnation, MessageId, ShardId, Timestamp};
use posthouse_queue::{
    Content, Enqueued, Entry, LeaseToken, NewContent, NewEntry, NewMessage, Origin, Reaped, StoreError,
    TOMBSTONE_LIFE_MS, Withdrawn,
};

use super::{Item, Kept, Place, State, fault};

impl State {
    pub(crate) fn enqueue(
        &mut self,
        who: Incarnation,
        message: NewMessage,
        fast: &[u16],
        now: Timestamp,
    ) -> Result<Enqueued, StoreError> {
        self.living(who, now)?;
        self.check_new(&message)?;
        if self.tombstones.contains_key(&message.id) {
            return Err(StoreError::Withdrawn);
        }
        if self.messages.contains_key(&message.id) {
            return Ok(Enqueued { leases: vec![None; message.entries.len()], duplicate: true });
        }
        let leases = (0..).zip(&message.entries).map(|(index, entry)| {
            let asked = fast.contains(&index);
            (asked && self.fast_path_is_open(entry, now)).then_some(())
        });
        let leases: Vec<Option<()>> = leases.collect();
        let id = message.id;
        self.insert(who, message);
        let leases: Vec<Option<LeaseToken>> = leases
            .into_iter()
            .enumerate()
            .map(|(index, granted)| {
                granted?;
                let token = self.next_token();
                let item = self.items.get_mut(&id.entry(u16::try_from(index).unwrap()))?;
                let before = Box::new(Place::Due { since: now });
                item.place = Place::Active { who, token, leased_at: now, before };
                Some(token)
            })
            .collect();
        Ok(Enqueued { leases, duplicate: false })
    }

    pub(crate) fn check_new(&self, message: &NewMessage) -> Result<(), StoreError> {
        if message.id.shard() != ShardId(0) {
            return Err(StoreError::Refused("no such shard".into()));
        }
        match fault(message, self.chunks.get(&message.id)) {
            Some(fault) => Err(StoreError::Refused(fault.into())),
            None => Ok(()),
        }
    }

    fn fast_path_is_open(&self, entry: &NewEntry, now: Timestamp) -> bool {
        let lane = entry.lane();
        let due = |item: &Item| match item.place {
            Place::Due { .. } => true,
            Place::Deferred { until } => until <= now,
            Place::Held { .. } => self.freed(item).is_some(),
            Place::Incoming(_) | Place::Active { .. } => false,
        };
        let held = self.mode_of(&entry.queue, entry.mode).hold.is_some();
        let backed_off = self.lanes.get(&lane).is_some_and(|state| state.back_off.is_some());
        let waiting = self.items.values().any(|item| item.entry.lane() == lane && due(item));
        !held && !backed_off && !waiting
    }

    /// Writes a message and its entries, all incoming.
    pub(crate) fn insert(&mut self, owner: Incarnation, message: NewMessage) {
        let NewMessage { id, meta, content, named, entries } = message;
        let received_at = meta.received_at;
        let content = match content {
            NewContent::Inline(octets) => Content::Inline(octets),
            NewContent::Chunks(count) => {
                if let Some(chunks) = self.chunks.get_mut(&id) {
                    chunks.until = None;
                }
                Content::Chunks(count)
            }
        };
        let kept = Kept { meta: Arc::new(meta), content, named, owner, confirmed: false, next_index: 0 };
        self.messages.insert(id, kept);
        for new in entries {
            let mode = new.mode;
            self.insert_entry(id, new, received_at, Place::Incoming(mode));
        }
    }

    /// Writes one entry under the next index of its message.
    pub(crate) fn insert_entry(
        &mut self,
        id: MessageId,
        new: NewEntry,
        received_at: Timestamp,
        place: Place,
    ) -> EntryId {
        let message = self.messages.get_mut(&id).unwrap();
        let id = id.entry(message.next_index);
        message.next_index += 1;
        let NewEntry {
            queue,
            mode: _,
            route,
            source,
            snapshot,
            recipients,
            transforms,
            priority,
            urgent,
            attend_at,
        } = new;
        let entry = Entry {
            id,
            queue,
            route,
            source,
            snapshot,
            recipients,
            transforms,
            priority,
            urgent,
            attempts: 0,
            delay_warned: false,
            attend_at,
            held_ms: 0,
        };
        self.items.insert(id, Item { entry, place, received_at, open_ms: 0, open_since: false });
        id
    }

    /// Takes a message into the accounting and makes its incoming entries due or held. Answers how many those were.
    pub(crate) fn confirm(&mut self, id: MessageId, now: Timestamp) -> u64 {
        let Some(message) = self.messages.get_mut(&id) else { return 0 };
        if message.confirmed {
            return 0;
        }
        message.confirmed = true;
        let named = u64::from(message.named);
        let origin = message.meta.origin;
        let of_it = self.items.iter().filter(|(entry, _)| entry.message == id);
        let total: u64 = of_it.clone().map(|(_, item)| item.entry.recipients.len() as u64).sum();
        let incoming: Vec<_> = of_it
            .filter_map(|(entry, item)| match item.place {
                Place::Incoming(mode) => Some((*entry, self.mode_of(&item.entry.queue, mode))),
                _ => None,
            })
            .collect();
        let accounting = &mut self.accounting;
        match origin {
            Origin::Accepted => accounting.accepted += named,
            Origin::Generated => accounting.generated += named,
        }
        accounting.expanded += total.saturating_sub(named);
        accounting.discarded += named.saturating_sub(total);
        accounting.queued += total;
        for (entry, mode) in &incoming {
            match mode.hold {
                Some(reason) => self.hold_item(*entry, reason, now),
                None => self.items.get_mut(entry).unwrap().place = Place::Due { since: now },
            }
        }
        incoming.len() as u64
    }

    pub(crate) fn withdraw(&mut self, id: MessageId, now: Timestamp) -> Withdrawn {
        let there = match self.messages.get(&id) {
            Some(message) if message.confirmed => return Withdrawn::TooLate,
            Some(_) => true,
            None => false,
        };
        self.items.retain(|entry, _| entry.message != id);
        self.messages.remove(&id);
        self.chunks.remove(&id);
        self.tombstones.insert(id, Timestamp(now.0 + TOMBSTONE_LIFE_MS));
        if there { Withdrawn::Removed } else { Withdrawn::NotThere }
    }

    pub(crate) fn depart(&mut self, who: Incarnation, now: Timestamp) -> Reaped {
        if self.alive.remove(&who).is_none() {
            return Reaped::default();
        }
        self.departed.insert(who);
        let mut reaped = Reaped { incarnations: 1, ..Reaped::default() };
        let leased: Vec<EntryId> = self
            .items
            .iter()
            .filter(|(_, item)| matches!(&item.place, Place::Active { who: holder, .. } if *holder == who))
            .map(|(id, _)| *id)
            .collect();
        for id in leased {
            self.give_back(id, now);
            reaped.leases += 1;
        }
        let owned: Vec<MessageId> =
            self.messages.iter().filter(|(_, message)| message.owner == who).map(|(id, _)| *id).collect();
        for id in owned {
            reaped.activated += self.confirm(id, now);
        }
        self.claims.retain(|claim| claim.who != who);
        self.permits.retain(|(_, holder), _| *holder != who);
        self.reserved.remove(&who);
        for job in self.jobs.values_mut() {
            job.lease = job.lease.filter(|(holder, _)| *holder != who);
        }
        reaped
    }

    pub(crate) fn reap(&mut self, now: Timestamp) -> Reaped {
        let dead: Vec<Incarnation> =
            self.alive.iter().filter(|(_, until)| **until <= now).map(|(who, _)| *who).collect();
        let mut reaped = Reaped::default();
        for who in dead {
            let Reaped { incarnations, leases, activated } = self.depart(who, now);
            reaped.incarnations += incarnations;
            reaped.leases += leases;
            reaped.activated += activated;
        }
        self.tombstones.retain(|_, until| now < *until);
        self.facts.retain(|_, (_, until)| now < *until);
        self.chunks.retain(|_, chunks| chunks.until.is_none_or(|until| now < until));
        reaped
    }
}
