//! The texts of manifests parsed into the vocabulary of mail; what is wrong comes back as a reason and a cure. Pure.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use posthouse_model::{Domain, LocalPart, Mailbox, ParseAddressError};

use crate::reason::Reason;

/// What is wrong with a text.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

fn wrong<T>(reason: Reason, message: String) -> Result<T, Wrong> {
    Err(Wrong { reason, message })
}

/// A domain name in A-labels; an address literal is none.
pub(crate) fn domain(text: &str) -> Result<Domain, Wrong> {
    if text.contains('*') {
        return wrong(
            Reason::InvalidDomain,
            format!("{text:?} has a wildcard, but a domain is meant: name each domain"),
        );
    }
    if let Some(name) = text.strip_suffix('.') {
        return wrong(Reason::InvalidDomain, format!("{text:?} ends with a dot: write {name}"));
    }
    match Domain::new(text) {
        Ok(name) if !name.is_address_literal() => Ok(name),
        Ok(_) => wrong(Reason::InvalidDomain, format!("{text:?} is an address, but a domain name is meant")),
        Err(ParseAddressError::NeedsSmtpUtf8) => {
            wrong(Reason::InvalidDomain, format!("{text:?} is not in A-labels: write its xn-- form"))
        }
        Err(error) => wrong(
            Reason::InvalidDomain,
            format!("{text:?}: {error}: write letters, digits, hyphens and dots, such as mail.example.com"),
        ),
    }
}

/// A host name in A-labels or an address, in lower case.
pub(crate) fn host(text: &str) -> Result<String, Wrong> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    match Domain::new(text) {
        Ok(name) if !name.is_address_literal() => Ok(name.to_lowercase()),
        Err(ParseAddressError::NeedsSmtpUtf8) => {
            wrong(Reason::InvalidHost, format!("{text:?} is not in A-labels: write its xn-- form"))
        }
        _ => wrong(
            Reason::InvalidHost,
            format!(
                "{text:?} is neither a host name nor an address (an IPv6 address goes without brackets, a name without a final dot)"
            ),
        ),
    }
}

/// `address:port` of a DNS server.
pub(crate) fn nameserver(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().or_else(|_| {
        wrong(Reason::InvalidHost, format!("{text:?} is not an address and a port, such as 10.0.0.53:53"))
    })
}

/// A network in CIDR form.
pub(crate) fn network(text: &str) -> Result<IpNet, Wrong> {
    if let Ok(network) = text.parse::<IpNet>() {
        return Ok(network.trunc());
    }
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => {
            wrong(Reason::InvalidNetwork, format!("{text:?} has no length: write {text}/32 for one address"))
        }
        Ok(IpAddr::V6(_)) => {
            wrong(Reason::InvalidNetwork, format!("{text:?} has no length: write {text}/128 for one address"))
        }
        Err(_) => wrong(
            Reason::InvalidNetwork,
            format!("{text:?} is not a network, such as 192.0.2.0/24 or 2001:db8::/32"),
        ),
    }
}

/// A local part.
pub(crate) fn local_part(text: &str) -> Result<LocalPart, Wrong> {
    if text.contains('@') {
        return wrong(
            Reason::InvalidAddress,
            format!("{text:?} has a domain: write only what stands before the @"),
        );
    }
    LocalPart::new(text).or_else(|error| {
        let cure = "write what stands before the @, such as alice, and in double quotes what has spaces or dots in odd places";
        wrong(Reason::InvalidAddress, format!("{text:?}: {error}: {cure}"))
    })
}

/// An address.
pub(crate) fn mailbox(text: &str) -> Result<Mailbox, Wrong> {
    text.parse().or_else(|error| {
        let message = format!("{text:?}: {error}: write an address such as alice@example.com");
        wrong(Reason::InvalidAddress, message)
    })
}

/// A recipient inside a domain or anywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// A local part of the domain that the entry is in.
    Local(LocalPart),
    /// A whole address.
    Mailbox(Mailbox),
}

/// A local part, or a whole address.
pub(crate) fn target(text: &str) -> Result<Target, Wrong> {
    if text.contains('@') { mailbox(text).map(Target::Mailbox) } else { local_part(text).map(Target::Local) }
}

/// Domains that a grant is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DomainPattern {
    /// This one.
    Exactly(Domain),
    /// Every one below it, not itself.
    Below(Domain),
}

/// A domain, or `*.domain`.
pub(crate) fn domain_pattern(text: &str) -> Result<DomainPattern, Wrong> {
    let Some(parent) = text.strip_prefix("*.") else {
        if text.contains('*') {
            return wrong(
                Reason::InvalidPattern,
                format!("{text:?}: a wildcard stands alone before the first dot, as in *.example.com"),
            );
        }
        return domain(text).map(DomainPattern::Exactly);
    };
    // A grant of a whole top-level domain is a slip of the hand, never a wish (RFC 1985 §8 says so of ETRN's @com).
    if !parent.contains('.') {
        return wrong(
            Reason::InvalidPattern,
            format!("{text:?} is everything below one label: name a domain of at least two labels"),
        );
    }
    domain(parent).map(DomainPattern::Below)
}

/// A name in the store or of a Service port: lower-case letters, digits and hyphens, at most `longest`; `also` more characters.
pub(crate) fn name(text: &str, longest: usize, also: &str) -> Result<String, Wrong> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || also.contains(c);
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = (1..=longest).contains(&text.len())
        && text.chars().all(inner)
        && text.starts_with(edge)
        && text.ends_with(edge);
    if fits {
        Ok(text.to_owned())
    } else {
        let dots = if also.contains('.') { ", dots" } else { "" };
        wrong(
            Reason::InvalidName,
            format!(
                "{text:?} does not fit: use 1 to {longest} lower-case letters, digits, hyphens{dots}, with a letter or digit at both ends"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses() {
        for text in ["mx.example.com", "localhost", "192.0.2.1", "2001:db8::1", "MX.Example.com"] {
            assert_eq!(host(text).unwrap(), text.to_ascii_lowercase());
        }
        for text in
            ["", "a b", "[::1]", "mx.example.com.", "mx.example.com:25", "bücher.example", "a..b", "*.a"]
        {
            assert_eq!(host(text).unwrap_err().reason, Reason::InvalidHost, "{text}");
        }
    }

    #[test]
    fn networks_need_a_length_and_lose_their_host_bits() {
        assert_eq!(network("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
        assert!(network("10.0.0.1").unwrap_err().message.contains("10.0.0.1/32"));
        assert!(network("10.0.0.0/33").is_err() && network("all").is_err());
    }

    #[test]
    fn grants_take_subtrees_but_not_of_a_top_level_domain() {
        assert!(matches!(domain_pattern("*.a.example"), Ok(DomainPattern::Below(_))));
        assert!(matches!(domain_pattern("a.example"), Ok(DomainPattern::Exactly(_))));
        for text in ["*.example", "*", "a.*.example", "*a.example"] {
            assert_eq!(domain_pattern(text).unwrap_err().reason, Reason::InvalidPattern, "{text}");
        }
    }

    #[test]
    fn a_wildcard_in_a_domain_has_its_own_message() {
        assert!(domain("*.example.com").unwrap_err().message.contains("wildcard"));
    }
}
