//! What a client session is told once, when it starts.

use posthouse_model::Domain;

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

/// The settings of a session.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name said in EHLO, HELO or LHLO.
    pub hello: Domain,
    /// Which protocol is spoken.
    pub protocol: Protocol,
    /// What to do with 8-bit content when the peer lacks 8BITMIME.
    pub eight_bit: EightBit,
}

impl Settings {
    /// SMTP with the defaults.
    #[must_use]
    pub fn smtp(hello: Domain) -> Self {
        Self { hello, protocol: Protocol::Smtp, eight_bit: EightBit::default() }
    }

    /// LMTP with the defaults.
    #[must_use]
    pub fn lmtp(hello: Domain) -> Self {
        Self { hello, protocol: Protocol::Lmtp, eight_bit: EightBit::default() }
    }
}
