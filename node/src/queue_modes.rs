//! The modes of queues: told to the store when a snapshot comes into force. The store frees what a queue held that is Online now, and lets
//! nobody with an older snapshot undo it. Only what changed since the snapshot that was told before is told, where that is known.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use posthouse_model::QueueName;
use posthouse_queue::{HoldReason, StoreError};
use tokio::{sync::watch, time};

use crate::{events, node::Node, policy::Policy};

/// Modes told to the store in one step.
const MODES: usize = 500;

/// Queues looked at in one step.
const LOOKED_AT: u32 = 300;

/// Between two tries while the store is away.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Sees the store through every change, however long it is away; ends with whoever puts snapshots in force.
pub async fn tell(node: Arc<Node>, mut policies: watch::Receiver<Option<Arc<Policy>>>) {
    // Before the first heartbeat the store's clock is not known, and what is freed would be dated wrongly.
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
        match tell_modes(&node, &policy, told.as_deref()).await {
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

async fn tell_modes(node: &Node, policy: &Policy, before: Option<&Policy>) -> Result<(), StoreError> {
    let generation = policy.snapshot.generation;
    // First of all: from here on nobody with an older snapshot changes what it leaves as it was.
    let told = node.store.set_queue_modes(generation, &[], node.presence.now()).await?;
    if told > generation {
        return Ok(()); // others have a newer one, which this node gets as well
    }
    // What was told of a snapshot in between, which this node never had, may differ from both.
    let base = before.filter(|before| told == generation || told == before.snapshot.generation);
    let modes = match base
        .filter(|base| base.snapshot.gateway.connectivity == policy.snapshot.gateway.connectivity)
    {
        Some(base) => changed(policy, base),
        None => all(policy, &holding(node).await?),
    };
    for part in modes.chunks(MODES) {
        node.store.set_queue_modes(generation, part, node.presence.now()).await?;
    }
    Ok(())
}

/// The queues whose mode is another than it was, those that are gone included: what they held drains by the route in its entries.
fn changed(policy: &Policy, base: &Policy) -> Vec<(QueueName, Option<HoldReason>)> {
    let is_new = |name: &QueueName, hold: Option<HoldReason>| {
        base.snapshot.queue(name).is_none() || base.queue_mode(name).hold != hold
    };
    let named = policy.queue_modes().map(|(name, mode)| (name, mode.hold));
    let gone = base.queue_modes().map(|(name, _)| name).filter(|name| policy.snapshot.queue(name).is_none());
    let gone = gone.map(|name| (name.clone(), policy.queue_mode(&name).hold));
    named.filter(|(name, hold)| is_new(name, *hold)).chain(gone).collect()
}

/// Every queue that the snapshot names, and those that hold mail and are in it no longer.
fn all(policy: &Policy, holding: &BTreeSet<QueueName>) -> Vec<(QueueName, Option<HoldReason>)> {
    let named = policy.queue_modes().map(|(name, mode)| (name, mode.hold));
    let gone = holding.iter().filter(|name| policy.snapshot.queue(name).is_none());
    named.chain(gone.map(|name| (name.clone(), policy.queue_mode(name).hold))).collect()
}

/// The queues that hold mail.
async fn holding(node: &Node) -> Result<BTreeSet<QueueName>, StoreError> {
    let mut queues = BTreeSet::new();
    if node.store.counts(None).await?.held == 0 {
        return Ok(queues); // the usual case, and cheaper to ask than every queue
    }
    let mut from = Some(0);
    while let Some(place) = from {
        let page = node.store.queue_totals(place, LOOKED_AT).await?;
        queues.extend(page.queues.into_iter().filter(|queue| queue.counts.held > 0).map(|queue| queue.queue));
        from = page.next;
    }
    Ok(queues)
}
