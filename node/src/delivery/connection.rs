//! One outgoing connection that a session runs on: it moves octets, makes the handshake where the session asks for it, and carries one message after the
//! other. I/O.

use std::{sync::Arc, time::Duration};

use posthouse_queue::Content;
use posthouse_smtp::client::{Cause, Closed, Delivery, Event, Loss, Refusal, Session, Settings, Stage};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{self, Instant},
};

use super::{
    hop::{Job, Open},
    means::Means,
    transaction::transaction,
};
use crate::{node::Node, tls, wire::Wire};

/// How long a handshake may take: as long as a command.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_mins(1);

/// RFC 5321 §4.5.3.2.5: three minutes for each block, which is what the session has to say at once: a chunk of content at most. An octet now and then is
/// no progress.
const WRITE_TIMEOUT: Duration = Duration::from_mins(3);

/// How long the replies to an envelope may take in all: room for the whole of each timer where there is one recipient, and for each one more. RFC 5321
/// §4.5.3.2 wants a timer for each command, and there is one; this is for the far end that uses up each of a thousand (decision 0016).
const ENVELOPE: Allowance = Allowance { base: Duration::from_mins(20), each: Duration::from_mins(1) };

/// The same for the replies to the final dot: an LMTP server has one for each recipient. The first has the whole of its timer.
const FINAL_DOT: Allowance = Allowance { base: Duration::from_mins(10), each: Duration::from_mins(1) };

/// Content that is written together with its final dot: what any socket takes at once.
const AT_ONCE: usize = 16 * 1024;

/// How long a far end may take to say goodbye: everything is settled.
const QUIT_PATIENCE: Duration = Duration::from_secs(1);

/// How long something may take for so many recipients.
struct Allowance {
    base: Duration,
    each: Duration,
}

impl Allowance {
    fn until(&self, recipients: usize) -> Instant {
        Instant::now() + self.base + self.each * u32::try_from(recipients).unwrap_or(u32::MAX)
    }
}

/// Since when the next reply is awaited, and how many had come by then.
struct Awaiting {
    since: Instant,
    replies: u64,
}

impl Awaiting {
    fn begin(session: &Session) -> Self {
        Self { since: Instant::now(), replies: session.replies() }
    }

    /// Each timer is for one reply: it begins anew with a command that was written, or with a reply that came whole, and with nothing less.
    fn renew(&mut self, session: &Session, has_written: bool) {
        if has_written || session.replies() != self.replies {
            *self = Self::begin(session);
        }
    }
}

/// A connection that has said its greetings.
pub struct Connection {
    wire: Wire,
    session: Session,
    /// Which host it is, `host:port`; a host that was found by its MX record by its own name.
    pub host: Arc<str>,
    /// By what means it was made.
    means: Arc<Means>,
    /// It has carried a message before: if it is found closed now, that says nothing of the message.
    used: bool,
    /// When the replies of this part of a transaction must have come.
    until: Option<Instant>,
    /// Its place among the open connections of its hop.
    open: Option<Open>,
}

/// Why a session did not come to where mail can be sent.
#[derive(Debug)]
pub enum Failed {
    /// The far end, or this side, refused.
    Refused(Refusal),
    /// The connection was lost.
    Lost(Loss),
    /// There is no TLS with it: why, in words of ours.
    Handshake(String),
    /// It ended the session as if all was done.
    Ended,
}

impl Failed {
    /// Whether TLS is what it fell over.
    #[must_use]
    pub fn is_for_tls(&self) -> bool {
        match self {
            Self::Handshake(_) => true,
            // Who talks in clear behind the go-ahead for TLS is not given the mail in clear instead.
            Self::Lost(loss) => loss.stage == Stage::StartTls && !matches!(loss.cause, Cause::Protocol(_)),
            Self::Refused(_) | Self::Ended => false,
        }
    }
}

/// What became of an attempt.
pub enum Attempt {
    /// One delivery per recipient.
    Done(Vec<Delivery>),
    /// The connection had been closed, or was out of step, before anything was sent on it: take another one.
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
    /// A session on a connection that was just made.
    #[must_use]
    pub fn new(wire: Wire, settings: Settings, host: Arc<str>, means: Arc<Means>) -> Self {
        Self { wire, session: Session::new(settings), host, means, used: false, until: None, open: None }
    }

