//! RCPT (RFC 5321 §4.1.1.3) with NOTIFY and ORCPT (RFC 3461).

use posthouse_model::{ForwardPath, Notify, OriginalRecipient, Reply};

use super::{
    Protocol, Rcpt,
    state::{Core, State},
};
use crate::{
    command::{Parameter, after_keyword, parameters, parsed},
    reply,
};

pub(super) fn run(core: &mut Core, state: State, argument: &str) -> State {
    let State::Envelope(mut envelope) = state else {
        return core.fail_in(state, reply::bad_sequence("say MAIL first"));
    };
    let extended = core.client.as_ref().is_some_and(|client| client.protocol != Protocol::Smtp);
    match parse(argument, extended, envelope.smtputf8) {
        Ok(_) if envelope.accepted >= core.settings.recipients => {
            // RFC 5321 §4.5.3.1.10: 452, and the transaction goes on with those it has
            core.refuse(reply::too_many_recipients());
            envelope.refuse(core);
            State::Envelope(envelope)
        }
        Ok(rcpt) => envelope.ask_rcpt(core, rcpt),
        Err(reply) => {
            envelope.refuse(core);
            core.fail_in(State::Envelope(envelope), reply)
        }
    }
}

fn parse(argument: &str, extended: bool, smtputf8: bool) -> Result<Rcpt, Reply> {
    let path = after_keyword(argument, "TO:").ok_or_else(|| reply::bad_argument("RCPT TO:<address>"))?;
    let (forward_path, rest) =
        ForwardPath::parse_prefix(path).map_err(|error| reply::bad_recipient(&error.to_string()))?;
    let parameters = parameters(rest).ok_or_else(|| reply::bad_argument("malformed parameters"))?;
    let mut rcpt = Rcpt { forward_path, notify: Notify::ABSENT, orcpt: None };
    for parameter in parameters {
        apply(&mut rcpt, parameter, extended)?;
    }
    let is_ascii =
        rcpt.forward_path.is_ascii() && rcpt.orcpt.as_ref().is_none_or(OriginalRecipient::is_ascii);
    if !smtputf8 && !is_ascii {
        return Err(reply::recipient_needs_smtputf8()); // RFC 6531 §3.5
    }
    Ok(rcpt)
}

fn apply(rcpt: &mut Rcpt, (keyword, value): Parameter<'_>, extended: bool) -> Result<(), Reply> {
    // RFC 5321 §4.1.1.11: nothing was offered to a client that said HELO.
    if extended && keyword.eq_ignore_ascii_case("NOTIFY") {
        rcpt.notify = parsed(value)?;
    } else if extended && keyword.eq_ignore_ascii_case("ORCPT") {
        rcpt.orcpt = Some(parsed(value)?);
    } else {
        return Err(reply::unknown_parameter(keyword));
    }
    Ok(())
}
