//! What a sender asks to be told of its mail: NOTIFY, ORCPT, RET and ENVID (RFC 3461 §4), with the xtext that they travel in.

use std::{borrow::Cow, fmt, str::FromStr};

use crate::{Mailbox, mailbox::is_utf8_text};

/// The longest ENVID as given (RFC 3461 §4.4).
pub const ENVID_LENGTH: usize = 100;

/// The longest ORCPT as given (RFC 3461 §4.2).
pub const ORCPT_LENGTH: usize = 500;

/// A text that is no value of a parameter of RFC 3461.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseNotificationError {
    /// RFC 3461 §4.1
    #[error("NOTIFY is NEVER, or a list of SUCCESS, FAILURE and DELAY")]
    Notify,
    /// RFC 3461 §4.3
    #[error("RET is FULL or HDRS")]
    Ret,
    /// RFC 3461 §4.4
    #[error("ENVID is at most 100 octets of xtext")]
    Envid,
    /// RFC 3461 §4.2, RFC 6533 §3
    #[error("ORCPT is an address type, a semicolon and an address in xtext, at most 500 octets")]
    Orcpt,
}

/// NOTIFY: on what the sender wants to be told of one recipient (RFC 3461 §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Notify(u8);

impl Notify {
    /// Not given: as ever, on failure, and on delay if this host sees fit.
    pub const ABSENT: Self = Self(0);
    /// `NEVER`
    pub const NEVER: Self = Self(1);
    /// `SUCCESS`
    pub const SUCCESS: Self = Self(2);
    /// `FAILURE`
    pub const FAILURE: Self = Self(4);
    /// `DELAY`
    pub const DELAY: Self = Self(8);

    /// From a record: 1 NEVER, 2 SUCCESS, 4 FAILURE, 8 DELAY; what makes no sense is as if it was absent.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        match bits {
            1 => Self::NEVER,
            bits if bits & 1 == 0 && bits < 16 => Self(bits),
            _ => Self::ABSENT,
        }
    }

    /// For a record; see [`from_bits`](Self::from_bits).
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether it was given.
    #[must_use]
    pub fn is_given(self) -> bool {
        self != Self::ABSENT
    }

    /// Whether the sender is told of a failure (§4.1: also if nothing was asked).
    #[must_use]
    pub fn of_failure(self) -> bool {
        !self.is_given() || self.0 & Self::FAILURE.0 != 0
    }

    /// Whether the sender is told of a delay (§5.2.5: also if nothing was asked).
    #[must_use]
    pub fn of_delay(self) -> bool {
        !self.is_given() || self.0 & Self::DELAY.0 != 0
    }

    /// Whether the sender asks to be told of the delivery.
    #[must_use]
    pub fn of_success(self) -> bool {
        self.0 & Self::SUCCESS.0 != 0
    }

    /// For the members of a group (§5.2.7.3 (c)): no SUCCESS. Who asked for nothing else is told nothing, and not what absence would mean.
    #[must_use]
    pub fn without_success(self) -> Self {
        match Self(self.0 & !Self::SUCCESS.0) {
            Self::ABSENT if self.is_given() => Self::NEVER,
            rest => rest,
        }
    }
}

impl FromStr for Notify {
    type Err = ParseNotificationError;

    fn from_str(text: &str) -> Result<Self, ParseNotificationError> {
        if text.eq_ignore_ascii_case("NEVER") {
            return Ok(Self::NEVER);
        }
        let mut found = 0;
        for word in text.split(',') {
            found |= match word {
                word if word.eq_ignore_ascii_case("SUCCESS") => Self::SUCCESS.0,
                word if word.eq_ignore_ascii_case("FAILURE") => Self::FAILURE.0,
                word if word.eq_ignore_ascii_case("DELAY") => Self::DELAY.0,
                _ => return Err(ParseNotificationError::Notify),
            };
        }
        Ok(Self(found))
    }
}

