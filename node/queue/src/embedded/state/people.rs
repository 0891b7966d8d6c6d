//! What people ask and do: counts, lists, acts on one entry and on whole queues. Pure.

use posthouse_model::{EntryId, MessageId, QueueName, Timestamp};

use super::{EntrySlot, QueueSlot, Slot, State, lease::View};
use crate::{
    accounting::{Accounting, Counts, QueueTotals, State as Shown},
    embedded::effect::{Effect, Head, Phase},
    hold::HoldReason,
    store::{Act, Acted},
};

/// An entry in a list, before its record is read.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) view: View,
    pub(crate) state: Shown,
    pub(crate) next_attempt: Option<Timestamp>,
    pub(crate) hold: Option<HoldReason>,
}

impl State {
    /// The state of an entry as a person sees it: what a release freed is due, moved or not.
    pub(crate) fn shown(&self, entry: &EntrySlot) -> Shown {
        match entry.head.phase {
            _ if entry.leased => Shown::Active,
            Phase::Incoming { .. } => Shown::Incoming,
            Phase::Due { .. } => Shown::Due,
            Phase::Deferred { .. } => Shown::Deferred,
            Phase::Held { .. } if self.released_at(entry.queue, entry.head.phase).is_some() => Shown::Due,
            Phase::Held { .. } => Shown::Held,
        }
    }

    /// An entry for a list.
    pub(crate) fn listed(&self, slot: Slot) -> Option<Listed> {
        let entry = self.slots.at(slot)?;
        let state = self.shown(entry);
        let (next_attempt, hold) = match (state, entry.head.phase) {
            (Shown::Deferred, Phase::Deferred { at }) => (Some(at), None),
            (Shown::Due, _) => (self.lanes.at(entry.lane).and_then(|lane| lane.until), None),
            (Shown::Held, Phase::Held { reason, .. }) => (None, Some(reason)),
            _ => (None, None),
        };
        Some(Listed { view: self.view(slot)?, state, next_attempt, hold })
    }

    /// Entries from a place on, at most `max`, and the place to go on from.
    pub(crate) fn list(
        &self,
        queue: Option<&QueueName>,
        state: Option<Shown>,
        from: u64,
        max: usize,
        look_at: u32,
    ) -> (Vec<Listed>, Option<u64>) {
        let queue = match queue.map(|name| self.queue_names.get(name)) {
            Some(None) => return (Vec::new(), None),
            Some(Some(number)) => Some(*number),
            None => None,
        };
        let mut found = Vec::new();
        let mut slot = u32::try_from(from).unwrap_or(u32::MAX);
        let stop = slot.saturating_add(look_at).min(self.slots.end());
        while slot < stop && found.len() < max {
            if let Some(entry) = self.slots.at(slot)
                && queue.is_none_or(|queue| queue == entry.queue)
                && state.is_none_or(|state| state == self.shown(entry))
            {
                found.extend(self.listed(slot));
            }
            slot += 1;
        }
        (found, (slot < self.slots.end()).then_some(slot.into()))
    }

    /// Entries by state.
    pub(crate) fn counts(&self, queue: Option<&QueueName>) -> Counts {
        match queue {
            // Clients poll it to learn whether a queue is drained: not a walk over all of them.
            Some(name) => {
                let queue = self.queue_names.get(name).and_then(|number| self.queues.at(*number));
                queue.map(QueueSlot::counts).unwrap_or_default()
            }
            None => self.queues.iter().fold(Counts::default(), |sum, (_, queue)| sum + queue.counts()),
        }
    }

    /// What some queues have, at most `max` looked at, and the place to go on from.
    pub(crate) fn totals(&self, from: u64, max: u32) -> (Vec<QueueTotals>, Option<u64>) {
        let from = u32::try_from(from).unwrap_or(u32::MAX);
        let stop = from.saturating_add(max).min(self.queues.end());
        let found =
            (from..stop).filter_map(|number| self.queues.at(number)).filter(|queue| queue.entries > 0);
        let totals = found.map(|queue| QueueTotals {
            queue: queue.name.clone(),
            counts: queue.counts(),
            oldest: queue.waiting.first().map(|(id, _)| Timestamp(MessageId::from_bytes(*id).time_ms())),
        });
        (totals.collect(), (stop < self.queues.end()).then_some(stop.into()))
    }

