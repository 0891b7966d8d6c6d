//! Leasing: lanes in turn, the order within a lane, probes, what has to be attended to. Pure.

use std::ops::Bound::{Excluded, Included};

use posthouse_model::{EntryId, Incarnation, Timestamp};

use super::{EntrySlot, Lease, Slot, State};
use crate::{
    embedded::effect::{Effect, Head, Location, Phase, Stored},
    hold::{ClaimId, HoldReason},
    lease::{LeaseRequest, LeaseToken},
    message::Origin,
};

/// The most entries that one lease moves because of their time or of a release.
const MOVES: usize = 1_000;

/// The most of those out of one queue, so that a large release does not keep a small one waiting.
const MOVES_PER_QUEUE: usize = 250;

/// Leases that one effect tells: some ten kilobytes.
const LEASES_IN_ONE: usize = 500;

/// An entry as the index knows it: what is needed to read the rest.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) id: EntryId,
    pub(crate) head: Head,
    pub(crate) recipients: u32,
    pub(crate) body: Location,
    pub(crate) meta: Location,
    pub(crate) content: Stored<Location>,
    pub(crate) received_at: Timestamp,
    pub(crate) origin: Origin,
}

/// A lease that was given.
#[derive(Clone, Debug)]
pub(crate) struct Picked {
    pub(crate) slot: Slot,
    pub(crate) view: View,
    pub(crate) token: LeaseToken,
    pub(crate) attend: bool,
    pub(crate) probe: bool,
    pub(crate) held: bool,
}

impl State {
    /// What has to be written for a bounded part of what is due by its time, and for a bounded part of what was released.
    pub(crate) fn move_on(&mut self, now: Timestamp) -> Vec<Effect> {
        let ripe = self.deferred.iter().take_while(|(at, _)| *at <= now).take(MOVES);
        let mut effects: Vec<Effect> = ripe.filter_map(|(at, slot)| self.ripened(*at, *slot)).collect();
        let by_time = effects.len();
        let draining: Vec<u32> = self.draining.iter().copied().collect();
        for queue in draining {
            let before = effects.len();
            let part = MOVES_PER_QUEUE.min(MOVES.saturating_sub(before - by_time));
            if part == 0 {
                break;
            }
            self.released(queue, part, &mut effects);
            if effects.len() - before < part {
                self.draining.remove(&queue);
                self.prune_releases(queue);
            }
        }
        effects
    }

    /// The effect of a deferred entry's time having come.
    fn ripened(&self, at: Timestamp, slot: Slot) -> Option<Effect> {
        let entry = self.slots.at(slot)?;
        let id = self.id(entry);
        let head = Head { phase: Phase::Due { since: at }, ..entry.head };
        Some(Effect::Entry { id: id.message.into(), index: id.index, head })
    }

    /// The effects of moving released entries of a queue, except out of a claim.
    fn released(&self, number: u32, part: usize, effects: &mut Vec<Effect>) {
        let Some(queue) = self.queues.at(number) else { return };
        let mut left = part;
        for reason in HoldReason::ALL {
            let held = queue.of(reason);
            let claim = self.claim_of(number);
            let range = claim.and_then(|claim| claim.ranges.iter().find(|(of, ..)| *of == reason));
            let high = held.high();
            // Below the claim and above it; without one, the second range is empty.
            let (low, from) = range.map_or((high, high), |(_, low, high)| (*low, *high));
            let parts = [(0, low.min(high)), (from.min(high), high)];
            for (after, up_to) in parts {
                if after >= up_to {
                    continue;
                }
                for (_, slot) in held.entries.range((Excluded(after), Included(up_to))).take(left) {
                    if let Some(effect) = self.freed(*slot) {
                        effects.push(effect);
                        left -= 1;
                    }
                }
            }
        }
    }

