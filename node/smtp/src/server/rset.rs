//! RSET (RFC 5321 §4.1.1.5): drops the transaction, keeps HELO or EHLO.

use super::state::{Core, State};
use crate::reply;

pub(super) fn run(core: &mut Core, state: State, argument: &str) -> State {
    if !argument.is_empty() {
        return core.fail_in(state, reply::bad_argument("RSET has no argument"));
    }
    core.idle_command();
    core.say(&reply::done());
    match state {
        State::Envelope(envelope) => envelope.reset(core),
        State::Chunks(chunks) => chunks.reset(core),
        State::Spoilt(spoilt) => spoilt.reset(core),
        other => other,
    }
}
