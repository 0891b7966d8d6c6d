//! DATA and the content behind it (RFC 5321 §4.1.1.4).

use std::ops::Range;

use posthouse_model::Reply;

use super::{
    ClosedBy, Discard, Event,
    observed::Observed,
    state::{ContentAsked, Core, Envelope, Named, State},
};
use crate::{
    buffer::Input,
    content::{BadContent, Decoder, Next},
    reply,
};

/// How much refused content is still read to its end, so that the client gets the reply as its reply; beyond, the session replies and closes.
pub(super) const SWALLOW_BOUND: u64 = 1024 * 1024 * 1024;

pub(super) fn run(core: &mut Core, state: State, argument: &str) -> State {
    // RFC 2920 §3.1: the client must see the reply before it sends content, or content might be run as commands.
    core.end_group();
    if !argument.is_empty() {
        return core.fail_in(state, reply::bad_argument("DATA has no argument"));
    }
    match state {
        // RFC 3030 §3: only BDAT can carry any octets
        State::Envelope(envelope) if envelope.binary => {
            core.fail_in(State::Envelope(envelope), reply::bad_sequence("BODY=BINARYMIME needs BDAT"))
        }
        State::Envelope(envelope) if envelope.accepted > 0 => {
            core.event = Some(Event::Data);
            State::DataAsked(DataAsked { envelope })
        }
        State::Envelope(envelope) => {
            let refused = envelope.refused;
            let state = State::Envelope(envelope);
            if refused > 0 {
                // RFC 2920 §3.1: a pipelining client says DATA before it knows; that is no mistake of its
                core.idle_command();
                core.refuse(reply::no_valid_recipients());
                return state;
            }
            core.fail_in(state, reply::bad_sequence("say RCPT first"))
        }
        other => core.fail_in(other, reply::bad_sequence("say MAIL first")),
    }
}

/// DATA waits for its answer.
#[derive(Debug)]
pub(super) struct DataAsked {
    envelope: Envelope,
}

impl DataAsked {
    pub(super) fn answer(self, core: &mut Core, reply: &Reply) -> State {
        if reply.is_positive() {
            core.say(&reply::start_content());
            return State::Content(Content::new(self.envelope));
        }
        core.say(reply);
        State::Envelope(self.envelope)
    }
}

/// Content streams.
#[derive(Debug)]
pub(super) struct Content {
    named: Named,
    decoder: Decoder,
    observed: Observed,
    /// The last octet that was taken is a dot at the start of a line.
    after_dot: bool,
    refused: Option<Refused>,
}

/// Content that is refused, and read on only to find where it ends.
#[derive(Debug)]
struct Refused {
    /// What will be said at the end.
    reply: Reply,
    /// How much came since.
    swallowed: u64,
    /// Set once a bare CR or LF was among it: the end is then wherever any host might see one, and the session ends there.
    bare: Option<Ending>,
}

/// How much of an end of content, in whatever line ends, has been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Text,
    LineEnd,
    Dot,
}

impl Ending {
    /// The state behind one more octet; none at the end. Octet by octet: only refused content comes here.
    fn behind(self, octet: u8) -> Option<Self> {
        match (self, octet) {
            (Self::Dot, b'\r' | b'\n') => None,
            (_, b'\r' | b'\n') => Some(Self::LineEnd),
            (Self::LineEnd, b'.') => Some(Self::Dot),
            _ => Some(Self::Text),
        }
    }
}

/// What a step through the content led to.
pub(super) enum ContentStep {
    More,
    Again,
    Piece(Range<usize>),
    Close(ClosedBy),
}

impl Content {
    fn new(envelope: Envelope) -> Self {
        Self {
            observed: Observed::new(envelope.smtputf8),
            named: envelope.into_named(),
            decoder: Decoder::new(),
            after_dot: false,
            refused: None,
        }
    }

    pub(super) fn is_large(&self) -> bool {
        self.observed.is_large() || self.refused.is_some()
    }

