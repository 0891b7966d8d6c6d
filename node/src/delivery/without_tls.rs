//! The addresses with which no handshake could be made: for a while they are spoken to in clear at once, where the configuration lets mail go in clear at
//! all, so that not every message pays for what the first one found. No I/O.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long an address is spoken to in clear: it may be mended any time, and what goes in clear meanwhile need not.
const REMEMBERED: Duration = Duration::from_mins(10);

/// Addresses that are remembered; above it the one that was found first is forgotten.
const MOST: usize = 1000;

/// The addresses, each with the end of its time.
#[derive(Debug, Default)]
pub struct WithoutTls(Mutex<HashMap<SocketAddr, Instant>>);

impl WithoutTls {
    /// A handshake failed with this one.
    pub fn note(&self, address: SocketAddr, now: Instant) {
        let mut noted = self.noted();
        if noted.len() >= MOST && !noted.contains_key(&address) {
            noted.retain(|_, until| *until > now);
            let first = noted.iter().min_by_key(|(_, until)| **until).map(|(address, _)| *address);
            if let Some(first) = first.filter(|_| noted.len() >= MOST) {
                noted.remove(&first);
            }
        }
        noted.insert(address, now + REMEMBERED);
    }

    /// Whether this one is spoken to in clear.
    #[must_use]
    pub fn has(&self, address: SocketAddr, now: Instant) -> bool {
        self.noted().get(&address).is_some_and(|until| *until > now)
    }

    fn noted(&self) -> MutexGuard<'_, HashMap<SocketAddr, Instant>> {
        // Nobody panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_remembered_for_a_while_and_not_for_ever() {
        let (without, now) = (WithoutTls::default(), Instant::now());
        let address = "192.0.2.1:25".parse().unwrap();
        assert!(!without.has(address, now));
        without.note(address, now);
        assert!(without.has(address, now + REMEMBERED / 2));
        assert!(!without.has("192.0.2.1:587".parse().unwrap(), now));
        assert!(!without.has(address, now + REMEMBERED));
    }

    #[test]
    fn the_memory_is_bounded() {
        let (without, begin) = (WithoutTls::default(), Instant::now());
        let address = |n: usize| {
            SocketAddr::from(([10, 0, u8::try_from(n / 256).unwrap(), u8::try_from(n % 256).unwrap()], 25))
        };
        for n in 0..MOST + 10 {
            without.note(address(n), begin + Duration::from_millis(n as u64));
        }
        assert_eq!(without.noted().len(), MOST);
        assert!(!without.has(address(9), begin) && without.has(address(10), begin));
    }
}
