//! The client side of SMTP and LMTP: a session that greets, sends transactions one after the other on one connection, and says what became of
//! each recipient.
//!
//! No I/O, no clock. The driver's loop:
//!
//! ```
//! use posthouse_model::Mailbox;
//! use posthouse_smtp::client::{Event, Recipient, Session, Settings, Transaction};
//!
//! # fn drive(mut from_network: impl Iterator<Item = Vec<u8>>, to_network: &mut Vec<u8>, transaction: Transaction) {
//! let mut session = Session::new(Settings::smtp("mail.example.com".parse().unwrap()));
//! let mut work = Some(transaction);
//! loop {
//!     while let Some(event) = session.next_event() {
//!         match event {
//!             Event::Ready => match work.take() {
//!                 Some(transaction) => session.begin(transaction),
//!                 None => session.quit(), // or keep the connection for the next one
//!             },
//!             Event::ContentDue => {
//!                 // Before the first octet of content: is the lease still good? Otherwise `session.abort()`.
//!                 session.begin_content();
//!                 for piece in [b"Subject: hi\r\n".as_slice(), b"\r\n.\r\n"] {
//!                     session.content(piece); // the node writes `output()` out after each piece, and looks for events: a reply may come early
//!                 }
//!                 // For binary content: write and read while `session.is_held()`, before each piece and before the end.
//!                 // Before the final dot: is the lease still good?
//!                 session.finish_content();
//!             }
//!             Event::StartTls => unreachable!("these settings never ask for it"), // else: handshake, then `session.upgraded()`
//!             Event::Finished(deliveries) => assert_eq!(deliveries.len(), 1), // one per recipient, in order
//!             Event::Closed(_) => {}
//!         }
//!     }
//!     to_network.extend_from_slice(session.output());
//!     session.written(session.output().len());
//!     if session.is_closed() {
//!         break;
//!     }
//!     match from_network.next() { // at most `session.wait().timeout()` long, else `session.time_out()`
//!         Some(bytes) => drop(session.receive(&bytes)),
//!         None => session.connection_lost(),
//!     }
//! }
//! # }
//! # let transaction = Transaction::new("<>".parse().unwrap(), vec![Recipient::from("b@example.net".parse::<Mailbox>().unwrap())], 15);
//! # let mut out = Vec::new();
//! # let replies = ["220 a\r\n", "250 a\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 ok\r\n", "221 bye\r\n"];
//! # drive(replies.iter().map(|r| r.as_bytes().to_vec()), &mut out, transaction);
//! # assert!(String::from_utf8(out).unwrap().ends_with("DATA\r\nSubject: hi\r\n\r\n..\r\n.\r\nQUIT\r\n"));
//! ```

mod authentication;
mod budget;
mod chunks;
mod content;
mod envelope;
mod event;
mod extensions;
mod flight;
mod hello;
mod limits;
mod plan;
mod refusals;
mod replies;
mod settings;
mod starttls;
mod state;
#[cfg(test)]
mod tests;
mod transaction;

use std::mem;

use posthouse_model::{Reply, ReplyCode, Severity};

use self::{
    chunks::Chunks,
    flight::Flight,
    replies::ReplyReader,
    state::{Core, Expected, Ready, State},
};
pub use posthouse_sasl::{
    CredentialsError, Mechanism,
    client::{Method, NONCE_LENGTH},
};

pub use self::{
    authentication::Authentication,
    event::{Cause, Closed, Delivery, Event, Loss, Origin, ProtocolError, Refusal, Stage, Wait},
    extensions::{Extensions, SizeLimit},
    limits::Limits,
    settings::{EightBit, Protocol, Settings, StartTls},
    transaction::{Body, Recipient, Transaction, Utf8},
};
use crate::buffer::Input;

/// Room for input at first: replies are short.
const INPUT: usize = 2 * 1024;

/// One connection to a next hop, seen from the client.
#[derive(Debug)]
pub struct Session {
    core: Core,
    input: Input,
    reader: ReplyReader,
    state: State,
    /// Replies that came whole.
    replies: u64,
}

