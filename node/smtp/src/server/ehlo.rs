//! EHLO and HELO (RFC 5321 §4.1.1.1).

use super::{
    Client, Protocol, Settings, Tls,
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
        Protocol::Esmtp => reply::extended_hello(&core.settings.hostname, &keywords(&core.settings)),
    };
    core.say(&reply);
    // RFC 5321 §4.1.4: EHLO in a transaction drops it, as RSET would.
    State::Named(Named::by_hello(core, Client { name: argument.to_owned(), protocol }))
}

/// What is offered, one keyword per line.
fn keywords(settings: &Settings) -> Vec<String> {
    let mut keywords = vec![
        "PIPELINING".to_owned(),                                       // RFC 2920
        format!("SIZE {}", settings.message_size.unwrap_or_default()), // RFC 1870 §4: 0 is no fixed maximum
        "8BITMIME".to_owned(),                                         // RFC 6152
        "SMTPUTF8".to_owned(),                                         // RFC 6531
        "CHUNKING".to_owned(),                                         // RFC 3030 §2
        "BINARYMIME".to_owned(),                                       // RFC 3030 §3
        "DSN".to_owned(),                                              // RFC 3461
        "ENHANCEDSTATUSCODES".to_owned(),                              // RFC 2034
        format!("LIMITS RCPTMAX={}", settings.recipients),             // RFC 9422 §4
    ];
    // RFC 3207 §4.2: not offered again in TLS
    if matches!(settings.tls, Tls::Offered | Tls::Required) {
        keywords.push("STARTTLS".to_owned());
    }
    keywords
}

/// Lenient: hosts in the field say names with underscores, single labels, addresses without brackets. Only what would break a Received line,
/// or is no name at all, is refused.
fn is_name(argument: &str) -> bool {
    (1..=255).contains(&argument.len())
        && argument.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;\\\"".contains(&b))
}
