//! Whose connections there are: while few places are left, whoever has many gets no more, so that one client does not keep all others out
//! (decision 0014). Counts, and does no I/O.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The connections of all clients of a node.
#[derive(Debug)]
pub struct Crowd {
    places: usize,
    guests: Mutex<Guests>,
}

#[derive(Debug, Default)]
struct Guests {
    all: usize,
    each: HashMap<IpAddr, usize>,
}

/// One connection; it is counted until this is dropped.
#[derive(Debug)]
pub struct Guest {
    crowd: Arc<Crowd>,
    client: IpAddr,
}

impl Crowd {
    /// Nobody yet, and so many places.
    #[must_use]
    pub fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { places, guests: Mutex::default() })
    }

    /// One connection more of a client; none if nine tenths of the places are taken and a hundredth of them by this client.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Guest> {
        let client = client(address);
        let mut guests = self.guests();
        let has = guests.each.get(&client).copied().unwrap_or_default();
        let is_crowded = guests.all >= self.places - self.places / 10;
        if is_crowded && has >= self.places.div_ceil(100) {
            return None;
        }
        guests.all += 1;
        guests.each.insert(client, has + 1);
        Some(Guest { crowd: Arc::clone(self), client })
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut guests = self.crowd.guests();
        guests.all = guests.all.saturating_sub(1);
        if let Some(has) = guests.each.get_mut(&self.client) {
            *has = has.saturating_sub(1);
            if *has == 0 {
                guests.each.remove(&self.client);
            }
        }
    }
}

/// RFC 4291 §2.5.4: who has one address of a /64 has them all.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_client_does_not_take_the_last_places() {
        let crowd = Crowd::new(1000);
        let mut greedy: Vec<_> = (0..2000).map_while(|_| crowd.enter(at("192.0.2.1"))).collect();
        assert_eq!(greedy.len(), 900);
        let modest: Vec<_> = (0..2000).map_while(|_| crowd.enter(at("192.0.2.2"))).collect();
        assert_eq!(modest.len(), 10);
        // Who goes makes room for whoever comes.
        greedy.truncate(880);
        assert_eq!((0..2000).map_while(|_| crowd.enter(at("192.0.2.1"))).collect::<Vec<_>>().len(), 10);
        drop((greedy, modest));
        assert!(crowd.guests().each.is_empty());
        assert_eq!(crowd.guests().all, 0);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        assert_eq!(client(at("2001:db8::1")), client(at("2001:db8::ffff:1")));
        assert_ne!(client(at("2001:db8::1")), client(at("2001:db8:0:1::1")));
        assert_eq!(client(at("::ffff:192.0.2.1")), at("192.0.2.1"));
    }
}
