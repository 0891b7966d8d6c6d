//! MAIL, RCPT and DATA on their way: all at once where the peer has PIPELINING, else one by one (RFC 5321 §3.3, RFC 2920 §3.1).

use posthouse_model::{Reply, Severity};

use super::{
    Closed, Delivery, Origin, Protocol, ProtocolError, Refusal, Stage,
    content::{ContentDue, Final},
    flight::Flight,
    state::{Core, Expected, Ready, State},
};

/// Commands on their way at once. Small enough that they and their replies fit the buffers of any connection, so that a driver which writes
/// first and reads then cannot block against a peer that does the same (RFC 2920 §3.1).
const WINDOW: usize = 64;

/// MAIL, RCPT, DATA are on their way.
#[derive(Debug)]
pub(super) struct Envelope {
    flight: Flight,
    next: Next,
    /// MAIL was refused: whatever is still on its way does not matter.
    refused: bool,
    /// MAIL was accepted, so the peer has a transaction open.
    open: bool,
}

/// The command to say next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Reset,
    Mail,
    Rcpt(usize),
    Data,
    Nothing,
}

impl Envelope {
    pub(super) fn start(core: &mut Core, flight: Flight, reset_due: bool) -> State {
        let next = if reset_due { Next::Reset } else { Next::Mail };
        Self { flight, next, refused: false, open: false }.proceed(core)
    }

    pub(super) fn into_flight(self) -> Flight {
        self.flight
    }

    /// Says as much as may be said now; ends the transaction if there is nothing left to say or to await.
    fn proceed(mut self, core: &mut Core) -> State {
        let window = if core.extensions.pipelining { WINDOW } else { 1 };
        while core.expected.len() < window && self.next != Next::Nothing {
            self.say_next(core);
        }
        if core.expected.is_empty() {
            if self.flight.plan.chunks && self.flight.next_open(0).is_some() {
                // RFC 3030 §2: no command comes before the first chunk, and that only when all replies are in.
                return ContentDue::announce(core, self.flight);
            }
            let reset_due = self.open;
            core.finish(self.flight);
            return Ready::announce(core, reset_due);
        }
        State::Envelope(self)
    }

    fn say_next(&mut self, core: &mut Core) {
        self.next = match self.next {
            Next::Reset => {
                core.command("RSET\r\n", Expected::Reset);
                Next::Mail
            }
            Next::Mail => {
                let command = self.flight.plan.mail(&self.flight.transaction, &core.extensions);
                core.command(&command, Expected::Mail);
                core.budget.mail_said();
                Next::Rcpt(0)
            }
            Next::Rcpt(from) => self.say_rcpt(core, from),
            Next::Data => {
                // Recipients without an outcome are accepted ones, or ones whose reply is still on its way.
                if !self.flight.plan.chunks && self.flight.next_open(0).is_some() {
                    core.command("DATA\r\n", Expected::Data);
                }
                Next::Nothing
            }
            Next::Nothing => Next::Nothing,
        };
    }

    /// Names the next recipient that has no outcome yet: some were settled before the first command.
    fn say_rcpt(&self, core: &mut Core, from: usize) -> Next {
        let place = self.flight.next_open(from);
        let Some((place, recipient)) =
            place.and_then(|place| Some((place, self.flight.transaction.recipients.get(place)?)))
        else {
            return Next::Data;
        };
        let command = self.flight.plan.rcpt(recipient);
        core.command(&command, Expected::Rcpt(place));
        Next::Rcpt(place + 1)
    }

    pub(super) fn reply(
        mut self,
        core: &mut Core,
        expected: Expected,
        reply: Reply,
    ) -> Result<State, Closed> {
        let positive = reply.severity() == Severity::Completed;
        match expected {
            // 3yz asks for more of a command that has no more: what is a refusal and what is not cannot be told apart any longer.
            Expected::Mail | Expected::Rcpt(_) if reply.severity() == Severity::Intermediate => {
                let stage = if expected == Expected::Mail { Stage::Mail } else { Stage::Rcpt };
                return Err(Closed::broken(core, self.flight, stage, ProtocolError::UnexpectedReply));
            }
            Expected::Mail if positive => self.open = true,
            Expected::Mail => {
                self.refused = true;
                self.next = Next::Nothing;
                self.flight.settle_rest(&refused(Stage::Mail, reply));
            }
            Expected::Rcpt(_) if positive || self.refused => {}
            Expected::Rcpt(place) => self.flight.settle(place, refused(Stage::Rcpt, reply)),
            Expected::Data => return self.data_reply(core, reply),
            Expected::Reset if !positive => {
                // A peer that does not even take RSET is in no state to send to.
                return Err(Closed::broken(core, self.flight, Stage::Idle, ProtocolError::UnexpectedReply));
            }
            _ => {}
        }
        Ok(self.proceed(core))
    }

    fn data_reply(mut self, core: &mut Core, reply: Reply) -> Result<State, Closed> {
        match reply.severity() {
            Severity::Intermediate if self.flight.next_open(0).is_some() => {
                Ok(ContentDue::announce(core, self.flight))
            }
            // RFC 2033 §4.2: an LMTP peer must not say 354 without a recipient, and would owe no reply to the dot.
            Severity::Intermediate if core.settings.protocol == Protocol::Lmtp => {
                Err(Closed::broken(core, self.flight, Stage::Data, ProtocolError::UnexpectedReply))
            }
            // RFC 2920 §3.1: 354 without a recipient: nothing but the dot is sent, and its reply means nothing.
            Severity::Intermediate => Ok(State::Final(Final::of_nothing(core, self.flight))),
            Severity::Completed => {
                Err(Closed::broken(core, self.flight, Stage::Data, ProtocolError::UnexpectedReply))
            }
            Severity::Transient | Severity::Permanent => {
                self.flight.settle_rest(&refused(Stage::Data, reply));
                Ok(self.proceed(core))
            }
        }
    }
}

fn refused(stage: Stage, reply: Reply) -> Delivery {
    Delivery::Refused(Refusal { stage, reply, origin: Origin::Remote })
}
