//! The scheduler: leases what is due while there is room for it, and sees to each entry before it is attempted.

use std::{sync::Arc, time::Duration};

use posthouse_model::{EnhancedStatus, NextHop};
use posthouse_queue::{Content, LaneId, LaneSignal, LeaseRequest, Leased, Remainder, Settlement, StoreError};
use tokio::time;

use super::{
    JOBS_PER_CONNECTION, MOST_OCTETS,
    conclude::{Found, conclude, give_back, own_words, rest},
    prepare::{Prepared, prepare},
    settler::Unsettled,
};
use crate::{node::Node, policy::Policy};

/// Entries leased in one step: bounds what one step brings into memory (64 KiB each at most).
const BATCH: u32 = 64;

/// Jobs of a node at a time.
const MOST_JOBS: u32 = 1000;

/// The fallback for a wake-up that was lost, and how soon a deferred entry is noticed to be due (queue.md, Lease).
const POLL: Duration = Duration::from_secs(1);

/// Lanes named at most as not wanted.
const MOST_SKIPPED: usize = 1000;

/// Leases and hands out until the node stops taking work.
pub async fn run(node: Arc<Node>) {
    let mut wakeups = node.store.wakeups();
    loop {
        if node.delivery.stop.is_cancelled() {
            return;
        }
        let full = is_full(&node);
        let more = if full { Ok(false) } else { lease(&node).await };
        match more {
            Ok(true) => continue, // there may be more where this came from
            Ok(false) => {}
            Err(error) => {
                // Presence says it once; this loop just waits for the store to be back.
                tracing::debug!(event = "lease_failed", error = %error);
                time::sleep(POLL).await;
            }
        }
        tokio::select! {
            () = node.delivery.stop.cancelled() => return,
            () = node.delivery.total.freed(), if full => {}
            changed = wakeups.changed(), if !full => {
                if changed.is_err() {
                    time::sleep(POLL).await;
                }
            }
            () = time::sleep(POLL) => {}
        }
    }
}

fn is_full(node: &Node) -> bool {
    node.delivery.total.jobs() >= MOST_JOBS || node.delivery.total.octets() >= MOST_OCTETS
}

/// One step; true if something was leased.
async fn lease(node: &Arc<Node>) -> Result<bool, StoreError> {
    let (Some(policy), true) = (node.policy(), node.presence.is_writable()) else { return Ok(false) };
    let concurrency = policy.snapshot.gateway.queue.concurrency;
    let most_per_hop = concurrency.per_next_hop.saturating_mul(JOBS_PER_CONNECTION);
    let request = LeaseRequest {
        who: node.presence.incarnation(),
        max: BATCH,
        max_per_lane: most_per_hop.min(BATCH),
        skip: saturated_lanes(node, most_per_hop),
        claim: None,
    };
    let leased = node.store.lease(&request, node.presence.now()).await?;
    let any = !leased.is_empty();
    for leased in leased {
        see_to(node, &policy, leased).await;
    }
    Ok(any)
}

/// The lanes whose next hop has all the work it can take.
fn saturated_lanes(node: &Node, most_per_hop: u32) -> Vec<LaneId> {
    let hops = node.delivery.hops();
    let saturated = hops.values().filter(|hop| hop.load() >= most_per_hop);
    saturated.flat_map(|hop| hop.lanes()).take(MOST_SKIPPED).collect()
}

/// Attempts an entry, or settles it without an attempt.
async fn see_to(node: &Arc<Node>, policy: &Policy, leased: Leased) {
    let now = node.presence.now();
    let settlement = match prepare(policy, &leased, now) {
        Prepared::Attempt => return attempt(node, leased),
        Prepared::Stays => give_back(node, policy, &leased, LaneSignal::None),
        Prepared::Split(entries) => rest(node, policy, &leased, Remainder::Split(entries), LaneSignal::None),
        Prepared::Waits { status, text } => {
            let said = own_words(now, status, &text, "");
            all(node, policy, &leased, &Found::Transient(said)).await
        }
        Prepared::Expired { status, text } => expire(node, policy, &leased, status, text).await,
    };
    node.delivery
        .settler
        .settle(Unsettled { settlement, in_doubt: false, delivered_since: None }, || ())
        .await;
}

fn attempt(node: &Arc<Node>, leased: Leased) {
    let octets = match &leased.content {
        Content::Inline(content) => content.len() as u64,
        Content::Chunks(_) => posthouse_queue::CHUNK_SIZE as u64, // one chunk at a time
    };
    let next_hop: &NextHop = &leased.entry.route.next_hop;
    let hop = node.delivery.hop(next_hop);
    hop.note_lane(leased.entry.lane().id());
    let load = hop.take_load(&node.delivery.total, octets);
    node.delivery.carry(node, &hop, leased, load);
}

/// Each recipient is told what the last attempt said of it, if there was one; otherwise that its time is over.
async fn expire(
    node: &Arc<Node>,
    policy: &Policy,
    leased: &Leased,
    status: EnhancedStatus,
    text: &str,
) -> Settlement {
    let now = node.presence.now();
    let found = leased.entry.recipients.iter().map(|recipient| {
        let said = recipient.last.clone().unwrap_or_else(|| own_words(now, status, text, ""));
        Found::Expired(said)
    });
    conclude(node, policy, leased, found.collect(), LaneSignal::None).await.settlement
}

async fn all(node: &Node, policy: &Policy, leased: &Leased, found: &Found) -> Settlement {
    let found = vec![found.clone(); leased.entry.recipients.len()];
    conclude(node, policy, leased, found, LaneSignal::None).await.settlement
}
