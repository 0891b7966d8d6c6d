//! NOOP (RFC 5321 §4.1.1.9): answered in every state, arguments ignored, nothing changes.

use super::state::{Core, State};
use crate::reply;

pub(super) fn run(core: &mut Core, state: State) -> State {
    core.idle_command();
    core.say(&reply::done());
    state
}
