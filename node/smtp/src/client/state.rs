//! The states of a client session as types, and what they share.

use std::collections::VecDeque;

use posthouse_sasl::Mechanism;

use super::{
    Event, Extensions, Settings, Stage, Wait,
    authentication::{Authenticating, Cancelling},
    budget::Budget,
    chunks::{Chunks, Spoiled},
    content::{ContentDue, Final, Sending},
    envelope::Envelope,
    flight::Flight,
    hello::{Greeting, Hello},
    starttls::{Asked, Handshake},
};
use crate::buffer::Output;

/// Where the session is.
#[derive(Debug, Default)]
pub(super) enum State {
    /// The peer's greeting is awaited.
    Greeting(Greeting),
    /// EHLO, HELO or LHLO was said.
    Hello(Hello),
    /// STARTTLS was said.
    StartTls(Asked),
    /// The driver makes the handshake of TLS.
    Handshake(Handshake),
    /// AUTH was said.
    Authenticating(Authenticating),
    /// AUTH was said, and then `*`.
    Cancelling(Cancelling),
    /// A transaction may begin.
    Ready(Ready),
    /// MAIL, RCPT, DATA are on their way.
    Envelope(Envelope),
    /// The peer waits for the content.
    ContentDue(ContentDue),
    /// The content is on its way, line by line.
    Sending(Sending),
    /// The content is on its way, chunk by chunk.
    Chunks(Chunks),
    /// A chunk was refused.
    Spoiled(Spoiled),
    /// The final dot, or the last chunk, was sent.
    Final(Final),
    /// QUIT was said.
    Quitting(Quitting),
    /// Over. Also what stands in while a state is being worked on.
    #[default]
    Closed,
}

impl State {
    /// The transaction that is on its way, if one is.
    pub(super) fn into_flight(self) -> Option<Flight> {
        match self {
            Self::Envelope(envelope) => Some(envelope.into_flight()),
            Self::ContentDue(due) => Some(due.into_flight()),
            Self::Sending(sending) => Some(sending.into_flight()),
            Self::Chunks(chunks) => Some(chunks.into_flight()),
            Self::Spoiled(spoiled) => Some(spoiled.into_flight()),
            Self::Final(last) => Some(last.into_flight()),
            Self::Greeting(_)
            | Self::Hello(_)
            | Self::StartTls(_)
            | Self::Handshake(_)
            | Self::Authenticating(_)
            | Self::Cancelling(_)
            | Self::Ready(_)
            | Self::Quitting(_)
            | Self::Closed => None,
        }
    }

    /// Where that is, with what is awaited.
    pub(super) fn stage(&self, expected: Option<&Expected>) -> Stage {
        match self {
            Self::Greeting(_) => Stage::Greeting,
            Self::Hello(_) => Stage::Hello,
            Self::StartTls(_) | Self::Handshake(_) => Stage::StartTls,
            Self::Authenticating(_) | Self::Cancelling(_) => Stage::Authentication,
            Self::Ready(_) | Self::Quitting(_) | Self::Closed => Stage::Idle,
            Self::ContentDue(_) | Self::Sending(_) | Self::Chunks(_) | Self::Spoiled(_) => Stage::Content,
            Self::Final(_) => Stage::FinalDot,
            Self::Envelope(_) => match expected {
                Some(Expected::Rcpt(_)) => Stage::Rcpt,
                Some(Expected::Data | Expected::Final(_)) => Stage::Data,
                _ => Stage::Mail,
            },
        }
    }
}

/// A transaction may begin.
#[derive(Debug)]
pub(super) struct Ready {
    /// The last transaction was left open: RSET comes before the next.
    pub(super) reset_due: bool,
}

impl Ready {
    /// Says that the session is ready; or QUIT, if the peer takes no more in this session.
    pub(super) fn announce(core: &mut Core, reset_due: bool) -> State {
        let ready = Self { reset_due };
        if core.budget.is_spent(&core.extensions.limits) {
            return ready.quit(core);
        }
        core.events.push_back(Event::Ready);
        State::Ready(ready)
    }

    pub(super) fn send(self, core: &mut Core, flight: Flight) -> State {
        Envelope::start(core, flight, self.reset_due)
    }

    pub(super) fn quit(self, core: &mut Core) -> State {
        let Self { reset_due: _ } = self; // QUIT drops what was left open
        core.command("QUIT\r\n", Expected::Quit);
        State::Quitting(Quitting { _private: () })
    }
}

/// QUIT was said: whatever comes, nothing changes.
#[derive(Debug)]
pub(super) struct Quitting {
    _private: (),
}

/// A reply that is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Greeting,
    Hello,
    StartTls,
    Authentication,
    Reset,
    Mail,
    /// For the recipient at this place.
    Rcpt(usize),
    Data,
    /// To a chunk that is not the last.
    Chunk,
    /// For the recipient at this place (LMTP), or for all.
    Final(Option<usize>),
    Quit,
}

impl Expected {
    pub(super) fn wait(self) -> Wait {
        match self {
            Self::Greeting => Wait::Greeting,
            Self::Hello => Wait::Hello,
            Self::StartTls => Wait::StartTls,
            Self::Authentication => Wait::Authentication,
            Self::Reset => Wait::Reset,
            Self::Mail => Wait::Mail,
            Self::Rcpt(_) => Wait::Rcpt,
            Self::Data => Wait::Data,
            Self::Chunk => Wait::Chunk,
            Self::Final(_) => Wait::FinalDot,
            Self::Quit => Wait::Quit,
        }
    }
}

/// What every state shares.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) settings: Settings,
    /// Nobody but the peer reads what is said.
    pub(super) encrypted: bool,
    pub(super) authenticated_by: Option<Mechanism>,
    pub(super) output: Output,
    /// The replies that are awaited, in order, each with the place in the output stream where its command ends.
    pub(super) expected: VecDeque<(Expected, u64)>,
    pub(super) events: VecDeque<Event>,
    pub(super) extensions: Extensions,
    pub(super) budget: Budget,
}

impl Core {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            encrypted: settings.encrypted,
            settings,
            authenticated_by: None,
            output: Output::default(),
            expected: VecDeque::from([(Expected::Greeting, 0)]),
            events: VecDeque::new(),
            extensions: Extensions::default(),
            budget: Budget::default(),
        }
    }

    /// Says a command (with its CRLF) and awaits its reply.
    pub(super) fn command(&mut self, command: &str, expected: Expected) {
        self.output.push(command);
        self.expect(expected);
    }

    /// Awaits a reply to what has been said so far.
    pub(super) fn expect(&mut self, expected: Expected) {
        self.expected.push_back((expected, self.output.position()));
    }

    /// Tells what became of a transaction.
    pub(super) fn finish(&mut self, flight: Flight) {
        self.events.push_back(Event::Finished(flight.into_deliveries()));
    }
}
