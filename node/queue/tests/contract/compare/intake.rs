//! Letters and their enqueues on both.

use std::sync::Arc;

use posthouse_model::Incarnation;
use posthouse_queue::{LeaseToken, NewMessage, Store};

use super::{Attempt, Pair, Trouble, differs, equal, hop_text, lost, queue_text};
use crate::contract::model::Place;
use crate::contract::operation::{Part, mode_of};
use crate::contract::world::{message, new_entry};

impl Pair {
    pub(super) fn letter(&mut self, parts: &[Part], named: u8) -> NewMessage {
        let id = self.new_id();
        let mut entries: Vec<posthouse_queue::NewEntry> = Vec::new();
        for part in parts {
            let name = queue_text(part.queue);
            let locals: Vec<String> = (0..part.recipients).map(|place| format!("r{place}")).collect();
            let locals: Vec<&str> = locals.iter().map(String::as_str).collect();
            let mut entry = new_entry(&name, &hop_text(part.hop), &locals, self.now);
            let generation = self.told().saturating_add_signed(i64::from(part.generation));
            entry.mode = mode_of(part.queue, generation);
            let newest = self.generations.entry(entry.queue.clone()).or_default();
            *newest = entry.mode.generation.max(*newest);
            if part.sourced {
                entry.source = "192.0.2.9".into();
            }
            entry.priority = part.priority;
            entry.attend_at = self.attention(part.attend);
            if entries.iter().all(|other| other.lane() != entry.lane()) {
                entries.push(entry);
            }
        }
        let content = format!("Subject: {id}\r\n\r\nBody.\r\n").into_bytes();
        let mut letter = message(id, content, entries, self.now);
        letter.named = u32::from(named);
        letter
    }

    /// The entries for which it is clear whether the fast path is open.
    pub(super) fn unambiguous(&self, letter: &NewMessage) -> Vec<u16> {
        let state = self.model.state();
        let clear = |entry: &posthouse_queue::NewEntry| {
            let lane = entry.lane();
            let elapsed = state
                .lanes
                .get(&lane)
                .is_some_and(|lane| lane.back_off.is_some_and(|until| until <= self.now || lane.emptied));
            !elapsed
                && state.items.values().filter(|item| item.entry.lane() == lane).all(|item| {
                    match item.place {
                        Place::Deferred { until } => until > self.now,
                        Place::Held { .. } => state.freed(item).is_none() && !state.released_in_claim(item),
                        _ => true,
                    }
                })
        };
        (0..).zip(&letter.entries).filter(|(_, entry)| clear(entry)).map(|(index, _)| index).collect()
    }

    pub(super) async fn enqueue(
        &mut self,
        who: Incarnation,
        letter: &NewMessage,
        fast: &[u16],
    ) -> Result<(), Trouble> {
        let stored = match &self.store {
            Some(store) => Some(lost(store.enqueue(who, letter.clone(), fast, self.now).await)?),
            None => None,
        };
        let expected = self.model.enqueue(who, letter.clone(), fast, self.now).await;
        let granted = |enqueued: &posthouse_queue::Enqueued| {
            (enqueued.duplicate, enqueued.leases.iter().map(Option::is_some).collect::<Vec<_>>())
        };
        let tokens = match &stored {
            Some(Ok(enqueued)) => enqueued.leases.clone(),
            _ => Vec::new(),
        };
        let modelled = expected.as_ref().map(|enqueued| enqueued.leases.clone()).unwrap_or_default();
        let stored = stored.map(|stored| stored.map(|enqueued| granted(&enqueued)));
        equal("the enqueue", stored, expected.map(|enqueued| granted(&enqueued)))?;
        for (index, token) in (0..).zip(modelled) {
            let Some(token) = token else { continue };
            let entry = Arc::new(self.model.state().items[&letter.id.entry(index)].entry.clone());
            let stored = tokens.get(usize::from(index)).copied().flatten();
            let stored = stored.map(|token| (Arc::clone(&entry), token));
            self.attempts.push(Attempt { who, entry, token, stored });
        }
        let tokens: Vec<LeaseToken> = tokens.into_iter().flatten().collect();
        self.tokens_grow(&tokens)
    }

    pub(super) fn tokens_grow(&mut self, tokens: &[LeaseToken]) -> Result<(), Trouble> {
        let mut sorted = tokens.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != tokens.len() || sorted.first().is_some_and(|first| *first <= self.last_token) {
            return differs(format!("tokens {tokens:?} after {:?}", self.last_token));
        }
        self.last_token = sorted.last().copied().unwrap_or(self.last_token);
        Ok(())
    }
}
