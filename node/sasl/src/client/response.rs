//! What the client says in an exchange. No I/O.

use std::fmt;

use zeroize::Zeroizing;

use crate::base64;

/// A response: mostly a secret, so never shown and wiped when it is dropped. May be empty.
pub struct Response(Zeroizing<Vec<u8>>);

impl Response {
    pub(super) fn new(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }

    pub(super) fn empty() -> Self {
        Self::new(Vec::new())
    }

    /// It, as it is.
    #[must_use]
    pub fn as_octets(&self) -> &[u8] {
        &self.0
    }

    /// It in base64, as SMTP and POP3 carry it. What is in there is no less a secret.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(base64::encode(&self.0))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Response(..)")
    }
}
