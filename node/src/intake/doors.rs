//! The places of a node: how many connections are served at one time, over all its listeners, how many are turned away with a word, and whose they are.
//! Counts, and does no I/O.

use std::{net::IpAddr, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use super::crowd::{Crowd, Guest};

/// Connections of one node at a time: what is above is told 421. Bounds memory and file descriptors; ten thousand may be idle, and there are
/// places left for those who have mail.
pub const MAX_CONNECTIONS: usize = 12_000;

/// Connections being turned away at a time; above that they are just closed.
const MAX_TURNED_AWAY: usize = 256;

/// The bounds that all listeners of a node share.
#[derive(Clone)]
pub struct Doors {
    served: Arc<Semaphore>,
    turned_away: Arc<Semaphore>,
    crowd: Arc<Crowd>,
    /// The tasks of all connections.
    pub tasks: TaskTracker,
}

/// A connection's place; it is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Doors {
    /// Open doors, with places for so many connections.
    #[must_use]
    pub fn new(places: usize) -> Self {
        Self {
            served: Arc::new(Semaphore::new(places)),
            turned_away: Arc::new(Semaphore::new(MAX_TURNED_AWAY)),
            crowd: Crowd::new(places),
            tasks: TaskTracker::new(),
        }
    }

    /// A place to be served at; none while all are taken.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        place(&self.served)
    }

    /// A place to be told that there is none; none while many are being told.
    #[must_use]
    pub fn place_to_be_turned_away(&self) -> Option<Place> {
        place(&self.turned_away)
    }

    /// Lets a client in who has a place; none if others are to have it.
    #[must_use]
    pub fn let_in(&self, client: IpAddr) -> Option<Guest> {
        self.crowd.enter(client)
    }
}

fn place(places: &Arc<Semaphore>) -> Option<Place> {
    Arc::clone(places).try_acquire_owned().ok().map(|permit| Place { _permit: permit })
}
