//! CRAM-MD5: a keyed digest of the server's challenge (RFC 2195 §2). No I/O.

use std::fmt::Write as _;

use hmac::Hmac;
use md5::Md5;
use zeroize::Zeroizing;

use super::{ExchangeError, Response, State};
use crate::{credentials::Credentials, scram::hmac};

/// The challenge is awaited.
pub(super) struct CramMd5 {
    username: String,
    password: Zeroizing<String>,
}

impl CramMd5 {
    pub(super) fn new(credentials: Credentials<'_>) -> Self {
        Self {
            username: credentials.username().to_owned(),
            password: Zeroizing::new(credentials.password().to_owned()),
        }
    }

    /// The user name, a space, the digest in lower-case hexadecimal.
    pub(super) fn respond(self, challenge: &[u8]) -> Result<(Response, State), ExchangeError> {
        // Any text will do (few servers make the msg-id that RFC 2195 §2 speaks of), but not none: its digest would be as good as the password.
        if challenge.is_empty() {
            return Err(ExchangeError::MalformedChallenge);
        }
        let mut text = self.username;
        text.push(' ');
        for octet in hmac::<Hmac<Md5>>(self.password.as_bytes(), challenge).iter() {
            // A string takes whatever is written.
            let _ = write!(text, "{octet:02x}");
        }
        Ok((Response::new(text.into_bytes()), State::Done))
    }
}
