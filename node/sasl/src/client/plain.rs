//! PLAIN: all in one message (RFC 4616 §2). No I/O.

use super::Response;
use crate::credentials::Credentials;

/// `[authzid] NUL authcid NUL passwd`. Without an authorization identity: to act as oneself.
pub(super) fn message(credentials: Credentials<'_>) -> Response {
    let (username, password) = (credentials.username(), credentials.password());
    Response::new([b"\0", username.as_bytes(), b"\0", password.as_bytes()].concat())
}
