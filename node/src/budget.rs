//! The byte budget of intake: MAIL reserves what its message may need, so that sessions that together exceed the room left are refused at
//! MAIL and not in the middle of DATA (queue.md, Enqueue).
//!
//! The cluster's budget lives in the store; this node takes from it in blocks, so that a small message costs no round trip of its own.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use posthouse_model::Incarnation;
use posthouse_queue::{Store, StoreError};
use tokio::sync::Mutex;

use crate::{
    events,
    presence::{Life, Presence},
};

/// Taken beyond what is asked for, if there is room: so many octets of messages are admitted before the store is asked again.
const BLOCK: u64 = 256 * 1024 * 1024;

/// This node's share of the budget.
pub struct Budget {
    store: Arc<dyn Store>,
    presence: Arc<Presence>,
    share: Mutex<Share>,
    /// Less is free than the reserve: no mail is taken.
    short: AtomicBool,
}

#[derive(Default)]
struct Share {
    /// In whose name it was granted.
    who: Option<Incarnation>,
    granted: u64,
    used: u64,
}

impl Share {
    /// What was granted to another incarnation is not granted to this one.
    fn belong_to(&mut self, who: Incarnation) {
        if self.who.replace(who) != Some(who) {
            self.granted = 0;
        }
    }
}

/// Room for one message; given back when dropped.
pub struct Reservation {
    budget: Arc<Budget>,
    octets: u64,
}

/// Why there is no reservation.
#[derive(Debug)]
pub enum NoRoom {
    /// Not now: 452.
    Full,
    /// The store did not answer: 451.
    Store(StoreError),
}

impl Budget {
    /// An empty share.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, presence: Arc<Presence>) -> Arc<Self> {
        Arc::new(Self { store, presence, share: Mutex::default(), short: AtomicBool::new(false) })
    }

    /// Reserves `octets`, keeping `reserve` octets free for what is not mail.
    pub async fn reserve(self: &Arc<Self>, octets: u64, reserve: u64) -> Result<Reservation, NoRoom> {
        let free = self.presence.room();
        let short = free.is_some_and(|free| free <= reserve);
        if self.short.swap(short, Ordering::Relaxed) != short {
            events::Room { free, reserve }.emit();
        }
        let room = free.map(|free| free.saturating_sub(reserve));
        // The room may have shrunk since the share was granted (somebody else fills the disk): what is new must fit by itself.
        if room.is_some_and(|room| room < octets) {
            return Err(NoRoom::Full);
        }
        let life = self.presence.life();
        let mut share = self.share.lock().await;
        share.belong_to(life.incarnation());
        let used = share.used.saturating_add(octets);
        if used > share.granted && !self.grow(&life, &mut share, used, room).await? {
            return Err(NoRoom::Full);
        }
        share.used = used;
        drop(share);
        Ok(Reservation { budget: Arc::clone(self), octets })
    }

    /// Asks for a block more, then for just what is needed.
    async fn grow(
        &self,
        life: &Life,
        share: &mut Share,
        needed: u64,
        room: Option<u64>,
    ) -> Result<bool, NoRoom> {
        for wanted in [needed.saturating_add(BLOCK), needed] {
            let (who, now) = (life.incarnation(), self.presence.now());
            if self.store.reserve(who, wanted, room, now).await.map_err(NoRoom::Store)? {
                share.granted = wanted;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives back what is not used, so that other nodes can use it; called now and then. After a new incarnation it takes the share anew.
    pub async fn settle(&self) {
        let life = self.presence.life();
        let mut share = self.share.lock().await;
        share.belong_to(life.incarnation());
        let wanted = share.used.saturating_add(BLOCK).min(share.granted).max(share.used);
        if wanted == share.granted {
            return;
        }
        let (room, now) = (self.presence.room(), self.presence.now());
        match self.store.reserve(life.incarnation(), wanted, room, now).await {
            Ok(true) => share.granted = wanted,
            // What the store has is not known: the next MAIL asks.
            Ok(false) | Err(_) => share.granted = 0,
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Ok(mut share) = self.budget.share.try_lock() {
            share.used = share.used.saturating_sub(self.octets);
            return;
        }
        // Somebody is asking the store: wait for it without blocking the session.
        let (budget, octets) = (Arc::clone(&self.budget), self.octets);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let mut share = budget.share.lock().await;
                share.used = share.used.saturating_sub(octets);
            });
        }
    }
}
