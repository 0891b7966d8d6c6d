//! What a server session is told once, when it starts. Plain data.

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
    /// Whether the session is encrypted, or may become so.
    pub tls: Tls,
}

/// TLS of a session (RFC 3207, RFC 8314).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tls {
    /// Neither there nor offered.
    #[default]
    Absent,
    /// STARTTLS is offered.
    Offered,
    /// STARTTLS is offered, and nothing else is done before it.
    Required,
    /// The connection is encrypted.
    Active,
}

impl Settings {
    /// Settings with the defaults: no fixed message size, 100 recipients, 20 failed commands, no TLS.
    #[must_use]
    pub fn new(hostname: impl Into<String>) -> Self {
        Self {
            hostname: hostname.into(),
            message_size: None,
            recipients: 100,
            failed_commands: Some(20),
            tls: Tls::default(),
        }
    }
}
