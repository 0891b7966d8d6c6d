//! One SMTP connection: what a load balancer says of it, TLS, then octets between the socket and the protocol's session, whose questions it
//! answers. Keeps its timers.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use posthouse_model::Reply;
use posthouse_routing::{AddressSource, Client};
use posthouse_smtp::{
    reply as smtp_reply,
    server::{self, ClosedBy, Event, Tls},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{
    proxy::{self, Proxied},
    transaction::{Peer, Transaction},
};
use crate::{events, node::Node, policy::Policy, tls::server::ServerTls, wire::Wire};

/// How long a closing connection is read and dropped, so that the last reply is not lost to a reset.
const LINGER: Duration = Duration::from_secs(2);

/// Octets dropped at most in that time.
const LINGER_OCTETS: usize = 1024 * 1024;

/// How long a TLS handshake may take: some round trips.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_mins(1);

/// How long a load balancer may take to say whose connection it is: it says so in its first octets.
const PROXY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the client may take to read what we say, each write.
const WRITE_TIMEOUT: Duration = Duration::from_mins(5);

/// Recipients per message when the gateway sets no limit: RFC 5321 §4.5.3.1.8 asks for 100; an entry's record bounds it above.
const DEFAULT_RECIPIENTS: u32 = 1000;

/// Recipients refused to one session: whoever goes on after so many is not sending mail but asking who is there.
const MOST_REFUSED_RECIPIENTS: u32 = 1000;

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
}

impl Connection {
    /// Serves the connection to its end.
    pub async fn serve(self, stream: TcpStream) {
        self.node.metrics.sessions.inc();
        let mut client = self.address.ip().to_canonical();
        // An error is a client that went away: there is nothing more to say.
        let by = self.converse(stream, &mut client).await.unwrap_or("lost");
        self.node.metrics.sessions.dec();
        events::SessionEnded { client, listener: &self.listener, by }.emit(&self.node.metrics);
    }

    /// Greets with a refusal and closes: the node is full or not ready. Where something else comes before the greeting it just closes.
    pub async fn turn_away(self, stream: TcpStream) {
        let policy = self.node.policy();
        let greets_first = policy.is_none_or(|policy| {
            let is_implicit = policy.listener_tls(&self.listener).is_some_and(|tls| tls.implicit);
            let is_proxied = policy.listener(&self.listener).is_some_and(|l| !l.proxy_networks.is_empty());
            !is_implicit && !is_proxied
        });
        if !greets_first {
            return;
        }
        let mut session = server::Session::new(server::Settings::new(self.node.hostname()));
        session.refuse(smtp_reply::not_now(&self.node.hostname()));
        let mut wire = Wire::Clear(stream);
        if flush(&mut session, &mut wire).await.is_ok() {
            linger_on(&mut wire).await;
        }
    }