    /// Scans what is there up to the next stop: content to hand out, a stuffed dot, the end, a reason to refuse.
    pub(super) fn step(mut self, core: &mut Core, input: &mut Input) -> (State, ContentStep) {
        if let Some(ending) = self.refused.as_ref().and_then(|refused| refused.bare) {
            return self.seek_end(core, input, ending);
        }
        let scan = self.decoder.scan(input.unread());
        self.after_dot = scan.next == Next::StuffedDot || (self.after_dot && scan.content == 0);
        let bad = match scan.next {
            Next::Bad(bad) => Some(bad),
            _ => None,
        };
        let piece = input.consume(scan.content);
        if scan.next == Next::StuffedDot {
            input.consume(1);
        }
        // Size first: what is too much and what is bad are judged in the order of the octets, however they were cut.
        if !self.count(core, piece.len() as u64) {
            return (State::Closed, ContentStep::Close(ClosedBy::Violation));
        }
        if let Some(bad) = bad {
            return self.refuse_bad(core, bad);
        }
        if !piece.is_empty() && self.refused.is_none() {
            self.observed.look(input.slice(piece.clone()));
            if scan.next == Next::End {
                // The end is left in the input: the next step finds it again, behind no content.
                self.decoder = Decoder::new();
            }
            return (State::Content(self), ContentStep::Piece(piece));
        }
        self.ended(core, input, scan.next)
    }

    fn ended(self, core: &mut Core, input: &mut Input, next: Next) -> (State, ContentStep) {
        match next {
            Next::End => {
                input.consume(3);
                let Self { named, observed, refused, after_dot: _, decoder: _ } = self;
                if let Some(refused) = refused {
                    core.say(&refused.reply);
                    return (State::Named(named), ContentStep::Again);
                }
                (ContentAsked::ask(core, named, observed.summary()), ContentStep::Again)
            }
            Next::More => (State::Content(self), ContentStep::More),
            Next::StuffedDot | Next::Bad(_) => (State::Content(self), ContentStep::Again),
        }
    }

    /// Counts octets of content; false if so much refused content came that the session ends.
    fn count(&mut self, core: &mut Core, length: u64) -> bool {
        if let Some(refused) = &mut self.refused {
            refused.swallowed = refused.swallowed.saturating_add(length);
            if refused.swallowed > SWALLOW_BOUND {
                core.say(&refused.reply);
                return false;
            }
            return true;
        }
        self.observed.count(length);
        if core.settings.message_size.is_some_and(|limit| self.observed.size() > limit) {
            // RFC 1870 §6.3: the rest is read, and the reply comes at the end
            self.refuse(core, Discard::TooLarge, reply::too_large());
        }
        true
    }

    /// Looks for anything that a host might take for the end.
    fn seek_end(mut self, core: &mut Core, input: &mut Input, mut ending: Ending) -> (State, ContentStep) {
        for octet in input.unread() {
            let Some(behind) = ending.behind(*octet) else {
                core.say(&reply::bare_line_end_in_content());
                return (State::Closed, ContentStep::Close(ClosedBy::Violation));
            };
            ending = behind;
        }
        let length = input.unread().len();
        input.consume(length);
        if !self.count(core, length as u64) {
            return (State::Closed, ContentStep::Close(ClosedBy::Violation));
        }
        if let Some(refused) = &mut self.refused {
            refused.bare = Some(ending);
        }
        (State::Content(self), ContentStep::More)
    }

    fn refuse_bad(mut self, core: &mut Core, bad: BadContent) -> (State, ContentStep) {
        match bad {
            BadContent::BareLineEnd => {
                // RFC 5321 §4.1.1.4: where this content ends, and so what is a command behind it, is nothing to be guessed. It is read on, so that
                // an honest sender gets the reply as its reply; wherever any host might see an end, the reply is said and the session ends.
                if self.refused.is_none() {
                    core.event = Some(Event::Discarded(Discard::BareLineEnd));
                }
                let ending = if self.after_dot { Ending::Dot } else { Ending::Text };
                let reply = reply::bare_line_end_in_content();
                self.refused = Some(Refused { reply, swallowed: 0, bare: Some(ending) });
                (State::Content(self), ContentStep::Again)
            }
            BadContent::LineTooLong => {
                self.decoder.forget_line();
                if self.refused.is_none() {
                    self.refuse(core, Discard::LineTooLong, reply::content_line_too_long());
                }
                (State::Content(self), ContentStep::Again)
            }
        }
    }

    fn refuse(&mut self, core: &mut Core, why: Discard, reply: Reply) {
        core.event = Some(Event::Discarded(why));
        self.refused = Some(Refused { reply, swallowed: 0, bare: None });
    }
}
