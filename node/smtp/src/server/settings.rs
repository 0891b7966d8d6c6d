//! What a server session is told once, when it starts.

/// The settings of a session.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name in the greeting and the replies.
    pub hostname: String,
    /// The largest message in octets; none means no fixed maximum (RFC 1870 §4: offered as `SIZE 0`).
    pub message_size: Option<u64>,
    /// Accepted recipients per transaction; more get 452 4.5.3. RFC 5321 §4.5.3.1.8 asks for at least 100.
    pub recipients: u32,
    /// Commands that the session itself refused (syntax, sequence, not known) before it closes with 421; none means no limit. What the driver
    /// refuses does not count: a list with many stale recipients is no attack.
    pub failed_commands: Option<u32>,
}

impl Settings {
    /// Settings with the defaults: no fixed message size, 100 recipients, 20 failed commands.
    #[must_use]
    pub fn new(hostname: impl Into<String>) -> Self {
        Self { hostname: hostname.into(), message_size: None, recipients: 100, failed_commands: Some(20) }
    }
}
