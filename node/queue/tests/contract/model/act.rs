//! The model's holds, releases and claims, and what people do and see.

use std::collections::BTreeMap;

use posthouse_model::{EntryId, Incarnation, QueueName, Timestamp};
use posthouse_queue::{
    Act, Acted, Claim, ClaimId, Counts, EntrySummary, HoldReason, ListFilter, QueueMode, QueueTotals,
    Release, ReleaseId, ReleaseScope, State as Standing, StoreError,
};

use super::{Claimed, Item, Place, Recorded, State};

impl State {
    pub(crate) fn set_modes(
        &mut self,
        generation: u64,
        modes: &[(QueueName, Option<HoldReason>)],
        now: Timestamp,
    ) -> u64 {
        let before = self.told;
        if generation < before {
            return before;
        }
        self.told = generation;
        for (queue, hold) in modes {
            if self.modes.get(queue).map_or(0, |stored| stored.generation) >= generation {
                continue;
            }
            self.modes.insert(queue.clone(), QueueMode { hold: *hold, generation });
            for reason in HoldReason::OF_MODES.into_iter().filter(|reason| *hold != Some(*reason)) {
                let (history, high_water) = (self.next_history(), self.sequence);
                // Nobody can name it: it happens with its mode, once.
                let id = ReleaseId([0xff; 16]);
                let release = Release { id, scope: ReleaseScope::Queue(queue.clone()), reason, at: now };
                self.releases.push(Recorded { release, high_water, history });
            }
        }
        before
    }

    pub(crate) fn release(&mut self, release: &Release) -> u64 {
        if self.releases.iter().any(|recorded| recorded.release.id == release.id) {
            return 0;
        }
        let free =
            |state: &Self| state.items.values().filter(|item| state.freed(item).is_some()).count() as u64;
        let before = free(self);
        let history = self.next_history();
        let high_water = self.sequence;
        self.releases.push(Recorded { release: release.clone(), high_water, history });
        free(self) - before
    }

    pub(crate) fn claim(
        &mut self,
        who: Incarnation,
        id: ClaimId,
        queue: &QueueName,
        max: u32,
        now: Timestamp,
    ) -> Result<Option<Claim>, StoreError> {
        self.living(who, now)?;
        match self.claims.iter().find(|claim| claim.queue == *queue) {
            Some(claim) if claim.id != id || claim.who != who => return Ok(None),
            Some(_) => {}
            None => {
                let history = self.next_history();
                let high_water = self.sequence;
                self.claims.push(Claimed { id, who, queue: queue.clone(), high_water, history });
            }
        }
        let mut found: Vec<(u64, EntryId)> = self
            .items
            .iter()
            .filter(|(_, item)| self.claim_of(item).is_some_and(|claim| claim.id == id))
            .filter_map(|(id, item)| match item.place {
                Place::Held { sequence, .. } => Some((sequence, *id)),
                _ => None,
            })
            .collect();
        found.sort_unstable();
        let entries = found.into_iter().map(|(_, id)| id).take(max as usize).collect();
        Ok(Some(Claim { id, who, queue: queue.clone(), entries }))
    }

    pub(crate) fn unclaim(&mut self, id: ClaimId, queue: &QueueName) {
        self.claims.retain(|claim| claim.id != id || claim.queue != *queue);
    }

    pub(crate) fn act(&mut self, id: EntryId, act: Act, now: Timestamp) -> Acted {
        let Some(item) = self.items.get(&id) else { return Acted::NotThere };
        if matches!(item.place, Place::Incoming(_) | Place::Active { .. }) {
            return Acted::Busy;
        }
        if self.claim_of(item).is_some() {
            return Acted::NotApplicable;
        }
        let lane = item.entry.lane();
        if self.freed(item).is_some() {
            self.ripen_one(id, now);
        }
        let place = self.items[&id].place.clone();
        match (act, place) {
            (_, Place::Held { reason: HoldReason::Quarantine, .. })
            | (Act::Release, Place::Due { .. } | Place::Deferred { .. }) => return Acted::NotApplicable,
            (Act::Hold, Place::Held { reason: HoldReason::Administrator, .. }) => {}
            (Act::Hold, _) => {
                self.end_hold(id, now);
                self.hold_item(id, HoldReason::Administrator, now);
            }
            (Act::Release, _) => self.end_hold(id, now),
            (Act::Retry, place) => {
                if !matches!(place, Place::Due { .. }) {
                    self.end_hold(id, now);
                }
                self.open_lane(&lane);
            }
        }
        Acted::Done
    }

    /// Makes an entry due; if it was held, its clock runs again.
    fn end_hold(&mut self, id: EntryId, now: Timestamp) {
        let item = self.items.get_mut(&id).unwrap();
        if let Place::Held { since, .. } = item.place {
            item.entry.held_ms += now.0.saturating_sub(since.0);
        }
        // Its time had come: a lease before this may have moved it, and then it is due since that time.
        item.open_since |= matches!(item.place, Place::Deferred { until } if until <= now);
        item.place = Place::Due { since: now };
    }

