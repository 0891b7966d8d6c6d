//! What is asked and what is answered: the vocabulary between the resolver and the plan. Pure.

use std::{fmt, net::IpAddr};

use crate::name::HostName;

/// A type of record that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Mail exchangers (RFC 1035 §3.3.9).
    Mx,
    /// IPv4 addresses (RFC 1035 §3.4.1).
    A,
    /// IPv6 addresses (RFC 3596).
    Aaaa,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mx => "MX",
            Self::A => "A",
            Self::Aaaa => "AAAA",
        })
    }
}

/// A question: records of one type of one name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// Whose records.
    pub name: HostName,
    /// Which records.
    pub kind: Kind,
}

impl fmt::Display for Question {
    /// `MX of example.com`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.kind, self.name)
    }
}

/// What the DNS knows, aliases followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The records, or that there are none.
    pub content: Content,
    /// Whether DNSSEC proves all of it, aliases and absence included; never without validation.
    pub secure: bool,
}

/// The records of an answer, or which kind of absence it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// MX records, at least one.
    Exchangers(Vec<Exchanger>),
    /// A or AAAA records, at least one.
    Addresses(Vec<IpAddr>),
    /// The name exists and has no record of this type (RFC 2308 §2.2).
    NoRecords,
    /// The name does not exist (RFC 2308 §2.1, NXDOMAIN).
    NoSuchName,
}

/// An MX record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanger {
    /// Lower is better.
    pub preference: u16,
    /// Who takes the mail.
    pub target: Target,
}

/// What an MX record names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A host.
    Host(HostName),
    /// `.`: nobody (RFC 7505).
    Nobody,
    /// A name that no host can have.
    Unusable,
}

/// A question without an answer. It may have one later: all of these are transient.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot find the {question}: {cause}")]
pub struct Failure {
    /// What was asked.
    pub question: Question,
    /// Why there is no answer.
    pub cause: Cause,
}

/// Why a question has no answer. In ascending order of what it tells: of several name servers, the last of these is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Cause {
    /// No name server answered in time.
    #[error("no name server answered in time")]
    TimedOut,
    /// No name server could be reached.
    #[error("no name server can be reached")]
    Network,
    /// The reply is no answer: a referral, a foreign record, an unknown code.
    #[error("the name server's reply is no answer")]
    Malformed,
    /// REFUSED, or NOTIMP and other codes that say the same.
    #[error("the name server refuses to answer")]
    Refused,
    /// SERVFAIL.
    #[error("the name server failed (SERVFAIL)")]
    ServerFailed,
    /// DNSSEC shows that the answer is not what the zone says, or what would prove it could not be fetched.
    #[error("the answer is bogus: DNSSEC validation failed")]
    Bogus,
}

impl Cause {
    /// For a metric's label.
    #[must_use]
    pub const fn category(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Network => "network",
            Self::Malformed => "malformed",
            Self::Refused => "refused",
            Self::ServerFailed => "server_failed",
            Self::Bogus => "bogus",
        }
    }
}
