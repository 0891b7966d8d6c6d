//! XOAUTH2: a bearer token in one message; an error comes as a challenge, is acknowledged, and then the command fails. In no RFC: Google's and
//! Microsoft's pages say how. No I/O.

use super::{Response, State};
use crate::credentials::{Credentials, CredentialsError, Half};

/// The message is said or about to be.
pub(super) struct XOAuth2 {
    _private: (),
}

impl XOAuth2 {
    /// `user=NAME ^A auth=Bearer TOKEN ^A ^A`, without the spaces. A control character would end a field early: none is allowed.
    pub(super) fn start(credentials: Credentials<'_>) -> Result<(Option<Response>, State), CredentialsError> {
        let (username, token) = (credentials.username(), credentials.password());
        for (half, text) in [(Half::Username, username), (Half::Password, token)] {
            if text.contains(char::is_control) {
                return Err(CredentialsError::Control(half));
            }
        }
        let message = format!("user={username}\x01auth=Bearer {token}\x01\x01");
        Ok((Some(Response::new(message.into_bytes())), State::XOAuth2(Self { _private: () })))
    }

    /// A challenge is the error, in JSON for the curious; the reply that follows it says as much.
    pub(super) fn respond(self) -> (Response, State) {
        let Self { _private: () } = self;
        (Response::empty(), State::Refused)
    }
}
