//! The content on its way out, and the replies to it (RFC 5321 §4.1.1.4; RFC 2033 §4.2).

use posthouse_model::{Reply, Severity};

use super::{
    Closed, Delivery, Event, Origin, Protocol, ProtocolError, Refusal, Stage,
    chunks::{self, Chunks},
    flight::Flight,
    state::{Core, Expected, Ready, State},
};
use crate::content::Encoder;

/// The peer waits for the content.
#[derive(Debug)]
pub(super) struct ContentDue {
    flight: Flight,
}

impl ContentDue {
    pub(super) fn announce(core: &mut Core, flight: Flight) -> State {
        core.events.push_back(Event::ContentDue);
        State::ContentDue(Self { flight })
    }

    pub(super) fn begin(self) -> State {
        if self.flight.plan.chunks {
            State::Chunks(Chunks::begin(self.flight))
        } else {
            State::Sending(Sending { flight: self.flight, encoder: Encoder::new() })
        }
    }

    pub(super) fn into_flight(self) -> Flight {
        self.flight
    }
}

/// The content is on its way, line by line.
#[derive(Debug)]
pub(super) struct Sending {
    flight: Flight,
    encoder: Encoder,
}

impl Sending {
    pub(super) fn content(&mut self, core: &mut Core, piece: &[u8]) {
        self.encoder.encode(piece, core.output.buffer());
    }

    pub(super) fn finish(self, core: &mut Core) -> Final {
        self.encoder.finish(core.output.buffer());
        Final::await_replies(core, self.flight)
    }

    pub(super) fn into_flight(self) -> Flight {
        self.flight
    }
}

/// The final dot, or the last chunk, was sent.
#[derive(Debug)]
pub(super) struct Final {
    flight: Flight,
    /// RFC 3030 §2: after a refused chunk RSET comes before anything else.
    reset_due: bool,
}

impl Final {
    /// Awaits the replies to what has just been ended.
    pub(super) fn await_replies(core: &mut Core, flight: Flight) -> Self {
        match core.settings.protocol {
            Protocol::Smtp => core.expect(Expected::Final(None)),
            // RFC 2033 §4.2, §4.3: one reply per accepted recipient, in their order
            Protocol::Lmtp => flight.open().for_each(|place| core.expect(Expected::Final(Some(place)))),
        }
        Self { flight, reset_due: false }
    }

    /// Sends the dot behind no content, because no recipient was accepted. The peer may answer what it likes, and once at least.
    pub(super) fn of_nothing(core: &mut Core, flight: Flight) -> Self {
        core.command(".\r\n", Expected::Final(None));
        Self { flight, reset_due: false }
    }

    pub(super) fn into_flight(self) -> Flight {
        self.flight
    }

    pub(super) fn reply(
        mut self,
        core: &mut Core,
        expected: Expected,
        reply: Reply,
    ) -> Result<State, Closed> {
        if reply.severity() == Severity::Intermediate {
            return Err(Closed::broken(core, self.flight, Stage::FinalDot, ProtocolError::UnexpectedReply));
        }
        self.reset_due |= self.flight.plan.chunks && !reply.is_positive();
        match expected {
            Expected::Chunk if reply.is_positive() => {}
            Expected::Chunk => return self.spoiled(core, reply),
            Expected::Final(Some(place)) => {
                let delivery = self.outcome(reply);
                self.flight.settle(place, delivery);
            }
            _ => {
                let delivery = self.outcome(reply);
                self.flight.settle_rest(&delivery);
            }
        }
        if core.expected.is_empty() {
            core.finish(self.flight);
            return Ok(Ready::announce(core, self.reset_due));
        }
        Ok(State::Final(self))
    }

    fn outcome(&self, reply: Reply) -> Delivery {
        if reply.is_positive() {
            Delivery::Accepted { reply, dsn: self.flight.plan.dsn }
        } else {
            Delivery::Refused(Refusal { stage: Stage::FinalDot, reply, origin: Origin::Remote })
        }
    }

    /// A chunk was refused when the last one was on its way behind it: that can deliver nothing any more (RFC 3030 §2).
    fn spoiled(mut self, core: &mut Core, reply: Reply) -> Result<State, Closed> {
        self.flight.settle_rest(&chunks::refused(reply.clone()));
        if core.settings.protocol == Protocol::Lmtp {
            // Nothing says whether a peer answers this last chunk once, or for each recipient.
            core.output.clear();
            core.finish(self.flight);
            return Err(Closed::Refused(Refusal { stage: Stage::Content, reply, origin: Origin::Remote }));
        }
        Ok(State::Final(self))
    }
}