    async fn converse(&self, mut stream: TcpStream, client: &mut IpAddr) -> io::Result<&'static str> {
        // Replies are gathered by the session and written whole: waiting for more would only delay them.
        stream.set_nodelay(true)?;
        // What holds for the connection is what holds now: an edit concerns the next one.
        let policy = self.node.policy();
        let Some(peer) = self.peer(&mut stream, policy.as_deref()).await else { return Ok("proxy") };
        *client = peer.address;
        let tls = policy.as_ref().and_then(|policy| policy.listener_tls(&self.listener));
        let mut wire = Wire::Clear(stream);
        if let Some(tls) = tls.filter(|tls| tls.implicit) {
            wire = match self.secure(wire, tls, peer.address).await {
                Some(wire) => wire,
                None => return Ok("tls"),
            };
        }
        let peer = Peer { encrypted: wire.is_encrypted(), ..peer };
        let mut session = server::Session::new(self.settings(policy.as_deref(), wire.is_encrypted()));
        drop(policy);
        let mut talk = Talk {
            node: &self.node,
            listener: &self.listener,
            peer,
            transaction: None,
            starts_tls: None,
            refused_recipients: 0,
            ended: None,
        };
        session.greet();
        let outcome = self.exchange(wire, &mut session, &mut talk).await;
        if let Some(transaction) = talk.transaction.take() {
            transaction.abandon().await;
        }
        Ok(outcome?.or(talk.ended.map(closed_by)).unwrap_or("lost"))
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
        match time::timeout(PROXY_TIMEOUT, proxy::read(stream)).await {
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
            Err(_) => refused(&format!("no PROXY header within {} s", PROXY_TIMEOUT.as_secs())),
        }
    }

    /// Makes the handshake; none if it fails.
    async fn secure(&self, wire: Wire, tls: &ServerTls, client: IpAddr) -> Option<Wire> {
        let made = time::timeout(HANDSHAKE_TIMEOUT, wire.serve_tls(Arc::clone(&tls.config))).await;
        let reason = match made {
            Ok(Ok(wire)) => return Some(wire),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("not made within {} s", HANDSHAKE_TIMEOUT.as_secs()),
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
        let mut heard = Instant::now();
        loop {
            let mut answered = false;
            while talk.step(session).await {
                answered = true;
            }
            flush(session, &mut wire).await?;
            if let Some(tls) = talk.starts_tls.take().filter(|_| session.is_in_handshake()) {
                wire = match self.secure(wire, &tls, talk.peer.address).await {
                    Some(wire) => wire,
                    None => return Ok(Some("tls")),
                };
                talk.peer.encrypted = true;
                session.secured();
                heard = Instant::now();
                continue;
            }
            if answered {
                heard = Instant::now(); // RFC 5321 §4.5.3.2: the client's time begins when it has our reply
            }
            if session.is_closed() {
                linger_on(&mut wire).await;
                return Ok(None);
            }
            if session.wanted() == 0 {
                continue; // what was written made room: there is more to do before more is read
            }
            let timer = session.wait().timeout().map(|span| heard + span);
            tokio::select! {
                read = wire.read(session.input()) => match read? {
                    0 => return Ok(None),
                    length => {
                        session.received(length);
                        heard = Instant::now();
                    }
                },
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    session.shut_down();
                }
                () = until(timer) => session.time_out(),
            }
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

/// The node's part of the conversation.
struct Talk<'n> {
    node: &'n Node,
    listener: &'n str,
    peer: Peer,
    /// STARTTLS was answered with 220: what the handshake is made with.
    starts_tls: Option<ServerTls>,
    transaction: Option<Transaction>,
    refused_recipients: u32,
    ended: Option<ClosedBy>,
}

impl Talk<'_> {
    /// Takes the next event; false if there is none.
    async fn step(&mut self, session: &mut server::Session) -> bool {
        let hello = session.client().cloned();
        let Some(event) = session.next_event() else { return false };
        let answer = match event {
            Event::Mail(mail) => Some(self.mail(mail).await),
            Event::StartTls => Some(self.start_tls()),
            Event::Rcpt(rcpt) => Some(self.rcpt(rcpt)),
            Event::Data => Some(self.data(hello.as_ref()).await),
            Event::Content(piece) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.push(self.node, piece).await;
                }
                None
            }
            Event::ContentEnd(summary) => Some(self.end(summary).await),
            Event::Hello(_) | Event::Reset | Event::Discarded(_) => {
                self.forget().await;
                None
            }
            Event::Refused(reply) => {
                self.refused("session", &"", &reply);
                None
            }
            Event::Closed(by) => {
                self.ended = Some(by);
                None
            }
        };
        if let Some(reply) = answer {
            session.answer(&reply);
        }
        if self.refused_recipients > MOST_REFUSED_RECIPIENTS {
            self.refused_recipients = 0;
            session.shut_down();
        }
        true
    }

    /// With the certificates of now: a session may be older than they are.
    fn start_tls(&mut self) -> Reply {
        let policy = self.node.policy();
        self.starts_tls = policy.and_then(|policy| policy.listener_tls(self.listener).cloned());
        match &self.starts_tls {
            Some(_) => smtp_reply::ready_for_tls(),
            None => smtp_reply::tls_not_available(),
        }
    }

    async fn mail(&mut self, mail: server::Mail) -> Reply {
        self.forget().await;
        let from = mail.reverse_path.clone();
        match Transaction::begin(self.node, mail).await {
            Ok(transaction) => {
                self.transaction = Some(transaction);
                smtp_reply::sender_accepted()
            }
            Err(reply) => {
                self.refused("mail", &from, &reply);
                reply
            }
        }
    }

    fn rcpt(&mut self, rcpt: server::Rcpt) -> Reply {
        let Some(transaction) = &mut self.transaction else { return smtp_reply::bad_sequence("MAIL first") };
        let to = rcpt.forward_path.clone();
        match transaction.add(&self.peer, rcpt, self.node.presence.now()) {
            Ok(()) => smtp_reply::recipient_accepted(),
            Err(reply) => {
                self.refused("rcpt", &to, &reply);
                self.refused_recipients += 1;
                reply
            }
        }
    }

    async fn data(&mut self, hello: Option<&server::Client>) -> Reply {
        let (Some(transaction), Some(hello)) = (&mut self.transaction, hello) else {
            return smtp_reply::bad_sequence("MAIL first");
        };
        match transaction.open(self.node, &self.peer, hello).await {
            Ok(()) => smtp_reply::start_content(),
            Err(reply) => {
                self.refused("data", &"", &reply);
                self.forget().await;
                reply
            }
        }
    }

    async fn end(&mut self, summary: server::ContentSummary) -> Reply {
        let Some(transaction) = self.transaction.take() else {
            return smtp_reply::bad_sequence("MAIL first");
        };
        let from = transaction.reverse_path().clone();
        let reply = transaction.finish(self.node, &self.peer, summary).await;
        if !reply.is_positive() {
            self.refused("content", &from, &reply);
        }
        reply
    }

    async fn forget(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            transaction.abandon().await;
        }
    }

    fn refused(&self, stage: &'static str, subject: &dyn std::fmt::Display, reply: &Reply) {
        events::Refused { client: self.peer.address, stage, subject, reply }.emit(&self.node.metrics);
    }
}

async fn flush(session: &mut server::Session, wire: &mut Wire) -> io::Result<()> {
    if session.output().is_empty() {
        return Ok(());
    }
    while !session.output().is_empty() {
        let written = time::timeout(WRITE_TIMEOUT, wire.write(session.output())).await??;
        session.written(written);
    }
    // TLS may keep what it has taken.
    time::timeout(WRITE_TIMEOUT, wire.flush()).await?
}

/// Closes so that the client can still read the last reply: data that arrives at a closed socket would reset the connection.
async fn linger_on(wire: &mut Wire) {
    if wire.shutdown().await.is_err() {
        return;
    }
    let mut dropped = 0;
    let mut buffer = [0; 4096];
    let until = Instant::now() + LINGER;
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

fn closed_by(by: ClosedBy) -> &'static str {
    match by {
        ClosedBy::Client => "client",
        ClosedBy::Server => "server",
        ClosedBy::Timeout => "timeout",
        ClosedBy::Failures => "failures",
        ClosedBy::Violation => "violation",
    }
}