    /// Brings the session to where mail can be sent; `server` is whose name a certificate must have.
    pub async fn greet(mut self, server: ServerName<'static>) -> Result<Self, Failed> {
        let mut is_upgraded = false;
        loop {
            match self.advance().await {
                Event::Ready => return Ok(self),
                Event::StartTls => {
                    let Self { wire, mut session, host, means, used, until, open } = self;
                    let wire = encrypted(wire, &means, server.clone()).await?;
                    session.upgraded();
                    is_upgraded = true;
                    self = Self { wire, session, host, means, used, until, open };
                }
                Event::Closed(closed) => {
                    // RFC 5321 §3.1: who is not welcome says QUIT.
                    let _ = time::timeout(QUIT_PATIENCE, self.write()).await;
                    return Err(match closed {
                        Closed::Refused(refusal) => Failed::Refused(refusal),
                        // RFC 8446 §4.4.4: what the far end has against this side's part of the handshake comes behind it.
                        Closed::Lost(Loss { stage: Stage::Hello, cause: Cause::Disconnected, .. })
                            if is_upgraded =>
                        {
                            Failed::Handshake("it closed the connection behind the handshake".to_owned())
                        }
                        Closed::Lost(loss) => Failed::Lost(loss),
                        Closed::Quit | Closed::Aborted => Failed::Ended,
                    });
                }
                Event::ContentDue | Event::Finished(_) => {} // no transaction was begun
            }
        }
    }

    /// The same, counted among the open connections of its hop.
    #[must_use]
    pub fn counted(mut self, open: Open) -> Self {
        self.open = Some(open);
        self
    }

    /// Whether a connection by these means would be the same.
    #[must_use]
    pub fn is_by(&self, means: &Means) -> bool {
        *self.means == *means
    }

