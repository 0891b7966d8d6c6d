//! RCPT (RFC 5321 §4.1.1.3).

use posthouse_model::{ForwardPath, ParseAddressError, Reply};

use super::{
    Rcpt,
    state::{Core, State},
};
use crate::{
    command::{after_keyword, parameters},
    reply,
};

pub(super) fn run(core: &mut Core, state: State, argument: &str) -> State {
    let State::Envelope(mut envelope) = state else {
        return core.fail_in(state, reply::bad_sequence("say MAIL first"));
    };
    match parse(argument) {
        Ok(_) if envelope.accepted >= core.settings.recipients => {
            // RFC 5321 §4.5.3.1.10: 452, and the transaction goes on with those it has
            core.refuse(reply::too_many_recipients());
            State::Envelope(envelope)
        }
        Ok(rcpt) => envelope.ask_rcpt(core, rcpt),
        Err(reply) => {
            envelope.refused = envelope.refused.saturating_add(1);
            core.fail_in(State::Envelope(envelope), reply)
        }
    }
}

fn parse(argument: &str) -> Result<Rcpt, Reply> {
    let path = after_keyword(argument, "TO:").ok_or_else(|| reply::bad_argument("RCPT TO:<address>"))?;
    let (forward_path, rest) = ForwardPath::parse_prefix(path).map_err(refusal)?;
    let parameters = parameters(rest).ok_or_else(|| reply::bad_argument("malformed parameters"))?;
    match parameters.first() {
        // RFC 5321 §4.1.1.11: no extension that is offered has a parameter for RCPT.
        Some((keyword, _)) => Err(reply::unknown_parameter(keyword)),
        None => Ok(Rcpt { forward_path }),
    }
}

fn refusal(error: ParseAddressError) -> Reply {
    match error {
        ParseAddressError::NeedsSmtpUtf8 => reply::needs_smtputf8(),
        other => reply::bad_recipient(&other.to_string()),
    }
}
