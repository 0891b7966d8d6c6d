//! Several name servers, asked in turn.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hickory_resolver::proto::dnssec::TrustAnchors;

use super::upstream::{Found, Upstream};
use crate::{
    answer::{Cause, Question},
    settings::{Patience, SettingsError},
};

pub(super) struct Servers {
    upstreams: Vec<Upstream>,
    rounds: u32,
    /// The one that answered last: the next question goes there first, so that a dead one costs its time once.
    good: AtomicUsize,
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.upstreams.iter().map(Upstream::address)).finish()
    }
}

impl Servers {
    pub(super) fn new(
        addresses: &[SocketAddr],
        anchor: Option<&Arc<TrustAnchors>>,
        patience: Patience,
    ) -> Result<Self, SettingsError> {
        let upstreams = addresses.iter().map(|address| Upstream::new(*address, anchor, patience));
        let (rounds, good) = (patience.rounds.max(1), AtomicUsize::new(0));
        Ok(Self { upstreams: upstreams.collect::<Result<_, _>>()?, rounds, good })
    }

    /// One name server after the other, until one of them answers. SERVFAIL of one says nothing of the next.
    pub(super) async fn ask(&self, question: &Question) -> Result<Found, Cause> {
        let first = self.good.load(Ordering::Relaxed);
        let mut worst = Cause::TimedOut;
        for _ in 0..self.rounds {
            let mut silent = false;
            let places = (0..self.upstreams.len()).map(|place| (first + place) % self.upstreams.len());
            for (place, upstream) in places.filter_map(|place| Some((place, self.upstreams.get(place)?))) {
                match upstream.ask(question).await {
                    Ok(found) => {
                        self.good.store(place, Ordering::Relaxed);
                        return Ok(found);
                    }
                    Err(cause) => {
                        worst = worst.max(cause);
                        silent |= cause <= Cause::Network;
                    }
                }
            }
            if !silent {
                break; // they would say the same again
            }
        }
        Err(worst)
    }
}