    /// Entries held for a reason and not released.
    pub(crate) fn held(&self, queue: &QueueName, reason: HoldReason) -> u64 {
        let queue = self.queue_names.get(queue).and_then(|number| self.queues.at(*number));
        queue.map_or(0, |queue| queue.of(reason).kept)
    }

    /// The accounting.
    pub(crate) fn accounting(&self) -> Accounting {
        let count = &self.count;
        Accounting {
            accepted: count.accepted,
            expanded: count.expanded,
            generated: count.generated,
            delivered: count.delivered,
            relayed: count.relayed,
            failed: count.failed,
            fetched: count.fetched,
            deleted: count.deleted,
            discarded: count.discarded,
            queued: self.queued,
        }
    }

    /// What an act comes to, and its effects.
    pub(crate) fn plan_act(&self, id: EntryId, act: Act, now: Timestamp) -> (Acted, Vec<Effect>) {
        let Some(slot) = self.find(id) else { return (Acted::NotThere, Vec::new()) };
        let Some(entry) = self.slots.at(slot) else { return (Acted::NotThere, Vec::new()) };
        if entry.leased || matches!(entry.head.phase, Phase::Incoming { .. }) {
            return (Acted::Busy, Vec::new());
        }
        if self.is_claimed(entry.queue, entry.head.phase) {
            return (Acted::NotApplicable, Vec::new());
        }
        // What was released is due, whether or not it has been moved.
        let (mut effects, head) = match self.freed(slot) {
            Some(Effect::Entry { id, index, head }) => (vec![Effect::Entry { id, index, head }], head),
            _ => (Vec::new(), entry.head),
        };
        let changed = match (act, head.phase) {
            (Act::Hold, Phase::Held { reason: HoldReason::Administrator, .. })
            | (Act::Retry, Phase::Due { .. } | Phase::Incoming { .. }) => None,
            (_, Phase::Held { reason: HoldReason::Quarantine, .. })
            | (Act::Release, Phase::Due { .. } | Phase::Deferred { .. } | Phase::Incoming { .. }) => {
                return (Acted::NotApplicable, Vec::new());
            }
            (Act::Hold, _) => Some(self.held_by_person(head, self.hold_sequence + 1, now)),
            (Act::Release | Act::Retry, Phase::Held { since, .. }) => Some(Head {
                phase: Phase::Due { since: now },
                held_ms: head.held_ms.saturating_add(now.0.saturating_sub(since.0)),
                ..head
            }),
            (Act::Retry, Phase::Deferred { .. }) => Some(Head { phase: Phase::Due { since: now }, ..head }),
        };
        if let Some(head) = changed {
            effects = vec![Effect::Entry { id: id.message.into(), index: id.index, head }];
        }
        if act == Act::Retry {
            effects.extend(self.opening(entry.lane));
        }
        (Acted::Done, effects)
    }

    /// The effects of a part of making a queue's deferred entries due, and of opening the lanes of what is due already: from a place on. Answers how many, and where to go on.
    pub(crate) fn plan_retry(
        &self,
        queue: Option<&QueueName>,
        from: Slot,
        look_at: u32,
        now: Timestamp,
    ) -> (u64, Vec<Effect>, Option<Slot>) {
        let mut lanes = std::collections::BTreeSet::new();
        // With the first part: the lanes of what is due already and waits behind a back-off.
        let behind = if from == 0 { self.lanes_behind_back_off(queue) } else { Vec::new() };
        let waited: u64 = behind.iter().map(|(_, due)| *due).sum();
        lanes.extend(behind.into_iter().map(|(lane, _)| lane));
        let mut unchanged = 0;
        let (mut effects, next) = self.walk(queue, from, look_at, |entry| match entry.head.phase {
            Phase::Deferred { .. } => {
                lanes.insert(entry.lane);
                Some(Head { phase: Phase::Due { since: now }, ..entry.head })
            }
            // What was released is due, whether or not it has been moved.
            Phase::Held { since, .. } if !self.is_claimed(entry.queue, entry.head.phase) => {
                let at = self.released_at(entry.queue, entry.head.phase)?;
                let backed_off = self.lanes.at(entry.lane).is_some_and(|lane| lane.until.is_some());
                unchanged += u64::from(!backed_off);
                lanes.insert(entry.lane);
                let held_ms = entry.head.held_ms.saturating_add(at.0.saturating_sub(since.0));
                Some(Head { phase: Phase::Due { since: at }, held_ms, ..entry.head })
            }
            _ => None,
        });
        let changed = (effects.len() as u64 + waited).saturating_sub(unchanged);
        effects.extend(lanes.into_iter().filter_map(|lane| self.opening(lane)));
        (changed, effects, next)
    }

