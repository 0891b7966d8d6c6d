//! What a client session is told once, when it starts.

use posthouse_model::Domain;

use super::Authentication;

/// Which protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RFC 5321: EHLO, with HELO for peers that do not know it; one reply to the content.
    Smtp,
    /// RFC 2033: LHLO; one reply to the content for each accepted recipient.
    Lmtp,
}

/// What to do with content that was declared to be 8-bit when the peer lacks 8BITMIME (RFC 6152 §3). Content is never altered; and what was not
/// declared passes as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EightBit {
    /// Send it as it is, against the RFC: practically every peer takes it.
    Send,
    /// Refuse it locally: 554 5.6.3.
    #[default]
    Refuse,
}

/// Whether to encrypt the connection by STARTTLS (RFC 3207).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StartTls {
    /// Never; the driver need not be able to.
    #[default]
    Never,
    /// If the peer offers it; if it does not, or refuses it, mail goes in clear.
    IfOffered,
    /// No mail goes in clear: without it the session ends with 454 4.7.4 or 4.7.0 of our own.
    Required,
}

/// The settings of a session.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name said in EHLO, HELO or LHLO.
    pub hello: Domain,
    /// Which protocol is spoken.
    pub protocol: Protocol,
    /// What to do with 8-bit content when the peer lacks 8BITMIME.
    pub eight_bit: EightBit,
    /// Whether the connection is encrypted from the start (RFC 8314 §3): STARTTLS is never said then.
    pub encrypted: bool,
    /// Whether to encrypt it by STARTTLS.
    pub starttls: StartTls,
    /// Who this side is to the peer, if it must say so: then no mail goes without. For one session: its nonce must not come twice.
    pub authentication: Option<Authentication>,
}

impl Settings {
    /// SMTP with the defaults, in clear.
    #[must_use]
    pub fn smtp(hello: Domain) -> Self {
        Self::new(hello, Protocol::Smtp)
    }

    /// LMTP with the defaults, in clear.
    #[must_use]
    pub fn lmtp(hello: Domain) -> Self {
        Self::new(hello, Protocol::Lmtp)
    }

    fn new(hello: Domain, protocol: Protocol) -> Self {
        Self {
            hello,
            protocol,
            eight_bit: EightBit::default(),
            encrypted: false,
            starttls: StartTls::default(),
            authentication: None,
        }
    }
}