impl fmt::Display for Notify {
    /// The value of the parameter; empty if it was not given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (Self::NEVER, "NEVER"),
            (Self::SUCCESS, "SUCCESS"),
            (Self::FAILURE, "FAILURE"),
            (Self::DELAY, "DELAY"),
        ];
        let mut separator = "";
        for (flag, word) in words {
            if self.0 & flag.0 != 0 {
                write!(f, "{separator}{word}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

/// RET: how much of the message a notification of failure brings back (RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ret {
    /// `FULL`
    Full,
    /// `HDRS`
    Headers,
}

impl FromStr for Ret {
    type Err = ParseNotificationError;

    fn from_str(text: &str) -> Result<Self, ParseNotificationError> {
        match text {
            text if text.eq_ignore_ascii_case("FULL") => Ok(Self::Full),
            text if text.eq_ignore_ascii_case("HDRS") => Ok(Self::Headers),
            _ => Err(ParseNotificationError::Ret),
        }
    }
}

impl fmt::Display for Ret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        })
    }
}

/// ENVID: the sender's own name of the transaction, kept as it was given (RFC 3461 §4.4: it must come back unchanged).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Envid(Box<str>);

impl Envid {
    /// As it was given, in xtext.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it means; for the field Original-Envelope-Id (RFC 3464 §2.2.1).
    #[must_use]
    pub fn decoded(&self) -> String {
        // The parser has seen that it is xtext, of printable characters.
        decode_xtext(&self.0).unwrap_or_default().into_owned()
    }
}

impl FromStr for Envid {
    type Err = ParseNotificationError;

    fn from_str(text: &str) -> Result<Self, ParseNotificationError> {
        let good = (1..=ENVID_LENGTH).contains(&text.len())
            && decode_xtext(text).is_some_and(|decoded| decoded.bytes().all(is_printable));
        if good { Ok(Self(text.into())) } else { Err(ParseNotificationError::Envid) }
    }
}

impl fmt::Display for Envid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// ORCPT: who the sender meant at first, kept as it was given (RFC 3461 §4.2, RFC 6533 §3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OriginalRecipient(Box<str>);

impl OriginalRecipient {
    /// For a recipient whose sender gave none: a relay that hands it to a host with DSN may add it (RFC 3461 §4.2, §5.2.1).
    #[must_use]
    pub fn of(mailbox: &Mailbox) -> Option<Self> {
        mailbox.is_ascii().then(|| Self(format!("rfc822;{}", encode_xtext(&mailbox.to_string())).into()))
    }

    /// As it was given: `type;xtext`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a session without SMTPUTF8 may carry it (RFC 6533 §3: `utf-8-addr-unitext` needs it).
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.0.is_ascii()
    }

    /// The same for a session without SMTPUTF8 (RFC 6533 §3): characters beyond ASCII as `\x{F6}`; none if that is longer than 500 octets.
    #[must_use]
    pub fn to_ascii(&self) -> Option<Cow<'_, Self>> {
        use fmt::Write as _;

        if self.is_ascii() {
            return Some(Cow::Borrowed(self));
        }
        let mut text = String::with_capacity(self.0.len() * 2);
        for c in self.0.chars() {
            if c.is_ascii() {
                text.push(c);
            } else {
                let _ = write!(text, "\\x{{{:X}}}", u32::from(c)); // a String takes everything
            }
        }
        (text.len() <= ORCPT_LENGTH).then(|| Cow::Owned(Self(text.into())))
    }

    /// The address type, as it was given: `rfc822`, `utf-8`.
    #[must_use]
    pub fn address_type(&self) -> &str {
        self.0.split_once(';').map_or("", |(kind, _)| kind)
    }

    /// The address that it means; for the field Original-Recipient (RFC 3464 §2.3.1).
    #[must_use]
    pub fn address(&self) -> String {
        let Some((kind, address)) = self.0.split_once(';') else { return String::new() };
        if kind.eq_ignore_ascii_case("utf-8") {
            return decode_utf8_xtext(address).unwrap_or_default();
        }
        decode_xtext(address).unwrap_or_default().into_owned()
    }
}

