//! The content on its way out in chunks (RFC 3030 §2): as it is, with no dots, and an answer to each.

use posthouse_model::{Reply, Severity};

use super::{
    Closed, Delivery, Origin, ProtocolError, Refusal, Stage,
    content::Final,
    flight::Flight,
    state::{Core, Expected, Ready, State},
};

/// Chunks on their way at once, where the peer has PIPELINING. Enough that no round trip is waited for.
const WINDOW: usize = 8;

/// The content is on its way, chunk by chunk.
#[derive(Debug)]
pub(super) struct Chunks {
    flight: Flight,
}

impl Chunks {
    pub(super) fn begin(flight: Flight) -> Self {
        Self { flight }
    }

    /// Sends a chunk. Nothing tells the peer yet that it has all.
    pub(super) fn content(core: &mut Core, piece: &[u8]) {
        if piece.is_empty() {
            return;
        }
        core.output.push(&format!("BDAT {}\r\n", piece.len()));
        core.output.buffer().extend_from_slice(piece);
        core.expect(Expected::Chunk);
    }

    /// Whether the peer must answer a chunk before the next command.
    pub(super) fn is_held(core: &Core) -> bool {
        core.expected.len() >= if core.extensions.pipelining { WINDOW } else { 1 }
    }

    /// Ends the content. The last chunk is an empty one: until it is sent, the peer can deliver nothing.
    pub(super) fn finish(self, core: &mut Core) -> Final {
        core.output.push("BDAT 0 LAST\r\n");
        Final::await_replies(core, self.flight)
    }

    pub(super) fn into_flight(self) -> Flight {
        self.flight
    }

    pub(super) fn reply(mut self, core: &mut Core, reply: Reply) -> Result<State, Closed> {
        match reply.severity() {
            Severity::Completed => Ok(State::Chunks(self)),
            Severity::Intermediate => {
                Err(Closed::broken(core, self.flight, Stage::Content, ProtocolError::UnexpectedReply))
            }
            Severity::Transient | Severity::Permanent => {
                self.flight.settle_rest(&refused(reply));
                Ok(Spoiled { flight: self.flight }.proceed(core))
            }
        }
    }
}

/// A chunk was refused. RFC 3030 §2: no other is sent; what is on its way is heard out, and RSET comes before anything else.
#[derive(Debug)]
pub(super) struct Spoiled {
    flight: Flight,
}

impl Spoiled {
    pub(super) fn into_flight(self) -> Flight {
        self.flight
    }

    /// Whatever it says of a chunk behind the refused one changes nothing.
    pub(super) fn reply(self, core: &mut Core) -> State {
        self.proceed(core)
    }

    fn proceed(self, core: &mut Core) -> State {
        if core.expected.is_empty() {
            core.finish(self.flight);
            return Ready::announce(core, true);
        }
        State::Spoiled(self)
    }
}

/// What a refused chunk means for every recipient.
pub(super) fn refused(reply: Reply) -> Delivery {
    Delivery::Refused(Refusal { stage: Stage::Content, reply, origin: Origin::Remote })
}
