//! Why an exchange fails. In our own words: nothing that the server said is quoted, and no secret is.

use super::{FEWEST_ITERATIONS, LONGEST_CHALLENGE, MOST_ITERATIONS};

/// Why an exchange cannot go on, or why its success is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ExchangeError {
    /// A challenge is longer than [`LONGEST_CHALLENGE`].
    #[error("the server's challenge has more than {LONGEST_CHALLENGE} octets")]
    ChallengeTooLong,
    /// A challenge is not what the mechanism says; also one that is empty, or not empty, where it must not be so.
    #[error("the server's challenge is malformed")]
    MalformedChallenge,
    /// A challenge, or data with the success, when all is said.
    #[error("the server goes on when everything is said")]
    UnexpectedChallenge,
    /// RFC 5802 §5.1: an extension (`m=`) that must be understood, and nobody has defined one.
    #[error("the server demands an extension of SCRAM that is not known")]
    UnknownExtension,
    /// RFC 5802 §5.1: the nonce does not begin with ours, or adds nothing to it.
    #[error("the server's nonce does not continue ours: it answers another exchange")]
    ForeignNonce,
    /// Fewer than [`FEWEST_ITERATIONS`].
    #[error(
        "the server asks for fewer than {FEWEST_ITERATIONS} iterations, which would make the password easy to guess"
    )]
    TooFewIterations,
    /// More than [`MOST_ITERATIONS`].
    #[error("the server asks for more than {MOST_ITERATIONS} iterations")]
    TooManyIterations,
    /// RFC 5802 §5, `e=`, or the error of XOAUTH2: the server does not take the credentials, or has trouble.
    #[error("the server refuses the credentials")]
    Refused,
    /// RFC 5802 §5: the signature is not that of somebody who knows the password (or its keys).
    #[error("the server's signature is wrong: it does not know the password")]
    WrongSignature,
    /// Success before the exchange has come to its end; with SCRAM, before the server has proved that it knows the password.
    #[error("the server declares success before the exchange is at its end")]
    Unfinished,
    /// Anything after another error.
    #[error("the exchange has failed before")]
    Over,
}
