//! Leases: who may attempt an entry, and the token that proves it. No I/O.

use std::sync::Arc;

use posthouse_model::Incarnation;
use serde::{Deserialize, Serialize};

use crate::{
    ClaimId,
    entry::{Entry, LaneId},
    message::{Content, MessageMeta},
};

/// The fencing token of a lease: grows with every lease of a shard; a settle must show it. Fits 53 bits (Lua's integers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseToken(pub u64);

/// What to lease.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    /// For whom: it must have a live heartbeat.
    pub who: Incarnation,
    /// The most entries to lease, at most 1,000.
    pub max: u32,
    /// The most entries from one lane: what the node can start on this next hop.
    pub max_per_lane: u32,
    /// Lanes to leave alone: the node has no permit for them now. At most 1,000.
    pub skip: Vec<LaneId>,
    /// Lease from this claim's entries instead of from the lanes, in hold order.
    pub claim: Option<ClaimId>,
}

/// A leased entry with all that an attempt needs.
#[derive(Clone, Debug)]
pub struct Leased {
    /// The entry as it is stored.
    pub entry: Arc<Entry>,
    /// Its message.
    pub message: Arc<MessageMeta>,
    /// Its content.
    pub content: Content,
    /// The proof for the settle.
    pub token: LeaseToken,
    /// It was leased because `attend_at` has come (expiry or warning is due), perhaps in a lane that is backed off or while held: decide
    /// on its clock; do not attempt it when `probe` is not set and it is past no deadline.
    pub attend: bool,
    /// It is the one probe of a lane that was backed off.
    pub probe: bool,
    /// It was held when it was leased (attended to, or leased by hand): it is not to be attempted. Never said of what a claim leases.
    pub held: bool,
}
