//! One outgoing connection: made to the first host of a next hop that answers, used for one message after the other.

use std::{io, net::SocketAddr, time::Duration};

use posthouse_model::{Domain, HostPort, NextHop, Reply, Transport};
use posthouse_queue::{BodyType, Content};
use posthouse_smtp::client::{Body, Cause, Closed, Delivery, Event, Session, Settings, Stage, Transaction};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, lookup_host},
    time::{self, Instant},
};

use super::hop::{Job, Open};
use crate::node::Node;

/// How long a connection may take to be made. RFC 5321 names no time; a host that is up answers in a round trip.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Content that is written together with its final dot: what any socket takes at once.
const AT_ONCE: usize = 16 * 1024;

/// How long a far end may take to say goodbye: everything is settled.
const QUIT_PATIENCE: Duration = Duration::from_secs(1);

/// Addresses of one host that are tried.
const MOST_ADDRESSES: usize = 8;

/// A connection that has said its greetings.
pub struct Connection {
    stream: TcpStream,
    session: Session,
    /// Which host it is, `host:port`.
    pub host: String,
    /// It has carried a message before: if it is found closed now, that says nothing of the message.
    used: bool,
    /// Its place among the open connections of its hop.
    open: Option<Open>,
}

/// Why no host of a next hop takes mail.
#[derive(Clone, Debug)]
pub struct Unreachable {
    /// The host that was tried last.
    pub host: String,
    /// What it said, if it said something.
    pub reply: Option<Reply>,
    /// In words.
    pub reason: String,
}

/// What became of an attempt.
pub enum Attempt {
    /// One delivery per recipient.
    Done(Vec<Delivery>),
    /// The connection had been closed before anything was sent on it: take another one.
    Stale,
    /// It was given up before the final dot, for a reason on this side; the connection is of no more use.
    Broken(Trouble),
}

/// Why an attempt is given up on this side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The lease may be somebody else's by now.
    LeaseUnsure,
    /// The store has no such content.
    ContentLost,
    /// The store did not give the content.
    ContentUnread(String),
}

impl Connection {
    /// Connects to the first host that greets well.
    pub async fn open(next_hop: &NextHop, hello: &Domain) -> Result<Self, Unreachable> {
        let mut last = Unreachable { host: String::new(), reply: None, reason: "it has no host".to_owned() };
        for host in &next_hop.hosts {
            let addresses = match addresses(host).await {
                Ok(addresses) => addresses,
                Err(reason) => {
                    last = Unreachable { host: host.to_string(), reply: None, reason };
                    continue;
                }
            };
            for address in addresses {
                match Self::to(host, address, next_hop.transport, hello).await {
                    Ok(connection) => return Ok(connection),
                    Err(unreachable) => last = unreachable,
                }
            }
        }
        Err(last)
    }