    pub(crate) fn retry(&mut self, queue: Option<&QueueName>, now: Timestamp) -> u64 {
        let free = self.free(queue);
        let counted = free.iter().filter(|id| {
            let item = &self.items[id];
            let lane = self.lanes.get(&item.entry.lane());
            matches!(item.place, Place::Deferred { .. }) || lane.is_some_and(|lane| lane.back_off.is_some())
        });
        let counted = counted.count() as u64;
        for id in free {
            let item = &self.items[&id];
            let lane = item.entry.lane();
            if matches!(item.place, Place::Deferred { .. }) {
                self.end_hold(id, now);
            } else {
                self.ripen_one(id, now);
            }
            self.open_lane(&lane);
        }
        counted
    }

    /// What is due, by a release as well, or deferred.
    fn free(&self, queue: Option<&QueueName>) -> Vec<EntryId> {
        self.select(queue, |item| {
            matches!(item.place, Place::Due { .. } | Place::Deferred { .. }) || self.freed(item).is_some()
        })
    }

    pub(crate) fn hold(&mut self, queue: Option<&QueueName>, now: Timestamp) -> u64 {
        let free = self.free(queue);
        for id in &free {
            self.act(*id, Act::Hold, now);
        }
        free.len() as u64
    }

    fn select(&self, queue: Option<&QueueName>, wanted: impl Fn(&Item) -> bool) -> Vec<EntryId> {
        let of_queue = |item: &Item| queue.is_none_or(|queue| *queue == item.entry.queue);
        self.items.iter().filter(|(_, item)| of_queue(item) && wanted(item)).map(|(id, _)| *id).collect()
    }

    /// The state of an entry as a person sees it.
    pub(crate) fn standing(&self, item: &Item) -> Standing {
        match item.place {
            Place::Incoming(_) => Standing::Incoming,
            Place::Due { .. } => Standing::Due,
            Place::Deferred { .. } => Standing::Deferred,
            Place::Active { .. } => Standing::Active,
            Place::Held { .. } if self.freed(item).is_some() => Standing::Due,
            Place::Held { .. } => Standing::Held,
        }
    }

    pub(crate) fn counts(&self, queue: Option<&QueueName>) -> Counts {
        let of = |item: &&Item| queue.is_none_or(|queue| *queue == item.entry.queue);
        self.items.values().filter(of).fold(Counts::default(), |sum, item| sum + self.count_of(item))
    }

    pub(crate) fn totals(&self) -> Vec<QueueTotals> {
        let mut all: BTreeMap<&QueueName, QueueTotals> = BTreeMap::new();
        for item in self.items.values() {
            let queue = &item.entry.queue;
            let fresh = || QueueTotals { queue: queue.clone(), counts: Counts::default(), oldest: None };
            let totals = all.entry(queue).or_insert_with(fresh);
            totals.counts = totals.counts + self.count_of(item);
            if matches!(item.place, Place::Deferred { .. } | Place::Held { .. }) {
                let accepted = Timestamp(item.entry.id.message.time_ms());
                totals.oldest = Some(totals.oldest.map_or(accepted, |oldest| oldest.min(accepted)));
            }
        }
        all.into_values().collect()
    }

    /// One entry, counted.
    fn count_of(&self, item: &Item) -> Counts {
        let mut counts = Counts::default();
        *match self.standing(item) {
            Standing::Incoming => &mut counts.incoming,
            Standing::Due => &mut counts.due,
            Standing::Deferred => &mut counts.deferred,
            Standing::Held => &mut counts.held,
            Standing::Active => &mut counts.active,
        } = 1;
        counts
    }

    pub(crate) fn held(&self, queue: &QueueName, wanted: HoldReason) -> u64 {
        let held = self.select(Some(queue), |item| {
            matches!(item.place, Place::Held { reason, .. } if reason == wanted) && self.freed(item).is_none()
        });
        held.len() as u64
    }

    pub(crate) fn summary(&self, item: &Item) -> EntrySummary {
        let message = &self.messages[&item.entry.id.message];
        let state = self.standing(item);
        let back_off = self.lanes.get(&item.entry.lane()).and_then(|lane| lane.back_off);
        EntrySummary {
            entry: Some(item.entry.clone()),
            id: item.entry.id,
            state,
            received_at: item.received_at,
            size: message.meta.size,
            reverse_path: message.meta.envelope.reverse_path.clone(),
            next_attempt: match item.place {
                Place::Deferred { until } => Some(until),
                _ if state == Standing::Due => back_off,
                _ => None,
            },
            hold: match item.place {
                Place::Held { reason, .. } if state == Standing::Held => Some(reason),
                _ => None,
            },
        }
    }

    pub(crate) fn list(&self, filter: &ListFilter) -> Vec<EntrySummary> {
        self.items
            .values()
            .filter(|item| filter.queue.as_ref().is_none_or(|queue| *queue == item.entry.queue))
            .map(|item| self.summary(item))
            .filter(|summary| filter.state.is_none_or(|state| state == summary.state))
            .collect()
    }

    /// Whether a release is for this queue.
    pub(crate) fn reaches(release: &Release, queue: &QueueName) -> bool {
        match &release.scope {
            ReleaseScope::All => true,
            ReleaseScope::Queue(name) => name == queue,
        }
    }
}