impl FromStr for OriginalRecipient {
    type Err = ParseNotificationError;

    fn from_str(text: &str) -> Result<Self, ParseNotificationError> {
        let (kind, address) = text.split_once(';').ok_or(ParseNotificationError::Orcpt)?;
        // RFC 3461 §4.2: addr-type = atom
        let is_atom = !kind.is_empty()
            && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b));
        let is_address = if kind.eq_ignore_ascii_case("utf-8") {
            decode_utf8_xtext(address).is_some_and(|address| !address.is_empty())
        } else {
            decode_xtext(address)
                // Postfix says an address beyond ASCII as the xtext of its UTF-8, which RFC 6533 §3 did not mean: it is understood all the same.
                .is_some_and(|address| !address.is_empty() && address.chars().all(is_shown))
        };
        if text.len() <= ORCPT_LENGTH && is_atom && is_address {
            Ok(Self(text.into()))
        } else {
            Err(ParseNotificationError::Orcpt)
        }
    }
}

impl fmt::Display for OriginalRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What xtext means (RFC 3461 §4: `+` and two upper-case hexadecimal digits for an octet); none if it is no xtext, or means no UTF-8.
fn decode_xtext(text: &str) -> Option<Cow<'_, str>> {
    let is_xchar = |b: u8| matches!(b, b'!'..=b'~') && b != b'=';
    if !text.bytes().all(is_xchar) {
        return None;
    }
    if !text.contains('+') {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'+' {
            decoded.push(*first);
            continue;
        }
        let [high, low, after @ ..] = rest else { return None };
        decoded.push(hex(*high)? * 16 + hex(*low)?);
        rest = after;
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// A text in xtext.
fn encode_xtext(text: &str) -> String {
    use fmt::Write as _;

    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b'!'..=b'~') && byte != b'+' && byte != b'=' {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "+{byte:02X}"); // a String takes everything
        }
    }
    encoded
}

/// What a UTF-8 address means: characters as they are, or `\x{221E}` (RFC 6533 §3: `utf-8-addr-xtext` and `utf-8-addr-unitext`).
fn decode_utf8_xtext(text: &str) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..)?;
        match c {
            '\\' => {
                let (number, after) = rest.strip_prefix("x{")?.split_once('}')?;
                let is_hex = (2..=6).contains(&number.len())
                    && number.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
                if !is_hex {
                    return None;
                }
                let c = char::from_u32(u32::from_str_radix(number, 16).ok()?)?;
                decoded.push(Some(c).filter(|c| is_shown(*c))?);
                rest = after;
            }
            '!'..='~' if c != '+' && c != '=' => decoded.push(c),
            c if is_utf8_text(c) => decoded.push(c),
            _ => return None,
        }
    }
    Some(decoded)
}

