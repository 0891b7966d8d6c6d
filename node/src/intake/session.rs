//! One SMTP connection: what a load balancer says of it, TLS, then octets between the socket and the protocol's session, whose questions it
//! answers. Keeps its timers.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use posthouse_routing::{AddressSource, Client};
use posthouse_smtp::{
    reply as smtp_reply,
    server::{self, Tls},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{
    doors::{Doors, Place},
    patience::{Patience, Timers},
    proxy::{self, Proxied},
    talk::Talk,
    transaction::Peer,
};
use crate::{events, node::Node, policy::Policy, tls::server::ServerTls, wire::Wire};

/// Octets that are dropped at most of a closing connection.
const LINGER_OCTETS: usize = 1024 * 1024;

/// Recipients per message when the gateway sets no limit: RFC 5321 §4.5.3.1.8 asks for 100; an entry's record bounds it above.
const DEFAULT_RECIPIENTS: u32 = 1000;

/// A connection to a listener.
pub struct Connection {
    /// The node.
    pub node: Arc<Node>,
    /// The listener's name.
    pub listener: Arc<str>,
    /// The client's address.
    pub address: SocketAddr,
    /// The session is to end at the next command.
    pub stop: CancellationToken,
    /// Who else is connected.
    pub doors: Doors,
    /// How long the client is waited for.
    pub timers: Timers,
}

impl Connection {
    /// Serves the connection to its end, at this place.
    pub async fn serve(self, stream: TcpStream, place: Place) {
        self.node.metrics.sessions.inc();
        let mut client = self.address.ip().to_canonical();
        // An error is a client that went away, or does not read: there is nothing more to say.
        let by = self.converse(stream, place, &mut client).await.unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::TimedOut => "timeout",
            _ => "lost",
        });
        self.node.metrics.sessions.dec();
        events::SessionEnded { client, listener: &self.listener, by }.emit(&self.node.metrics);
    }

    /// Greets with a refusal and closes: the node is full or not ready. Where something else comes before the greeting it just closes.
    pub async fn turn_away(self, stream: TcpStream, _place: Place) {
        let policy = self.node.policy();
        let policy = policy.as_deref();
        let is_proxied = policy
            .and_then(|policy| policy.listener(&self.listener))
            .is_some_and(|listener| !listener.proxy_networks.is_empty());
        if !is_proxied {
            self.say_busy(stream, policy).await;
        }
    }

    /// 421, where the greeting is the first that is said.
    async fn say_busy(&self, stream: TcpStream, policy: Option<&Policy>) {
        let tls = policy.and_then(|policy| policy.listener_tls(&self.listener));
        if tls.is_some_and(|tls| tls.implicit) {
            return;
        }
        let mut session = server::Session::new(server::Settings::new(self.node.hostname()));
        session.refuse(smtp_reply::not_now(&self.node.hostname()));
        let mut wire = Wire::Clear(stream);
        if flush(&mut session, &mut wire, self.timers.replies).await.is_ok() {
            linger_on(&mut wire, self.timers.linger).await;
        }
    }

    async fn converse(
        &self,
        mut stream: TcpStream,
        place: Place,
        client: &mut IpAddr,
    ) -> io::Result<&'static str> {
        // Replies are gathered by the session and written whole: waiting for more would only delay them.
        stream.set_nodelay(true)?;
        // What holds for the connection is what holds now: an edit concerns the next one.
        let policy = self.node.policy();
        // Boxed is what is soon over, so that a session does not keep room for it to its end.
        let Some(peer) = Box::pin(self.peer(&mut stream, policy.as_deref())).await else {
            return Ok("proxy");
        };
        *client = peer.address;
        let Some(_guest) = self.doors.let_in(peer.address) else {
            drop(place); // who is refused a place does not keep one by reading slowly that it is
            if let Some(_place) = self.doors.place_to_be_turned_away() {
                Box::pin(self.say_busy(stream, policy.as_deref())).await;
            }
            return Ok("crowded");
        };
        let tls = policy.as_ref().and_then(|policy| policy.listener_tls(&self.listener));
        let mut wire = Wire::Clear(stream);
        if let Some(tls) = tls.filter(|tls| tls.implicit) {
            wire = match Box::pin(self.secure(wire, tls, peer.address)).await {
                Some(wire) => wire,
                None => return Ok("tls"),
            };
        }
        let peer = Peer { encrypted: wire.is_encrypted(), ..peer };
        let mut session = server::Session::new(self.settings(policy.as_deref(), wire.is_encrypted()));
        drop(policy);
        let mut talk = Talk::new(&self.node, &self.listener, peer);
        // RFC 5321 §4.3.1: who talks before the greeting does not listen to it either.
        match early_words(&mut wire, &mut session).await? {
            0 => session.greet(),
            length => session.received(length),
        }
        let outcome = self.exchange(wire, &mut session, &mut talk).await;
        Box::pin(talk.forget()).await;
        Ok(outcome?.or(talk.ended()).unwrap_or("lost"))
    }

    /// Whose connection it is: its own address, or what a trusted load balancer says. None where that is required and not there.
    async fn peer(&self, stream: &mut TcpStream, policy: Option<&Policy>) -> Option<Peer> {
        let address = self.address.ip().to_canonical();
        let own = Peer { client: Client::at(address), address, encrypted: false };
        let networks = policy.and_then(|policy| policy.listener(&self.listener)).map(|l| &l.proxy_networks);
        let Some(networks) = networks.filter(|networks| !networks.is_empty()) else { return Some(own) };
        let refused = |reason: &dyn std::fmt::Display| {
            events::ProxyRefused { client: address, listener: &self.listener, reason }
                .emit(&self.node.metrics);
            None
        };
        if !networks.iter().any(|network| network.contains(&address)) {
            return refused(&"the address is not in the listener's proxyProtocol.trustedNetworks");
        }
        match time::timeout(self.timers.proxy, proxy::read(stream)).await {
            Ok(Ok(Proxied::From(client))) => {
                let address = client.ip().to_canonical();
                let address_source = AddressSource::ProxyProtocol;
                Some(Peer {
                    client: Client { address_source, ..Client::at(address) },
                    address,
                    encrypted: false,
                })
            }
            // Nobody's mail: a load balancer's own connection is trusted with nothing.
            Ok(Ok(Proxied::Itself)) => Some(Peer { client: Client::unknown(), address, encrypted: false }),
            Ok(Err(error)) => refused(&error),
            Err(_) => refused(&format!("no PROXY header within {} s", self.timers.proxy.as_secs())),
        }
    }

    /// Makes the handshake; none if it fails.
    async fn secure(&self, wire: Wire, tls: &ServerTls, client: IpAddr) -> Option<Wire> {
        let made = time::timeout(self.timers.handshake, wire.serve_tls(Arc::clone(&tls.config))).await;
        let reason = match made {
            Ok(Ok(wire)) => return Some(wire),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("not made within {} s", self.timers.handshake.as_secs()),
        };
        events::HandshakeFailed { client, listener: &self.listener, reason: &reason }
            .emit(&self.node.metrics);
        None
    }

    /// Moves octets until the session is over; `Some`: why, where the session cannot say it itself.
    async fn exchange(
        &self,
        mut wire: Wire,
        session: &mut server::Session,
        talk: &mut Talk<'_>,
    ) -> io::Result<Option<&'static str>> {
        let mut stopping = false;
        let mut patience = Patience::new(self.timers, Instant::now());
        loop {
            while talk.step(session).await {
                patience.done(Instant::now());
            }
            if flush(session, &mut wire, self.timers.replies).await? {
                patience.replied(Instant::now());
            }
            if let Some(tls) = talk.starts_tls.take().filter(|_| session.is_in_handshake()) {
                wire = match Box::pin(self.secure(wire, &tls, talk.peer.address)).await {
                    Some(wire) => wire,
                    None => return Ok(Some("tls")),
                };
                talk.peer.encrypted = true;
                session.secured();
                patience.replied(Instant::now());
                continue;
            }
            if session.is_closed() {
                Box::pin(linger_on(&mut wire, self.timers.linger)).await;
                return Ok(None);
            }
            if session.wanted() == 0 {
                continue; // what was written made room: there is more to do before more is read
            }
            if let Some(read) = wire.read_now(session.input()) {
                match read? {
                    0 => return Ok(None),
                    length => {
                        session.received(length);
                        patience.heard(length, Instant::now());
                        continue;
                    }
                }
            }
            session.rest(); // most sessions wait most of the time: they hold no memory meanwhile
            let timer = patience.waits(session.wait(), Instant::now());
            tokio::select! {
                ready = wire.readable() => ready?,
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    session.shut_down();
                }
                () = until(timer) => session.time_out(),
            }
            patience.waited(Instant::now());
        }
    }

    fn settings(&self, policy: Option<&Policy>, encrypted: bool) -> server::Settings {
        let mut settings = server::Settings::new(self.node.hostname());
        settings.tls = match policy.and_then(|policy| policy.listener_tls(&self.listener)) {
            _ if encrypted => Tls::Active,
            None => Tls::Absent,
            Some(tls) if tls.required => Tls::Required,
            Some(_) => Tls::Offered,
        };
        if let Some(policy) = policy {
            let limits = &policy.snapshot.gateway.limits;
            settings.message_size = Some(limits.message_size);
            settings.recipients = limits.recipients_per_message.unwrap_or(DEFAULT_RECIPIENTS);
            // Without a limit of its own the gateway has ours: a session that fails again and again is a flood.
            settings.failed_commands = limits.failed_commands.or(settings.failed_commands);
        }
        settings
    }
}

