//! EHLO and HELO (RFC 5321 §4.1.1.1).

use super::{
    Client, Protocol,
    state::{Core, Named, State},
};
use crate::reply;

pub(super) fn run(core: &mut Core, state: State, protocol: Protocol, argument: &str) -> State {
    core.idle_command();
    // RFC 2920 §3.1: the client must see the keywords before it goes on.
    core.end_group();
    if !is_name(argument) {
        return core.fail_in(state, reply::hello_name());
    }
    let reply = match protocol {
        Protocol::Smtp => reply::hello(&core.settings.hostname),
        Protocol::Esmtp => {
            reply::extended_hello(&core.settings.hostname, &keywords(core.settings.message_size))
        }
    };
    core.say(&reply);
    // RFC 5321 §4.1.4: EHLO in a transaction drops it, as RSET would.
    State::Named(Named::by_hello(core, Client { name: argument.to_owned(), protocol }))
}

/// What is offered, one keyword per line.
fn keywords(message_size: Option<u64>) -> Vec<String> {
    vec![
        "PIPELINING".to_owned(),                              // RFC 2920
        format!("SIZE {}", message_size.unwrap_or_default()), // RFC 1870 §4: 0 is no fixed maximum
        "8BITMIME".to_owned(),                                // RFC 6152
        "ENHANCEDSTATUSCODES".to_owned(),                     // RFC 2034
    ]
}

/// Lenient: hosts in the field say names with underscores, single labels, addresses without brackets. Only what would break a Received line,
/// or is no name at all, is refused.
fn is_name(argument: &str) -> bool {
    (1..=255).contains(&argument.len())
        && argument.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;\\\"".contains(&b))
}
