//! Domains: names and address literals (RFC 5321 §4.1.2, §4.1.3), internationalized ones included (RFC 6531 §3.3, RFC 5890).

use std::{
    borrow::Cow,
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

/// A domain name, or an address literal in brackets. Keeps the spelling it was given; compares, sorts and hashes by its A-labels without regard
/// to ASCII case (RFC 1035 §2.3.3, RFC 5890 §2.3.2.1), so `bücher.example` is `xn--bcher-kva.example`.
#[derive(Clone)]
pub struct Domain {
    /// All in ASCII: what it is looked up by.
    ascii: Box<str>,
    /// The spelling that was given, where that has U-labels.
    unicode: Option<Box<str>>,
}

impl Domain {
    /// A domain from its text, without a final dot.
    pub fn new(text: &str) -> Result<Self, ParseAddressError> {
        match Self::parse_prefix(text)? {
            (domain, "") => Ok(domain),
            _ => Err(ParseAddressError::Domain),
        }
    }

    /// The address literal for an address: `[192.0.2.1]`, `[IPv6:2001:db8::1]`.
    #[must_use]
    pub fn from_address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::in_ascii(&format!("[{address}]")),
            IpAddr::V6(address) => Self::in_ascii(&format!("[IPv6:{address}]")),
        }
    }

    /// The domain that the text starts with, and what follows it.
    pub fn parse_prefix(text: &str) -> Result<(Self, &str), ParseAddressError> {
        if text.starts_with('[') {
            let end = text.find(']').ok_or(ParseAddressError::AddressLiteral)?;
            let (literal, rest) = text.split_at(end + 1);
            parse_literal(literal).ok_or(ParseAddressError::AddressLiteral)?;
            return Ok((Self::in_ascii(literal), rest));
        }
        let is_of_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || !b.is_ascii();
        let end = text.bytes().position(|b| !is_of_name(b)).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        if name.is_ascii() {
            check_name(name)?;
            return Ok((Self::in_ascii(name), rest));
        }
        // RFC 6531 §3.3: a U-label is one that has an A-label. The bound keeps the work of telling so small.
        if name.len() > DOMAIN_LENGTH {
            return Err(ParseAddressError::DomainTooLong);
        }
        let ascii = idna::domain_to_ascii_strict(name).map_err(|_| ParseAddressError::Domain)?;
        check_name(&ascii)?;
        Ok((Self { ascii: ascii.into(), unicode: Some(name.into()) }, rest))
    }

    fn in_ascii(text: &str) -> Self {
        Self { ascii: text.into(), unicode: None }
    }

    /// The domain in ASCII: A-labels where the given spelling has U-labels.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.ascii
    }

    /// The domain as it was given.
    #[must_use]
    pub fn as_given(&self) -> &str {
        self.unicode.as_deref().unwrap_or(&self.ascii)
    }

    /// Whether it was given in ASCII: any next hop takes it as it is.
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.unicode.is_none()
    }

    /// The same in A-labels (RFC 5891 §4.4).
    #[must_use]
    pub fn to_ascii(&self) -> Cow<'_, Self> {
        if self.is_ascii() { Cow::Borrowed(self) } else { Cow::Owned(Self::in_ascii(&self.ascii)) }
    }

    /// The address of an address literal; none for a name.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        parse_literal(&self.ascii)
    }

    /// Whether this is an address literal.
    #[must_use]
    pub fn is_address_literal(&self) -> bool {
        self.ascii.starts_with('[')
    }

    /// The name in A-labels and lower case: the key to look it up by.
    #[must_use]
    pub fn to_lowercase(&self) -> String {
        self.ascii.to_ascii_lowercase()
    }

    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        self.ascii.bytes().map(|b| b.to_ascii_lowercase())
    }
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
        self.ascii.eq_ignore_ascii_case(&other.ascii)
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
        f.write_str(self.as_given())
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
            ("bü cher.example", E::Domain),
            ("-bücher.example", E::Domain),
            ("b\u{2028}ü.example", E::Domain),
            ("bücher..example", E::Domain),
            ("\u{301}a.example", E::Domain),
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
    fn a_u_label_is_its_a_label_and_keeps_its_spelling() {
        // RFC 5890 §2.3.2.1, RFC 6531 §3.3
        let (u, a) = (Domain::new("BÜCHER.example").unwrap(), Domain::new("xn--bcher-kva.EXAMPLE").unwrap());
        assert_eq!(u, a);
        assert_eq!((u.as_str(), u.as_given()), ("xn--bcher-kva.example", "BÜCHER.example"));
        assert_eq!(u.to_string(), "BÜCHER.example");
        assert_eq!(u.to_ascii().to_string(), "xn--bcher-kva.example");
        assert!(!u.is_ascii() && a.is_ascii() && u.to_ascii().is_ascii());
    }

    #[test]
    fn domains_compare_without_case() {
        let (a, b) = (Domain::new("Example.com").unwrap(), Domain::new("EXAMPLE.COM").unwrap());
        assert_eq!(a, b);
        assert_eq!(a.cmp(&b), Ordering::Equal);
        assert!(std::collections::HashSet::from([a]).contains(&b));
    }
}