    async fn to(
        host: &HostPort,
        address: SocketAddr,
        transport: Transport,
        hello: &Domain,
    ) -> Result<Self, Unreachable> {
        let name = host.to_string();
        let failed = |reason: String| Unreachable { host: name.clone(), reply: None, reason };
        let stream = match time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(failed(format!("cannot connect to {address}: {error}"))),
            Err(_) => {
                return Err(failed(format!(
                    "{address} did not answer within {} s",
                    CONNECT_TIMEOUT.as_secs()
                )));
            }
        };
        // Commands are gathered by the session and written whole.
        stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
        let settings = match transport {
            Transport::Lmtp => Settings::lmtp(hello.clone()),
            Transport::Smtp | Transport::Maildrop => Settings::smtp(hello.clone()),
        };
        let mut connection =
            Self { stream, session: Session::new(settings), host: name.clone(), used: false, open: None };
        match connection.advance().await {
            Event::Ready => Ok(connection),
            Event::Closed(Closed::Refused(refusal)) => Err(Unreachable {
                host: name,
                reason: format!("it takes no mail now: {}", refusal.reply),
                reply: Some(refusal.reply),
            }),
            Event::Closed(Closed::Lost(loss)) => Err(failed(lost(loss.cause, loss.stage))),
            _ => Err(failed("it ended the session".to_owned())),
        }
    }

    /// The same, counted among the open connections of its hop.
    #[must_use]
    pub fn counted(mut self, open: Open) -> Self {
        self.open = Some(open);
        self
    }

    /// Whether another transaction may begin.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.session.is_ready()
    }

    /// Sends one message. The node counts an attempt in doubt once the first octet of content is sent; `doubted` is told.
    pub async fn deliver(&mut self, node: &Node, job: &Job, doubted: &mut bool) -> Attempt {
        let leased = &job.leased;
        let recipients = leased.entry.recipients.iter();
        let recipients = recipients.map(|recipient| recipient.address.clone().into()).collect();
        let message = &leased.message;
        let body = match message.envelope.body {
            BodyType::SevenBit => Body::SevenBit,
            BodyType::EightBitMime => Body::EightBit,
            BodyType::BinaryMime => Body::Binary,
        };
        let reverse_path = message.envelope.reverse_path.clone();
        self.session.begin(Transaction::new(reverse_path, recipients, message.size).with_body(body));
        loop {
            match self.advance().await {
                Event::ContentDue => {
                    if let Some(trouble) = self.send_content(node, job, doubted).await {
                        self.session.abort();
                        return Attempt::Broken(trouble);
                    }
                }
                Event::Finished(deliveries) => {
                    let untouched = self.used && !*doubted && deliveries.iter().all(is_lost_before_it_began);
                    self.used = true;
                    return if untouched { Attempt::Stale } else { Attempt::Done(deliveries) };
                }
                Event::Closed(_) => return Attempt::Stale, // the outcome of a transaction comes before: there was none
                Event::Ready | Event::StartTls => {}       // these settings ask for no TLS
            }
        }
    }

    /// Gets ready for the next message after one; false if the connection is of no more use.
    pub async fn recover(&mut self) -> bool {
        while !self.session.is_ready() {
            if let Event::Closed(_) = self.advance().await {
                return false;
            }
        }
        true
    }

    /// Says goodbye.
    pub async fn quit(mut self) {
        self.session.quit();
        // The far end may be gone or slow: nothing is owed any more.
        let goodbye = async { while !matches!(self.advance().await, Event::Closed(_)) {} };
        let _ = time::timeout(QUIT_PATIENCE, goodbye).await;
    }

    /// Whether the far end has closed a connection that waits for work.
    pub async fn closed_while_idle(&mut self) {
        match self.stream.read(self.session.input()).await {
            Ok(0) | Err(_) => self.session.connection_lost(),
            Ok(length) => self.session.received(length), // 421, most likely
        }
    }

    /// Sends the content and the final dot; why not, if it must not or cannot.
    async fn send_content(&mut self, node: &Node, job: &Job, doubted: &mut bool) -> Option<Trouble> {
        if !node.presence.leases_are_sure(&job.life) {
            return Some(Trouble::LeaseUnsure); // queue.md, fencing: somebody else may have this entry by now
        }
        if !*doubted {
            *doubted = true;
            node.metrics.attempts_in_doubt.inc();
        }
        self.session.begin_content();
        match &job.leased.content {
            Content::Inline(content) => {
                self.session.content(content);
                if content.len() > AT_ONCE {
                    // The dot must not wait behind content that the far end is slow to take.
                    self.write().await;
                    self.hear();
                }
            }
            Content::Chunks(count) => {
                for index in 0..*count {
                    match node.store.chunk(job.leased.entry.id.message, index).await {
                        Ok(Some(chunk)) => self.session.content(&chunk),
                        Ok(None) => return Some(Trouble::ContentLost),
                        Err(error) => return Some(Trouble::ContentUnread(error.to_string())),
                    }
                    self.write().await;
                    self.hear();
                    if self.session.is_closed() {
                        return None; // the next event says what became of it
                    }
                }
            }
        }
        if !node.presence.leases_are_sure(&job.life) {
            return Some(Trouble::LeaseUnsure);
        }
        self.session.finish_content();
        None
    }

    /// Moves bytes until the session has something to say.
    async fn advance(&mut self) -> Event {
        let mut since = Instant::now();
        loop {
            if let Some(event) = self.session.next_event() {
                return event;
            }
            if self.session.is_closed() {
                return Event::Closed(Closed::Quit);
            }
            self.write().await;
            let timer = self.session.wait().timeout();
            let read = self.stream.read(self.session.input());
            let heard = match timer {
                Some(span) => time::timeout_at(since + span, read).await,
                None => Ok(read.await),
            };
            match heard {
                Ok(Ok(0) | Err(_)) => self.session.connection_lost(),
                Ok(Ok(length)) => {
                    self.session.received(length);
                    since = Instant::now(); // each timer is for one reply
                }
                Err(_) => self.session.time_out(),
            }
        }
    }

    /// Writes what the session has to say; RFC 5321 §4.5.3.2.5: three minutes for each write.
    async fn write(&mut self) {
        const WRITE_TIMEOUT: Duration = Duration::from_mins(3);
        while !self.session.output().is_empty() {
            match time::timeout(WRITE_TIMEOUT, self.stream.write(self.session.output())).await {
                Ok(Ok(written)) if written > 0 => self.session.written(written),
                Ok(_) => {
                    // What the far end said before it went may still be there to read.
                    self.session.written(self.session.output().len());
                    return;
                }
                Err(_) => return self.session.time_out(),
            }
        }
    }

    /// Takes a reply that came while content was sent, without waiting for one.
    fn hear(&mut self) {
        match self.stream.try_read(self.session.input()) {
            Ok(0) => self.session.connection_lost(),
            Ok(length) => self.session.received(length),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.session.connection_lost(),
        }
    }
}

fn is_lost_before_it_began(delivery: &Delivery) -> bool {
    matches!(delivery, Delivery::Lost(loss)
        if !loss.final_dot_sent && loss.cause == Cause::Disconnected && loss.stage <= Stage::Mail)
}

/// How a connection was lost, in words.
#[must_use]
pub fn lost(cause: Cause, stage: Stage) -> String {
    let stage = match stage {
        Stage::Greeting => "before the greeting",
        Stage::Hello => "in reply to EHLO",
        Stage::StartTls => "in reply to STARTTLS",
        Stage::Authentication => "in reply to AUTH",
        Stage::Idle => "between two messages",
        Stage::Mail => "in reply to MAIL",
        Stage::Rcpt => "in reply to RCPT",
        Stage::Data => "in reply to DATA",
        Stage::Content => "while the content was sent",
        Stage::FinalDot => "after the final dot, before its reply",
    };
    match cause {
        Cause::Disconnected => format!("it closed the connection {stage}"),
        Cause::Timeout => format!("it said nothing in time {stage}"),
        Cause::Protocol(error) => format!("it broke the protocol {stage}: {error}"),
    }
}

/// The addresses of a host with a port.
async fn addresses(host: &HostPort) -> Result<Vec<SocketAddr>, String> {
    let Some(port) = host.port else {
        return Err(
            "it is reached by MX records, which are not built yet: name a host with a port".to_owned()
        );
    };
    let found = lookup_host((host.host.as_str(), port)).await;
    let found: Vec<SocketAddr> = found
        .map_err(|error| format!("cannot find the address of {}: {error}", host.host))?
        .take(MOST_ADDRESSES)
        .collect();
    if found.is_empty() { Err(format!("{} has no address", host.host)) } else { Ok(found) }
}
