//! The server side of SMTP: a session that reads commands and content and asks its driver what it cannot know.
//!
//! No I/O, no clock. The driver's loop:
//!
//! ```
//! use posthouse_smtp::{reply, server::{Event, Session, Settings}};
//!
//! # fn drive(mut from_network: impl Iterator<Item = Vec<u8>>, to_network: &mut Vec<u8>) {
//! let mut session = Session::new(Settings::new("mail.example.com"));
//! session.greet();
//! let mut content = Vec::new();
//! loop {
//!     while let Some(event) = session.next_event() {
//!         match event {
//!             Event::StartTls => session.answer(&reply::tls_not_available()), // or 220, then the handshake, then `session.secured()`
//!             Event::Mail(mail) => session.answer(&reply::sender_accepted()), // or any refusal; it may take its time
//!             Event::Rcpt(rcpt) => session.answer(&reply::recipient_accepted()),
//!             Event::Data => session.answer(&reply::start_content()),
//!             Event::Content(piece) => content.extend_from_slice(piece),
//!             Event::ContentEnd(summary) => session.answer(&reply::queued("ID")), // once it is durable
//!             Event::Discarded(_) | Event::Reset => content.clear(),
//!             Event::Hello(_) | Event::Refused(_) | Event::Closed(_) => {}
//!         }
//!     }
//!     to_network.extend_from_slice(session.output());
//!     session.written(session.output().len());
//!     if session.is_closed() {
//!         break; // close: shut the writing half down, read and drop for a moment, so that the last reply is not lost to a reset
//!     }
//!     let Some(bytes) = from_network.next() else { break }; // the node reads straight into `session.input()`, at most `session.wait()` long
//!     session.receive(&bytes);
//! }
//! # }
//! # let mut out = Vec::new();
//! # drive([b"EHLO a\r\n".to_vec(), b"QUIT\r\n".to_vec()].into_iter(), &mut out);
//! # assert!(out.ends_with(b"221 2.0.0 mail.example.com goodbye\r\n"));
//! ```

mod bdat;
mod data;
mod ehlo;
mod event;
mod help;
mod line;
mod mail;
mod noop;
mod observed;
mod quit;
mod rcpt;
mod rset;
mod settings;
mod starttls;
mod state;
#[cfg(test)]
mod tests;
mod vrfy;

use std::{mem, ops::Range};

use posthouse_model::Reply;

use self::{
    data::ContentStep,
    line::{Line, next_line},
    state::{Core, InStep, State},
};
pub use self::{
    event::{Body, Client, ClosedBy, ContentSummary, Discard, Event, Mail, Protocol, Rcpt, Wait},
    settings::{Settings, Tls},
};
use crate::{
    buffer::Input,
    command::{Command, Verb},
    reply,
};

/// Room for input while commands are read: bounds what a client can pipeline before it must take replies.
const COMMAND_INPUT: usize = 8 * 1024;

/// Room for input while content streams, once a message has shown to be larger than [`COMMAND_INPUT`].
const CONTENT_INPUT: usize = 64 * 1024;

/// How much of a command line that is too long is read on to find its end. A client that goes on beyond is not talking SMTP.
const LINE_SWALLOW_BOUND: usize = 64 * 1024;

/// Unwritten replies above which no further command is run: a client that does not read is not served.
const OUTPUT_BOUND: usize = 16 * 1024;

/// One SMTP connection, seen from the server.
#[derive(Debug)]
pub struct Session {
    core: Core,
    input: Input,
    state: State,
    /// How much was dropped of a command line that is too long; its rest is dropped, too.
    skipped: Option<usize>,
    /// The last octet of what was dropped was a CR.
    skipped_cr: bool,
}

