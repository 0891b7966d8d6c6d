//! One SMTP connection: moves bytes between the socket and the protocol's session, and answers its questions. Keeps its timers.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use posthouse_model::Reply;
use posthouse_routing::Client;
use posthouse_smtp::{
    reply as smtp_reply,
    server::{self, ClosedBy, Event},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use super::transaction::{Peer, Transaction};
use crate::{events, node::Node};

/// How long a closing connection is read and dropped, so that the last reply is not lost to a reset.
const LINGER: Duration = Duration::from_secs(2);

/// Octets dropped at most in that time.
const LINGER_OCTETS: usize = 1024 * 1024;

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
    pub async fn serve(self, mut stream: TcpStream) {
        self.node.metrics.sessions.inc();
        // An error is a client that went away: there is nothing more to say.
        let by = self.converse(&mut stream).await.unwrap_or("lost");
        self.node.metrics.sessions.dec();
        events::SessionEnded { client: self.address.ip(), listener: &self.listener, by }
            .emit(&self.node.metrics);
    }

    /// Greets with a refusal and closes: the node is full or not ready.
    pub async fn turn_away(self, mut stream: TcpStream) {
        let mut session = server::Session::new(server::Settings::new(self.node.hostname()));
        session.refuse(smtp_reply::not_now(&self.node.hostname()));
        if flush(&mut session, &mut stream).await.is_ok() {
            linger(stream).await;
        }
    }

    async fn converse(&self, stream: &mut TcpStream) -> io::Result<&'static str> {
        // Replies are gathered by the session and written whole: waiting for more would only delay them.
        stream.set_nodelay(true)?;
        let mut session = server::Session::new(self.settings());
        let address = self.address.ip().to_canonical();
        let peer = Peer { client: Client::at(address), address };
        let mut talk = Talk { node: &self.node, peer, transaction: None, refused_recipients: 0, ended: None };
        session.greet();
        let outcome = self.exchange(stream, &mut session, &mut talk).await;
        if let Some(transaction) = talk.transaction.take() {
            transaction.abandon().await;
        }
        outcome?;
        Ok(talk.ended.map_or("lost", closed_by))
    }

    async fn exchange(
        &self,
        stream: &mut TcpStream,
        session: &mut server::Session,
        talk: &mut Talk<'_>,
    ) -> io::Result<()> {
        let mut stopping = false;
        let mut heard = Instant::now();
        loop {
            let mut answered = false;
            while talk.step(session).await {
                answered = true;
            }
            flush(session, stream).await?;
            if answered {
                heard = Instant::now(); // RFC 5321 §4.5.3.2: the client's time begins when it has our reply
            }
            if session.is_closed() {
                linger_on(stream).await;
                return Ok(());
            }
            if session.wanted() == 0 {
                continue; // what was written made room: there is more to do before more is read
            }
            let timer = session.wait().timeout().map(|span| heard + span);
            tokio::select! {
                read = stream.read(session.input()) => match read? {
                    0 => return Ok(()),
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

    fn settings(&self) -> server::Settings {
        let mut settings = server::Settings::new(self.node.hostname());
        if let Some(policy) = self.node.policy() {
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
    peer: Peer,
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
        match transaction.add(&self.peer, rcpt.forward_path, self.node.presence.now()) {
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

async fn flush(session: &mut server::Session, stream: &mut TcpStream) -> io::Result<()> {
    while !session.output().is_empty() {
        let written = time::timeout(WRITE_TIMEOUT, stream.write(session.output())).await??;
        session.written(written);
    }
    Ok(())
}

/// Closes so that the client can still read the last reply: data that arrives at a closed socket would reset the connection.
async fn linger(mut stream: TcpStream) {
    linger_on(&mut stream).await;
}

async fn linger_on(stream: &mut TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut dropped = 0;
    let mut buffer = [0; 4096];
    let until = Instant::now() + LINGER;
    while dropped < LINGER_OCTETS {
        match time::timeout_at(until, stream.read(&mut buffer)).await {
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
