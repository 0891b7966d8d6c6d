//! Domains: names in A-labels and address literals (RFC 5321 §4.1.2, §4.1.3).

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    address::{DOMAIN_LENGTH, LABEL_LENGTH, ParseAddressError},
    text,
};

/// A domain name in A-labels, or an address literal in brackets. Keeps the spelling it was given; compares, sorts and hashes without regard
/// to ASCII case (RFC 1035 §2.3.3).
#[derive(Clone)]
pub struct Domain(Box<str>);

impl Domain {
    /// A domain from its text, without a final dot.
    pub fn new(text: &str) -> Result<Self, ParseAddressError> {
        match Self::parse_prefix(text)? {
            (domain, "") => Ok(domain),
            (_, rest) => Err(needs_utf8_or(rest, ParseAddressError::Domain)),
        }
    }

    /// The address literal for an address: `[192.0.2.1]`, `[IPv6:2001:db8::1]`.
    #[must_use]
    pub fn from_address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self(format!("[{address}]").into()),
            IpAddr::V6(address) => Self(format!("[IPv6:{address}]").into()),
        }
    }

    /// The domain that the text starts with, and what follows it.
    pub fn parse_prefix(text: &str) -> Result<(Self, &str), ParseAddressError> {
        if text.starts_with('[') {
            let end = text.find(']').ok_or(ParseAddressError::AddressLiteral)?;
            let (literal, rest) = text.split_at(end + 1);
            parse_literal(literal)
                .ok_or_else(|| needs_utf8_or(literal, ParseAddressError::AddressLiteral))?;
            return Ok((Self(literal.into()), rest));
        }
        let end = text
            .bytes()
            .position(|b| !(b.is_ascii_alphanumeric() || b == b'-' || b == b'.'))
            .unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        if !rest.is_ascii() && rest.chars().next().is_some_and(|c| !c.is_ascii()) {
            return Err(ParseAddressError::NeedsSmtpUtf8);
        }
        check_name(name)?;
        Ok((Self(name.into()), rest))
    }

    /// The domain as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address of an address literal; none for a name.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        parse_literal(&self.0)
    }

    /// Whether this is an address literal.
    #[must_use]
    pub fn is_address_literal(&self) -> bool {
        self.0.starts_with('[')
    }

    /// The name in lower case: the key to look it up by.
    #[must_use]
    pub fn to_lowercase(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|b| b.to_ascii_lowercase())
    }
}

/// `error`, unless the text is beyond ASCII: that has its own reply.
pub(crate) fn needs_utf8_or(text: &str, error: ParseAddressError) -> ParseAddressError {
    if text.is_ascii() { error } else { ParseAddressError::NeedsSmtpUtf8 }
}

/// RFC 5321 §4.1.2: `sub-domain = Let-dig [Ldh-str]`, joined by dots.
fn check_name(name: &str) -> Result<(), ParseAddressError> {
    if name.len() > DOMAIN_LENGTH {
        return Err(ParseAddressError::DomainTooLong);
    }
    for label in name.split('.') {
        if label.is_empty() || label.starts_with('-') || label.ends_with('-') {
            return Err(ParseAddressError::Domain);
        }
        if label.len() > LABEL_LENGTH {
            return Err(ParseAddressError::DomainTooLong);
        }
    }
    Ok(())
}

/// RFC 5321 §4.1.3. No general address literal is registered besides IPv6, so none else is accepted.
fn parse_literal(literal: &str) -> Option<IpAddr> {
    let inner = literal.strip_prefix('[')?.strip_suffix(']')?;
    match inner.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => {
            address.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

impl PartialEq for Domain {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Domain {}

impl PartialOrd for Domain {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Domain {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl Hash for Domain {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().for_each(|b| state.write_u8(b));
        state.write_u8(0xff); // no octet of a domain: keeps a domain apart from what is hashed after it
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Domain {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        Self::new(text)
    }
}

impl Serialize for Domain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Domain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_literals_are_domains_and_keep_their_spelling() {
        // RFC 5321 §4.1.2, §4.1.3
        for text in
            ["a", "Example.COM", "xn--bcher-kva.example", "1.2.3.4", "a-b.c", "[192.0.2.1]", "[IPv6:::1]"]
        {
            assert_eq!(Domain::new(text).unwrap().to_string(), text);
        }
        assert_eq!(Domain::new("[ipv6:::1]").unwrap().address(), Some("::1".parse().unwrap()));
        let address: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(Domain::from_address(address).address(), Some(address));
        assert_eq!(Domain::new("1.2.3.4").unwrap().address(), None);
    }

    #[test]
    fn what_is_no_domain_says_why() {
        use ParseAddressError as E;
        let long_label = "a".repeat(64);
        let long_name = "a.".repeat(128);
        for (text, error) in [
            ("", E::Domain),
            (".a", E::Domain),
            ("a..b", E::Domain),
            ("a.", E::Domain),
            ("-a", E::Domain),
            ("a-", E::Domain),
            ("a_b", E::Domain),
            ("a b", E::Domain),
            ("bücher.example", E::NeedsSmtpUtf8),
            ("[1.2.3]", E::AddressLiteral),
            ("[::1]", E::AddressLiteral),
            ("[IPv6:x]", E::AddressLiteral),
            ("[1.2.3.4", E::AddressLiteral),
            ("[x:y]", E::AddressLiteral),
            (&long_label, E::DomainTooLong),
            (&long_name, E::DomainTooLong),
        ] {
            assert_eq!(Domain::new(text), Err(error), "{text}");
        }
    }

    #[test]
    fn domains_compare_without_case() {
        let (a, b) = (Domain::new("Example.com").unwrap(), Domain::new("EXAMPLE.COM").unwrap());
        assert_eq!(a, b);
        assert_eq!(a.cmp(&b), Ordering::Equal);
        assert!(std::collections::HashSet::from([a]).contains(&b));
    }
}