/// What a step of the session led to; content is told by its place, because a slice cannot outlive the loop.
pub(crate) enum Step {
    Event(Event<'static>),
    Content(Range<usize>),
}

impl Session {
    /// A session that has said nothing yet: call [`greet`](Self::greet) or [`refuse`](Self::refuse).
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            core: Core::new(settings),
            input: Input::new(COMMAND_INPUT),
            state: State::Silent,
            skipped: None,
            skipped_cr: false,
        }
    }

    /// Says 220 (RFC 5321 §3.1). Input that is there already closes the session instead: the client talks before its turn.
    pub fn greet(&mut self) {
        if matches!(self.state, State::Silent) {
            self.core.say(&reply::greeting(&self.core.settings.hostname));
            self.core.end_group();
            self.state = State::Unnamed;
            if !self.input.is_empty() {
                self.core.note_input();
            }
        }
    }

    /// Greets with a refusal: after 554 the client may only QUIT (RFC 5321 §3.1), after 421 the session closes at once.
    pub fn refuse(&mut self, reply: Reply) {
        if matches!(self.state, State::Silent) {
            let reply = reply.without_status(); // RFC 2034 §4: none in a greeting
            self.core.say(&reply);
            self.core.end_group();
            self.state = State::NoService;
            if reply.code() == posthouse_model::ReplyCode::NOT_AVAILABLE {
                self.close(ClosedBy::Server);
            }
        }
    }

    /// Free space for input in one piece: read from the network straight into it, then call [`received`](Self::received). Empty means: do not read now.
    pub fn input(&mut self) -> &mut [u8] {
        if self.is_closed() {
            // What comes now is dropped: reading goes on only so that the last reply is not lost to a reset.
            self.input.clear();
        }
        let is_large = match &self.state {
            State::Content(content) => content.is_large(),
            State::Chunk(chunk) => chunk.is_large(),
            _ => false,
        };
        if is_large {
            self.input.grow(CONTENT_INPUT);
        }
        if self.wanted() == 0 { &mut [] } else { self.input.space() }
    }

    /// Takes note of `length` octets that were read into [`input`](Self::input).
    pub fn received(&mut self, length: usize) {
        if self.is_closed() {
            return;
        }
        if length > 0 {
            self.core.note_input();
        }
        self.input.filled(length);
    }

    /// The driver is going to wait: gives back the memory for input while nothing is in it, so that a silent client costs next to none.
    pub fn rest(&mut self) {
        self.input.rest();
        self.core.output.rest();
    }

    /// Takes input by copy, as much as there is room for; says how much that was.
    pub fn receive(&mut self, bytes: &[u8]) -> usize {
        let space = self.input();
        let length = space.len().min(bytes.len());
        if let (Some(to), Some(from)) = (space.get_mut(..length), bytes.get(..length)) {
            to.copy_from_slice(from);
        }
        self.received(length);
        length
    }

    /// How many more octets the session takes now. Zero is back-pressure: a decision is asked, replies wait to be written, or events wait to be taken.
    #[must_use]
    pub fn wanted(&self) -> usize {
        let is_drivers_turn = self.is_asking() || self.is_in_handshake();
        if is_drivers_turn || self.core.output.len() > OUTPUT_BOUND { 0 } else { self.input.room() }
    }

    /// The next thing that the driver must know or decide; none until there is more input, an [`answer`](Self::answer), or room for replies.
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        match self.step()? {
            Step::Event(event) => Some(event),
            Step::Content(range) => Some(Event::Content(self.input.slice(range))),
        }
    }

    /// Answers the event that asked: [`Event::Mail`], [`Event::Rcpt`], [`Event::Data`], [`Event::ContentEnd`]. A positive reply accepts, any other
    /// refuses; 421 also closes. Exactly one answer is due per question, and no other command is looked at before it is given.
    pub fn answer(&mut self, reply: &Reply) {
        debug_assert!(self.is_asking(), "an answer without a question");
        let closes = reply.code() == posthouse_model::ReplyCode::NOT_AVAILABLE;
        self.state = match mem::take(&mut self.state) {
            State::TlsAsked(asked) => {
                // RFC 3207 §4.2: what was said behind STARTTLS in clear may be anybody's.
                self.input.clear();
                asked.answer(&mut self.core, reply)
            }
            State::MailAsked(asked) => asked.answer(&mut self.core, reply),
            State::RcptAsked(asked) => asked.answer(&mut self.core, reply),
            State::DataAsked(asked) => asked.answer(&mut self.core, reply),
            State::ChunkAsked(asked) => asked.answer(&mut self.core, reply),
            State::ContentAsked(asked) => asked.answer(&mut self.core, reply),
            other => other,
        };
        if closes {
            self.close(ClosedBy::Server);
        }
        if !self.is_in_handshake() {
            self.check_failures();
        }
    }

    /// Whether an answer is due.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.state.is_asking()
    }

    /// Whether STARTTLS was answered with 220: once that is written, the handshake is due, and [`secured`](Self::secured) behind it. Nothing is
    /// read meanwhile; a handshake that fails ends the session, and there is nothing more to say.
    #[must_use]
    pub fn is_in_handshake(&self) -> bool {
        matches!(self.state, State::Handshake)
    }

    /// The handshake is made: the session is as after its greeting (RFC 3207 §4.2), and encrypted.
    pub fn secured(&mut self) {
        if self.is_in_handshake() {
            self.core.settings.tls = Tls::Active;
            self.state = State::Unnamed;
        }
    }

    /// What is to be written to the network. Replies to a group of commands gather here (RFC 2920 §3.2): write when
    /// [`next_event`](Self::next_event) has nothing more, or before a decision that may take long.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.core.output.unwritten()
    }

    /// Takes note that so many octets of [`output`](Self::output) were written.
    pub fn written(&mut self, length: usize) {
        self.core.output.written(length);
        if self.core.output.is_empty() && !self.is_asking() {
            self.core.replies_written();
        }
    }

    /// Whether the session is over: write the output, then close. To close without losing the last reply: shut down the writing half, then read
    /// and drop for a few seconds at most.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// What the session waits for from the client, and so which timer applies.
    #[must_use]
    pub fn wait(&self) -> Wait {
        match self.state {
            State::Closed | State::Handshake => Wait::Nothing,
            State::Content(_) | State::Chunk(_) | State::Swallow(_) => Wait::Content,
            State::Chunks(_) => Wait::Chunk,
            _ if self.is_asking() => Wait::Nothing,
            _ => Wait::Command,
        }
    }

    /// The timer has run out: says 421 4.4.2 and closes (RFC 5321 §4.5.3.2.7).
    pub fn time_out(&mut self) {
        if !self.is_closed() {
            self.core.say(&reply::timed_out(&self.core.settings.hostname));
            self.close(ClosedBy::Timeout);
        }
    }

    /// From now on the next command is answered 421 4.3.2 and the session closes; at once if no transaction is open (RFC 5321 §3.8). Content
    /// that is on its way is still taken and answered.
    pub fn shut_down(&mut self) {
        self.core.shutting_down = true;
    }

    /// Who the client says it is; none before HELO or EHLO.
    #[must_use]
    pub fn client(&self) -> Option<&Client> {
        self.core.client.as_ref()
    }

    fn close(&mut self, by: ClosedBy) {
        self.state = State::Closed;
        self.input.clear();
        self.core.closed_by.get_or_insert(by);
    }

    fn step(&mut self) -> Option<Step> {
        loop {
            if let Some(event) = self.core.event.take() {
                return Some(Step::Event(event));
            }
            if self.is_closed() {
                return self.core.closed_by.take().map(|by| Step::Event(Event::Closed(by)));
            }
            if self.is_asking()
                || self.is_in_handshake()
                || matches!(self.state, State::Silent) && self.input.is_empty()
            {
                return None;
            }
            if self.core.step == InStep::Violated || matches!(self.state, State::Silent) {
                self.out_of_step();
                continue;
            }
            if self.core.shutting_down
                && matches!(self.state, State::Unnamed | State::Named(_) | State::NoService)
            {
                self.core.say(&reply::shutting_down(&self.core.settings.hostname));
                self.close(ClosedBy::Server);
                continue;
            }
            if self.core.output.len() > OUTPUT_BOUND {
                return None;
            }
            let (state, step) = match mem::take(&mut self.state) {
                State::Content(content) => content.step(&mut self.core, &mut self.input),
                State::Chunk(chunk) => chunk.step(&mut self.core, &mut self.input),
                State::Swallow(swallow) => swallow.step(&mut self.core, &mut self.input),
                other => {
                    self.state = other;
                    if !self.command() {
                        return None;
                    }
                    continue;
                }
            };
            self.state = state;
            match step {
                ContentStep::More if self.core.event.is_none() => return None,
                ContentStep::Piece(range) => return Some(Step::Content(range)),
                ContentStep::More | ContentStep::Again => {}
                ContentStep::Close(by) => self.close(by),
            }
        }
    }

    /// RFC 2920 §3.1: what comes behind a command that ends its group, before its reply, was never meant as commands; it is not run.
    fn out_of_step(&mut self) {
        let reply = if self.core.commanded { reply::out_of_step() } else { reply::early_talker() };
        self.core.refuse(reply);
        self.close(ClosedBy::Violation);
    }

    /// Runs one command line; false if none is complete.
    fn command(&mut self) -> bool {
        let line = match next_line(self.input.unread(), self.skipped.is_some(), self.skipped_cr) {
            Line::Incomplete { drop, ends_with_cr } => {
                if drop > 0 {
                    self.input.consume(drop);
                    self.skipped_cr = ends_with_cr;
                    return self.skip(drop);
                }
                return false;
            }
            Line::BareLineEnd => {
                self.core.refuse(reply::bare_line_end());
                self.close(ClosedBy::Violation);
                return true;
            }
            Line::TooLong { consumed } => {
                self.input.consume(consumed);
                // All but its LF, as if it had come octet by octet: how the line was cut decides nothing.
                if self.skip(consumed.saturating_sub(1)) {
                    return true;
                }
                self.skipped = None;
                self.skipped_cr = false;
                self.core.commanded = true;
                self.core.fail(reply::line_too_long());
                self.after_command();
                return true;
            }
            Line::Complete { length } => {
                let range = self.input.consume(length + 2);
                range.start..range.start + length
            }
        };
        self.core.commanded = true;
        if self.core.shutting_down {
            self.core.say(&reply::shutting_down(&self.core.settings.hostname));
            self.close(ClosedBy::Server);
            return true;
        }
        let Some(command) = Command::parse(self.input.slice(line)) else {
            self.core.fail(reply::not_a_command());
            self.after_command();
            return true;
        };
        if matches!(self.state, State::NoService) && command.verb != Verb::Quit {
            // RFC 5321 §3.1: after a 554 greeting everything but QUIT is out of sequence.
            self.core.fail(reply::bad_sequence("no service here"));
            self.after_command();
            return true;
        }
        let core = &mut self.core;
        let state = mem::take(&mut self.state);
        // RFC 3207 §4: all but these wait for TLS where that is required.
        let is_exempt = matches!(
            command.verb,
            Verb::Ehlo | Verb::Noop | Verb::StartTls | Verb::Quit | Verb::AnotherProtocol
        );
        self.state = match command.verb {
            Verb::Bdat if core.settings.tls == Tls::Required => {
                bdat::refuse(core, state, command.argument, reply::starttls_first())
            }
            _ if core.settings.tls == Tls::Required && !is_exempt => {
                core.fail_in(state, reply::starttls_first())
            }
            Verb::Ehlo => ehlo::run(core, state, Protocol::Esmtp, command.argument),
            Verb::Helo => ehlo::run(core, state, Protocol::Smtp, command.argument),
            Verb::Mail => mail::run(core, state, command.argument),
            Verb::Rcpt => rcpt::run(core, state, command.argument),
            Verb::Data => data::run(core, state, command.argument),
            Verb::Bdat => bdat::run(core, state, command.argument),
            Verb::StartTls => starttls::run(core, state, command.argument),
            Verb::Rset => rset::run(core, state, command.argument),
            Verb::Noop => noop::run(core, state),
            Verb::Vrfy => vrfy::run(core, state, command.argument),
            Verb::Help => help::run(core, state),
            Verb::Quit => quit::run(core, state, command.argument),
            Verb::NotImplemented => core.fail_in(state, reply::not_implemented()),
            Verb::Unknown => core.fail_in(state, reply::unknown_command()),
            Verb::AnotherProtocol => {
                core.refuse(reply::another_protocol());
                core.closed_by.get_or_insert(ClosedBy::Violation);
                State::Closed
            }
        };
        self.after_command();
        true
    }

    /// Notes what was dropped of a line that is too long; true if that is so much that the session ends.
    fn skip(&mut self, dropped: usize) -> bool {
        let skipped = self.skipped.unwrap_or_default().saturating_add(dropped);
        self.skipped = Some(skipped);
        if skipped <= LINE_SWALLOW_BOUND {
            return false;
        }
        self.core.commanded = true;
        self.core.refuse(reply::endless_line());
        self.close(ClosedBy::Violation);
        true
    }

    fn after_command(&mut self) {
        if !self.input.is_empty() {
            self.core.note_input();
            if self.core.step == InStep::Violated && self.state.is_asking() {
                // DATA with more behind it: nobody is asked, and what follows is never run.
                self.core.event = None;
                self.out_of_step();
            }
        }
        self.check_failures();
        if self.is_closed() {
            self.close(ClosedBy::Client);
        }
    }

    /// Ends the session after too many failures; one that asks the driver ends with its answer.
    fn check_failures(&mut self) {
        if self.core.too_many_failures() && !self.is_closed() && !self.is_asking() {
            self.core.say(&reply::too_many_failures(&self.core.settings.hostname));
            self.close(ClosedBy::Failures);
        }
    }
}
