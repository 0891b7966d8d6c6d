//! What waits in the queues, counted for statuses. Every node looks every few seconds; whoever finds that nobody has counted lately does, and says
//! it where a status would change. Two that count at once do no harm, so nobody needs a lease for it. That the store or the channel is away is said
//! by others.

use std::{sync::Arc, time::Duration};

use posthouse_channel::{Channel, ChannelError, Totals, Waiting, totals::give_way};
use posthouse_model::{QueueName, Timestamp};
use posthouse_queue::{QueueTotals, Store, StoreError};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::node::Node;

/// Between two looks, at least.
const EVERY: Duration = Duration::from_secs(5);

/// No two nodes of a gateway keep in step: so much later, at most.
const JITTER: Duration = Duration::from_secs(1);

/// What was counted so lately need not be counted again.
const FRESH: Duration = Duration::from_secs(4);

/// Queues counted in one step of the store.
const LOOKED_AT: u32 = 300;

/// A count that takes long comes less often: it takes a store at most one part in so many of its time.
const SHARE: u32 = 20;

/// Why it was not counted, or not said.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

/// Counts until the end.
pub async fn keep(node: Arc<Node>, channel: Channel, end: CancellationToken) {
    let mut counting = Counting { store: Arc::clone(&node.store), channel, said: None };
    let mut rest = rand::random_range(Duration::ZERO..EVERY);
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            () = sleep(rest) => {}
        }
        let began = Instant::now();
        // Before the first heartbeat the store's clock is not known.
        if node.presence.answers() {
            let counted = tokio::select! {
                () = end.cancelled() => return,
                counted = counting.look(node.presence.now()) => counted,
            };
            if let Err(error) = counted {
                tracing::debug!(event = "totals_not_counted", %error);
            }
        }
        rest = EVERY.max(began.elapsed() * SHARE) + rand::random_range(Duration::ZERO..JITTER);
    }
}

struct Counting {
    store: Arc<dyn Store>,
    channel: Channel,
    /// What the channel had last.
    said: Option<Totals>,
}

impl Counting {
    async fn look(&mut self, now: Timestamp) -> Result<(), Trouble> {
        let there = self.channel.totals_at().await?;
        if there.is_some_and(|there| !give_way(there, now.before(FRESH))) {
            return Ok(());
        }
        if there != self.said.as_ref().map(|said| said.at) {
            self.said = self.channel.totals().await?;
        }
        let totals = count(&*self.store, now).await?;
        if self.said.as_ref().is_some_and(|said| said.says_the_same(&totals)) {
            return Ok(());
        }
        if self.channel.replace_totals(&totals).await? {
            self.said = Some(totals);
        }
        Ok(())
    }
}

async fn count(store: &dyn Store, now: Timestamp) -> Result<Totals, StoreError> {
    let mut totals = Totals::new(now);
    let all = store.counts(None).await?;
    let mut from = (all.held + all.deferred > 0).then_some(0); // else cheaper to ask than every queue
    while let Some(place) = from {
        let page = store.queue_totals(place, LOOKED_AT).await?;
        totals.extend(page.queues.into_iter().map(waiting));
        from = page.next;
    }
    Ok(totals)
}

fn waiting(QueueTotals { queue, counts, oldest }: QueueTotals) -> (QueueName, Waiting) {
    (queue, Waiting { held: counts.held, deferred: counts.deferred, oldest })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use posthouse_channel::Directory;

    use super::*;
    use crate::stores;

    #[tokio::test]
    async fn what_is_known_is_not_said_again_and_what_was_counted_lately_not_counted() {
        let folder = tempfile::tempdir().unwrap();
        let channel = Channel::Directory(Directory::create(folder.path().join("config")).unwrap());
        let store = stores::embedded(folder.path()).await.unwrap();
        let mut counting = Counting { store, channel: channel.clone(), said: None };
        let at = |seconds: u64| Timestamp(1_000_000 + seconds * 1_000);
        let queue = QueueName::new("d.example").unwrap();
        let other = |seconds| {
            let mut totals = Totals::new(at(seconds));
            totals.extend([(queue.clone(), Waiting { held: 1, ..Waiting::default() })]);
            totals
        };
        counting.look(at(0)).await.unwrap();
        assert_eq!(
            channel.totals().await.unwrap(),
            Some(Totals::new(at(0))),
            "that nothing waits is said once"
        );
        counting.look(at(5)).await.unwrap();
        assert_eq!(channel.totals_at().await.unwrap(), Some(at(0)), "at rest nothing is written");
        // Another node counted, and found more.
        channel.replace_totals(&other(6)).await.unwrap();
        counting.look(at(9)).await.unwrap();
        assert_eq!(channel.totals().await.unwrap(), Some(other(6)));
        counting.look(at(11)).await.unwrap();
        assert_eq!(channel.totals().await.unwrap(), Some(Totals::new(at(11))));
    }
}