/// Whether a character can stand in a line of a report as it is: no control, and nothing that some readers take for the end of a line.
fn is_shown(c: char) -> bool {
    matches!(c, ' '..='~') || is_utf8_text(c)
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn notify_is_never_or_a_list() {
        // RFC 3461 §4.1
        let asked: Notify = "delay,SUCCESS".parse().unwrap();
        assert!(asked.of_success() && asked.of_delay() && !asked.of_failure());
        assert_eq!(asked.to_string(), "SUCCESS,DELAY");
        assert_eq!(Notify::from_bits(asked.bits()), asked);
        assert!(Notify::ABSENT.of_failure() && Notify::ABSENT.of_delay() && !Notify::ABSENT.of_success());
        let never: Notify = "Never".parse().unwrap();
        assert!(!never.of_failure() && !never.of_delay() && !never.of_success());
        for bad in ["", "NEVER,SUCCESS", "SUCCESS,", "ALWAYS", "SUCCESS DELAY"] {
            assert_eq!(bad.parse::<Notify>(), Err(ParseNotificationError::Notify), "{bad}");
        }
        assert_eq!(Notify::from_bits(0xff), Notify::ABSENT);
    }

    #[test]
    fn the_members_of_a_group_are_not_asked_about_success() {
        // RFC 3461 §5.2.7.3 (c)
        let members = |given: &str| given.parse::<Notify>().unwrap().without_success().to_string();
        assert_eq!(members("SUCCESS,FAILURE,DELAY"), "FAILURE,DELAY");
        assert_eq!([members("SUCCESS"), members("NEVER")], ["NEVER", "NEVER"]);
        assert_eq!(Notify::ABSENT.without_success(), Notify::ABSENT);
    }

    #[test]
    fn an_envid_comes_back_unchanged_and_means_printable_text() {
        // RFC 3461 §4.4
        let envid: Envid = "QQ+2B314159".parse().unwrap();
        assert_eq!((envid.as_str(), envid.decoded().as_str()), ("QQ+2B314159", "QQ+314159"));
        for bad in ["", "a b", "a=b", "+2b", "+2", "+", "+0A", "+80", &"x".repeat(101)] {
            assert!(bad.parse::<Envid>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_original_recipient_has_a_type_and_an_address() {
        // RFC 3461 §4.2, RFC 6533 §3
        for (text, kind, address) in [
            ("rfc822;Bob@Example.COM", "rfc822", "Bob@Example.COM"),
            ("rfc822;a+2Bb@c", "rfc822", "a+b@c"),
            ("X400;/G+3Da/", "X400", "/G=a/"),
            ("utf-8;j\\x{F6}rg@example.com", "utf-8", "jörg@example.com"),
            ("UTF-8;jörg@example.com", "UTF-8", "jörg@example.com"),
            ("rfc822;j+C3+B6rg@example.com", "rfc822", "jörg@example.com"),
        ] {
            let parsed: OriginalRecipient = text.parse().unwrap();
            assert_eq!((parsed.address_type(), parsed.address().as_str()), (kind, address));
            assert_eq!(parsed.to_string(), text);
        }
        for bad in [
            "",
            "rfc822",
            "rfc822;",
            ";a@b",
            "rfc 822;a@b",
            "rfc822;a b",
            "X400;/G=a/",
            "rfc822;jörg@b",
            "rfc822;+0D+0A",
            "rfc822;a+E2+80+A8@b",
            "utf-8;\\x{A}",
            "utf-8;\\x{2028}",
            "utf-8;a\u{2028}@b",
            "utf-8;\\x{D800}",
        ] {
            assert!(bad.parse::<OriginalRecipient>().is_err(), "{bad}");
        }
        let unitext: OriginalRecipient = "UTF-8;jörg@example.com".parse().unwrap();
        let in_ascii = unitext.to_ascii().unwrap();
        assert_eq!(
            (in_ascii.as_str(), in_ascii.address()),
            ("UTF-8;j\\x{F6}rg@example.com", unitext.address())
        );
        let long: OriginalRecipient = format!("utf-8;{}", "ö".repeat(200)).parse().unwrap();
        assert_eq!(long.to_ascii(), None);
        let of = OriginalRecipient::of(&"a+b=c@d".parse().unwrap()).unwrap();
        assert_eq!((of.as_str(), of.address().as_str()), ("rfc822;a+2Bb+3Dc@d", "a+b=c@d"));
    }

    proptest! {
        #[test]
        fn any_text_survives_xtext(text in "[ -~]{1,30}") {
            let encoded = encode_xtext(&text);
            prop_assert_eq!(decode_xtext(&encoded).unwrap(), text);
        }

        #[test]
        fn any_text_is_parsed_or_refused_without_panic(text in "\\PC{0,40}") {
            let _ = (text.parse::<Envid>(), text.parse::<Notify>(), text.parse::<Ret>());
            if let Ok(parsed) = text.parse::<OriginalRecipient>() {
                prop_assert_eq!(parsed.to_string(), text);
            }
        }
    }
}
