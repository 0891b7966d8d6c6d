//! Where this node is reached, so that it sends nothing to itself. It asks the system for this machine's addresses.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{PoisonError, RwLock},
};

use posthouse_config::Gateway;

/// The sockets that the node listens on.
#[derive(Debug, Default)]
pub struct Here {
    listening: RwLock<Vec<SocketAddr>>,
}

impl Here {
    /// The node listens there, and nowhere else; an address may stand for all of the machine's.
    pub fn listens_at(&self, sockets: Vec<SocketAddr>) {
        *self.listening.write().unwrap_or_else(PoisonError::into_inner) = sockets;
    }

    /// Whether a connection to this address comes back to this node.
    #[must_use]
    pub fn is_at(&self, address: SocketAddr) -> bool {
        let listening = self.listening.read().unwrap_or_else(PoisonError::into_inner);
        let may_be = listening.iter().any(|socket| socket.port() == address.port());
        may_be && listens(&listening, &addresses(), address)
    }

    /// Where others reach a listener of the gateway on this machine: the port that is bound, and the one that leads there.
    #[must_use]
    pub fn listeners(&self, gateway: &Gateway) -> BTreeSet<SocketAddr> {
        let listening = self.listening.read().unwrap_or_else(PoisonError::into_inner).clone();
        seen_by_others(&listening, &addresses(), gateway)
    }
}

fn listens(listening: &[SocketAddr], own: &[IpAddr], address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let is_of_machine = || ip.is_loopback() || ip.is_unspecified() || own.contains(&ip);
    listening.iter().any(|socket| {
        let at = socket.ip().to_canonical();
        socket.port() == address.port() && (at == ip || at.is_unspecified() && is_of_machine())
    })
}

fn seen_by_others(listening: &[SocketAddr], own: &[IpAddr], gateway: &Gateway) -> BTreeSet<SocketAddr> {
    let every = |port: u16| own.iter().map(move |ip| SocketAddr::new(*ip, port));
    let bound = listening.iter().flat_map(|socket| {
        let (at, port) = (socket.ip().to_canonical(), socket.port());
        if at.is_unspecified() { every(port).collect() } else { vec![SocketAddr::new(at, port)] }
    });
    let open = gateway.listeners.iter().filter(|listener| listener.closed.is_none());
    bound.chain(open.flat_map(|listener| [listener.port, listener.bind_port]).flat_map(every)).collect()
}

/// This machine's addresses; those of its loopback at least.
fn addresses() -> Vec<IpAddr> {
    let mut found = vec![IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default(); // without them the names still tell
    found.extend(interfaces.iter().map(|interface| interface.ip().to_canonical()));
    found
}

#[cfg(test)]
mod tests {
    use posthouse_config::{Listener, Protocol};

    use super::*;

    fn sockets(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_socket_for_all_addresses_is_at_each_of_the_machines_own_and_at_no_other() {
        let own: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let is_own =
            |listening: &[&str], address: &str| listens(&sockets(listening), &own, address.parse().unwrap());
        for address in [
            "192.0.2.1:10025",
            "[2001:db8::1]:10025",
            "127.0.0.9:10025",
            "[::1]:10025",
            "[::ffff:127.0.0.1]:10025",
            "0.0.0.0:10025",
        ] {
            assert!(is_own(&["0.0.0.0:10025"], address), "{address}");
            assert!(is_own(&["[::]:10025"], address), "{address}");
        }
        for address in ["192.0.2.1:25", "192.0.2.2:10025", "[2001:db8::2]:10025"] {
            assert!(!is_own(&["0.0.0.0:10025"], address), "{address}");
        }
        assert!(is_own(&["127.0.0.2:2525"], "127.0.0.2:2525"));
        assert!(!is_own(&["127.0.0.2:2525"], "127.0.0.1:2525"));
    }

    #[test]
    fn others_reach_a_listener_at_the_port_that_leads_to_the_one_that_is_bound() {
        let mut gateway = Gateway::new("mail/edge".parse().unwrap(), "mx.example.com".parse().unwrap());
        gateway.listeners = [Listener {
            name: "smtp".into(),
            protocol: Protocol::Smtp,
            port: 25,
            bind_port: 10025,
            closed: None,
            tls: None,
            proxy_networks: [].into(),
        }]
        .into();
        let own = vec!["192.0.2.1".parse().unwrap()];
        let seen = seen_by_others(&sockets(&["0.0.0.0:40025", "127.0.0.1:40026"]), &own, &gateway);
        let expected = sockets(&["127.0.0.1:40026", "192.0.2.1:25", "192.0.2.1:10025", "192.0.2.1:40025"]);
        assert_eq!(seen, expected.into_iter().collect());
    }

    #[test]
    fn the_machine_has_a_loopback() {
        assert!(addresses().contains(&Ipv4Addr::LOCALHOST.into()));
    }
}
