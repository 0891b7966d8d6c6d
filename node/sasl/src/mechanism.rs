//! The mechanisms that are known here, by their names (IANA, SASL Mechanisms). Pure.

use std::{fmt, str::FromStr};

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// User and password in one message (RFC 4616).
    Plain,
    /// User and password in two messages (draft-murchison-sasl-login): obsolete, and still all that some servers offer.
    Login,
    /// A keyed digest of the server's challenge (RFC 2195).
    CramMd5,
    /// A salted challenge and response in which each side proves that it knows the password (RFC 5802).
    ScramSha1,
    /// The same with a better hash (RFC 7677).
    ScramSha256,
    /// An OAuth 2.0 bearer token in place of the password (Google's and Microsoft's, in no RFC).
    XOAuth2,
}

/// A name that no mechanism known here has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("it is none of PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-1, SCRAM-SHA-256, XOAUTH2")]
pub struct UnknownMechanism;

impl Mechanism {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Plain, Self::Login, Self::CramMd5, Self::ScramSha1, Self::ScramSha256, Self::XOAuth2];

    /// The name under which it is registered, or offered where it is not registered.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::CramMd5 => "CRAM-MD5",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::XOAuth2 => "XOAUTH2",
        }
    }

    /// Whether who reads the connection has the password or the token: RFC 4954 §4, such a mechanism belongs on an encrypted connection.
    #[must_use]
    pub fn shows_the_secret(self) -> bool {
        match self {
            Self::Plain | Self::Login | Self::XOAuth2 => true,
            Self::CramMd5 | Self::ScramSha1 | Self::ScramSha256 => false,
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Mechanism {
    type Err = UnknownMechanism;

    /// RFC 4422 §3.1 has names in upper case; but RFC 5321 §2.4 has no case in what EHLO offers, and servers use that.
    fn from_str(text: &str) -> Result<Self, UnknownMechanism> {
        Self::ALL.into_iter().find(|one| one.name().eq_ignore_ascii_case(text)).ok_or(UnknownMechanism)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mechanism_is_known_by_its_name_in_any_case() {
        for one in Mechanism::ALL {
            assert_eq!(one.to_string().parse(), Ok(one));
            assert_eq!(one.name().to_lowercase().parse(), Ok(one));
            // No name is the beginning of another's -PLUS.
            assert_eq!(format!("{one}-PLUS").parse::<Mechanism>(), Err(UnknownMechanism));
        }
        assert_eq!("".parse::<Mechanism>(), Err(UnknownMechanism));
        assert_eq!(" PLAIN".parse::<Mechanism>(), Err(UnknownMechanism));
    }
}
