//! What people do to whole queues, on both.

use posthouse_model::QueueName;

use super::{Pair, Trouble, differs, lost, unexpected};
use crate::contract::model::Item;

impl Pair {
    pub(super) async fn retry(&mut self, queue: Option<QueueName>) -> Result<(), Trouble> {
        // How many: what is ripe may count or not, and so may what is in a lane that was empty since it was backed off, or was freed.
        let open = {
            let state = self.model.state();
            let forgotten =
                |item: &Item| state.lanes.get(&item.entry.lane()).is_some_and(|lane| lane.emptied);
            let open = |item: &&Item| self.is_ripe(item) || forgotten(item) || state.freed(item).is_some();
            state.items.values().filter(open).count() as u64
        };
        let now = self.now;
        let stored = match &self.store {
            Some(store) => Some(lost(store.retry(queue.as_ref(), now).await)?.map_err(unexpected)?),
            None => None,
        };
        let expected = self.model.state().retry(queue.as_ref(), now);
        match stored {
            Some(stored) if stored.abs_diff(expected) > open => {
                differs(format!("retried {stored}, the model says {expected}"))
            }
            _ => Ok(()),
        }
    }
}
