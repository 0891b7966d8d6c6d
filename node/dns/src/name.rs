//! Names of hosts and domains as the DNS is asked for them, and what needs no question: addresses. Pure.

use std::{fmt, net::IpAddr, str::FromStr};

use posthouse_model::Domain;

/// RFC 1035 §2.3.4: 255 octets on the wire are 253 in text without the final dot.
const NAME_LENGTH: usize = 253;

/// RFC 1035 §2.3.4
const LABEL_LENGTH: usize = 63;

/// A name in A-labels and lower case, without a final dot. Underscores are let in: hosts in the field have them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Box<str>);

/// A text that is no name of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a host in A-labels")]
pub struct ParseNameError;

impl HostName {
    /// A name from its text, without a final dot, in any case.
    pub fn new(text: &str) -> Result<Self, ParseNameError> {
        let is_label = |label: &str| {
            (1..=LABEL_LENGTH).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() > NAME_LENGTH || !text.split('.').all(is_label) {
            return Err(ParseNameError);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a name in this domain, or the domain itself.
    #[must_use]
    pub fn is_below(&self, domain: &Self) -> bool {
        let rest = self.0.strip_suffix(domain.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for HostName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        Self::new(text)
    }
}

/// Where mail is to go: a name to ask the DNS for, or an address that needs no question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// A name.
    Name(HostName),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl FromStr for Destination {
    type Err = ParseNameError;

    /// A name, an address (`192.0.2.1`, `2001:db8::1`) or an address literal (`[192.0.2.1]`, `[IPv6:2001:db8::1]`).
    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        if text.starts_with('[') {
            // RFC 5321 §4.1.3
            let literal = Domain::new(text).map_err(|_| ParseNameError)?;
            return literal.address().map(Self::Address).ok_or(ParseNameError);
        }
        HostName::new(text).map(Self::Name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_lower_case_and_addresses_need_no_name() {
        let name = |text: &str| Destination::Name(HostName::new(text).unwrap());
        assert_eq!("MX1.Example.COM".parse(), Ok(name("mx1.example.com")));
        assert_eq!("mail_1.example".parse(), Ok(name("mail_1.example")));
        for (text, address) in [
            ("192.0.2.1", "192.0.2.1"),
            ("[192.0.2.1]", "192.0.2.1"),
            ("2001:DB8::1", "2001:db8::1"),
            ("[IPv6:2001:db8::1]", "2001:db8::1"),
        ] {
            assert_eq!(text.parse(), Ok(Destination::Address(address.parse().unwrap())), "{text}");
        }
    }

    #[test]
    fn a_name_is_below_its_domain_by_whole_labels() {
        let name = |text: &str| HostName::new(text).unwrap();
        for (text, below) in
            [("b.example", true), ("a.b.example", true), ("ab.example", false), ("example", false)]
        {
            assert_eq!(name(text).is_below(&name("b.example")), below, "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_never_asked_for() {
        let long_label = "a".repeat(64);
        let long_name = "a.".repeat(126) + "aa";
        for text in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a b",
            "-a",
            "a-.b",
            "bücher.example",
            "[x]",
            &long_label,
            &long_name,
        ] {
            assert_eq!(text.parse::<Destination>(), Err(ParseNameError), "{text}");
        }
    }
}
