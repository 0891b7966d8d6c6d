//! LOGIN: two prompts, whose text is for people and says nothing here (draft-murchison-sasl-login §2.2). No I/O.

use super::{Response, State};
use crate::credentials::Credentials;

/// The first prompt is awaited.
pub(super) struct Login {
    username: Response,
    password: Password,
}

/// The second prompt is awaited.
pub(super) struct Password(Response);

impl Login {
    pub(super) fn new(credentials: Credentials<'_>) -> Self {
        Self {
            username: Response::new(credentials.username().into()),
            password: Password(Response::new(credentials.password().into())),
        }
    }

    pub(super) fn respond(self) -> (Response, State) {
        (self.username, State::LoginPassword(self.password))
    }
}

impl Password {
    pub(super) fn respond(self) -> (Response, State) {
        (self.0, State::Done)
    }
}
