//! Paths: what stands in angle brackets after `MAIL FROM:` and `RCPT TO:` (RFC 5321 §4.1.2).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    address::{PATH_LENGTH, ParseAddressError},
    domain::Domain,
    mailbox::{LocalPart, Mailbox},
    text,
};

/// Who gets the bounce. Its text form has the brackets: `<>`, `<alice@example.com>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReversePath {
    /// `<>`: a notification; it is never bounced itself (RFC 5321 §4.5.5).
    Null,
    /// The sender's mailbox.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// The path that the text starts with, and what follows it.
    pub fn parse_prefix(text: &str) -> Result<(Self, &str), ParseAddressError> {
        if let Some(rest) = text.strip_prefix("<>") {
            return Ok((Self::Null, rest));
        }
        let (inner, whole) = after_source_route(text)?;
        let (mailbox, rest) = Mailbox::parse_prefix(inner)?;
        Ok((Self::Mailbox(mailbox), close(whole, rest)?))
    }

    /// The mailbox; none for the null reverse-path.
    #[must_use]
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// Whether it was given in ASCII: a session without SMTPUTF8 may carry it (RFC 6531 §3.4).
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.mailbox().is_none_or(Mailbox::is_ascii)
    }

    /// Whether this is `<>`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

/// Who the mail is for. Its text form has the brackets: `<bob@example.com>`, `<Postmaster>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain, in any case: the postmaster of this host (RFC 5321 §4.5.1).
    Postmaster,
    /// The recipient's mailbox.
    Mailbox(Mailbox),
}

impl ForwardPath {
    /// The path that the text starts with, and what follows it.
    pub fn parse_prefix(text: &str) -> Result<(Self, &str), ParseAddressError> {
        let (inner, whole) = after_source_route(text)?;
        // RFC 5321 §4.1.1.3: "<Postmaster>" is the one path without a domain; compared without case (§4.5.1).
        if let Ok((local, rest)) = LocalPart::parse_prefix(inner)
            && local.is_postmaster()
            && let Some(after) = rest.strip_prefix('>')
        {
            return Ok((Self::Postmaster, after));
        }
        let (mailbox, rest) = Mailbox::parse_prefix(inner)?;
        Ok((Self::Mailbox(mailbox), close(whole, rest)?))
    }

    /// Whether it was given in ASCII: a session without SMTPUTF8 may carry it (RFC 6531 §3.4).
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.mailbox().is_none_or(Mailbox::is_ascii)
    }

    /// The mailbox; none for the bare postmaster.
    #[must_use]
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Postmaster => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }
}

/// What follows the opening bracket and a source route, and the text from the bracket on.
///
/// RFC 5321 Appendix C: a source route is accepted and ignored; the mailbox behind it is what counts.
fn after_source_route(text: &str) -> Result<(&str, &str), ParseAddressError> {
    let inner = text.strip_prefix('<').ok_or(ParseAddressError::Brackets)?;
    if !inner.starts_with('@') {
        return Ok((inner, text));
    }
    let mut rest = inner;
    loop {
        let hop = rest.strip_prefix('@').ok_or(ParseAddressError::SourceRoute)?;
        let (_, after) = Domain::parse_prefix(hop)?;
        rest = match (after.strip_prefix(','), after.strip_prefix(':')) {
            (Some(next), _) => next,
            (None, Some(mailbox)) => return Ok((mailbox, text)),
            (None, None) => return Err(ParseAddressError::SourceRoute),
        };
    }
}

/// Checks the closing bracket at the head of `rest` and the length of the path that started at `whole`; gives what follows.
fn close<'t>(whole: &str, rest: &'t str) -> Result<&'t str, ParseAddressError> {
    let after = rest.strip_prefix('>').ok_or(ParseAddressError::Brackets)?;
    if whole.len() - after.len() > PATH_LENGTH {
        return Err(ParseAddressError::PathTooLong);
    }
    Ok(after)
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Mailbox(mailbox) => write!(f, "<{mailbox}>"),
        }
    }
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("<Postmaster>"),
            Self::Mailbox(mailbox) => write!(f, "<{mailbox}>"),
        }
    }
}

