//! This node's presence in the store: its incarnation, the store's clock, the deadline up to which its leases are sure, room and health.
//!
//! A heartbeat every two seconds keeps the incarnation alive for ten. Sessions and attempts read from here and never wait for the store.
//!
//! Where the answer to a lease was lost, entries may be leased to the incarnation that nobody attempts. It is then succeeded by another; when
//! all that is known to be under way in its name has ended, it departs, and what it was leased goes back.

mod life;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use posthouse_model::Timestamp;
use posthouse_queue::{HEARTBEAT_LIFE_MS, Store, StoreError};
use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;

pub use self::life::Life;
use self::life::{Lives, millis};
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
    lives: Lives,
    started: Instant,
    /// The store's time at `started`, in milliseconds; only ever corrected forward, so that time does not run back.
    base: AtomicU64,
    room: AtomicU64,
    refused: AtomicBool,
    /// The last heartbeat was answered.
    answers: AtomicBool,
    writable: watch::Sender<bool>,
    /// It takes no mail, so whether it could is no news.
    silent: bool,
}

impl Presence {
    /// A presence that has not yet spoken to the store: not writable, no deadline.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            lives: Lives::new(),
            started: Instant::now(),
            base: AtomicU64::new(0),
            room: AtomicU64::new(NO_LIMIT),
            refused: AtomicBool::new(false),
            answers: AtomicBool::new(false),
            writable: watch::Sender::new(false),
            silent: false,
        }
    }

    /// The same for somebody who only looks after what is queued.
    #[must_use]
    pub fn silent(store: Arc<dyn Store>) -> Self {
        Self { silent: true, ..Self::new(store) }
    }

    /// The life in whose name something is begun now; held until that has ended.
    pub fn life(&self) -> Arc<Life> {
        self.lives.present()
    }

    /// What was asked for in the name of this life failed. Where the answer was lost, it may hold leases or permits that nobody here knows of.
    pub fn doubt(&self, life: &Arc<Life>, error: &StoreError) {
        if matches!(error, StoreError::Unavailable(_)) {
            self.lives.doubt(life);
        }
    }

    /// The store's clock as this node knows it.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.base.load(Ordering::Relaxed) + millis(self.started.elapsed()))
    }

    /// Whether a lease of this life is surely still valid: asked before the first octet of content and before the final dot. Fencing in
    /// the store cannot call back what the far end has taken.
    pub fn leases_are_sure(&self, life: &Life) -> bool {
        life.is_sure(self.started.elapsed())
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
                    self.succeed().await;
                }
                Err(StoreError::Departed) => beat.reset_immediately(),
                Err(error) => {
                    self.answers.store(false, Ordering::Relaxed);
                    self.set_writable(false, &error.to_string());
                }
            }
        }
        self.writable.send_replace(false); // nothing happened to the store: no event
        for life in self.lives.all() {
            life.end(); // an attempt that was broken off must not go on with a lease that goes back
            // Without this the leases are free only when the heartbeat ends: worth a try, not worth waiting for.
            if let Err(error) = self.store.depart(life.incarnation(), self.now()).await {
                events::StoreTrouble { doing: "leave", error: &error }.emit();
            }
        }
    }

    /// [`StoreError::Departed`]: everybody took us for dead, and what we held has been given away. A new life has begun, with nothing in it.
    async fn beat(&self) -> Result<(), StoreError> {
        let store_time = self.store.time().await?;
        // Reckoned from the answer's arrival: never ahead of the store, so that no live node is taken for dead; the best sample stays, so that
        // nothing sees time reverse.
        let base = store_time.0.saturating_sub(millis(self.started.elapsed()));
        if self.base.fetch_max(base, Ordering::Relaxed) == 0 {
            self.base.fetch_max(1, Ordering::Relaxed);
        }
        for life in self.lives.all() {
            match self.beat_for(&life).await {
                Err(StoreError::Departed) => {
                    let present = self.lives.lost(&life);
                    events::Departed.emit();
                    if present {
                        return Err(StoreError::Departed);
                    }
                }
                beaten => beaten?,
            }
        }
        Ok(())
    }

    async fn beat_for(&self, life: &Life) -> Result<(), StoreError> {
        let sent = self.started.elapsed();
        let pulse = self.store.heartbeat(life.incarnation(), self.now()).await?;
        self.room.store(pulse.room.unwrap_or(NO_LIMIT), Ordering::Relaxed);
        let span = Duration::from_millis(HEARTBEAT_LIFE_MS).saturating_sub(DEADLINE_MARGIN);
        life.sure_until(sent + span);
        Ok(())
    }

    /// Begins another life if there are doubts about the present one, and ends the one before it when it is over.
    async fn succeed(&self) {
        if let Some(finished) = self.lives.finished() {
            match self.store.depart(finished.incarnation(), self.now()).await {
                Ok(reaped) => {
                    self.lives.lost(&finished);
                    events::TookOver { reaped }.emit();
                }
                Err(error) => {
                    events::StoreTrouble { doing: "give back leases in doubt", error: &error }.emit();
                }
            }
        }
        if let Some(successor) = self.lives.successor() {
            match self.beat_for(&successor).await {
                Ok(()) => {
                    self.lives.succeed(successor);
                    events::LeasesInDoubt.emit();
                }
                Err(error) => events::StoreTrouble { doing: "begin anew", error: &error }.emit(),
            }
        }
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
            if !self.silent {
                events::StoreState { writable, why }.emit();
            }
            *was = writable;
            true
        });
    }
}
