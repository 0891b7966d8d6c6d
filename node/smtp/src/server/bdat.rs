//! BDAT: content in chunks of announced length (RFC 3030 §2).
//!
//! What was announced is always read to its end, whatever becomes of it, so that content is never run as commands (§4.2).

use std::ops::Range;

use posthouse_model::Reply;

use super::{
    ClosedBy, Discard, Event,
    data::{ContentStep, SWALLOW_BOUND},
    observed::Observed,
    state::{ContentAsked, Core, Envelope, Named, State},
};
use crate::{
    buffer::Input,
    content::{BadContent, Lines},
    reply,
};

/// What a BDAT announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Announced {
    octets: u64,
    last: bool,
}

pub(super) fn run(core: &mut Core, state: State, argument: &str) -> State {
    let Some(announced) = parse(argument) else {
        core.refuse(reply::bad_chunk_size());
        core.closed_by.get_or_insert(ClosedBy::Violation);
        return State::Closed;
    };
    if announced.octets > SWALLOW_BOUND {
        core.refuse(reply::too_large());
        core.closed_by.get_or_insert(ClosedBy::Violation);
        return State::Closed;
    }
    match state {
        State::Envelope(envelope) if envelope.accepted > 0 => {
            core.event = Some(Event::Data);
            State::ChunkAsked(ChunkAsked { envelope, announced })
        }
        State::Envelope(envelope) => {
            let refused = envelope.refused;
            let state = State::Envelope(envelope);
            // RFC 2920 §3.1: a pipelining client says BDAT before it knows that nobody is left to send to
            let reply = if refused > 0 {
                core.idle_command();
                reply::no_valid_recipients()
            } else {
                core.mistake("say RCPT first")
            };
            Swallow::unasked(announced, reply, state)
        }
        State::Chunks(Chunks { content }) => content.begin(core, announced),
        State::Spoilt(spoilt) => {
            let reply = core.mistake("a chunk was refused, say RSET first"); // RFC 3030 §2
            Swallow::unasked(announced, reply, State::Spoilt(spoilt))
        }
        other => {
            let reply = core.mistake("say MAIL first");
            Swallow::unasked(announced, reply, other)
        }
    }
}

/// Refuses a BDAT that came when nothing but STARTTLS is listened to.
pub(super) fn refuse(core: &mut Core, state: State, argument: &str, reply: Reply) -> State {
    match parse(argument).filter(|announced| announced.octets <= SWALLOW_BOUND) {
        Some(announced) => Swallow::unasked(announced, reply, state),
        None => run(core, state, argument),
    }
}

fn parse(argument: &str) -> Option<Announced> {
    let mut words = argument.split([' ', '\t']).filter(|word| !word.is_empty());
    let size = words.next().filter(|size| size.bytes().all(|b| b.is_ascii_digit()))?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return None,
    };
    // What exceeds 64 bits exceeds every limit.
    words.next().is_none().then(|| Announced { octets: size.parse().unwrap_or(u64::MAX), last })
}

/// The first BDAT waits for its answer.
#[derive(Debug)]
pub(super) struct ChunkAsked {
    envelope: Envelope,
    announced: Announced,
}

impl ChunkAsked {
    pub(super) fn answer(self, core: &mut Core, reply: &Reply) -> State {
        let Self { envelope, announced } = self;
        if !reply.is_positive() {
            let spoilt = Spoilt { named: envelope.into_named() };
            return Swallow::known(announced, reply.clone(), State::Spoilt(spoilt));
        }
        let content = Chunked {
            observed: Observed::new(envelope.smtputf8),
            lines: if envelope.binary { None } else { Some(Lines::new()) },
            named: envelope.into_named(),
        };
        content.begin(core, announced)
    }
}

/// The content so far.
#[derive(Debug)]
struct Chunked {
    named: Named,
    observed: Observed,
    /// What is known of its lines; none where it may be any octets.
    lines: Option<Lines>,
}

impl Chunked {
    /// A chunk begins. It has said how long it is, so it is known now if it is too much.
    fn begin(self, core: &mut Core, announced: Announced) -> State {
        let size = self.observed.size().saturating_add(announced.octets);
        if core.settings.message_size.is_some_and(|limit| size > limit) {
            return self.refuse(core, announced, Discard::TooLarge, reply::too_large());
        }
        State::Chunk(Chunk { content: self, left: announced.octets, announced })
    }