impl FromStr for ReversePath {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        match Self::parse_prefix(text)? {
            (path, "") => Ok(path),
            _ => Err(ParseAddressError::Trailing),
        }
    }
}

impl FromStr for ForwardPath {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        match Self::parse_prefix(text)? {
            (path, "") => Ok(path),
            _ => Err(ParseAddressError::Trailing),
        }
    }
}

impl From<Mailbox> for ReversePath {
    fn from(mailbox: Mailbox) -> Self {
        Self::Mailbox(mailbox)
    }
}

impl From<Mailbox> for ForwardPath {
    fn from(mailbox: Mailbox) -> Self {
        Self::Mailbox(mailbox)
    }
}

impl Serialize for ReversePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for ReversePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

impl Serialize for ForwardPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for ForwardPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_source_route_is_accepted_and_ignored() {
        // RFC 5321 Appendix C
        let path: ForwardPath = "<@a.example,@[192.0.2.1]:bob@b.example>".parse().unwrap();
        assert_eq!(path.to_string(), "<bob@b.example>");
        for bad in ["<@a bob@b>", "<@a,bob@b>", "<@:bob@b>", "<@a,:bob@b>"] {
            assert!(bad.parse::<ForwardPath>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_bare_postmaster_is_a_forward_path_in_any_case() {
        // RFC 5321 §4.5.1
        assert_eq!("<postMASTER>".parse::<ForwardPath>().unwrap(), ForwardPath::Postmaster);
        assert!("<postmaster>".parse::<ReversePath>().is_err());
        assert!("<alice>".parse::<ForwardPath>().is_err());
        assert!("<>".parse::<ForwardPath>().is_err());
    }

    #[test]
    fn a_path_is_in_brackets_and_at_most_256_octets() {
        // RFC 5321 §4.5.3.1.3
        assert_eq!("a@b".parse::<ReversePath>(), Err(ParseAddressError::Brackets));
        assert_eq!("<a@b".parse::<ReversePath>(), Err(ParseAddressError::Brackets));
        assert_eq!("<a@b>x".parse::<ReversePath>(), Err(ParseAddressError::Trailing));
        assert_eq!("<a@b>ä".parse::<ReversePath>(), Err(ParseAddressError::Trailing));
        let long = format!("<{}:a@b>", vec!["@abcdefgh.example"; 20].join(","));
        assert_eq!(long.parse::<ReversePath>(), Err(ParseAddressError::PathTooLong));
        let domain = [["d"; 63].concat(), ["d"; 63].concat(), ["d"; 61].concat()].join(".");
        let full = format!("<{}@{domain}>", "l".repeat(64));
        assert_eq!(full.len(), 256);
        assert_eq!(full.parse::<ReversePath>().unwrap().to_string(), full);
        assert!(full.replace("@d", "@dd").parse::<ReversePath>().is_err());
    }

    #[test]
    fn documents_hold_paths_as_text_and_are_parsed_like_commands() {
        let path: ReversePath = serde_json::from_str(r#""<a\u0040b>""#).unwrap();
        assert_eq!(serde_json::to_string(&path).unwrap(), r#""<a@b>""#);
        assert!(serde_json::from_str::<ReversePath>(r#""a@b""#).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_without_panic(text in "<?(\\PC|[a-c@,:.<>\"\\\\\\[\\]]){0,60}>?") {
            if let Ok(path) = text.parse::<ReversePath>() {
                prop_assert_eq!(path.to_string().parse::<ReversePath>().unwrap(), path);
            }
            if let Ok(path) = text.parse::<ForwardPath>() {
                prop_assert_eq!(path.to_string().parse::<ForwardPath>().unwrap(), path);
            }
        }
    }
}
