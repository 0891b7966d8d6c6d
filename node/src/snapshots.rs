//! Putting a snapshot in force: read, checked, swapped in one step; then the modes of its queues are told to the store, and what a queue held
//! that is Online now is set free.

use std::{sync::Arc, time::Duration};

use posthouse_channel::Directory;
use posthouse_config::{Snapshot, SnapshotHash};
use posthouse_model::QueueName;
use posthouse_queue::{HoldReason, QueueMode, Release, ReleaseId, ReleaseScope, StoreError};
use sha2::{Digest, Sha256};
use tokio::time;

use crate::{events, node::Node, policy::Policy};

/// Modes told to the store in one step.
const MODES: usize = 500;

/// Between two tries while the store is away.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Reasons that a queue's mode gives; the others end by other hands.
const MODE_REASONS: [HoldReason; 3] =
    [HoldReason::OnRequest, HoldReason::Scheduled, HoldReason::Connectivity];

/// Reads the snapshot of this hash and puts it in force; an error is the reason why the one before stays.
pub fn apply(node: &Arc<Node>, directory: &Directory, hash: SnapshotHash) -> Result<(), String> {
    if node.policy().is_some_and(|policy| policy.hash == hash) {
        return Ok(());
    }
    let encoded = directory.read(hash).map_err(|error| error.to_string())?;
    let snapshot = Snapshot::decode(&encoded).map_err(|error| error.to_string())?;
    let policy = Arc::new(Policy::new(snapshot, hash));
    let before = node.set_policy(Arc::clone(&policy));
    events::SnapshotApplied { hash: &hash }.emit();
    tokio::spawn(tell_store(Arc::clone(node), policy, before));
    Ok(())
}

/// Sees the store through the change, however long it is away, unless a newer snapshot has come.
async fn tell_store(node: Arc<Node>, policy: Arc<Policy>, before: Option<Arc<Policy>>) {
    // Before the first heartbeat the store's clock is not known, and a release would be dated wrongly.
    let mut writable = node.presence.watch_writable();
    if writable.wait_for(|_| node.presence.answers()).await.is_err() {
        return;
    }
    loop {
        if node.policy().is_none_or(|current| current.hash != policy.hash) {
            return; // the newer one tells the store itself
        }
        match set_modes(&node, &policy, before.as_deref()).await {
            Ok(()) => return,
            Err(error) => {
                events::StoreTrouble { doing: "set the modes of queues", error: &error }.emit();
                time::sleep(AGAIN_AFTER).await;
            }
        }
    }
}

async fn set_modes(node: &Node, policy: &Policy, before: Option<&Policy>) -> Result<(), StoreError> {
    let generation = policy.snapshot.generation;
    let mut modes: Vec<(QueueName, QueueMode)> = policy.queue_modes().collect();
    // A queue that is gone holds nothing any more: what it held drains by the route in its entries.
    let gone = before
        .into_iter()
        .flat_map(Policy::queue_modes)
        .filter(|(name, _)| policy.snapshot.queue(name).is_none());
    modes.extend(gone.map(|(name, _)| (name, QueueMode { hold: None, generation })));
    for part in modes.chunks(MODES) {
        node.store.set_queue_modes(part).await?;
    }
    for (name, mode) in &modes {
        for reason in MODE_REASONS.into_iter().filter(|reason| mode.hold != Some(*reason)) {
            free(node, name, reason, generation).await?;
        }
    }
    Ok(())
}

/// Releases what a queue holds for a reason that it no longer has. Every node does; the id makes it happen once.
async fn free(node: &Node, queue: &QueueName, reason: HoldReason, generation: u64) -> Result<(), StoreError> {
    if node.store.held(queue, reason).await? == 0 {
        return Ok(());
    }
    let release = Release {
        id: release_id(queue, reason, generation),
        scope: ReleaseScope::Queue(queue.clone()),
        reason,
        at: node.presence.now(),
    };
    node.store.release(&release).await.map(drop)
}

fn release_id(queue: &QueueName, reason: HoldReason, generation: u64) -> ReleaseId {
    let mut hash = Sha256::new();
    hash.update(queue.as_str().as_bytes());
    hash.update([0, reason.number()]);
    hash.update(generation.to_be_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut id = [0; 16];
    id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    ReleaseId(id)
}
