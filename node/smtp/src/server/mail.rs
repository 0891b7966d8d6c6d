//! MAIL (RFC 5321 §4.1.1.2) with SIZE (RFC 1870), BODY (RFC 6152, RFC 3030), SMTPUTF8 (RFC 6531), RET and ENVID (RFC 3461).

use posthouse_model::{Reply, ReversePath};

use super::{
    Body, Mail, Protocol,
    state::{Core, State},
};
use crate::{
    command::{Parameter, after_keyword, parameters, parsed},
    reply,
};

pub(super) fn run(core: &mut Core, state: State, argument: &str) -> State {
    let named = match state {
        State::Named(named) => named,
        State::Unnamed => return core.fail_in(state, reply::bad_sequence("say EHLO first")),
        // RFC 5321 §4.1.4: one transaction at a time
        _ => return core.fail_in(state, reply::bad_sequence("a transaction is open")),
    };
    let extended = core.client.as_ref().is_some_and(|client| client.protocol != Protocol::Smtp);
    match parse(argument, extended) {
        Ok(mail) if exceeds(mail.size, core.settings.message_size) => {
            // RFC 1870 §6.1; not a failed command: the client asks exactly so that it need not send
            core.idle_command();
            core.refuse(reply::too_large());
            State::Named(named)
        }
        Ok(mail) => named.ask_mail(core, mail),
        Err(reply) => core.fail_in(State::Named(named), reply),
    }
}

fn exceeds(size: Option<u64>, limit: Option<u64>) -> bool {
    matches!((size, limit), (Some(size), Some(limit)) if size > limit)
}

fn parse(argument: &str, extended: bool) -> Result<Mail, Reply> {
    let path = after_keyword(argument, "FROM:").ok_or_else(|| reply::bad_argument("MAIL FROM:<address>"))?;
    let (reverse_path, rest) =
        ReversePath::parse_prefix(path).map_err(|error| reply::bad_sender(&error.to_string()))?;
    let parameters = parameters(rest).ok_or_else(|| reply::bad_argument("malformed parameters"))?;
    let mut mail = Mail { reverse_path, size: None, body: None, smtputf8: false, ret: None, envid: None };
    for parameter in parameters {
        apply(&mut mail, parameter, extended)?;
    }
    if !mail.smtputf8 && !mail.reverse_path.is_ascii() {
        return Err(reply::sender_needs_smtputf8()); // RFC 6531 §3.5
    }
    Ok(mail)
}

fn apply(mail: &mut Mail, (keyword, value): Parameter<'_>, extended: bool) -> Result<(), Reply> {
    // RFC 5321 §4.1.1.11: nothing was offered to a client that said HELO.
    if extended && keyword.eq_ignore_ascii_case("SIZE") {
        mail.size = Some(parse_size(value).ok_or_else(|| reply::bad_argument("SIZE=number"))?);
    } else if extended && keyword.eq_ignore_ascii_case("BODY") {
        let body = parse_body(value);
        mail.body =
            Some(body.ok_or_else(|| reply::bad_argument("BODY=7BIT, BODY=8BITMIME or BODY=BINARYMIME"))?);
    } else if extended && keyword.eq_ignore_ascii_case("SMTPUTF8") {
        if value.is_some() {
            return Err(reply::bad_argument("SMTPUTF8 has no value"));
        }
        mail.smtputf8 = true;
    } else if extended && keyword.eq_ignore_ascii_case("RET") {
        mail.ret = Some(parsed(value)?);
    } else if extended && keyword.eq_ignore_ascii_case("ENVID") {
        mail.envid = Some(parsed(value)?);
    } else {
        return Err(reply::unknown_parameter(keyword));
    }
    Ok(())
}

/// RFC 1870 §5: 1 to 20 digits; what exceeds 64 bits exceeds every limit.
fn parse_size(value: Option<&str>) -> Option<u64> {
    let digits = value.filter(|v| v.len() <= 20 && v.bytes().all(|b| b.is_ascii_digit()))?;
    Some(digits.parse().unwrap_or(u64::MAX))
}

fn parse_body(value: Option<&str>) -> Option<Body> {
    match value? {
        body if body.eq_ignore_ascii_case("7BIT") => Some(Body::SevenBit),
        body if body.eq_ignore_ascii_case("8BITMIME") => Some(Body::EightBitMime),
        body if body.eq_ignore_ascii_case("BINARYMIME") => Some(Body::BinaryMime),
        _ => None,
    }
}
