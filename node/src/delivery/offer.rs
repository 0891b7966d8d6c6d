//! The fast path: the node that accepts a small message takes the lease with the enqueue and delivers it from memory (queue.md, Fast path).

use std::sync::Arc;

use posthouse_model::Transport;
use posthouse_queue::{Content, Entry, LeaseToken, Leased, NewContent, NewEntry, NewMessage};

use super::{
    Delivery, JOBS_PER_CONNECTION, MOST_OCTETS,
    hop::{Hop, Job, Load},
};
use crate::{policy::Policy, presence::Life};

/// The entries of a message that this node could deliver at once, each with its place taken.
#[derive(Default)]
pub struct Offer {
    indexes: Vec<u16>,
    places: Vec<(Arc<Hop>, Load)>,
}

/// What is kept of a message while it is enqueued.
pub struct Kept {
    message: Arc<posthouse_queue::MessageMeta>,
    content: Content,
    entries: Vec<Arc<Entry>>,
}

impl Offer {
    /// The indexes of the entries, for [`posthouse_queue::Store::enqueue`].
    #[must_use]
    pub fn indexes(&self) -> &[u16] {
        &self.indexes
    }

    /// Keeps what a delivery from memory needs; nothing if there is no entry to deliver.
    #[must_use]
    pub fn keep(&self, message: &NewMessage) -> Option<Kept> {
        let NewContent::Inline(content) = &message.content else { return None };
        if self.indexes.is_empty() {
            return None;
        }
        let entries = self
            .indexes
            .iter()
            .filter_map(|index| message.entries.get(usize::from(*index)).map(|entry| (*index, entry)))
            .map(|(index, entry)| Arc::new(as_stored(message, index, entry)))
            .collect();
        Some(Kept {
            message: Arc::new(message.meta.clone()),
            content: Content::Inline(content.clone()),
            entries,
        })
    }
}

impl Delivery {
    /// The entries of a message for which there is a place now.
    #[must_use]
    pub fn offer(&self, message: &NewMessage, policy: &Policy) -> Offer {
        let NewContent::Inline(content) = &message.content else { return Offer::default() };
        if self.stop.is_cancelled() {
            return Offer::default();
        }
        let most = policy.snapshot.gateway.queue.concurrency.per_next_hop.saturating_mul(JOBS_PER_CONNECTION);
        let mut offer = Offer::default();
        for (index, entry) in (0..).zip(&message.entries) {
            let octets = content.len() as u64;
            let sendable = entry.mode.hold.is_none()
                && entry.route.next_hop.transport != Transport::Maildrop
                && entry.route.waits.is_none();
            if !sendable || self.total.octets() + octets > MOST_OCTETS {
                continue;
            }
            let hop = self.hop(&entry.route.next_hop);
            if hop.load() < most {
                let load = hop.take_load(&self.total, octets);
                offer.indexes.push(index);
                offer.places.push((hop, load));
            }
        }
        offer
    }

    /// Begins the deliveries whose lease was granted; the other places go back.
    pub fn start(&self, offer: Offer, kept: Option<Kept>, life: &Arc<Life>, leases: &[Option<LeaseToken>]) {
        let (Some(kept), Some(node)) = (kept, self.node()) else { return };
        let Kept { message, content, entries } = kept;
        for ((index, (hop, load)), entry) in offer.indexes.into_iter().zip(offer.places).zip(entries) {
            let Some(token) = leases.get(usize::from(index)).copied().flatten() else { continue };
            let leased = Leased {
                entry,
                message: Arc::clone(&message),
                content: content.clone(),
                token,
                attend: false,
                probe: false,
                held: false,
            };
            self.carry(&node, &hop, Job { leased, life: Arc::clone(life), load });
        }
    }
}

/// The entry as the store has it after the enqueue.
fn as_stored(message: &NewMessage, index: u16, entry: &NewEntry) -> Entry {
    Entry {
        id: message.id.entry(index),
        queue: entry.queue.clone(),
        route: entry.route.clone(),
        source: entry.source.clone(),
        snapshot: entry.snapshot,
        recipients: entry.recipients.clone(),
        transforms: entry.transforms.clone(),
        priority: entry.priority,
        urgent: entry.urgent,
        attempts: 0,
        delay_warned: false,
        attend_at: entry.attend_at,
        held_ms: 0,
    }
}
