//! VRFY (RFC 5321 §3.5, §7.3): answered, but it tells nobody who has a mailbox.

use super::state::{Core, State};
use crate::reply;

pub(super) fn run(core: &mut Core, state: State, argument: &str) -> State {
    if argument.is_empty() {
        return core.fail_in(state, reply::bad_argument("VRFY address"));
    }
    core.idle_command();
    core.say(&reply::cannot_verify());
    state
}
