//! The content on its way out, and the replies to it (RFC 5321 §4.1.1.4; RFC 2033 §4.2).

use posthouse_model::{Reply, Severity};

use super::{
    Cause, Closed, Delivery, Event, Loss, Origin, Protocol, ProtocolError, Refusal, Stage,
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
    pub(super) fn announce(core: &mut Core, flight: Flight) -> Self {
        core.events.push_back(Event::ContentDue);
        Self { flight }
    }

    pub(super) fn begin(self) -> Sending {
        Sending { flight: self.flight, encoder: Encoder::new() }
    }

    pub(super) fn into_flight(self) -> Flight {
        self.flight
    }
}

/// The content is on its way.
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
        match core.settings.protocol {
            Protocol::Smtp => core.expect(Expected::Final(None)),
            // RFC 2033 §4.2: one reply per accepted recipient, in their order
            Protocol::Lmtp => self.flight.open().for_each(|place| core.expect(Expected::Final(Some(place)))),
        }
        Final { flight: self.flight }
    }

    pub(super) fn into_flight(self) -> Flight {
        self.flight
    }
}

/// The final dot was sent.
#[derive(Debug)]
pub(super) struct Final {
    flight: Flight,
}

impl Final {
    /// Sends the dot behind no content, because no recipient was accepted. The peer may answer what it likes, and once at least.
    pub(super) fn of_nothing(core: &mut Core, flight: Flight) -> Self {
        core.command(".\r\n", Expected::Final(None));
        Self { flight }
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
        let delivery = match reply.severity() {
            Severity::Completed => Delivery::Accepted { reply, dsn: self.flight.plan.dsn },
            Severity::Transient | Severity::Permanent => {
                Delivery::Refused(Refusal { stage: Stage::FinalDot, reply, origin: Origin::Remote })
            }
            Severity::Intermediate => {
                let cause = Cause::Protocol(ProtocolError::UnexpectedReply);
                let loss = Loss { stage: Stage::FinalDot, cause, final_dot_sent: true };
                self.flight.settle_rest(&Delivery::Lost(loss));
                core.finish(self.flight);
                return Err(Closed::Lost(loss));
            }
        };
        match expected {
            Expected::Final(Some(place)) => self.flight.settle(place, delivery),
            _ => self.flight.settle_rest(&delivery),
        }
        if core.expected.is_empty() {
            core.finish(self.flight);
            return Ok(Ready::announce(core, false));
        }
        Ok(State::Final(self))
    }
}
