//! What can be seen of both: accounting, counts and lists.

use std::collections::BTreeMap;

use futures::future::join_all;
use posthouse_model::{QueueName, Timestamp};
use posthouse_queue::{
    Counts, EntrySummary, HoldReason, ListFilter, QueueTotals, State as Standing, StoreError,
};

use super::{Pair, Trouble, differs, lost, queue_text, same_entry, unexpected};
use crate::contract::model::{Item, Place};
use crate::contract::operation::QUEUES;
use crate::contract::world::{all_totals, list_all, queue_name};

impl Pair {
    /// Compares what can be seen: accounting (I1) and counts; with `whole`, every queue and every entry.
    pub(super) async fn compare_all(&self, whole: bool) -> Result<(), Trouble> {
        let Some(store) = &self.store else { return Ok(()) };
        // Asked together: what is one write and one read for a store in a server.
        let (accounting, counts) = futures::join!(store.accounting(), store.counts(None));
        let accounting = lost(accounting)?.map_err(unexpected)?;
        let expected = self.model.state().accounting;
        if accounting != expected || !accounting.balances() {
            return differs(format!("accounting {accounting:?}, the model says {expected:?}"));
        }
        self.compare_counts(None, counts)?;
        if !whole {
            return Ok(());
        }
        for queue in (0..QUEUES).map(|queue| queue_name(&queue_text(queue))) {
            let held = join_all(HoldReason::ALL.map(|reason| store.held(&queue, reason)));
            let (counts, held) = futures::join!(store.counts(Some(&queue)), held);
            self.compare_counts(Some(&queue), counts)?;
            self.compare_held(&queue, held)?;
        }
        self.compare_totals(lost(all_totals(&**store).await)?.map_err(unexpected)?)?;
        let found = lost(list_all(&**store, &ListFilter::default()).await)?.map_err(unexpected)?;
        let expected = self.model.state().list(&ListFilter::default());
        let ids = |list: &[EntrySummary]| list.iter().map(|summary| summary.id).collect::<Vec<_>>();
        if ids(&found) != ids(&expected) {
            return differs(format!("listed {:?}, the model says {:?}", ids(&found), ids(&expected)));
        }
        found.iter().zip(&expected).try_for_each(|(found, expected)| self.compare_summary(found, expected))
    }

    fn compare_counts(
        &self,
        queue: Option<&QueueName>,
        found: Result<Counts, StoreError>,
    ) -> Result<(), Trouble> {
        let found = lost(found)?.map_err(unexpected)?;
        let state = self.model.state();
        let expected = state.counts(queue);
        let of = |item: &&Item| queue.is_none_or(|queue| *queue == item.entry.queue);
        let ripe = state.items.values().filter(of).filter(|item| self.is_ripe(item)).count() as u64;
        let between =
            state.items.values().filter(of).filter(|item| state.released_in_claim(item)).count() as u64;
        let waiting = |counts: &Counts| counts.due + counts.deferred + counts.held;
        let fits = found.incoming == expected.incoming
            && found.active == expected.active
            && waiting(&found) == waiting(&expected)
            && (expected.deferred - ripe..=expected.deferred).contains(&found.deferred)
            && (expected.held - between..=expected.held).contains(&found.held);
        if fits { Ok(()) } else { differs(format!("{queue:?}: {found:?}, the model says {expected:?}")) }
    }

    fn compare_totals(&self, found: BTreeMap<QueueName, QueueTotals>) -> Result<(), Trouble> {
        let expected = self.model.state().totals();
        if !found.keys().eq(expected.iter().map(|totals| &totals.queue)) {
            return differs(format!("totals {found:?}, the model has {expected:?}"));
        }
        for (queue, totals) in found {
            self.compare_counts(Some(&queue), Ok(totals.counts))?;
            let state = self.model.state();
            let items = state.items.values().filter(|item| item.entry.queue == queue);
            // Whether what is ripe or free has been moved is left open, and what is due in the model may be such in the store.
            let is_open = |item: &Item| {
                matches!(item.place, Place::Due { .. }) || self.is_ripe(item) || state.freed(item).is_some()
            };
            let (open, others): (Vec<&Item>, Vec<&Item>) = items.partition(|item| is_open(item));
            let waits = |item: &&Item| matches!(item.place, Place::Deferred { .. } | Place::Held { .. });
            let waiting: Vec<&Item> = others.into_iter().filter(waits).collect();
            let accepted = |item: &&Item| Timestamp(item.entry.id.message.time_ms());
            let at_most = waiting.iter().map(accepted).min();
            let fits = match totals.oldest {
                None => at_most.is_none(),
                Some(oldest) => {
                    at_most.is_none_or(|at_most| oldest <= at_most)
                        && waiting.iter().chain(&open).any(|item| accepted(item) == oldest)
                }
            };
            if !fits {
                let oldest = totals.oldest;
                return differs(format!(
                    "{queue}: the oldest of {oldest:?}, in the model of {at_most:?} or older"
                ));
            }
        }
        Ok(())
    }

    fn compare_held(&self, queue: &QueueName, found: Vec<Result<u64, StoreError>>) -> Result<(), Trouble> {
        for (reason, found) in HoldReason::ALL.into_iter().zip(found) {
            let found = lost(found)?.map_err(unexpected)?;
            let state = self.model.state();
            let expected = state.held(queue, reason);
            let between = state
                .items
                .values()
                .filter(|item| item.entry.queue == *queue && state.released_in_claim(item))
                .count() as u64;
            if !(expected.saturating_sub(between)..=expected).contains(&found) {
                return differs(format!("{found} held for {reason:?} in {queue}, the model says {expected}"));
            }
        }
        Ok(())
    }

    fn compare_summary(&self, found: &EntrySummary, expected: &EntrySummary) -> Result<(), Trouble> {
        let state = self.model.state();
        let item = &state.items[&expected.id];
        let open = self.is_ripe(item) || state.released_in_claim(item);
        let same = found.received_at == expected.received_at
            && found.size == expected.size
            && found.reverse_path == expected.reverse_path
            && (open || (found.state == expected.state && found.hold == expected.hold));
        let backed_off = state.lanes.get(&item.entry.lane()).is_some_and(|lane| lane.back_off.is_some());
        let next = expected.state != Standing::Deferred
            || backed_off
            || open
            || found.next_attempt == expected.next_attempt;
        if !same || !next {
            return differs(format!("listed {found:?}, the model says {expected:?}"));
        }
        match (&found.entry, &expected.entry) {
            (Some(found), Some(expected)) => same_entry(found, expected),
            _ => differs(format!("{} cannot be read", expected.id)),
        }
    }
}
