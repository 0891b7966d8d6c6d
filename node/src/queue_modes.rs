//! The modes of queues: told to the store when a snapshot comes into force, and what a queue held that is Online now is set free. Only what
//! changed since the snapshot that was told before is told: a queue's mode carries the generation of the snapshot that set it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use posthouse_model::QueueName;
use posthouse_queue::{
    HoldReason, ListFilter, QueueMode, Release, ReleaseId, ReleaseScope, State, StoreError,
};
use sha2::{Digest, Sha256};
use tokio::{sync::watch, time};

use crate::{events, node::Node, policy::Policy};

/// Modes told to the store in one step.
const MODES: usize = 500;

/// Entries looked at in one step.
const LISTED: u32 = 1000;

/// Between two tries while the store is away.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Reasons that a queue's mode gives; the others end by other hands.
const MODE_REASONS: [HoldReason; 3] =
    [HoldReason::OnRequest, HoldReason::Scheduled, HoldReason::Connectivity];

/// Sees the store through every change, however long it is away; ends with whoever puts snapshots in force.
pub async fn tell(node: Arc<Node>, mut policies: watch::Receiver<Option<Arc<Policy>>>) {
    // Before the first heartbeat the store's clock is not known, and a release would be dated wrongly.
    let mut writable = node.presence.watch_writable();
    if writable.wait_for(|_| node.presence.answers()).await.is_err() {
        return;
    }
    let mut told: Option<Arc<Policy>> = None;
    loop {
        let Some(policy) = policies.borrow_and_update().clone() else {
            match policies.changed().await {
                Ok(()) => continue,
                Err(_) => return,
            }
        };
        match set_modes(&node, &policy, told.as_deref()).await {
            Ok(()) => {
                told = Some(policy);
                tokio::select! {
                    changed = policies.changed() => if changed.is_err() {
                        return;
                    },
                    // A store that was away may have come back as it was before.
                    changed = writable.changed() => if changed.is_err() || *writable.borrow_and_update() {
                        told = None;
                    },
                }
            }
            Err(error) => {
                events::StoreTrouble { doing: "set the modes of queues", error: &error }.emit();
                told = None; // who knows how much of it was done
                time::sleep(AGAIN_AFTER).await;
            }
        }
    }
}

async fn set_modes(node: &Node, policy: &Policy, before: Option<&Policy>) -> Result<(), StoreError> {
    let snapshot = &policy.snapshot;
    let is_new = |name: &QueueName, mode: &QueueMode| {
        before
            .and_then(|before| before.snapshot.queue(name).map(|_| before.queue_mode(name)))
            .is_none_or(|before| before.hold != mode.hold)
    };
    let mut modes: Vec<(QueueName, QueueMode)> =
        policy.queue_modes().filter(|(name, mode)| is_new(name, mode)).collect();
    // Where it is not known what was told before, the store says which queues hold mail.
    let holding = if before.is_none() { holding(node).await? } else { BTreeSet::new() };
    // A queue that is gone holds nothing any more: what it held drains by the route in its entries.
    let known =
        before.into_iter().flat_map(Policy::queue_modes).map(|(name, _)| name).chain(holding.iter().cloned());
    let gone = known.filter(|name| snapshot.queue(name).is_none());
    modes.extend(gone.map(|name| (name.clone(), policy.queue_mode(&name))));
    for part in modes.chunks(MODES) {
        node.store.set_queue_modes(part).await?;
    }
    for (name, mode) in modes.iter().filter(|(name, _)| before.is_some() || holding.contains(name)) {
        for reason in MODE_REASONS.into_iter().filter(|reason| mode.hold != Some(*reason)) {
            free(node, name, reason, snapshot.generation).await?;
        }
    }
    Ok(())
}

/// The queues that hold mail.
async fn holding(node: &Node) -> Result<BTreeSet<QueueName>, StoreError> {
    let mut queues = BTreeSet::new();
    if node.store.counts(None).await?.held == 0 {
        return Ok(queues);
    }
    let filter = ListFilter { queue: None, state: Some(State::Held) };
    let mut from = Some(0);
    while let Some(place) = from {
        let page = node.store.list(&filter, place, LISTED).await?;
        queues.extend(page.entries.into_iter().filter_map(|held| Some(held.entry?.queue)));
        from = page.next;
    }
    Ok(queues)
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