    /// The effect of an entry's release, if it was released and not yet moved.
    pub(crate) fn freed(&self, slot: Slot) -> Option<Effect> {
        let entry = self.slots.at(slot)?;
        let Phase::Held { since, .. } = entry.head.phase else { return None };
        let at = self.released_at(entry.queue, entry.head.phase)?;
        let held_ms = entry.head.held_ms.saturating_add(at.0.saturating_sub(since.0));
        let head = Head { phase: Phase::Due { since: at }, held_ms, ..entry.head };
        let id = self.id(entry);
        Some(Effect::Entry { id: id.message.into(), index: id.index, head })
    }

    /// Leases by attention and by lanes; what is due by time or release was moved before.
    pub(crate) fn lease(&mut self, request: &LeaseRequest, now: Timestamp) -> Vec<Picked> {
        let max = request.max.min(1_000) as usize;
        let mut picked = Vec::new();
        self.lease_attended(request.who, max, now, &mut picked);
        self.list_probes(now);
        let newest = self.served;
        let mut after = None;
        while picked.len() < max {
            let next = match after {
                None => self.ready.first(),
                Some(after) => self.ready.range((Excluded(after), Included((newest, u32::MAX)))).next(),
            };
            let Some((served, number)) = next.copied() else { break };
            after = Some((served, number));
            let Some(lane) = self.lanes.at(number) else { continue };
            if request.skip.contains(&lane.id) {
                continue;
            }
            let probe = lane.until.is_some();
            let most = if probe { request.max_per_lane.min(1) } else { request.max_per_lane };
            let most = (most as usize).min(max - picked.len());
            let slots: Vec<Slot> = lane.due.iter().take(most).map(|key| key.slot).collect();
            if slots.is_empty() {
                continue;
            }
            self.served += 1;
            let turn = self.served;
            if let Some(lane) = self.lanes.at_mut(number) {
                lane.served = turn;
                if probe {
                    lane.probe = slots.first().copied();
                }
            }
            for slot in slots {
                picked.extend(self.begin_lease(slot, request.who, now, false, probe));
            }
            self.list_lane(number);
        }
        picked
    }

    fn lease_attended(&mut self, who: Incarnation, max: usize, now: Timestamp, picked: &mut Vec<Picked>) {
        let slots: Vec<Slot> = self
            .attend
            .iter()
            .take_while(|(at, _)| *at <= now)
            .filter(|(_, slot)| {
                self.slots.at(*slot).is_some_and(|entry| !self.is_claimed(entry.queue, entry.head.phase))
            })
            .take(max)
            .map(|(_, slot)| *slot)
            .collect();
        for slot in slots {
            picked.extend(self.begin_lease(slot, who, now, true, false));
        }
    }

    /// Leases what is in a claim, in hold order.
    pub(crate) fn lease_claimed(
        &mut self,
        who: Incarnation,
        claim: ClaimId,
        max: u32,
        now: Timestamp,
    ) -> Vec<Picked> {
        let slots = self.claimed(claim, who, None, max.min(1_000));
        slots
            .into_iter()
            .filter_map(|(_, slot)| self.begin_lease(slot, who, now, false, false))
            .map(|picked| Picked { held: false, ..picked }) // whoever claims it wants it attempted
            .collect()
    }

    /// Leases one entry, whatever its lane or hold.
    pub(crate) fn lease_entry(&mut self, who: Incarnation, id: EntryId, now: Timestamp) -> Option<Picked> {
        let slot = self.find(id)?;
        let entry = self.slots.at(slot)?;
        let incoming = matches!(entry.head.phase, Phase::Incoming { .. });
        if entry.leased || incoming || self.is_claimed(entry.queue, entry.head.phase) {
            return None;
        }
        self.begin_lease(slot, who, now, false, false)
    }

    /// Gives the lease of an entry that has none.
    pub(crate) fn begin_lease(
        &mut self,
        slot: Slot,
        who: Incarnation,
        now: Timestamp,
        attend: bool,
        probe: bool,
    ) -> Option<Picked> {
        let entry = self.slots.at(slot).filter(|entry| !entry.leased)?;
        let (held, held_ms) = match entry.head.phase {
            Phase::Held { since, .. } => {
                let released = self.released_at(entry.queue, entry.head.phase);
                let end = released.unwrap_or(now);
                (released.is_none(), entry.head.held_ms.saturating_add(end.0.saturating_sub(since.0)))
            }
            _ => (false, entry.head.held_ms),
        };
        let mut view = self.view(slot)?;
        view.head.held_ms = held_ms;
        let token = self.next_token();
        self.take(slot, Lease { token, who, held_ms });
        Some(Picked { slot, view, token, attend, probe, held })
    }

