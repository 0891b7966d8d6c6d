//! What people do to whole queues, on both.

use posthouse_model::QueueName;

use super::{Pair, Trouble, differs, lost, unexpected};
use crate::contract::model::Place;

impl Pair {
    pub(super) async fn retry(&mut self, queue: Option<QueueName>) -> Result<(), Trouble> {
        let ripe = {
            let state = self.model.state();
            // Whether the lane of a queue opens that has nothing deferred is not said.
            let unclear = state.lanes.iter().any(|(lane, known)| {
                queue.as_ref().is_none_or(|queue| *queue == lane.queue)
                    && known.back_off.is_some()
                    && !state.items.values().any(|item| {
                        item.entry.lane() == *lane && matches!(item.place, Place::Deferred { .. })
                    })
            });
            if unclear {
                return Ok(());
            }
            state.items.values().filter(|item| self.is_ripe(item) || Self::was_ripe(item)).count() as u64
        };
        let now = self.now;
        let stored = match &self.store {
            Some(store) => Some(lost(store.retry(queue.as_ref(), now).await)?.map_err(unexpected)?),
            None => None,
        };
        let expected = self.model.state().retry(queue.as_ref(), now);
        match stored {
            Some(stored) if stored > expected + ripe || stored + ripe < expected => {
                differs(format!("retried {stored}, the model says {expected}"))
            }
            _ => Ok(()),
        }
    }
}