/// Reads what was said before the greeting; how much that was.
async fn early_words(wire: &mut Wire, session: &mut server::Session) -> io::Result<usize> {
    if !wire.has_words() {
        return Ok(0);
    }
    wire.readable().await?;
    wire.read_now(session.input()).unwrap_or(Ok(0))
}

/// Writes what there is to say; whether there was anything.
async fn flush(session: &mut server::Session, wire: &mut Wire, within: Duration) -> io::Result<bool> {
    if session.output().is_empty() {
        return Ok(false);
    }
    let writing = async {
        while !session.output().is_empty() {
            let written = wire.write(session.output()).await?;
            session.written(written);
        }
        wire.flush().await // TLS may keep what it has taken
    };
    time::timeout(within, writing).await??;
    Ok(true)
}

/// Closes so that the client can still read the last reply: data that arrives at a closed socket would reset the connection.
async fn linger_on(wire: &mut Wire, within: Duration) {
    let until = Instant::now() + within;
    // TLS has a last word, too, and the client may not read it.
    if !matches!(time::timeout_at(until, wire.shutdown()).await, Ok(Ok(()))) {
        return;
    }
    let mut dropped = 0;
    let mut buffer = vec![0; 4096]; // not an array: each session would have it from its beginning
    while dropped < LINGER_OCTETS {
        match time::timeout_at(until, wire.read(&mut buffer)).await {
            Ok(Ok(length)) if length > 0 => dropped += length,
            _ => return,
        }
    }
}

async fn until(timer: Option<Instant>) {
    match timer {
        Some(at) => time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