    /// Marks an entry as leased by an incarnation of before: with a token that was never given, so that nobody can settle it.
    pub(crate) fn mark_leased(&mut self, slot: Slot, who: Incarnation) {
        if self.leases.get(&slot).is_some_and(|lease| lease.who == who) {
            return;
        }
        self.end_lease(slot);
        let Some(entry) = self.slots.at(slot) else { return };
        let (message, held_ms) = (entry.message, entry.head.held_ms);
        self.take(slot, Lease { token: LeaseToken(0), who, held_ms });
        // Only who enqueued it can have leased what is not confirmed.
        if let Some(unconfirmed) = self.messages.at_mut(message).filter(|message| !message.confirmed) {
            unconfirmed.owner = Some(who);
            self.presences.entry(who).or_default().unconfirmed.insert(message);
        }
    }

    fn take(&mut self, slot: Slot, lease: Lease) {
        self.unindex(slot);
        if let Some(entry) = self.slots.at_mut(slot) {
            entry.leased = true;
        }
        self.index(slot);
        self.leases.insert(slot, lease);
        self.presences.entry(lease.who).or_default().leases.insert(slot);
    }

    /// The effect that says what an incarnation was given.
    pub(crate) fn given(&self, who: Incarnation, slots: impl IntoIterator<Item = Slot>) -> Vec<Effect> {
        let id = |slot| self.slots.at(slot).map(|entry| self.id(entry));
        let entries: Vec<_> =
            slots.into_iter().filter_map(id).map(|id| (id.message.into(), id.index)).collect();
        if entries.is_empty() { Vec::new() } else { vec![Effect::Leased { who: who.0, entries }] }
    }

    /// The effects that say all leases there are, in parts that fit any log.
    pub(crate) fn all_given(&self) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (who, presence) in &self.presences {
            let slots: Vec<Slot> = presence.leases.iter().copied().collect();
            for part in slots.chunks(LEASES_IN_ONE) {
                effects.extend(self.given(*who, part.iter().copied()));
            }
        }
        effects
    }

    /// The effects of the end of leases after which the entries are what they were before.
    pub(crate) fn returned(&self, slots: &[Slot]) -> Vec<Effect> {
        let leased = slots.iter().filter_map(|slot| self.slots.at(*slot)).filter(|entry| entry.leased);
        let effect = |entry: &EntrySlot| {
            let id = self.id(entry);
            Effect::Entry { id: id.message.into(), index: id.index, head: entry.head }
        };
        leased.map(effect).collect()
    }

    /// Ends a lease, if there is one: the entry is what it was before.
    pub(crate) fn end_lease(&mut self, slot: Slot) {
        let Some(lease) = self.leases.remove(&slot) else { return };
        if let Some(presence) = self.presences.get_mut(&lease.who) {
            presence.leases.remove(&slot);
        }
        self.unindex(slot);
        let lane = self.slots.at_mut(slot).map(|entry| {
            entry.leased = false;
            entry.lane
        });
        self.index(slot);
        if let Some(number) = lane {
            self.end_probe(number, slot);
        }
    }

    fn end_probe(&mut self, number: u32, slot: Slot) {
        if let Some(lane) = self.lanes.at_mut(number)
            && lane.probe == Some(slot)
        {
            lane.probe = None;
            self.woken = true;
            self.list_lane(number);
        }
    }

    /// An entry as the index knows it.
    pub(crate) fn view(&self, slot: Slot) -> Option<View> {
        let entry = self.slots.at(slot)?;
        let message = self.messages.at(entry.message)?;
        Some(View {
            id: message.id.entry(entry.index),
            head: entry.head,
            recipients: entry.recipients,
            body: entry.body,
            meta: message.meta,
            content: message.content,
            received_at: message.received_at,
            origin: message.origin,
        })
    }
}
