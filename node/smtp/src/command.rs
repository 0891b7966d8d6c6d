//! The command line: verb and argument, and the parameters of MAIL and RCPT (RFC 5321 §4.1.1, §4.1.2).

use std::str::FromStr;

use posthouse_model::Reply;

use crate::reply;

/// The longest command line with its CRLF: 512 octets (RFC 5321 §4.5.3.1.4), and what the offered extensions add to the verb to which they
/// add most, RCPT: 528 for NOTIFY and ORCPT (RFC 3461 §5.4, which asks for 1036 in all), 10 for SMTPUTF8 (RFC 6531 §3.4). To MAIL they add less:
/// 26 for SIZE (RFC 1870 §3), 17 for BODY (RFC 3030 §3), 108 for RET and ENVID, 10 for SMTPUTF8. One bound serves all verbs.
pub(crate) const COMMAND_LINE: usize = 512 + 528 + 10;

/// The verbs that the server knows, offered or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Helo,
    Ehlo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    StartTls,
    Rset,
    Noop,
    Vrfy,
    Help,
    Quit,
    /// Known from an RFC, not offered here: 502.
    NotImplemented,
    /// Of another protocol: a browser or a proxy is being used to send mail.
    AnotherProtocol,
    /// Not known: 500.
    Unknown,
}

/// A command line, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Command<'l> {
    pub(crate) verb: Verb,
    /// What follows the verb, without the white space around it.
    pub(crate) argument: &'l str,
}

const VERBS: &[(&str, Verb)] = &[
    ("MAIL", Verb::Mail),
    ("RCPT", Verb::Rcpt),
    ("DATA", Verb::Data),
    ("EHLO", Verb::Ehlo),
    ("HELO", Verb::Helo),
    ("RSET", Verb::Rset),
    ("QUIT", Verb::Quit),
    ("NOOP", Verb::Noop),
    ("VRFY", Verb::Vrfy),
    ("HELP", Verb::Help),
    ("EXPN", Verb::NotImplemented),
    ("TURN", Verb::NotImplemented),
    ("SEND", Verb::NotImplemented),
    ("SOML", Verb::NotImplemented),
    ("SAML", Verb::NotImplemented),
    ("ETRN", Verb::NotImplemented),
    ("ATRN", Verb::NotImplemented),
    ("AUTH", Verb::NotImplemented),
    ("BDAT", Verb::Bdat),
    ("STARTTLS", Verb::StartTls),
    ("GET", Verb::AnotherProtocol),
    ("POST", Verb::AnotherProtocol),
    ("PUT", Verb::AnotherProtocol),
    ("HEAD", Verb::AnotherProtocol),
    ("OPTIONS", Verb::AnotherProtocol),
    ("CONNECT", Verb::AnotherProtocol),
];

impl<'l> Command<'l> {
    /// A command from a line without its CRLF; none if the line is no text (RFC 5321 §4.1.2: no control characters; beyond ASCII only
    /// inside an address, which is judged there).
    pub(crate) fn parse(line: &'l [u8]) -> Option<Self> {
        let line = str::from_utf8(line).ok()?;
        if line.chars().any(|c| c.is_control() && c != '\t') {
            return None;
        }
        // RFC 5321 §4.1.1: white space before the CRLF should be tolerated.
        let line = line.trim_end_matches([' ', '\t']);
        let (verb, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let verb = VERBS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(verb))
            .map_or(Verb::Unknown, |(_, verb)| *verb);
        Some(Self { verb, argument: argument.trim_start_matches([' ', '\t']) })
    }
}

/// One parameter of MAIL or RCPT: keyword, and value if there is one.
pub(crate) type Parameter<'l> = (&'l str, Option<&'l str>);

/// What follows `FROM:` or `TO:`. A space behind the colon is tolerated (RFC 5321 §3.3 forbids it, many send it).
pub(crate) fn after_keyword<'l>(argument: &'l str, keyword: &str) -> Option<&'l str> {
    let (head, rest) = argument.split_at_checked(keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then(|| rest.trim_start_matches([' ', '\t']))
}

/// The parameters behind a path; none if they are malformed (RFC 5321 §4.1.2: `esmtp-keyword ["=" esmtp-value]`).
pub(crate) fn parameters(text: &str) -> Option<Vec<Parameter<'_>>> {
    if !text.is_empty() && !text.starts_with([' ', '\t']) {
        return None;
    }
    let mut found: Vec<Parameter<'_>> = Vec::new();
    for word in text.split([' ', '\t']).filter(|word| !word.is_empty()) {
        let (keyword, value) =
            word.split_once('=').map_or((word, None), |(keyword, value)| (keyword, Some(value)));
        let good = keyword.starts_with(|c: char| c.is_ascii_alphanumeric())
            && keyword.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && value.is_none_or(|value| {
                // RFC 6531 §3.3: beyond ASCII as well; whether it may be here is the parameter's to say
                !value.is_empty()
                    && value.bytes().all(|b| (b.is_ascii_graphic() && b != b'=') || !b.is_ascii())
            })
            && !found.iter().any(|(other, _)| other.eq_ignore_ascii_case(keyword));
        if !good {
            return None;
        }
        found.push((keyword, value));
    }
    Some(found)
}

/// The value of a parameter, or the refusal that names what is wrong with it.
pub(crate) fn parsed<T: FromStr<Err: std::fmt::Display>>(value: Option<&str>) -> Result<T, Reply> {
    let value = value.unwrap_or_default(); // no value has the empty form
    value.parse().map_err(|error: T::Err| reply::bad_argument(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn verbs_have_no_case_and_white_space_at_the_end_is_tolerated() {
        // RFC 5321 §2.4, §4.1.1
        let command = Command::parse(b"mAiL  FROM:<> \t").unwrap();
        assert_eq!(command, Command { verb: Verb::Mail, argument: "FROM:<>" });
        assert_eq!(Command::parse(b"").unwrap().verb, Verb::Unknown);
        assert_eq!(Command::parse(b"NOOP\0"), None);
        assert_eq!(Command::parse(b"NOOP \xff"), None);
    }

    #[test]
    fn parameters_are_keywords_with_or_without_a_value() {
        // RFC 5321 §4.1.2
        assert_eq!(
            parameters(" SIZE=1 body=8BITMIME X"),
            Some(vec![("SIZE", Some("1")), ("body", Some("8BITMIME")), ("X", None)])
        );
        for bad in ["SIZE=1", " SIZE=", " =1", " -A", " A=b=c", " A a", " \u{fc}"] {
            assert_eq!(parameters(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_taken_apart_without_panic(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(command) = Command::parse(&line) {
                let _ = parameters(command.argument);
                let _ = after_keyword(command.argument, "FROM:");
            }
        }
    }
}
