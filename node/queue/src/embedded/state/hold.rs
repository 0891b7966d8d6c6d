//! Modes, releases and claims: what holds mail and what frees it. Pure.

use std::{
    collections::HashSet,
    ops::Bound::{Excluded, Included},
};

use posthouse_model::{Incarnation, QueueName, Timestamp};

use super::{ClaimSlot, Slot, State};
use crate::{
    embedded::effect::Effect,
    hold::{Claim, ClaimId, HoldReason, QueueMode, Release, ReleaseScope},
    store::StoreError,
};

/// The reasons whose mail a session may claim.
const CLAIMED: [HoldReason; 2] = [HoldReason::OnRequest, HoldReason::Scheduled];

/// The most modes in one call: bounds a step.
const MAX_MODES: usize = 1_000;

impl State {
    /// The generation that was told before, and the effects of telling modes.
    pub(crate) fn plan_modes(
        &self,
        generation: u64,
        modes: &[(QueueName, Option<HoldReason>)],
        now: Timestamp,
    ) -> Result<(u64, Vec<Effect>), StoreError> {
        if modes.len() > MAX_MODES {
            return Err(StoreError::Refused(format!(
                "{} queue modes in one call; the most are {MAX_MODES}",
                modes.len()
            )));
        }
        let mut effects = Vec::new();
        if generation > self.told {
            effects.push(Effect::Told(generation));
        }
        if generation >= self.told {
            let mut seen = HashSet::new();
            for (name, hold) in modes.iter().filter(|(name, _)| seen.insert(name)) {
                self.plan_mode(name, QueueMode { hold: *hold, generation }, now, &mut effects);
            }
        }
        Ok((self.told, effects))
    }

    fn plan_mode(&self, name: &QueueName, mode: QueueMode, now: Timestamp, effects: &mut Vec<Effect>) {
        let queue = self.queue_names.get(name).and_then(|number| self.queues.at(*number));
        if mode.generation <= queue.map_or(0, |queue| queue.mode.generation) {
            return;
        }
        effects.push(Effect::Mode { queue: name.clone(), mode });
        let Some(queue) = queue else { return };
        // What is leased out of a hold may be given back to it: it is released as well.
        let others = HoldReason::OF_MODES.into_iter().filter(|reason| mode.hold != Some(*reason));
        effects.extend(others.filter(|reason| queue.of(*reason).phases > 0).map(|reason| Effect::Freed {
            queue: name.clone(),
            reason,
            at: now,
            high: self.hold_sequence,
        }));
    }

    /// How many entries a release would free, and its effect. `None` if it happened before.
    pub(crate) fn plan_release(&self, release: &Release) -> Option<(u64, Effect)> {
        if self.releases.contains_key(&release.id) {
            return None;
        }
        let freed = match &release.scope {
            ReleaseScope::Queue(name) => {
                let queue = self.queue_names.get(name).and_then(|number| self.queues.at(*number));
                queue.map_or(0, |queue| queue.of(release.reason).kept)
            }
            ReleaseScope::All => self.queues.iter().map(|(_, queue)| queue.of(release.reason).kept).sum(),
        };
        Some((freed, Effect::Release { release: release.clone(), high: self.hold_sequence }))
    }

    /// Claims a queue. `None`: another live session has it.
    pub(crate) fn claim(
        &mut self,
        who: Incarnation,
        id: ClaimId,
        name: &QueueName,
        max: u32,
        now: Timestamp,
    ) -> Option<Claim> {
        let number = self.queue_number(name);
        match self.queues.at(number).and_then(|queue| queue.claim) {
            Some(other) => {
                let holder = self.claim_of(number).map(|claim| claim.who);
                let lives = holder.is_some_and(|holder| self.is_alive(holder, now));
                if lives && (other != id || holder != Some(who)) {
                    return None;
                }
                if !lives {
                    self.end_claim(other, number);
                    self.begin_claim(who, id, number);
                }
            }
            None => self.begin_claim(who, id, number),
        }
        let entries = self.claimed(id, who, Some(number), max);
        let entries = entries.iter().filter_map(|(_, slot)| Some(self.id(self.slots.at(*slot)?))).collect();
        Some(Claim { id, who, queue: name.clone(), entries })
    }

    fn begin_claim(&mut self, who: Incarnation, id: ClaimId, number: u32) {
        let high = self.hold_sequence;
        let Some(queue) = self.queues.at_mut(number) else { return };
        queue.claim = Some(id);
        let ranges = CLAIMED.map(|reason| (reason, queue.of(reason).high(), high));
        self.claims.entry(id).or_default().push(ClaimSlot { who, queue: number, ranges });
    }

    /// What is in a session's claims (of one queue, or of all) and not leased, in hold order.
    pub(crate) fn claimed(
        &self,
        id: ClaimId,
        who: Incarnation,
        queue: Option<u32>,
        max: u32,
    ) -> Vec<(u64, Slot)> {
        let max = max as usize;
        let mut found = Vec::new();
        let claims = self.claims.get(&id).map(Vec::as_slice).unwrap_or_default();
        for claim in claims.iter().filter(|claim| claim.who == who) {
            let Some(place) = self.queues.at(claim.queue) else { continue };
            if queue.is_some_and(|queue| queue != claim.queue) {
                continue;
            }
            for (reason, low, high) in claim.ranges {
                if low < high {
                    let held = place.of(reason).entries.range((Excluded(low), Included(high)));
                    found.extend(held.take(max).map(|(sequence, slot)| (*sequence, *slot)));
                }
            }
        }
        found.sort_unstable();
        found.truncate(max);
        found
    }

    /// Ends a claim in a queue; what was released meanwhile is free.
    pub(crate) fn end_claim(&mut self, id: ClaimId, number: u32) {
        if let Some(claims) = self.claims.get_mut(&id) {
            claims.retain(|claim| claim.queue != number);
            if claims.is_empty() {
                self.claims.remove(&id);
            }
        }
        if let Some(queue) = self.queues.at_mut(number)
            && queue.claim == Some(id)
        {
            queue.claim = None;
            self.draining.insert(number);
            self.woken = true;
        }
    }

    /// Ends a claim in the queue of this name.
    pub(crate) fn unclaim(&mut self, id: ClaimId, queue: &QueueName) {
        if let Some(number) = self.queue_names.get(queue).copied() {
            self.end_claim(id, number);
        }
    }
}
