//! STARTTLS (RFC 3207).

use super::{
    Event, Tls,
    state::{Core, Named, State},
};
use crate::reply;

pub(super) fn run(core: &mut Core, state: State, argument: &str) -> State {
    // Not the end of a group that is watched: RFC 3207 §4.2 says what becomes of the octets behind it, and who injects them learns nothing.
    if !argument.is_empty() {
        return core.fail_in(state, reply::bad_argument("STARTTLS has no argument")); // RFC 3207 §4
    }
    match (core.settings.tls, state) {
        (Tls::Absent, state) => core.fail_in(state, reply::not_implemented()),
        (Tls::Active, state) => core.fail_in(state, reply::bad_sequence("TLS is active already")),
        (Tls::Offered | Tls::Required, State::Named(named)) => {
            core.idle_command(); // the answer may be 454, again and again
            core.event = Some(Event::StartTls);
            State::TlsAsked(TlsAsked { named })
        }
        (_, state @ State::Unnamed) => core.fail_in(state, reply::bad_sequence("say EHLO first")),
        (_, state) => core.fail_in(state, reply::bad_sequence("a transaction is open")),
    }
}

/// STARTTLS waits for its answer.
#[derive(Debug)]
pub(super) struct TlsAsked {
    named: Named,
}

impl TlsAsked {
    pub(super) fn answer(self, core: &mut Core, reply: &posthouse_model::Reply) -> State {
        core.say(reply);
        if !reply.is_positive() {
            return State::Named(self.named);
        }
        // RFC 3207 §4.2: what was learned in clear is forgotten.
        core.client = None;
        State::Handshake
    }
}
