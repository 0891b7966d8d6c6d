//! What follows an enqueue and is not waited for: activation of what was confirmed, and the repeated withdrawal of what is in doubt.

use std::{sync::Arc, time::Duration};

use posthouse_model::MessageId;
use posthouse_queue::{Store, StoreError};
use tokio::{sync::mpsc, time};

use crate::{
    events,
    presence::{Life, Presence},
};

/// Ids that wait at most; above it sessions wait, which slows intake down to what the store takes.
const WAITING: usize = 10_000;

/// Ids in one step.
const BATCH: usize = 500;

/// Between two tries while the store is away.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Takes ids; the work is done by [`Work::run`].
pub struct Activator {
    activations: mpsc::Sender<MessageId>,
    withdrawals: mpsc::Sender<(MessageId, Arc<Life>)>,
}

/// The other end.
pub struct Work {
    activations: mpsc::Receiver<MessageId>,
    withdrawals: mpsc::Receiver<(MessageId, Arc<Life>)>,
}

impl Activator {
    /// An activator and its work.
    #[must_use]
    pub fn new() -> (Self, Work) {
        let (activations, to_activate) = mpsc::channel(WAITING);
        let (withdrawals, to_withdraw) = mpsc::channel(WAITING);
        (Self { activations, withdrawals }, Work { activations: to_activate, withdrawals: to_withdraw })
    }

    /// Has a message activated.
    pub async fn activate(&self, id: MessageId) {
        // If the node is ending, whoever reaps it activates: the message is on disk.
        let _ = self.activations.send(id).await;
    }

    /// Has a message withdrawn whose withdrawal could not be confirmed. Meanwhile the life that enqueued it must not end: that would activate it.
    pub async fn withdraw(&self, id: MessageId, life: Arc<Life>) {
        let _ = self.withdrawals.send((id, life)).await;
    }
}

impl Work {
    /// Works until the [`Activator`] is gone and everything is done.
    pub async fn run(self, store: Arc<dyn Store>, presence: Arc<Presence>) {
        let Self { activations, withdrawals } = self;
        tokio::join!(
            activate_all(activations, &*store, &presence),
            withdraw_all(withdrawals, &*store, &presence)
        );
    }
}

async fn activate_all(mut ids: mpsc::Receiver<MessageId>, store: &dyn Store, presence: &Presence) {
    let mut batch = Vec::with_capacity(BATCH);
    while ids.recv_many(&mut batch, BATCH).await > 0 {
        while let Err(error) = store.activate(&batch, presence.now()).await {
            if !matches!(error, StoreError::Unavailable(_) | StoreError::Full(_)) {
                events::StoreTrouble { doing: "activate messages", error: &error }.emit();
                break;
            }
            time::sleep(AGAIN_AFTER).await;
        }
        batch.clear();
    }
}

async fn withdraw_all(
    mut doubtful: mpsc::Receiver<(MessageId, Arc<Life>)>,
    store: &dyn Store,
    presence: &Presence,
) {
    while let Some((id, _life)) = doubtful.recv().await {
        while store.withdraw(id, presence.now()).await.is_err() {
            time::sleep(AGAIN_AFTER).await;
        }
    }
}
