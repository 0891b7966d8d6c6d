//! The listening sockets of one node: bound once, kept over its deaths and over edits. It binds sockets.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
};

use posthouse_channel::control::{Listeners, ListeningSocket};
use posthouse_config::{Protocol, Snapshot};
use tokio::net::TcpSocket;

/// How many connections wait in the kernel while a node is away or busy.
const BACKLOG: u32 = 1024;

/// A node's sockets.
#[derive(Clone, Debug)]
pub(super) struct Sockets {
    /// For mail, in the order of the manifest.
    pub(super) mail: Vec<Bound>,
    /// For metrics and health: always on loopback.
    pub(super) metrics: Arc<TcpListener>,
    /// Its address.
    pub(super) metrics_address: SocketAddr,
}

/// A bound socket.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub(super) name: String,
    pub(super) protocol: String,
    pub(super) address: SocketAddr,
    socket: Arc<TcpListener>,
}

/// A socket that the snapshot asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) protocol: String,
    /// Where; port 0 takes any that is free.
    pub(super) address: SocketAddr,
}

/// A socket that could not be bound.
#[derive(Debug)]
pub(super) struct Unbound {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) error: io::Error,
}

/// What a snapshot's listeners ask for; those that it keeps closed are left out.
pub(super) fn wanted(snapshot: &Snapshot, listen: IpAddr, ephemeral_ports: bool) -> Vec<Wanted> {
    let open = snapshot.gateway.listeners.iter().filter(|listener| listener.closed.is_none());
    open.map(|listener| Wanted {
        name: listener.name.to_string(),
        protocol: protocol_name(listener.protocol).to_owned(),
        address: SocketAddr::new(listen, if ephemeral_ports { 0 } else { listener.bind_port }),
    })
    .collect()
}

impl Sockets {
    /// A node's sockets before it has listeners.
    pub(super) fn with_metrics() -> Result<Self, Unbound> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let metrics = listen(any).and_then(|socket| Ok((socket.local_addr()?, socket)));
        let (metrics_address, metrics) =
            metrics.map_err(|error| Unbound { name: "metrics".to_owned(), address: any, error })?;
        Ok(Self { mail: Vec::new(), metrics: Arc::new(metrics), metrics_address })
    }

    /// The sockets that are wanted: those that are bound already are kept, the rest is bound anew. What cannot be bound harms no other.
    pub(super) fn rebound(&self, wanted: &[Wanted]) -> (Self, Vec<Unbound>) {
        let mut unbound = Vec::new();
        let mut mail = Vec::new();
        for Wanted { name, protocol, address } in wanted {
            let is_kept = |bound: &&Bound| {
                bound.address.ip() == address.ip()
                    && (if address.port() == 0 { bound.name == *name } else { bound.address == *address })
            };
            let (name, protocol) = (name.clone(), protocol.clone());
            if let Some(kept) = self.mail.iter().find(is_kept) {
                mail.push(Bound { name, protocol, ..kept.clone() });
                continue;
            }
            match listen(*address).and_then(|socket| Ok((socket.local_addr()?, Arc::new(socket)))) {
                Ok((address, socket)) => mail.push(Bound { name, protocol, address, socket }),
                Err(error) => unbound.push(Unbound { name, address: *address, error }),
            }
        }
        (Self { mail, ..self.clone() }, unbound)
    }

    /// The same without those for mail.
    pub(super) fn without_listeners(&self) -> Self {
        Self { mail: Vec::new(), ..self.clone() }
    }

    /// Whether these are the very sockets under the same names.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let same = |(one, other): (&Bound, &Bound)| {
            (&one.name, &one.protocol, one.address) == (&other.name, &other.protocol, other.address)
        };
        self.mail.len() == other.mail.len() && self.mail.iter().zip(&other.mail).all(same)
    }

    /// Copies to hand to a node.
    pub(super) fn listeners(&self) -> io::Result<Listeners> {
        let copy = |bound: &Bound| {
            Ok(ListeningSocket {
                name: bound.name.clone(),
                protocol: bound.protocol.clone(),
                address: bound.address,
                socket: bound.socket.try_clone()?,
            })
        };
        Ok(Listeners {
            sockets: self.mail.iter().map(copy).collect::<io::Result<_>>()?,
            metrics: self.metrics.try_clone()?,
        })
    }
}

/// Binds and listens, so that a port is free again at once when its last holder is gone (`SO_REUSEADDR`).
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Smtp => "Smtp",
        Protocol::Submission => "Submission",
        Protocol::Odmr => "Odmr",
        Protocol::Pop3 => "Pop3",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str, port: u16) -> Wanted {
        Wanted {
            name: name.to_owned(),
            protocol: "Smtp".to_owned(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        }
    }

    #[tokio::test]
    async fn what_is_bound_stays_bound_and_the_rest_is_bound_anew() {
        let none = Sockets::with_metrics().unwrap();
        let (first, unbound) = none.rebound(&[wanted("smtp", 0), wanted("submission", 0)]);
        assert!(unbound.is_empty());
        let (second, _) = first.rebound(&[wanted("odmr", 0), wanted("smtp", 0)]);
        assert_eq!(second.mail[1].address, first.mail[0].address);
        assert!(Arc::ptr_eq(&second.mail[1].socket, &first.mail[0].socket));
        assert_eq!(second.metrics_address, none.metrics_address);
        assert!(!second.is_same(&first) && second.is_same(&second.clone()));
    }

    #[tokio::test]
    async fn a_listener_that_is_renamed_keeps_its_socket() {
        let (first, _) = Sockets::with_metrics().unwrap().rebound(&[wanted("smtp", 0)]);
        let port = first.mail[0].address.port();
        let (renamed, unbound) = first.rebound(&[wanted("inbound", port)]);
        assert!(unbound.is_empty());
        assert!(Arc::ptr_eq(&renamed.mail[0].socket, &first.mail[0].socket));
        assert_eq!(renamed.mail[0].name, "inbound");
    }

    #[tokio::test]
    async fn a_busy_port_is_named_and_harms_no_other() {
        let busy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = busy.local_addr().unwrap().port();
        let (sockets, unbound) =
            Sockets::with_metrics().unwrap().rebound(&[wanted("smtp", port), wanted("submission", 0)]);
        assert_eq!(sockets.mail.len(), 1);
        assert_eq!((unbound[0].name.as_str(), unbound[0].address.port()), ("smtp", port));
        let message = crate::failure::cannot_listen("listener smtp", unbound[0].address, &unbound[0].error);
        assert!(message.contains(&format!("port {port} is busy")), "{message}");
    }
}
