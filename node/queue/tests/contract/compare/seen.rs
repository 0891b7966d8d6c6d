//! What can be seen of both: accounting, counts and lists.

use posthouse_model::QueueName;
use posthouse_queue::{EntrySummary, HoldReason, ListFilter, State as Standing, Store};

use super::{Pair, Trouble, differs, lost, queue_text, same_entry, unexpected};
use crate::contract::model::Item;
use crate::contract::operation::QUEUES;
use crate::contract::world::{list_all, queue_name};

impl Pair {
    /// Compares what can be seen: accounting (I1) and counts; with `whole`, every queue and every entry.
    pub(super) async fn compare_all(&self, whole: bool) -> Result<(), Trouble> {
        let Some(store) = &self.store else { return Ok(()) };
        let accounting = lost(store.accounting().await)?.map_err(unexpected)?;
        let expected = self.model.state().accounting;
        if accounting != expected || !accounting.balances() {
            return differs(format!("accounting {accounting:?}, the model says {expected:?}"));
        }
        self.compare_counts(&**store, None).await?;
        if !whole {
            return Ok(());
        }
        for queue in (0..QUEUES).map(|queue| queue_name(&queue_text(queue))) {
            self.compare_counts(&**store, Some(&queue)).await?;
            self.compare_held(&**store, &queue).await?;
        }
        let found = lost(list_all(&**store, &ListFilter::default()).await)?.map_err(unexpected)?;
        let expected = self.model.state().list(&ListFilter::default());
        let ids = |list: &[EntrySummary]| list.iter().map(|summary| summary.id).collect::<Vec<_>>();
        if ids(&found) != ids(&expected) {
            return differs(format!("listed {:?}, the model says {:?}", ids(&found), ids(&expected)));
        }
        found.iter().zip(&expected).try_for_each(|(found, expected)| self.compare_summary(found, expected))
    }

    pub(super) async fn compare_counts(
        &self,
        store: &dyn Store,
        queue: Option<&QueueName>,
    ) -> Result<(), Trouble> {
        let found = lost(store.counts(queue).await)?.map_err(unexpected)?;
        let state = self.model.state();
        let expected = state.counts(queue);
        let of = |item: &&Item| queue.is_none_or(|queue| *queue == item.entry.queue);
        let ripe = state.items.values().filter(of).filter(|item| self.is_ripe(item)).count() as u64;
        let between =
            state.items.values().filter(of).filter(|item| state.released_in_claim(item)).count() as u64;
        let ripened = state.items.values().filter(of).filter(|item| Self::was_ripe(item)).count() as u64;
        let waiting = |counts: &posthouse_queue::Counts| counts.due + counts.deferred + counts.held;
        let fits = found.incoming == expected.incoming
            && found.active == expected.active
            && waiting(&found) == waiting(&expected)
            && (expected.deferred - ripe..=expected.deferred + ripened).contains(&found.deferred)
            && (expected.held - between..=expected.held).contains(&found.held);
        if fits { Ok(()) } else { differs(format!("{queue:?}: {found:?}, the model says {expected:?}")) }
    }

    pub(super) async fn compare_held(&self, store: &dyn Store, queue: &QueueName) -> Result<(), Trouble> {
        for reason in HoldReason::ALL {
            let found = lost(store.held(queue, reason).await)?.map_err(unexpected)?;
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

    pub(super) fn compare_summary(
        &self,
        found: &EntrySummary,
        expected: &EntrySummary,
    ) -> Result<(), Trouble> {
        let state = self.model.state();
        let item = &state.items[&expected.id];
        let open = self.is_ripe(item) || Self::was_ripe(item) || state.released_in_claim(item);
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