    /// The lanes of a queue, or of all, that are backed off and have due entries, with how many.
    fn lanes_behind_back_off(&self, queue: Option<&QueueName>) -> Vec<(u32, u64)> {
        let only = queue.map(|name| self.queue_names.get(name).copied());
        let of_queue =
            |slot: Slot| self.slots.at(slot).is_some_and(|e| only.is_none_or(|only| only == Some(e.queue)));
        let behind = self.lanes.iter().filter(|(_, lane)| lane.until.is_some());
        let behind = behind.filter(|(_, lane)| lane.due.first().is_some_and(|key| of_queue(key.slot)));
        behind.map(|(number, lane)| (number, lane.due.len() as u64)).collect()
    }

    /// The effects of a part of holding a queue's due and deferred entries.
    pub(crate) fn plan_hold(
        &self,
        queue: Option<&QueueName>,
        from: Slot,
        look_at: u32,
        now: Timestamp,
    ) -> (u64, Vec<Effect>, Option<Slot>) {
        let mut sequence = self.hold_sequence;
        let (effects, next) = self.walk(queue, from, look_at, |entry| {
            let head = match (entry.head.phase, self.released_at(entry.queue, entry.head.phase)) {
                (Phase::Held { since, .. }, Some(at)) if !self.is_claimed(entry.queue, entry.head.phase) => {
                    Head {
                        phase: Phase::Due { since: at },
                        held_ms: entry.head.held_ms.saturating_add(at.0.saturating_sub(since.0)),
                        ..entry.head
                    }
                }
                (Phase::Due { .. } | Phase::Deferred { .. }, _) => entry.head,
                _ => return None,
            };
            sequence += 1;
            Some(self.held_by_person(head, sequence, now))
        });
        (effects.len() as u64, effects, next)
    }

    fn walk(
        &self,
        queue: Option<&QueueName>,
        from: Slot,
        look_at: u32,
        mut change: impl FnMut(&EntrySlot) -> Option<Head>,
    ) -> (Vec<Effect>, Option<Slot>) {
        let only = queue.map(|name| self.queue_names.get(name).copied());
        let stop = from.saturating_add(look_at).min(self.slots.end());
        let mut effects = Vec::new();
        for slot in from..stop {
            if let Some(entry) = self.slots.at(slot)
                && !entry.leased
                && only.is_none_or(|only| only == Some(entry.queue))
                && let Some(head) = change(entry)
            {
                let id = self.id(entry);
                effects.push(Effect::Entry { id: id.message.into(), index: id.index, head });
            }
        }
        (effects, (stop < self.slots.end()).then_some(stop))
    }

    /// A head held for `Administrator`; a hold before that ends, its time kept.
    #[allow(clippy::unused_self)] // reads as the others do
    fn held_by_person(&self, head: Head, sequence: u64, now: Timestamp) -> Head {
        let before = match head.phase {
            Phase::Held { since, .. } => now.0.saturating_sub(since.0),
            _ => 0,
        };
        Head {
            phase: Phase::Held { reason: HoldReason::Administrator, sequence, since: now },
            held_ms: head.held_ms.saturating_add(before),
            ..head
        }
    }

    fn opening(&self, number: u32) -> Option<Effect> {
        let lane = self.lanes.at(number).filter(|lane| lane.until.is_some())?;
        Some(Effect::Lane { lane: lane.id, until: None })
    }
}

impl QueueSlot {
    /// Its entries by state.
    fn counts(&self) -> Counts {
        Counts {
            incoming: self.incoming,
            due: self.due,
            deferred: self.deferred,
            held: self.reasons.iter().map(|held| held.kept).sum(),
            active: self.active,
        }
    }
}
