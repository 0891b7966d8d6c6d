//! Who authenticates, and by what secret. Pure.

use std::fmt;

/// The longest user name and password together, in octets: with what a mechanism puts around them they fit the longest line that a server takes
/// (RFC 4954 §4: 12,288 characters of base64, so 9,216 octets).
pub const LONGEST: usize = 8 * 1024;

/// A user name and its secret: a password, or an OAuth 2.0 access token for XOAUTH2.
///
/// Any mechanism can say them: neither is empty, and neither has a NUL in it (RFC 4616 §2).
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    username: &'a str,
    password: &'a str,
}

/// Which half of the credentials is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Half {
    /// The user name.
    Username,
    /// The password or token.
    Password,
}

/// Credentials that cannot be used. It never shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CredentialsError {
    /// There is nothing.
    #[error("the {0} is empty")]
    Empty(Half),
    /// It has a character in it that would end it: a NUL, or for XOAUTH2 any control character.
    #[error("the {0} has a control character in it that the mechanism does not allow")]
    Control(Half),
    /// Both together have more than [`LONGEST`] octets.
    #[error("the user name and the password have more than {LONGEST} octets")]
    TooLong,
    /// SASLprep does not allow it (RFC 4013 §2.3 to §2.5), so SCRAM cannot send it (RFC 5802 §5.1).
    #[error("the {0} has a character in it, or a mix of directions, that SASLprep (RFC 4013) prohibits")]
    Prohibited(Half),
}

impl<'a> Credentials<'a> {
    /// Takes both as they are; what a mechanism does to them (SASLprep, escapes) it does itself.
    pub fn new(username: &'a str, password: &'a str) -> Result<Self, CredentialsError> {
        for (half, text) in [(Half::Username, username), (Half::Password, password)] {
            if text.is_empty() {
                return Err(CredentialsError::Empty(half));
            }
            if text.contains('\0') {
                return Err(CredentialsError::Control(half));
            }
        }
        if username.len().saturating_add(password.len()) > LONGEST {
            return Err(CredentialsError::TooLong);
        }
        Ok(Self { username, password })
    }

    pub(crate) fn username(self) -> &'a str {
        self.username
    }

    pub(crate) fn password(self) -> &'a str {
        self.password
    }
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

impl fmt::Display for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Username => "user name",
            Self::Password => "password",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_that_no_mechanism_can_say_are_refused() {
        let error = |username, password| Credentials::new(username, password).unwrap_err();
        assert_eq!(error("", "p"), CredentialsError::Empty(Half::Username));
        assert_eq!(error("u", ""), CredentialsError::Empty(Half::Password));
        assert_eq!(error("u\0v", "p"), CredentialsError::Control(Half::Username));
        assert_eq!(error("u", "p\0"), CredentialsError::Control(Half::Password));
        let long = "x".repeat(LONGEST);
        assert_eq!(error("u", &long), CredentialsError::TooLong);
        assert!(Credentials::new("u", long.split_at(1).1).is_ok());
    }

    #[test]
    fn credentials_are_not_shown() {
        let shown = format!("{:?}", Credentials::new("tim", "tanstaaf").unwrap());
        assert_eq!(shown, "Credentials(..)");
    }
}
