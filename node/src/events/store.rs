//! Facts of the store, and of the node's life in it.

use posthouse_queue::{Finding, Reaped, StoreError};
use tracing::{error, info, warn};

/// Mail can be taken, or cannot any more.
pub struct StoreState<'a> {
    /// Which of the two.
    pub writable: bool,
    /// Why not.
    pub why: &'a str,
}

impl StoreState<'_> {
    /// Says it.
    pub fn emit(&self) {
        if self.writable {
            info!(event = "store_ready");
        } else {
            warn!(
                event = "store_lost",
                reason = self.why,
                effect = "MAIL is answered 451 until the store is back"
            );
        }
    }
}

/// The store said something about its settings.
pub struct StoreFinding<'a> {
    /// What.
    pub finding: &'a Finding,
}

impl StoreFinding<'_> {
    /// Says it.
    pub fn emit(&self) {
        if self.finding.refuse {
            error!(event = "store_setting", reason = self.finding.message, effect = "no mail is taken");
        } else {
            warn!(event = "store_setting", reason = self.finding.message);
        }
    }
}

/// Something could not be done in the store; it is tried again.
pub struct StoreTrouble<'a> {
    /// What was to be done.
    pub doing: &'static str,
    /// Why it was not.
    pub error: &'a StoreError,
}

impl StoreTrouble<'_> {
    /// Says it.
    pub fn emit(&self) {
        warn!(event = "store_trouble", doing = self.doing, error = %self.error);
    }
}

/// The others took this node for dead; it goes on as a new incarnation.
pub struct Departed;

impl Departed {
    /// Says it.
    pub fn emit(&self) {
        warn!(
            event = "incarnation_lost",
            effect = "what this node had leased is with others; it goes on anew"
        );
    }
}

/// The answer to a lease was lost.
pub struct LeasesInDoubt;

impl LeasesInDoubt {
    /// Says it.
    pub fn emit(&self) {
        warn!(
            event = "leases_in_doubt",
            effect = "what may have been leased unheard goes back when this node's attempts of that time have ended"
        );
    }
}

/// Leases of dead nodes were taken over.
pub struct TookOver {
    /// How much.
    pub reaped: Reaped,
}

impl TookOver {
    /// Says it.
    pub fn emit(&self) {
        let Reaped { incarnations, leases, activated } = self.reaped;
        info!(event = "took_over", incarnations, leases, activated);
    }
}

/// Less is free in the store than the reserve, or enough again.
pub struct Room {
    /// Octets that may still be written; `None`: no limit is known.
    pub free: Option<u64>,
    /// Octets that are kept free.
    pub reserve: u64,
}

impl Room {
    /// Says it.
    pub fn emit(&self) {
        let (free, reserve) = (self.free, self.reserve);
        if free.is_some_and(|free| free <= reserve) {
            warn!(
                event = "room_short",
                free,
                reserve,
                effect = "MAIL is answered 452 4.3.1; give the store more room (disk, or maxmemory), or the gateway a smaller queue.reserve"
            );
        } else {
            info!(event = "room_enough", free, reserve);
        }
    }
}
