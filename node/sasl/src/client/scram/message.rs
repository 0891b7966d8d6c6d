//! What the server says in SCRAM (RFC 5802 §5.1, §7). Pure.

use crate::{base64, client::ExchangeError};

/// `server-first-message`
pub(super) struct ServerFirst<'a> {
    /// The whole message, as it goes under the proof.
    pub(super) text: &'a str,
    /// Printable, without a comma; ours and theirs.
    pub(super) nonce: &'a str,
    /// Not empty.
    pub(super) salt: Vec<u8>,
    /// At least 1; one that is too large for the type is the largest, which is too many anyway.
    pub(super) iterations: u32,
}

/// `server-final-message`
pub(super) enum ServerFinal {
    /// `v=`: the server's signature.
    Verifier(Vec<u8>),
    /// `e=`: the server's reason, which is not repeated.
    Error,
}

impl<'a> ServerFirst<'a> {
    /// `[m=…,] r=nonce, s=salt, i=iterations [, extensions]`: in this order, and extensions that need not be understood are not.
    pub(super) fn parse(challenge: &'a [u8]) -> Result<Self, ExchangeError> {
        let text = std::str::from_utf8(challenge).map_err(|_| ExchangeError::MalformedChallenge)?;
        let mut attributes = text.split(',');
        let mut next = |name| value(attributes.next(), name);
        if text.starts_with("m=") {
            return Err(ExchangeError::UnknownExtension);
        }
        let nonce = next("r=")?;
        let salt = decode(next("s=")?)?;
        let iterations = parse_iterations(next("i=")?)?;
        check_extensions(attributes)?;
        if !nonce.bytes().all(|octet| octet.is_ascii_graphic()) || salt.is_empty() {
            return Err(ExchangeError::MalformedChallenge);
        }
        Ok(Self { text, nonce, salt, iterations })
    }
}

impl ServerFinal {
    /// `v=signature` or `e=error`, and perhaps extensions.
    pub(super) fn parse(message: &[u8]) -> Result<Self, ExchangeError> {
        let text = std::str::from_utf8(message).map_err(|_| ExchangeError::MalformedChallenge)?;
        let mut attributes = text.split(',');
        let first = attributes.next();
        let parsed = match value(first, "v=") {
            Ok(signature) => Self::Verifier(decode(signature)?),
            Err(_) => value(first, "e=").map(|_| Self::Error)?,
        };
        check_extensions(attributes)?;
        Ok(parsed)
    }
}

fn value<'a>(attribute: Option<&'a str>, name: &str) -> Result<&'a str, ExchangeError> {
    attribute.and_then(|text| text.strip_prefix(name)).ok_or(ExchangeError::MalformedChallenge)
}

fn decode(text: &str) -> Result<Vec<u8>, ExchangeError> {
    base64::decode(text.as_bytes()).map_err(|_| ExchangeError::MalformedChallenge)
}

/// `posit-number`: digits, the first of them not 0.
fn parse_iterations(text: &str) -> Result<u32, ExchangeError> {
    let is_number = text.bytes().all(|octet| octet.is_ascii_digit()) && !text.starts_with('0');
    if text.is_empty() || !is_number {
        return Err(ExchangeError::MalformedChallenge);
    }
    Ok(text.parse().unwrap_or(u32::MAX))
}

/// `attr-val`: a letter, `=`, and at least one character, which are not NUL.
fn check_extensions<'a>(mut attributes: impl Iterator<Item = &'a str>) -> Result<(), ExchangeError> {
    let is_extension = |text: &str| match text.as_bytes() {
        [name, b'=', value @ ..] => name.is_ascii_alphabetic() && !value.is_empty() && !value.contains(&0),
        _ => false,
    };
    if attributes.all(is_extension) { Ok(()) } else { Err(ExchangeError::MalformedChallenge) }
}
