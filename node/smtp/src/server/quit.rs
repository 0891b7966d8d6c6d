//! QUIT (RFC 5321 §4.1.1.10): a reply, then the end; an open transaction is dropped.

use super::{
    ClosedBy,
    state::{Core, State},
};
use crate::reply;

pub(super) fn run(core: &mut Core, state: State, argument: &str) -> State {
    if !argument.is_empty() {
        return core.fail_in(state, reply::bad_argument("QUIT has no argument"));
    }
    core.say(&reply::closing(&core.settings.hostname));
    core.closed_by = Some(ClosedBy::Client);
    State::Closed
}
