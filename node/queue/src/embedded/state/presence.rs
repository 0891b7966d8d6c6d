//! Incarnations: who lives, and what becomes of what the dead had. Pure.

use posthouse_model::{Incarnation, Timestamp};

use super::{Presence, Slot, State};
use crate::{
    HEARTBEAT_LIFE_MS,
    embedded::effect::{Count, Effect, Phase},
    store::{Reaped, StoreError},
};

/// How long a departed incarnation's heartbeat stays refused: longer than a node can sleep and still believe in its leases.
const DEPARTED_LIFE_MS: u64 = 86_400_000;

/// How long after an opening the incarnations of before are left as they were, so that somebody can see what was under way.
const RECOVERY_GRACE_MS: u64 = 1_000;

/// Who owns what is not confirmed and whose owner the log does not tell: somebody of before.
const SOMEBODY: Incarnation = Incarnation([0; 16]);

impl State {
    /// After a replay: all that there were are of before, and own what is not confirmed.
    pub(crate) fn bury_all(&mut self, opened: Timestamp) {
        let mut unowned = Vec::new();
        for (number, message) in self.messages.iter() {
            if !message.confirmed && message.owner.is_none() {
                unowned.push(number);
            }
        }
        for number in &unowned {
            if let Some(message) = self.messages.at_mut(*number) {
                message.owner = Some(SOMEBODY);
            }
        }
        if !unowned.is_empty() {
            self.presences.entry(SOMEBODY).or_default().unconfirmed.extend(unowned);
        }
        self.presences.retain(|_, presence| !presence.leases.is_empty() || !presence.unconfirmed.is_empty());
        for presence in self.presences.values_mut() {
            *presence = Presence {
                former: true,
                until: Timestamp(u64::MAX),
                leases: std::mem::take(&mut presence.leases),
                unconfirmed: std::mem::take(&mut presence.unconfirmed),
                ..Presence::default()
            };
        }
        self.opened = Some(opened);
    }

    /// The first `now` after an opening says when the incarnations of before are dead: a moment later, by the earlier of both clocks, so
    /// that neither a caller whose clock is ahead nor one whose clock is behind waits longer.
    pub(crate) fn hear(&mut self, now: Timestamp) {
        let Some(opened) = self.opened.take() else { return };
        let until = Timestamp(opened.min(now).0.saturating_add(RECOVERY_GRACE_MS));
        for presence in self.presences.values_mut().filter(|presence| presence.former) {
            presence.until = until;
        }
    }

    /// Refused with [`StoreError::Departed`] unless it lives.
    pub(crate) fn require_alive(&self, who: Incarnation, now: Timestamp) -> Result<(), StoreError> {
        if self.is_alive(who, now) { Ok(()) } else { Err(StoreError::Departed) }
    }

    /// Whether its heartbeat is not over.
    pub(crate) fn is_alive(&self, who: Incarnation, now: Timestamp) -> bool {
        self.presences
            .get(&who)
            .is_some_and(|presence| !presence.ended && !presence.former && presence.until > now)
    }

    /// Its heartbeat. Refused to one of before: what it had is lost to it.
    pub(crate) fn heartbeat(&mut self, who: Incarnation, now: Timestamp) -> Result<(), StoreError> {
        self.hear(now);
        let former = self.presences.get(&who).is_some_and(|presence| presence.former);
        if former || self.departed.contains_key(&who) {
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

    /// Some of the leases of an incarnation.
    pub(crate) fn some_leases(&self, who: Incarnation, budget: usize) -> Vec<Slot> {
        let leases = self.presences.get(&who).map(|presence| presence.leases.iter().copied().take(budget));
        leases.map(Iterator::collect).unwrap_or_default()
    }

    /// Forgets an ended incarnation that has nothing left.
    pub(crate) fn forget_ended(&mut self, who: Incarnation) {
        let over = self.presences.get(&who).is_some_and(|presence| {
            presence.ended && presence.leases.is_empty() && presence.unconfirmed.is_empty()
        });
        if over {
            self.presences.remove(&who);
        }
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
