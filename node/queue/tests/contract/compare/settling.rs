//! Settlements of attempts, the same for both but for the tokens.

use std::sync::Arc;

use posthouse_model::{EntryId, QueueName};
use posthouse_queue::{LaneSignal, LastReply, Origin, Outcome, Remainder, Settlement, Store};

use super::{Attempt, Pair, Trouble, equal, hop_text, lost};
use crate::contract::model::Place;
use crate::contract::operation::{End, HOPS, Rest, Word};
use crate::contract::world::{message, new_entry, recipient};

impl Pair {
    pub(super) async fn settle(&mut self, attempt: &Attempt, end: &End) -> Result<(), Trouble> {
        let settlement = self.settlement(attempt, end);
        let stored = match &self.store {
            Some(store) => {
                let mut settlement = settlement.clone();
                if let Some((entry, token)) = &attempt.stored {
                    (settlement.entry, settlement.token) = (Arc::clone(entry), *token);
                }
                Some(lost(store.settle(&settlement, self.now).await)?)
            }
            None => None,
        };
        let expected = self.model.settle(&settlement, self.now).await;
        equal("the settle", stored, expected).map(drop)
    }

    pub(super) fn settlement(&mut self, attempt: &Attempt, end: &End) -> Settlement {
        let entry = &attempt.entry;
        let outcomes: Vec<Outcome> =
            (0..entry.recipients.len()).map(|place| self.outcome(end, place)).collect();
        let staying: Vec<_> = entry
            .recipients
            .iter()
            .zip(&outcomes)
            .filter_map(|(recipient, outcome)| match outcome {
                Outcome::Deferred(reply) => {
                    let last = reply.clone().or_else(|| recipient.last.clone());
                    Some(posthouse_queue::EntryRecipient { last, ..recipient.clone() })
                }
                _ => None,
            })
            .collect();
        let later = self.beside(end.ticks);
        let attend_at = match end.rest {
            Rest::GiveBack if entry.attend_at > self.now => entry.attend_at,
            _ => self.attention(end.ticks.saturating_add(300)),
        };
        let delay_warned = end.warned || entry.delay_warned;
        let remainder = match end.rest {
            Rest::GiveBack => Remainder::GiveBack,
            Rest::HoldAgain if self.mode_is_settled(&entry.queue) => Remainder::HoldAgain(later),
            Rest::Quarantine => Remainder::Quarantine,
            Rest::Split if !staying.is_empty() && self.splits_clearly(entry.id) => {
                let mode = self.model.state().modes.get(&entry.queue).copied().unwrap_or_default();
                let parts = (0..).zip(staying).map(|(place, recipient)| {
                    let hop = hop_text(end.outcomes.to_le_bytes()[0].wrapping_add(place) % HOPS);
                    let mut part = new_entry(entry.queue.as_str(), &hop, &[], self.now);
                    part.mode = mode;
                    part.source = format!("split {place}");
                    part.recipients = vec![recipient];
                    part.priority = entry.priority;
                    part.attend_at = attend_at;
                    part
                });
                Remainder::Split(parts.collect())
            }
            Rest::Defer | Rest::HoldAgain | Rest::Split => Remainder::Defer(later),
        };
        let lane = match end.lane {
            Word::None => LaneSignal::None,
            Word::Works => LaneSignal::Works,
            Word::BackOff => LaneSignal::BackOff(later),
        };
        let child = end.child.then(|| {
            let id = self.new_id();
            let (queue, recipients) = (entry.queue.clone(), vec![recipient("sender", "origin")]);
            let mut born = new_entry(queue.as_str(), "back", &[], self.now);
            born.mode = self.model.state().modes.get(&queue).copied().unwrap_or_default();
            born.recipients = recipients;
            let mut child = message(id, b"Subject: undelivered\r\n\r\n".to_vec(), vec![born], self.now);
            child.meta.origin = Origin::Generated;
            child.named = 1;
            Box::new(child)
        });
        Settlement {
            who: attempt.who,
            entry: Arc::clone(entry),
            token: attempt.token,
            outcomes,
            remainder,
            lane,
            attend_at,
            delay_warned,
            child,
        }
    }

    pub(super) fn outcome(&self, end: &End, place: usize) -> Outcome {
        match (end.outcomes >> (place % 5 * 3)) & 7 {
            0..=2 => Outcome::Deferred(None),
            3 => Outcome::Deferred(Some(LastReply {
                at: self.now,
                code: 451,
                status: "4.3.0".into(),
                text: format!("not now, said for recipient {place}"),
                host: "hop.example:25".into(),
            })),
            4 => Outcome::Relayed,
            5 => Outcome::Delivered,
            6 if place.is_multiple_of(2) => Outcome::Failed,
            6 => Outcome::Expired,
            _ => [Outcome::Fetched, Outcome::Deleted, Outcome::Discarded][place % 3].clone(),
        }
    }

    /// Whether what was told is as new as any mode that a letter of the queue came with: otherwise "the queue's reason" is not clear.
    pub(super) fn mode_is_settled(&self, queue: &QueueName) -> bool {
        self.generations.get(queue).copied().unwrap_or_default() <= self.told()
    }

    /// Whether it is clear what becomes of the parts of a split: the entry was due, in a queue that is online.
    pub(super) fn splits_clearly(&self, id: EntryId) -> bool {
        let state = self.model.state();
        let Some(item) = state.items.get(&id) else { return true };
        let online = state.modes.get(&item.entry.queue).is_none_or(|mode| mode.hold.is_none());
        let was_due =
            matches!(&item.place, Place::Active { before, .. } if matches!(**before, Place::Due { .. }));
        online && was_due
    }
}