    /// The chunk is refused, with the message; `left` of it is still to come. RFC 3030 §2: after a refusal the client says RSET, and until then
    /// everything else is out of order; a last chunk ends the transaction by itself.
    fn refuse(self, core: &mut Core, left: Announced, why: Discard, reply: Reply) -> State {
        core.event = Some(Event::Discarded(why));
        let after =
            if left.last { State::Named(self.named) } else { State::Spoilt(Spoilt { named: self.named }) };
        Swallow::known(left, reply, after)
    }
}

/// A chunk of content streams.
#[derive(Debug)]
pub(super) struct Chunk {
    content: Chunked,
    left: u64,
    announced: Announced,
}

impl Chunk {
    pub(super) fn is_large(&self) -> bool {
        self.content.observed.is_large()
    }

    /// Takes what is there of the chunk; at its end the next may come, or the content is complete.
    pub(super) fn step(mut self, core: &mut Core, input: &mut Input) -> (State, ContentStep) {
        if self.left == 0 {
            return (self.end(core), ContentStep::Again);
        }
        let unread = input.unread();
        if unread.is_empty() {
            return (State::Chunk(self), ContentStep::More);
        }
        let length = usize::try_from(self.left).map_or(unread.len(), |left| left.min(unread.len()));
        let octets = unread.get(..length).unwrap_or_default();
        let bad = self.content.lines.as_mut().and_then(|lines| lines.check(octets).err());
        let piece = input.consume(length);
        self.left -= length as u64;
        if let Some(bad) = bad {
            return (self.refuse_bad(core, bad), ContentStep::Again);
        }
        self.content.observed.count(length as u64);
        self.content.observed.look(input.slice(piece.clone()));
        (State::Chunk(self), ContentStep::Piece(piece))
    }

    fn end(self, core: &mut Core) -> State {
        let Self { content, left: _, announced } = self;
        if !announced.last {
            if announced.octets == 0 {
                core.idle_command(); // it brings nothing, and might come for ever
            }
            core.say(&reply::chunk_received(announced.octets));
            return State::Chunks(Chunks { content });
        }
        if content.lines.as_ref().is_some_and(Lines::ends_with_cr) {
            let nothing = Announced { octets: 0, last: true };
            return content.refuse(core, nothing, Discard::BareLineEnd, reply::bare_line_end_in_chunk());
        }
        ContentAsked::ask(core, content.named, content.observed.summary())
    }

    fn refuse_bad(self, core: &mut Core, bad: BadContent) -> State {
        let left = Announced { octets: self.left, last: self.announced.last };
        match bad {
            BadContent::BareLineEnd => {
                self.content.refuse(core, left, Discard::BareLineEnd, reply::bare_line_end_in_chunk())
            }
            BadContent::LineTooLong => {
                self.content.refuse(core, left, Discard::LineTooLong, reply::content_line_too_long())
            }
        }
    }
}

/// A chunk has come, the next is due.
#[derive(Debug)]
pub(super) struct Chunks {
    content: Chunked,
}

impl Chunks {
    pub(super) fn reset(self, core: &mut Core) -> State {
        self.content.named.after_reset(core)
    }
}

/// A chunk is refused, and read on to its end; then the refusal is said.
#[derive(Debug)]
pub(super) struct Swallow {
    left: u64,
    reply: Reply,
    /// Whether the driver is to hear of it: it does not know yet.
    is_news: bool,
    after: Box<State>,
}

impl Swallow {
    /// Refused by the session itself, before anything was asked.
    fn unasked(announced: Announced, reply: Reply, after: State) -> State {
        State::Swallow(Self { left: announced.octets, reply, is_news: true, after: Box::new(after) })
    }

    /// Refused by the driver, or with the driver's knowledge.
    fn known(left: Announced, reply: Reply, after: State) -> State {
        State::Swallow(Self { left: left.octets, reply, is_news: false, after: Box::new(after) })
    }

    pub(super) fn step(mut self, core: &mut Core, input: &mut Input) -> (State, ContentStep) {
        let unread = input.unread().len();
        let length = usize::try_from(self.left).map_or(unread, |left| left.min(unread));
        let _: Range<usize> = input.consume(length);
        self.left -= length as u64;
        if self.left > 0 {
            return (State::Swallow(self), ContentStep::More);
        }
        if self.is_news {
            core.refuse(self.reply);
        } else {
            core.say(&self.reply);
        }
        (*self.after, ContentStep::Again)
    }
}

/// A chunk was refused: nothing goes on before RSET (RFC 3030 §2).
#[derive(Debug)]
pub(super) struct Spoilt {
    named: Named,
}

impl Spoilt {
    pub(super) fn reset(self, core: &mut Core) -> State {
        self.named.after_reset(core)
    }
}
