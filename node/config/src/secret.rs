//! Credentials: what must be in a snapshot and in nothing else that we write. No I/O.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What stands where a secret was.
pub const REDACTED: &str = "[redacted]";

/// A text that is never printed: its [`Debug`](fmt::Debug) form is [`REDACTED`], and it has no other form for people. It is serialized as it is,
/// for a snapshot is sealed before it leaves the process; what people are shown was [redacted](crate::Snapshot::redacted) before.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(Box<str>);

impl Secret {
    /// A secret of this text.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself: for the far end's eyes only.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// A login elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credentials {
    /// The user name: not shown either, for some are tokens.
    pub username: Secret,
    /// The password.
    pub password: Secret,
}

impl Credentials {
    /// The same with nothing in it that must not be shown.
    #[must_use]
    pub fn redacted() -> Self {
        Self { username: Secret::new(REDACTED), password: Secret::new(REDACTED) }
    }
}
