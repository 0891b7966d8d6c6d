//! Limits that nodes share: the byte budget, connection permits, rates. Pure, and forgotten at a restart, as their holders are.

use posthouse_model::{Incarnation, Timestamp};

use super::State;
use crate::store::StoreError;

/// Windows beyond this many make room by dropping those that are over.
const MAX_IDLE_WINDOWS: usize = 10_000;

/// The window of a rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    start: Timestamp,
    per_ms: u64,
    used: u32,
}

impl Window {
    fn is_over(&self, now: Timestamp) -> bool {
        now.0 >= self.start.0.saturating_add(self.per_ms)
    }
}

impl State {
    /// See [`Store::reserve`](crate::Store::reserve).
    pub(crate) fn reserve(
        &mut self,
        who: Incarnation,
        bytes: u64,
        room: Option<u64>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.require_alive(who, now)?;
        let others: u64 = self
            .presences
            .iter()
            .filter(|(other, presence)| **other != who && !presence.ended && presence.until > now)
            .fold(0, |sum, (_, presence)| sum.saturating_add(presence.reserved));
        let Some(presence) = self.presences.get_mut(&who) else { return Err(StoreError::Departed) };
        let fits = room.is_none_or(|room| others.saturating_add(bytes) <= room);
        let granted = fits || bytes < presence.reserved;
        if granted {
            presence.reserved = bytes;
        }
        Ok(granted)
    }

    /// See [`Store::take_permits`](crate::Store::take_permits).
    pub(crate) fn take_permits(
        &mut self,
        who: Incarnation,
        next_hop: &str,
        wanted: u32,
        limit: u32,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        self.require_alive(who, now)?;
        let taken: u32 = self
            .presences
            .values()
            .filter(|presence| !presence.ended && presence.until > now)
            .filter_map(|presence| presence.permits.get(next_hop))
            .fold(0, |sum, permits| sum.saturating_add(*permits));
        let granted = wanted.min(limit.saturating_sub(taken));
        if granted > 0
            && let Some(presence) = self.presences.get_mut(&who)
        {
            *presence.permits.entry(next_hop.into()).or_default() += granted;
        }
        Ok(granted)
    }

    /// See [`Store::return_permits`](crate::Store::return_permits).
    pub(crate) fn return_permits(&mut self, who: Incarnation, next_hop: &str, permits: u32) {
        let Some(presence) = self.presences.get_mut(&who) else { return };
        if let Some(held) = presence.permits.get_mut(next_hop) {
            *held = held.saturating_sub(permits);
            if *held == 0 {
                presence.permits.remove(next_hop);
            }
        }
    }

    /// See [`Store::take_rate`](crate::Store::take_rate).
    pub(crate) fn take_rate(
        &mut self,
        key: &str,
        wanted: u32,
        limit: u32,
        per_ms: u64,
        now: Timestamp,
    ) -> u32 {
        let fresh = Window { start: now, per_ms, used: 0 };
        if self.rates.len() >= MAX_IDLE_WINDOWS && !self.rates.contains_key(key) {
            self.prune_rates(now);
        }
        let window = self.rates.entry(key.into()).or_insert(fresh);
        if now.0 >= window.start.0.saturating_add(per_ms) {
            *window = fresh;
        }
        let granted = wanted.min(limit.saturating_sub(window.used));
        window.used += granted;
        window.per_ms = per_ms;
        granted
    }

    /// Forgets windows that are over.
    pub(crate) fn prune_rates(&mut self, now: Timestamp) {
        self.rates.retain(|_, window| !window.is_over(now));
    }
}
