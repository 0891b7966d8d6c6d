//! Local parts and mailboxes (RFC 5321 §4.1.2), beyond ASCII too (RFC 6531 §3.3): whether a session may carry such an address is the
//! protocol's to say. `%` and `!` mean nothing here: they are letters of a local part.

use std::{
    borrow::Cow,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    address::{LOCAL_PART_LENGTH, PATH_LENGTH, ParseAddressError},
    domain::Domain,
    text,
};

/// A local part: a dot-string or a quoted string. Keeps the spelling it was given; compares by what it means, so `"a"` is `a`
/// (RFC 5321 §4.1.2: the quotes and backslashes are only a way to write it). Case is significant.
#[derive(Clone)]
pub struct LocalPart {
    given: Box<str>,
    /// The meaning of a quoted string; absent when the given text is the meaning.
    unquoted: Option<Box<str>>,
}

impl LocalPart {
    /// A local part from its text.
    pub fn new(text: &str) -> Result<Self, ParseAddressError> {
        match Self::parse_prefix(text)? {
            (local, "") => Ok(local),
            _ => Err(ParseAddressError::LocalPart),
        }
    }

    /// The local part that the text starts with, and what follows it.
    pub fn parse_prefix(text: &str) -> Result<(Self, &str), ParseAddressError> {
        let (given, unquoted, rest) = if text.starts_with('"') {
            let (value, rest) = unquote(text)?;
            let given = text.strip_suffix(rest).unwrap_or(text);
            (given, Some(value.into()), rest)
        } else {
            let end = text.find(|c| !(is_atext(c) || c == '.')).unwrap_or(text.len());
            let (given, rest) = text.split_at(end);
            // RFC 5321 §4.1.2: Dot-string = Atom *("." Atom), so no dot at an end and no two in a row.
            if given.split('.').any(str::is_empty) {
                return Err(ParseAddressError::LocalPart);
            }
            (given, None, rest)
        };
        if given.len() > LOCAL_PART_LENGTH {
            return Err(ParseAddressError::LocalPartTooLong);
        }
        Ok((Self { given: given.into(), unquoted }, rest))
    }

    /// The local part as it was given, with its quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.given
    }

    /// What the local part means: without quotes and backslashes.
    #[must_use]
    pub fn value(&self) -> &str {
        self.unquoted.as_deref().unwrap_or(&self.given)
    }

    /// Whether it is in ASCII: any next hop takes it.
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.given.is_ascii()
    }

    /// Whether this is the name that every domain must receive mail for, in any case (RFC 5321 §4.5.1).
    #[must_use]
    pub fn is_postmaster(&self) -> bool {
        self.value().eq_ignore_ascii_case("postmaster")
    }

    /// Whether this is the name by which misuse is reported, in any case (RFC 2142 §4).
    #[must_use]
    pub fn is_abuse(&self) -> bool {
        self.value().eq_ignore_ascii_case("abuse")
    }
}

/// RFC 5322 §3.2.3, RFC 6531 §3.3.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_utf8_text(c)
}

/// UTF8-non-ascii of RFC 6531 §3.3 without what is no text: the controls of ISO 6429, and what ends a line or a paragraph.
pub(crate) fn is_utf8_text(c: char) -> bool {
    !c.is_ascii() && !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// The meaning of the quoted string that the text starts with, and what follows it.
fn unquote(text: &str) -> Result<(String, &str), ParseAddressError> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((place, c)) = chars.next() {
        match c {
            '"' => return Ok((value, text.get(place + 1..).unwrap_or_default())),
            // RFC 5321 §4.1.2: quoted-pairSMTP = %d92 %d32-126
            '\\' => match chars.next() {
                Some((_, escaped @ ' '..='~')) => value.push(escaped),
                _ => return Err(ParseAddressError::LocalPart),
            },
            ' '..='~' => value.push(c),
            _ if is_utf8_text(c) => value.push(c),
            _ => return Err(ParseAddressError::LocalPart),
        }
    }
    Err(ParseAddressError::LocalPart)
}

impl PartialEq for LocalPart {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value()
    }
}

impl Eq for LocalPart {}

impl PartialOrd for LocalPart {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for LocalPart {
    fn cmp(&self, other: &Self) -> Ordering {
        self.value().cmp(other.value())
    }
}

impl Hash for LocalPart {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value().hash(state);
    }
}

impl fmt::Display for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

impl fmt::Debug for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for LocalPart {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        Self::new(text)
    }
}

impl Serialize for LocalPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for LocalPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

/// A mailbox: `local@domain`, at most 254 octets, so that it fits a path. The local part compares with case, the domain without.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mailbox {
    local: LocalPart,
    domain: Domain,
}

impl Mailbox {
    /// The mailbox of its two parts.
    pub fn new(local: LocalPart, domain: Domain) -> Result<Self, ParseAddressError> {
        // RFC 5321 §4.5.3.1.3: 256 octets with the angle brackets
        if local.as_str().len() + 1 + domain.as_given().len() + 2 > PATH_LENGTH {
            return Err(ParseAddressError::PathTooLong);
        }
        Ok(Self { local, domain })
    }

