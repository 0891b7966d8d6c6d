//! The scheduler: leases what is due while there is room for it, and sees to each entry before it is attempted.

use std::{sync::Arc, time::Duration};

use posthouse_model::NextHop;
use posthouse_queue::{Content, LaneId, LaneSignal, LeaseRequest, Leased, Remainder, StoreError};
use tokio::time;

use super::{
    JOBS_PER_CONNECTION, MOST_OCTETS,
    conclude::{Lease, conclude, give_back, own_words, rest, warn},
    hop::Job,
    judge::Found,
    prepare::{Prepared, Reach, prepare},
    settler::Unsettled,
};
use crate::{node::Node, policy::Policy, presence::Life};

/// Entries leased in one step: bounds what one step brings into memory (64 KiB each at most).
const BATCH: u32 = 64;

/// Jobs of a node at a time.
const MOST_JOBS: u32 = 1000;

/// The fallback for a wake-up that was lost, and how soon a deferred entry is noticed to be due (queue.md, Lease).
const POLL: Duration = Duration::from_secs(1);

/// How long ended jobs gather before more are leased.
const GATHER: Duration = Duration::from_millis(5);

/// Lanes named at most as not wanted.
const MOST_SKIPPED: usize = 1000;

/// Leases and hands out until the node stops taking work.
pub async fn run(node: Arc<Node>) {
    let mut wakeups = node.store.wakeups();
    while !node.delivery.stop.is_cancelled() {
        let full = is_full(&node);
        let step = if full { Ok(Step::Nothing) } else { lease(&node).await };
        let wait_for_room = match step {
            Ok(Step::More) => continue, // there may be more where this came from
            Ok(Step::Nothing) => full,
            Ok(Step::Saturated) => true,
            Err(error) => {
                // Presence says it once; this loop just waits for the store to be back.
                tracing::debug!(event = "lease_failed", error = %error);
                time::sleep(POLL).await;
                false
            }
        };
        tokio::select! {
            () = node.delivery.stop.cancelled() => return,
            () = room(&node), if wait_for_room => {}
            changed = wakeups.changed(), if !full => {
                if changed.is_err() {
                    time::sleep(POLL).await;
                }
            }
            () = time::sleep(POLL) => {}
        }
    }
}

/// What a step led to.
enum Step {
    /// Something was leased.
    More,
    /// Nothing was, and there is none.
    Nothing,
    /// Nothing was, but some lanes were left out.
    Saturated,
}

fn is_full(node: &Node) -> bool {
    node.delivery.total.jobs() >= MOST_JOBS || node.delivery.total.octets() >= MOST_OCTETS
}

/// Waits until jobs have ended, and then a moment, so that a lease brings several.
async fn room(node: &Node) {
    node.delivery.total.freed().await;
    time::sleep(GATHER).await;
}

/// One step.
async fn lease(node: &Arc<Node>) -> Result<Step, StoreError> {
    let (Some(policy), true) = (node.policy(), node.presence.answers()) else { return Ok(Step::Nothing) };
    let concurrency = policy.snapshot.gateway.queue.concurrency;
    let most_per_hop = concurrency.per_next_hop.saturating_mul(JOBS_PER_CONNECTION);
    let skip = saturated_lanes(node, most_per_hop);
    let saturated = !skip.is_empty();
    let life = node.presence.life();
    let request = LeaseRequest {
        who: life.incarnation(),
        max: BATCH,
        max_per_lane: most_per_hop.min(BATCH),
        skip,
        claim: None,
    };
    let leased = node.store.lease(&request, node.presence.now()).await;
    let leased = leased.inspect_err(|error| node.presence.doubt(&life, error))?;
    if leased.is_empty() {
        return Ok(if saturated { Step::Saturated } else { Step::Nothing });
    }
    for leased in leased {
        see_to(node, &policy, &life, leased, most_per_hop).await;
    }
    Ok(Step::More)
}

/// The lanes whose next hop has all the work it can take.
fn saturated_lanes(node: &Node, most_per_hop: u32) -> Vec<LaneId> {
    let hops = node.delivery.hops();
    let saturated = hops.values().filter(|hop| hop.load() >= most_per_hop);
    saturated.flat_map(|hop| hop.lanes()).take(MOST_SKIPPED).collect()
}

/// Attempts an entry, or settles it without an attempt.
async fn see_to(node: &Arc<Node>, policy: &Policy, life: &Arc<Life>, leased: Leased, most_per_hop: u32) {
    let (now, who) = (node.presence.now(), life.incarnation());
    let lease = Lease { leased: &leased, who };
    // Asked only for what it decides about.
    let reach = if leased.attend {
        let hop = node.delivery.hop(&leased.entry.route.next_hop);
        Reach::of(hop.is_down(now), hop.load() >= most_per_hop)
    } else {
        Reach::Open
    };
    let settlement = match prepare(policy, &leased, reach, now) {
        Prepared::Attempt => match attempt(node, life, leased, most_per_hop) {
            None => return,
            // Its hop has all that it can take: this lane is known from now on and not asked for more.
            Some(leased) => give_back(node, policy, Lease { leased: &leased, who }, LaneSignal::None),
        },
        Prepared::Stays => give_back(node, policy, lease, LaneSignal::None),
        Prepared::Late => warn(node, policy, lease).await,
        Prepared::Split(entries) => rest(node, policy, lease, Remainder::Split(entries), LaneSignal::None),
        Prepared::Waits { status, text } => {
            let said = own_words(now, status, &text, "");
            let found = vec![Found::Transient(said); leased.entry.recipients.len()];
            conclude(node, policy, lease, found, LaneSignal::None).await.settlement
        }
        Prepared::Expired { status, text } => {
            // Each recipient is told what the last attempt said of it, if there was one; otherwise that its time is over.
            let found = leased.entry.recipients.iter().map(|recipient| {
                let said = recipient.last.clone().unwrap_or_else(|| own_words(now, status, text, ""));
                Found::Expired(said)
            });
            conclude(node, policy, lease, found.collect(), LaneSignal::None).await.settlement
        }
    };
    let life = Arc::clone(life);
    node.delivery
        .settler
        .settle(Unsettled { settlement, life, in_doubt: false, delivered_since: None })
        .await;
}

/// Gives an entry to its next hop; back it comes if that has all it can take.
fn attempt(node: &Arc<Node>, life: &Arc<Life>, leased: Leased, most_per_hop: u32) -> Option<Leased> {
    let octets = match &leased.content {
        Content::Inline(content) => content.len() as u64,
        Content::Chunks(_) => posthouse_queue::CHUNK_SIZE as u64, // one chunk at a time
    };
    let next_hop: &NextHop = &leased.entry.route.next_hop;
    let hop = node.delivery.hop(next_hop);
    hop.note_lane(leased.entry.lane().id());
    // What has to be attended to would come again with the next lease, whatever lanes are left out.
    if !leased.attend && hop.load() >= most_per_hop.saturating_add(BATCH) {
        return Some(leased);
    }
    let load = hop.take_load(&node.delivery.total, octets);
    node.delivery.carry(node, &hop, Job { leased, life: Arc::clone(life), load });
    None
}