impl Session {
    /// A session on a connection that was just made: it waits for the greeting.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            core: Core::new(settings),
            input: Input::new(INPUT),
            reader: ReplyReader::default(),
            state: State::Greeting(hello::Greeting::new()),
            replies: 0,
        }
    }

    /// Free space for input in one piece: read from the network straight into it, then call [`received`](Self::received). Never empty before the
    /// session is closed, once [`next_event`](Self::next_event) has nothing more.
    pub fn input(&mut self) -> &mut [u8] {
        self.input.space()
    }

    /// Takes note of `length` octets that were read into [`input`](Self::input).
    pub fn received(&mut self, length: usize) {
        self.input.filled(length);
    }

    /// Takes input by copy, as much as there is room for; says how much that was.
    pub fn receive(&mut self, bytes: &[u8]) -> usize {
        self.input.push(bytes)
    }

    /// How many more octets the session takes now.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.input.room()
    }

    /// The next thing that the driver must know or do; none until there is more input.
    ///
    /// It takes no time but once: where SCRAM hashes the password as often as the peer asks, some tenths of a second at most.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.core.events.pop_front() {
                return Some(event);
            }
            if !self.hear_one() {
                return None;
            }
        }
    }

    /// What is to be written to the network. During content it holds what [`content`](Self::content) put there: write it out before the next piece.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.core.output.unwritten()
    }

    /// Takes note that so many octets of [`output`](Self::output) were written.
    pub fn written(&mut self, length: usize) {
        self.core.output.written(length);
    }

    /// The connection is encrypted now, as [`Event::StartTls`] asked: from here on all octets are those inside TLS.
    pub fn upgraded(&mut self) {
        self.hear(); // what came in clear since then ends the session
        self.state = match mem::take(&mut self.state) {
            State::Handshake(handshake) => handshake.done(&mut self.core),
            other => other,
        };
    }

    /// Starts a transaction; [`Event::Ready`] allows it. A message, or a recipient, that the peer cannot take is refused without asking; recipients
    /// above what it takes at once are [`Delivery::NotTried`]. On a session that is not ready (the peer may have gone since) all recipients are lost
    /// at once.
    pub fn begin(&mut self, transaction: Transaction) {
        self.hear(); // the peer may have said 421 meanwhile
        if self.is_ready() && !self.input.is_empty() {
            self.lose(Cause::Protocol(ProtocolError::UnexpectedReply)); // or have begun to say something: it would be taken for an answer
        }
        let mut flight = Flight::new(transaction);
        match mem::take(&mut self.state) {
            State::Ready(ready) => self.state = ready.begin(&mut self.core, flight),
            other => {
                flight.settle_rest(&Delivery::Lost(Loss {
                    stage: Stage::Idle,
                    cause: Cause::Disconnected,
                    final_dot_sent: false,
                }));
                // The end of the session is told last, also if it was only just noticed.
                let closed = self.core.events.pop_back_if(|event| matches!(event, Event::Closed(_)));
                self.core.finish(flight);
                self.core.events.extend(closed);
                self.state = other;
            }
        }
    }

    /// Lets the content begin; [`Event::ContentDue`] asks for it. Call it only while the lease is good: from here on an attempt may be a duplicate.
    pub fn begin_content(&mut self) {
        self.state = match mem::take(&mut self.state) {
            State::ContentDue(due) => due.begin(),
            other => other,
        };
    }

    /// Sends the next piece of content, as it is stored: dots are stuffed here, or it becomes a chunk ([`Body::Binary`]). Nothing happens if the peer
    /// has ended the transaction by now: the next event says so. Not while it [is held](Self::is_held).
    pub fn content(&mut self, piece: &[u8]) {
        self.hear();
        match &mut self.state {
            State::Sending(sending) => sending.content(&mut self.core, piece),
            State::Chunks(_) => Chunks::content(&mut self.core, piece),
            _ => {}
        }
    }

    /// Whether the peer must answer chunks before the next piece of content, or its end: write, and read for at most as long as
    /// [`wait`](Self::wait) says, until it is not so. Never where the content goes by DATA.
    pub fn is_held(&mut self) -> bool {
        self.hear();
        matches!(self.state, State::Chunks(_)) && Chunks::is_held(&self.core)
    }

    /// Sends the final dot, or the last chunk. Call it only while the lease is good: from here on the peer may deliver.
    pub fn finish_content(&mut self) {
        self.hear();
        self.state = match mem::take(&mut self.state) {
            State::Sending(sending) => State::Final(sending.finish(&mut self.core)),
            State::Chunks(chunks) => State::Final(chunks.finish(&mut self.core)),
            other => other,
        };
    }

    /// Gives a transaction up before its final dot: recipients without an outcome are [`Delivery::Aborted`], and the connection must be dropped without
    /// writing what is left (RFC 5321 has no other way out of content). After the final dot nothing can be taken back: this does nothing.
    pub fn abort(&mut self) {
        let mut flight = match mem::take(&mut self.state) {
            State::Envelope(envelope) => envelope.into_flight(),
            State::ContentDue(due) => due.into_flight(),
            State::Sending(sending) => sending.into_flight(),
            State::Chunks(chunks) => chunks.into_flight(),
            State::Spoiled(spoiled) => spoiled.into_flight(),
            other => {
                self.state = other;
                return;
            }
        };
        flight.settle_rest(&Delivery::Aborted);
        self.core.finish(flight);
        self.core.output.clear();
        self.close(Closed::Aborted);
    }

    /// Says QUIT; [`Event::Ready`] allows it. At any other time the session just ends, and recipients without an outcome are lost.
    pub fn quit(&mut self) {
        match mem::take(&mut self.state) {
            State::Ready(ready) => self.state = ready.quit(&mut self.core),
            other => {
                self.state = other;
                if !self.is_closed() {
                    self.lose(Cause::Disconnected);
                }
            }
        }
    }

    /// The connection is gone (end of stream, reset). Replies that came before still count.
    pub fn connection_lost(&mut self) {
        self.hear();
        if matches!(self.state, State::Quitting(_)) {
            self.close(Closed::Quit); // RFC 5321 §4.1.1.10: all is settled; a lost 221 changes nothing
        } else if !self.is_closed() {
            self.lose(Cause::Disconnected);
        }
    }

    /// The timer named by [`wait`](Self::wait) has run out.
    pub fn time_out(&mut self) {
        self.hear();
        if matches!(self.state, State::Quitting(_)) {
            self.close(Closed::Quit);
        } else if !self.is_closed() {
            self.lose(Cause::Timeout);
        }
    }

    /// Whether the session is over: take the events, write the output, then close the connection.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether the peer takes no other transaction in this session, by its limits (RFC 9422). Such a session says QUIT by itself instead of
    /// [`Event::Ready`].
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.core.budget.is_spent(&self.core.extensions.limits)
    }

    /// Whether a transaction may begin.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_))
    }

    /// What the session waits for from the peer, and so which timer applies now.
    #[must_use]
    pub fn wait(&self) -> Wait {
        match (&self.state, self.core.expected.front()) {
            (State::Handshake(_) | State::Ready(_) | State::ContentDue(_) | State::Closed, _) => {
                Wait::Nothing
            }
            (State::Sending(_), _) => Wait::ContentBlock,
            (State::Chunks(_), _) if !Chunks::is_held(&self.core) => Wait::ContentBlock,
            (_, Some((expected, _))) => expected.wait(),
            (_, None) => Wait::Nothing,
        }
    }

    /// How many replies have come, whole: when there is one more, the next timer begins. An octet of a reply begins none.
    #[must_use]
    pub fn replies(&self) -> u64 {
        self.replies
    }

    /// Whether the connection is encrypted, from the start or by STARTTLS.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.core.encrypted
    }

    /// By which mechanism this side has authenticated, if it has.
    #[must_use]
    pub fn authenticated_by(&self) -> Option<Mechanism> {
        self.core.authenticated_by
    }

    /// What the peer offered in answer to EHLO or LHLO, inside TLS if there is TLS; nothing before that, or after HELO.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.core.extensions
    }

    /// Takes all replies that are there.
    fn hear(&mut self) {
        while self.hear_one() {}
    }

    /// Takes one reply; false if none is there.
    fn hear_one(&mut self) -> bool {
        if self.is_closed() {
            self.input.clear();
            return false;
        }
        if let State::Handshake(handshake) = &mut self.state {
            if !self.input.is_empty() {
                self.lose(Cause::Protocol(ProtocolError::ClearAfterStartTls));
                return true;
            }
            let news = handshake.announce();
            self.core.events.extend(news.then_some(Event::StartTls));
            return news;
        }
        match self.reader.read(&mut self.input) {
            Ok(Some(reply)) => self.reply(reply),
            Ok(None) => return false,
            Err(error) => self.lose(Cause::Protocol(error)),
        }
        true
    }

    fn reply(&mut self, reply: Reply) {
        self.replies += 1;
        let reply = match self.core.expected.front() {
            // Read here, and gone then: an offer, a challenge.
            Some((Expected::Hello | Expected::Authentication, _)) => reply,
            _ => replies::shortened(reply),
        };
        let reply = match &self.state {
            _ if reply.severity() == Severity::Intermediate => reply, // a challenge: it is told to nobody
            State::Authenticating(authenticating) => authenticating.redact(reply),
            State::Cancelling(cancelling) => cancelling.redact(reply),
            _ => reply,
        };
        let expected = match self.core.expected.front() {
            // A reply to what was not even written is not a reply to it: the peer is out of step, or somebody else talks.
            Some((_, position)) if *position > self.core.output.written_position() => {
                let in_content = matches!(self.state, State::Chunks(_) | State::Spoiled(_) | State::Final(_));
                if in_content && !reply.is_positive() {
                    // The peer has refused the content before it has seen its end: no different from a reply in the middle of it.
                    return self.unexpected(reply, None);
                }
                return self.lose(Cause::Protocol(ProtocolError::EarlyReply));
            }
            Some(_) => self.core.expected.pop_front().map(|(expected, _)| expected),
            None => None,
        };
        // RFC 5321 §3.8: 421 may answer anything, and means that the connection closes.
        if reply.code() == ReplyCode::NOT_AVAILABLE || expected.is_none() {
            return self.unexpected(reply, expected);
        }
        let Some(expected) = expected else { return };
        let core = &mut self.core;
        let result = match mem::take(&mut self.state) {
            State::Greeting(greeting) => greeting.reply(core, reply),
            State::Hello(hello) => hello.reply(core, reply),
            State::StartTls(asked) => asked.reply(core, &reply),
            State::Authenticating(authenticating) => authenticating.reply(core, reply),
            State::Cancelling(cancelling) => Err(cancelling.reply(core, &reply)),
            State::Envelope(envelope) => envelope.reply(core, expected, reply),
            State::Chunks(chunks) => chunks.reply(core, reply),
            State::Spoiled(spoiled) => Ok(spoiled.reply(core)),
            State::Final(last) => last.reply(core, expected, reply),
            State::Quitting(_) => Err(Closed::Quit),
            other => Ok(other),
        };
        match result {
            Ok(state) => self.state = state,
            Err(closed) => self.close(closed),
        }
    }

    /// 421 at any point, and replies that nothing was asked for: while idle, or in the middle of the content.
    fn unexpected(&mut self, reply: Reply, expected: Option<Expected>) {
        let stage = self.state.stage(expected.as_ref());
        if matches!(self.state, State::Quitting(_)) {
            return self.close(Closed::Quit);
        }
        if reply.is_positive() {
            return self.lose(Cause::Protocol(ProtocolError::UnexpectedReply));
        }
        let refusal = Refusal { stage, reply, origin: Origin::Remote };
        if let Some(mut flight) = mem::take(&mut self.state).into_flight() {
            flight.settle_rest(&Delivery::Refused(refusal.clone()));
            self.core.finish(flight);
        }
        self.core.output.clear();
        self.close(Closed::Refused(refusal));
    }

    fn lose(&mut self, cause: Cause) {
        let stage = self.state.stage(self.core.expected.front().map(|(expected, _)| expected));
        let final_dot_sent = stage == Stage::FinalDot;
        let loss = Loss { stage, cause, final_dot_sent };
        if let Some(mut flight) = mem::take(&mut self.state).into_flight() {
            flight.settle_rest(&Delivery::Lost(loss));
            self.core.finish(flight);
        }
        self.core.output.clear();
        self.close(Closed::Lost(loss));
    }

    fn close(&mut self, closed: Closed) {
        self.state = State::Closed;
        self.core.expected.clear();
        self.core.events.push_back(Event::Closed(closed));
    }
}

impl Ready {
    fn begin(self, core: &mut Core, mut flight: Flight) -> State {
        if let Err(refusal) = flight.prepare(core) {
            flight.settle_rest(&Delivery::Refused(refusal));
        }
        if flight.next_open(0).is_none() {
            core.finish(flight);
            return Self::announce(core, self.reset_due);
        }
        self.send(core, flight)
    }
}

impl Closed {
    /// The peer has answered what makes no sense at this stage, before there was a transaction.
    fn out_of_step(stage: Stage) -> Self {
        let cause = Cause::Protocol(ProtocolError::UnexpectedReply);
        Self::Lost(Loss { stage, cause, final_dot_sent: false })
    }

    /// The peer has broken the protocol in the middle of a transaction, which ends with that.
    fn broken(core: &mut Core, mut flight: Flight, stage: Stage, error: ProtocolError) -> Self {
        let loss = Loss { stage, cause: Cause::Protocol(error), final_dot_sent: stage == Stage::FinalDot };
        flight.settle_rest(&Delivery::Lost(loss));
        core.finish(flight);
        Self::Lost(loss)
    }
}