    /// The mailbox that the text starts with, and what follows it.
    pub fn parse_prefix(text: &str) -> Result<(Self, &str), ParseAddressError> {
        let (local, rest) = LocalPart::parse_prefix(text)?;
        let rest = rest.strip_prefix('@').ok_or(ParseAddressError::NoDomain)?;
        let (domain, rest) = Domain::parse_prefix(rest)?;
        Ok((Self::new(local, domain)?, rest))
    }

    /// The local part.
    #[must_use]
    pub fn local(&self) -> &LocalPart {
        &self.local
    }

    /// The domain.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether it was given in ASCII: a session without SMTPUTF8 may carry it as it is.
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii() && self.domain.is_ascii()
    }

    /// The same in ASCII, its domain in A-labels; none if the local part is beyond ASCII, for that has no such form (RFC 6531 §3.2).
    #[must_use]
    pub fn to_ascii(&self) -> Option<Cow<'_, Self>> {
        if self.domain.is_ascii() {
            return self.local.is_ascii().then_some(Cow::Borrowed(self));
        }
        let in_a_labels = || Self::new(self.local.clone(), self.domain.to_ascii().into_owned()).ok();
        self.local.is_ascii().then(in_a_labels).flatten().map(Cow::Owned)
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mailbox {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        match Self::parse_prefix(text)? {
            (mailbox, "") => Ok(mailbox),
            _ => Err(ParseAddressError::Trailing),
        }
    }
}

impl Serialize for Mailbox {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Mailbox {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percent_and_bang_are_plain_letters() {
        // RFC 5321 Appendix F.2, F.3: source routes in disguise are never interpreted
        let mailbox: Mailbox = "user%other!host@example.com".parse().unwrap();
        assert_eq!(mailbox.local().value(), "user%other!host");
        assert_eq!(mailbox.domain().as_str(), "example.com");
    }

    #[test]
    fn a_quoted_local_part_is_what_it_means() {
        // RFC 5321 §4.1.2
        let quoted = LocalPart::new(r#""a\b c@d""#).unwrap();
        assert_eq!((quoted.as_str(), quoted.value()), (r#""a\b c@d""#, "ab c@d"));
        assert_eq!(LocalPart::new(r#""alice""#).unwrap(), LocalPart::new("alice").unwrap());
        assert_ne!(LocalPart::new("Alice").unwrap(), LocalPart::new("alice").unwrap());
        assert!(LocalPart::new("PostMaster").unwrap().is_postmaster());
        assert!(LocalPart::new("\"Abuse\"").unwrap().is_abuse());
    }

    #[test]
    fn what_is_no_mailbox_says_why() {
        use ParseAddressError as E;
        let long = format!("{}@a", "l".repeat(65));
        let path = format!("{}@{}", "l".repeat(64), "d".repeat(63) + &".d".repeat(64));
        for (text, error) in [
            ("", E::LocalPart),
            ("@a", E::LocalPart),
            (".a@b", E::LocalPart),
            ("a.@b", E::LocalPart),
            ("a..b@c", E::LocalPart),
            ("a", E::NoDomain),
            ("a b@c", E::NoDomain),
            ("\"a@b", E::LocalPart),
            ("\"a\nb\"@c", E::LocalPart),
            ("a@", E::Domain),
            ("a@b c", E::Trailing),
            ("a@b@c", E::Trailing),
            ("ä\u{85}@b", E::NoDomain),
            ("ä\u{2028}@b", E::NoDomain),
            ("\"ä\u{85}\"@b", E::LocalPart),
            ("\"\\ä\"@b", E::LocalPart),
            ("a@b\u{a0}ä", E::Domain),
            (&long, E::LocalPartTooLong),
            (&path, E::PathTooLong),
        ] {
            assert_eq!(text.parse::<Mailbox>(), Err(error), "{text}");
        }
    }

    #[test]
    fn an_address_beyond_ascii_has_an_ascii_form_only_if_its_local_part_has() {
        // RFC 6531 §3.2, §3.3
        let mailbox: Mailbox = "jörg@bücher.example".parse().unwrap();
        assert!(!mailbox.is_ascii() && mailbox.to_ascii().is_none());
        let mailbox: Mailbox = "joerg@bücher.example".parse().unwrap();
        assert!(!mailbox.is_ascii());
        assert_eq!(mailbox.to_ascii().unwrap().to_string(), "joerg@xn--bcher-kva.example");
        let quoted: Mailbox = "\"jörg müller\"@example.com".parse().unwrap();
        assert_eq!(quoted.local().value(), "jörg müller");
    }

    proptest! {
        #[test]
        fn a_mailbox_survives_its_text(
            local in r#"[a-z!#%+_-]{1,10}(\.[A-Z0-9]{1,10}){0,3}|"([ !#-\[\]-~]|\\[ -~]){0,20}""#,
            domain in r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\.[A-Z0-9]{1,10}){0,3}|\[192\.0\.2\.[1-9]\]",
        ) {
            let text = format!("{local}@{domain}");
            let mailbox: Mailbox = text.parse().unwrap();
            prop_assert_eq!(mailbox.to_string(), text);
        }

        #[test]
        fn any_text_is_parsed_or_refused_without_panic(text in "\\PC{0,80}") {
            if let Ok(mailbox) = text.parse::<Mailbox>() {
                prop_assert_eq!(mailbox.to_string(), text);
            }
        }
    }
}
