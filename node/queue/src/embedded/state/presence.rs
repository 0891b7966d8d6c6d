//! Incarnations: who lives, and what becomes of what the dead had. Pure.

use posthouse_model::{Incarnation, Timestamp};

use super::{Slot, State};
use crate::{
    HEARTBEAT_LIFE_MS,
    embedded::effect::{Count, Effect, Phase},
    store::{Reaped, StoreError},
};

/// How long a departed incarnation's heartbeat stays refused: longer than a node can sleep and still believe in its leases.
const DEPARTED_LIFE_MS: u64 = 86_400_000;

impl State {
    /// Refused with [`StoreError::Departed`] unless it lives.
    pub(crate) fn require_alive(&self, who: Incarnation, now: Timestamp) -> Result<(), StoreError> {
        if self.is_alive(who, now) { Ok(()) } else { Err(StoreError::Departed) }
    }

    /// Whether its heartbeat is not over.
    pub(crate) fn is_alive(&self, who: Incarnation, now: Timestamp) -> bool {
        self.presences.get(&who).is_some_and(|presence| !presence.ended && presence.until > now)
    }

    /// Its heartbeat.
    pub(crate) fn heartbeat(&mut self, who: Incarnation, now: Timestamp) -> Result<(), StoreError> {
        if self.departed.contains_key(&who) {
            return Err(StoreError::Departed);
        }
        let until = Timestamp(now.0.saturating_add(HEARTBEAT_LIFE_MS));
        let presence = self.presences.entry(who).or_default();
        presence.until = presence.until.max(until);
        Ok(())
    }

    /// Incarnations whose heartbeat is over or that are being taken back.
    pub(crate) fn dead(&self, now: Timestamp) -> Vec<Incarnation> {
        self.presences
            .iter()
            .filter(|(_, presence)| presence.ended || presence.until <= now)
            .map(|(who, _)| *who)
            .collect()
    }

    /// Ends an incarnation: from now on nobody may speak for it. False if it had ended before.
    pub(crate) fn end(&mut self, who: Incarnation, now: Timestamp) -> bool {
        let Some(presence) = self.presences.get_mut(&who) else { return false };
        let known = self.departed.insert(who, now).is_some();
        presence.ended = true;
        let of_it = self.claims.iter().flat_map(|(id, claims)| claims.iter().map(|claim| (*id, claim)));
        let claims: Vec<_> =
            of_it.filter(|(_, claim)| claim.who == who).map(|(id, claim)| (id, claim.queue)).collect();
        for (id, queue) in claims {
            self.end_claim(id, queue);
        }
        for job in self.jobs.values_mut() {
            job.lease = job.lease.filter(|(holder, _)| *holder != who);
        }
        !known
    }

    /// The effects of confirming some of what an ended incarnation enqueued, `budget` messages at most.
    pub(crate) fn confirm_orphans(
        &self,
        who: Incarnation,
        budget: usize,
        now: Timestamp,
        reaped: &mut Reaped,
    ) -> Vec<Effect> {
        let mut sequence = self.hold_sequence;
        let Some(presence) = self.presences.get(&who) else { return Vec::new() };
        let mut numbers: Vec<u32> = presence.unconfirmed.iter().copied().collect();
        // In the order in which they came, so that what is held keeps that order.
        numbers.sort_by_key(|number| self.messages.at(*number).map(|message| message.id));
        let mut effects = Vec::new();
        for number in numbers.into_iter().take(budget) {
            if let Some(effect) = self.confirmation(number, now, &mut sequence) {
                if let Effect::Confirmed { phases, .. } = &effect {
                    let leased = self.leased_of(number);
                    reaped.activated += (phases.len() as u64).saturating_sub(leased);
                }
                effects.push(effect);
            }
        }
        effects
    }

    fn leased_of(&self, message: u32) -> u64 {
        let slots = self.messages.at(message).map(|m| m.entries.as_slice()).unwrap_or_default();
        slots.iter().filter(|slot| self.slots.at(**slot).is_some_and(|entry| entry.leased)).count() as u64
    }

    /// Gives back some of the leases of an ended incarnation, and forgets it with the last one.
    pub(crate) fn give_back(&mut self, who: Incarnation, budget: usize) -> u64 {
        let Some(presence) = self.presences.get(&who) else { return 0 };
        let slots: Vec<Slot> = presence.leases.iter().copied().take(budget).collect();
        for slot in &slots {
            self.end_lease(*slot);
        }
        let over = self.presences.get(&who).is_some_and(|presence| {
            presence.ended && presence.leases.is_empty() && presence.unconfirmed.is_empty()
        });
        if over {
            self.presences.remove(&who);
        }
        slots.len() as u64
    }

    /// Forgets incarnations that ended long ago.
    pub(crate) fn prune_departed(&mut self, now: Timestamp) {
        self.departed.retain(|_, at| now.0.saturating_sub(at.0) < DEPARTED_LIFE_MS);
    }

    /// The effect of confirming a message; `None` if it is confirmed. Takes the hold sequences it needs from `sequence`.
    pub(crate) fn confirmation(&self, number: u32, now: Timestamp, sequence: &mut u64) -> Option<Effect> {
        let message = self.messages.at(number).filter(|message| !message.confirmed)?;
        let mut phases = Vec::new();
        let mut recipients = 0;
        for slot in message.entries.as_slice() {
            let Some(entry) = self.slots.at(*slot) else { continue };
            recipients += u64::from(entry.recipients);
            let Phase::Incoming { mode } = entry.head.phase else { continue };
            // A leased one took the fast path, which is open only where nothing is held: it stays what it was then.
            let hold = if entry.leased { None } else { self.mode(entry.queue, mode).hold };
            let phase = match hold {
                Some(reason) => {
                    *sequence += 1;
                    Phase::Held { reason, sequence: *sequence, since: now }
                }
                None => Phase::Due { since: now },
            };
            phases.push((entry.index, phase));
        }
        phases.sort_by_key(|(index, _)| *index);
        let birth = Count::birth(message.origin, message.named, recipients);
        Some(Effect::Confirmed { id: message.id.into(), birth, phases })
    }
}
