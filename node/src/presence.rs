//! This node's life in the store: its incarnation, the store's clock, the deadline up to which its leases are sure, room and health.
//!
//! A heartbeat every two seconds keeps the incarnation alive for ten. Sessions and attempts read from here and never wait for the store.

use std::{
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use posthouse_model::{Incarnation, Timestamp};
use posthouse_queue::{HEARTBEAT_LIFE_MS, Store, StoreError};
use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;

use crate::events;

/// Between heartbeats: five may be lost before the leases are.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(2);

/// Between two checks of the store's settings (queue.md: at connect and every minute).
const CHECK_EVERY: Duration = Duration::from_mins(1);

/// Taken off the life of a lease: an attempt that starts its content this much before the end is over, or given up, in time.
const DEADLINE_MARGIN: Duration = Duration::from_secs(1);

/// Why no mail is taken although the store answers.
const REFUSED: &str = "a setting of the store forbids taking mail";

/// Stands for "no limit is known" in [`Presence::room`].
const NO_LIMIT: u64 = u64::MAX;

/// What the rest of the node reads of the store's state.
pub struct Presence {
    store: Arc<dyn Store>,
    incarnation: RwLock<Incarnation>,
    started: Instant,
    /// The store's time at `started`, in milliseconds; only ever corrected forward, so that time does not run back.
    base: AtomicU64,
    /// Milliseconds after `started` until which leases are sure.
    deadline: AtomicU64,
    room: AtomicU64,
    refused: AtomicBool,
    /// The last heartbeat was answered.
    answers: AtomicBool,
    writable: watch::Sender<bool>,
}

impl Presence {
    /// A presence that has not yet spoken to the store: not writable, no deadline.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            incarnation: RwLock::new(new_incarnation()),
            started: Instant::now(),
            base: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            room: AtomicU64::new(NO_LIMIT),
            refused: AtomicBool::new(false),
            answers: AtomicBool::new(false),
            writable: watch::Sender::new(false),
        }
    }

    /// The incarnation that leases are taken for.
    pub fn incarnation(&self) -> Incarnation {
        *self.incarnation.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The store's clock as this node knows it.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.base.load(Ordering::Relaxed) + millis(self.started.elapsed()))
    }

    /// Whether a lease of this incarnation is surely still valid: asked before the first octet of content and before the final dot. Fencing in
    /// the store cannot call back what the far end has taken. Leases of an incarnation before this one never are.
    pub fn leases_are_sure(&self, who: Incarnation) -> bool {
        who == self.incarnation() && millis(self.started.elapsed()) < self.deadline.load(Ordering::Relaxed)
    }

    /// Whether the store answers: delivery goes on while intake is refused for a setting of the store.
    pub fn answers(&self) -> bool {
        self.answers.load(Ordering::Relaxed)
    }

    /// Octets that may still be written; `None`: no limit is known.
    pub fn room(&self) -> Option<u64> {
        Some(self.room.load(Ordering::Relaxed)).filter(|room| *room != NO_LIMIT)
    }

    /// Whether mail can be taken now: the last heartbeat was answered and no setting of the store forbids it.
    pub fn is_writable(&self) -> bool {
        *self.writable.borrow()
    }

    /// Follows [`is_writable`](Self::is_writable).
    pub fn watch_writable(&self) -> watch::Receiver<bool> {
        self.writable.subscribe()
    }

    /// The first heartbeat: from here on leases can be taken.
    pub async fn begin(&self) -> Result<(), StoreError> {
        self.beat().await
    }

    /// Looks after the store beside the heartbeats, which must not wait for it: takes over from dead incarnations, checks the settings.
    pub async fn tend(self: Arc<Self>, stop: CancellationToken) {
        let mut checked: Option<Instant> = None;
        loop {
            if self.answers() {
                if checked.is_none_or(|at| at.elapsed() >= CHECK_EVERY) {
                    self.check().await;
                    checked = Some(Instant::now());
                }
                self.reap().await;
            } else {
                checked = None; // another server may answer next
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = time::sleep(HEARTBEAT_EVERY) => {}
            }
        }
    }

    /// Keeps the incarnation alive until `stop`, then departs.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let mut beat = time::interval(HEARTBEAT_EVERY);
        beat.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = beat.tick() => {}
            }
            match self.beat().await {
                Ok(()) => {
                    self.answers.store(true, Ordering::Relaxed);
                    self.set_writable(!self.refused.load(Ordering::Relaxed), REFUSED);
                }
                Err(StoreError::Departed) => {
                    // Everybody takes us for dead: what we held has been given away. A new life, with nothing in it.
                    self.deadline.store(0, Ordering::Relaxed);
                    *self.incarnation.write().unwrap_or_else(std::sync::PoisonError::into_inner) =
                        new_incarnation();
                    events::Departed.emit();
                    beat.reset_immediately();
                }
                Err(error) => {
                    self.answers.store(false, Ordering::Relaxed);
                    self.set_writable(false, &error.to_string());
                }
            }
        }
        self.set_writable(false, "the node is ending");
        self.deadline.store(0, Ordering::Relaxed); // an attempt that was broken off must not go on with a lease that goes back
        // Without this the leases are free only when the heartbeat ends: worth a try, not worth waiting for.
        if let Err(error) = self.store.depart(self.incarnation(), self.now()).await {
            events::StoreTrouble { doing: "leave", error: &error }.emit();
        }
    }

    async fn beat(&self) -> Result<(), StoreError> {
        let store_time = self.store.time().await?;
        // Reckoned from the answer's arrival: never ahead of the store, so that no live node is taken for dead; the best sample stays, so that
        // nothing sees time reverse.
        let base = store_time.0.saturating_sub(millis(self.started.elapsed()));
        if self.base.fetch_max(base, Ordering::Relaxed) == 0 {
            self.base.fetch_max(1, Ordering::Relaxed);
        }
        let sent = self.started.elapsed();
        let pulse = self.store.heartbeat(self.incarnation(), self.now()).await?;
        self.room.store(pulse.room.unwrap_or(NO_LIMIT), Ordering::Relaxed);
        let life = Duration::from_millis(HEARTBEAT_LIFE_MS).saturating_sub(DEADLINE_MARGIN);
        self.deadline.store(millis(sent + life), Ordering::Relaxed);
        Ok(())
    }

    async fn check(&self) {
        match self.store.check().await {
            Ok(findings) => {
                let refused = findings.iter().any(|finding| finding.refuse);
                self.refused.store(refused, Ordering::Relaxed);
                if refused {
                    self.set_writable(false, REFUSED);
                }
                for finding in &findings {
                    events::StoreFinding { finding }.emit();
                }
            }
            Err(error) => events::StoreTrouble { doing: "check its settings", error: &error }.emit(),
        }
    }

    async fn reap(&self) {
        loop {
            match self.store.reap(self.now()).await {
                Ok(reaped) if reaped.leases + reaped.activated + reaped.incarnations > 0 => {
                    events::TookOver { reaped }.emit();
                }
                Ok(_) => return,
                Err(error) => {
                    events::StoreTrouble { doing: "take over from dead nodes", error: &error }.emit();
                    return;
                }
            }
        }
    }

    fn set_writable(&self, writable: bool, why: &str) {
        self.writable.send_if_modified(|was| {
            if *was == writable {
                return false;
            }
            events::StoreState { writable, why }.emit();
            *was = writable;
            true
        });
    }
}

fn new_incarnation() -> Incarnation {
    Incarnation(rand::random())
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
