//! Patterns of addresses, as relay rules match by them. No I/O.
//!
//! A pattern has its wildcard in the local part only. Local parts compare with case, as an envelope address is taken as it was given;
//! domains compare without. `%` and `!` are letters like any other.

use std::{fmt, str::FromStr};

use posthouse_model::{Domain, LocalPart, Mailbox, ReversePath};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A pattern of addresses: `*@example.com`, `sales-*@example.com`, `boss@example.com`. `*` stands for any run of characters, an empty one too;
/// in a quoted local part it is a star.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressPattern {
    local: LocalPart,
    domain: Domain,
    is_wild: bool,
}

/// A text that is no pattern of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePatternError {
    /// The domain has a wildcard.
    #[error("the wildcard * is allowed in the part before the @ only")]
    WildcardInDomain,
    /// It is no address.
    #[error("not an address or a pattern like *@example.com: {0}")]
    Address(#[from] posthouse_model::ParseAddressError),
}

impl AddressPattern {
    /// Whether the address fits.
    #[must_use]
    pub fn matches(&self, address: &Mailbox) -> bool {
        // the domain first: it sorts most addresses out by its length alone
        self.domain == *address.domain() && self.matches_local(address.local().value())
    }

    /// The domain that every address that fits has.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    fn matches_local(&self, text: &str) -> bool {
        if !self.is_wild {
            return self.local.value() == text;
        }
        let mut parts = self.local.value().split('*');
        let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
        let Some(rest) = parts.next_back().and_then(|last| rest.strip_suffix(last)) else { return false };
        // each part in the middle at its first place: if any placement fits, this one does
        parts.try_fold(rest, |rest, part| rest.split_once(part).map(|(_, after)| after)).is_some()
    }
}

impl fmt::Display for AddressPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl FromStr for AddressPattern {
    type Err = ParsePatternError;

    fn from_str(text: &str) -> Result<Self, ParsePatternError> {
        if text.rsplit_once('@').is_some_and(|(_, domain)| domain.contains('*') && !domain.ends_with('"')) {
            return Err(ParsePatternError::WildcardInDomain);
        }
        let address: Mailbox = text.parse()?;
        let (local, domain) = (address.local().clone(), address.domain().clone());
        // RFC 5322 §3.2.3: a star is a letter of an atom; quoted, it is meant as one
        let is_wild = !local.as_str().starts_with('"') && local.as_str().contains('*');
        Ok(Self { local, domain, is_wild })
    }
}

/// A pattern of reverse-paths: addresses, or the null reverse-path, which no pattern of addresses fits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SenderPattern {
    /// `<>`
    Null,
    /// Addresses.
    Address(AddressPattern),
}

impl SenderPattern {
    /// Whether the reverse-path fits.
    #[must_use]
    pub fn matches(&self, sender: &ReversePath) -> bool {
        match (self, sender) {
            (Self::Null, ReversePath::Null) => true,
            (Self::Address(pattern), ReversePath::Mailbox(address)) => pattern.matches(address),
            _ => false,
        }
    }
}

impl fmt::Display for SenderPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Address(pattern) => pattern.fmt(f),
        }
    }
}

impl FromStr for SenderPattern {
    type Err = ParsePatternError;

    fn from_str(text: &str) -> Result<Self, ParsePatternError> {
        if text == "<>" { Ok(Self::Null) } else { text.parse().map(Self::Address) }
    }
}

impl Serialize for AddressPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AddressPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for SenderPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SenderPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(pattern: &str, address: &str) -> bool {
        pattern.parse::<AddressPattern>().unwrap().matches(&address.parse().unwrap())
    }

    #[test]
    fn a_star_is_any_run_of_the_local_part_and_the_domain_has_no_case() {
        assert!(fits("*@example.com", "anyone@EXAMPLE.com"));
        assert!(fits("sales-*@example.com", "sales-@example.com"));
        assert!(fits("a*b*c@example.com", "axxbyyc@example.com"));
        assert!(!fits("a*a@example.com", "a@example.com"), "one letter is not two");
        assert!(!fits("*@example.com", "a@sub.example.com"));
        assert!(!fits("boss@example.com", "Boss@example.com"), "a local part is taken as it was given");
        assert!(fits("\"*\"@example.com", "*@example.com") && !fits("\"*\"@example.com", "a@example.com"));
        assert!(fits("a@example.com", "\"a\"@example.com"), "RFC 5321 §4.1.2: quotes are only a spelling");
    }

    #[test]
    fn percent_and_bang_are_letters() {
        assert!(!fits("*@b.example", "user%b.example@a.example"));
        assert!(fits("user%*@a.example", "user%b.example@a.example"));
    }

    #[test]
    fn the_null_reverse_path_fits_only_itself() {
        let null: SenderPattern = "<>".parse().unwrap();
        let any: SenderPattern = "*@example.com".parse().unwrap();
        assert!(null.matches(&ReversePath::Null) && !any.matches(&ReversePath::Null));
        assert!(!null.matches(&"<a@example.com>".parse().unwrap()));
    }

    #[test]
    fn a_wildcard_in_the_domain_is_refused_and_says_so() {
        assert_eq!("a@*.com".parse::<AddressPattern>(), Err(ParsePatternError::WildcardInDomain));
        for text in ["", "*", "@example.com", "a@", "a b@example.com"] {
            assert!(matches!(text.parse::<AddressPattern>(), Err(ParsePatternError::Address(_))), "{text}");
        }
    }

    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|skip| naive(rest, &text[skip..])),
            Some((c, rest)) => text.split_first().is_some_and(|(t, text)| t == c && naive(rest, text)),
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_trying_everything_finds(pattern in "[ab*]{1,8}", text in "[ab]{1,10}") {
            let expected = naive(pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(fits(&format!("{pattern}@x"), &format!("{text}@x")), expected);
            let parsed: AddressPattern = format!("{pattern}@x").parse().unwrap();
            prop_assert_eq!(parsed.to_string(), format!("{pattern}@x"));
        }
    }
}