    /// Whether the octets go through TLS.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.wire.is_encrypted()
    }

    /// Sends one message to the recipients of these places in its entry. The node counts an attempt in doubt once the first octet of content is
    /// sent; `doubted` is told.
    pub async fn deliver(&mut self, node: &Node, job: &Job, places: &[usize], doubted: &mut bool) -> Attempt {
        if self.used {
            self.hear(); // what came while it rested is no answer to what is said now
        }
        self.session.begin(transaction(&job.leased.message, &job.leased.entry, places));
        self.until = Some(ENVELOPE.until(places.len()));
        loop {
            match self.advance().await {
                Event::ContentDue => {
                    self.until = None; // each block has its timer, and there are as many as there is content
                    if let Some(trouble) = self.send_content(node, job, doubted).await {
                        self.session.abort();
                        return Attempt::Broken(trouble);
                    }
                    self.until = Some(FINAL_DOT.until(places.len()));
                }
                Event::Finished(deliveries) => {
                    let untouched = self.used && !*doubted && deliveries.iter().all(is_lost_before_it_began);
                    (self.used, self.until) = (true, None);
                    return if untouched { Attempt::Stale } else { Attempt::Done(deliveries) };
                }
                Event::Closed(_) => return Attempt::Stale, // the outcome of a transaction comes before: there was none
                Event::Ready | Event::StartTls => {}       // TLS comes before the first transaction
            }
        }
    }

    /// Gets ready for the next message after one; false if the connection is of no more use.
    pub async fn recover(&mut self) -> bool {
        while !self.session.is_ready() {
            if self.session.is_spent() {
                return false; // it says QUIT by itself
            }
            if let Event::Closed(_) = self.advance().await {
                return false;
            }
        }
        true
    }

    /// Says goodbye.
    pub async fn quit(mut self) {
        if self.session.is_ready() {
            self.session.quit(); // otherwise it has said so, or is past it
        }
        // The far end may be gone or slow: nothing is owed any more.
        let goodbye = async {
            while !matches!(self.advance().await, Event::Closed(_)) {}
            self.wire.shutdown().await
        };
        let _ = time::timeout(QUIT_PATIENCE, goodbye).await;
    }

    /// Whether the far end has closed a connection that waits for work.
    pub async fn closed_while_idle(&mut self) {
        match self.wire.read(self.session.input()).await {
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
                self.until_taken().await;
                self.session.content(content);
                if content.len() > AT_ONCE {
                    // The dot must not wait behind content that the far end is slow to take.
                    self.write().await;
                    self.hear();
                }
            }
            Content::Chunks(count) => {
                for index in 0..*count {
                    self.until_taken().await;
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
        self.until_taken().await;
        if !node.presence.leases_are_sure(&job.life) {
            return Some(Trouble::LeaseUnsure);
        }
        self.session.finish_content();
        None
    }

    /// Moves bytes until the session has something to say.
    async fn advance(&mut self) -> Event {
        let mut awaiting = Awaiting::begin(&self.session);
        loop {
            if let Some(event) = self.session.next_event() {
                return event;
            }
            if self.session.is_closed() {
                return Event::Closed(Closed::Quit);
            }
            let has_written = self.write().await;
            awaiting.renew(&self.session, has_written);
            self.read(awaiting.since).await;
        }
    }

    /// Reads once, for at most as long as what is waited for may take since then.
    async fn read(&mut self, since: Instant) {
        let end = self.session.wait().timeout().map(|span| since + span);
        let end = end.map(|end| self.until.map_or(end, |until| end.min(until)));
        let read = self.wire.read(self.session.input());
        let heard = match end {
            Some(end) => time::timeout_at(end, read).await,
            None => Ok(read.await),
        };
        match heard {
            // Also an end without TLS' own goodbye: SMTP says by itself where it is (RFC 5321 §4.1.1.10).
            Ok(Ok(0) | Err(_)) => self.session.connection_lost(),
            Ok(Ok(length)) => self.session.received(length),
            Err(_) => self.session.time_out(),
        }
    }

    /// Waits until the far end has taken the chunks that were sent, where it must before there is another.
    async fn until_taken(&mut self) {
        let mut awaiting = Awaiting::begin(&self.session);
        while self.session.is_held() {
            let has_written = self.write().await;
            awaiting.renew(&self.session, has_written);
            if self.session.is_held() {
                self.read(awaiting.since).await;
            }
        }
    }

    /// Writes what the session has to say; whether it had anything.
    async fn write(&mut self) -> bool {
        if self.session.output().is_empty() {
            return false;
        }
        if time::timeout(WRITE_TIMEOUT, self.write_out()).await.is_err() {
            self.session.time_out();
        }
        true
    }

    async fn write_out(&mut self) {
        while !self.session.output().is_empty() {
            match self.wire.write(self.session.output()).await {
                Ok(written) if written > 0 => self.session.written(written),
                Ok(_) | Err(_) => {
                    // What the far end said before it went may still be there to read.
                    self.session.written(self.session.output().len());
                    return;
                }
            }
        }
        // TLS keeps back what the socket did not take at once. An error is met again when the reply is read.
        let _ = self.wire.flush().await;
    }

    /// Takes a reply that came while content was sent, without waiting for one.
    fn hear(&mut self) {
        match self.wire.read_now(self.session.input()) {
            None => {}
            Some(Ok(length)) if length > 0 => self.session.received(length),
            Some(_) => self.session.connection_lost(),
        }
    }
}

/// Makes the handshake; `server` is whose name the certificate must have.
pub async fn encrypted(wire: Wire, means: &Means, server: ServerName<'static>) -> Result<Wire, Failed> {
    let made = time::timeout(HANDSHAKE_TIMEOUT, wire.call_tls(Arc::clone(&means.config), server)).await;
    match made {
        Ok(Ok(wire)) => Ok(wire),
        Ok(Err(error)) => Err(Failed::Handshake(tls::client::why(&error))),
        Err(_) => Err(Failed::Handshake(format!(
            "it did not end the handshake within {} s",
            HANDSHAKE_TIMEOUT.as_secs()
        ))),
    }
}

fn is_lost_before_it_began(delivery: &Delivery) -> bool {
    match delivery {
        Delivery::Lost(loss) => {
            // Also who was out of step already.
            !loss.final_dot_sent && loss.cause != Cause::Timeout && loss.stage <= Stage::Mail
        }
        // RFC 5321 §3.8: the same with a word of farewell. Many a server takes only so many messages on a connection.
        Delivery::Refused(refusal) => refusal.is_farewell() && refusal.stage <= Stage::Mail,
        Delivery::Accepted { .. } | Delivery::Aborted | Delivery::NotTried => false,
    }
}
