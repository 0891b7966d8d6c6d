//! What a driver gives a session to send. No I/O.

use posthouse_model::{Envid, Mailbox, Notify, OriginalRecipient, Ret, ReversePath};

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Who gets the bounce.
    pub reverse_path: ReversePath,
    /// Who the mail is for, at least one.
    pub recipients: Vec<Recipient>,
    /// Octets of content, without stuffed dots and the final one (RFC 1870 §5).
    pub size: u64,
    /// What the content was declared to be.
    pub body: Body,
    /// Whether it needs SMTPUTF8.
    pub utf8: Utf8,
    /// What a notification of failure brings back (RFC 3461 §4.3), if the sender said so.
    pub ret: Option<Ret>,
    /// The sender's own name of the transaction (RFC 3461 §4.4).
    pub envid: Option<Envid>,
}

/// Who the mail is for, and what its sender asks to be told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The mailbox.
    pub address: Mailbox,
    /// On what the sender wants to be told (RFC 3461 §4.1).
    pub notify: Notify,
    /// Who the sender meant at first (RFC 3461 §4.2). RFC 3461 §5.2.1 (d): it goes on as it came. Where there was none, one may be added, of the
    /// address that the mail came in with: only the driver can know that one, so the session makes up none.
    pub original: Option<OriginalRecipient>,
}

/// What the content is, as its sender declared it (BODY of MAIL). Nobody looks into it: content beyond what was declared goes as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Body {
    /// `7BIT`, or nothing was said.
    #[default]
    SevenBit,
    /// `8BITMIME` (RFC 6152): lines with octets above 127.
    EightBit,
    /// `BINARYMIME` (RFC 3030 §3): any octets, no lines.
    Binary,
}

/// Whether a message needs SMTPUTF8 (RFC 6531).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Utf8 {
    /// No: addresses and header are in ASCII, or would be with A-labels.
    #[default]
    NotNeeded,
    /// An address is beyond ASCII, or the sender declared SMTPUTF8; the header (at every level of MIME) is in ASCII, so that the message can go
    /// without, where its addresses have a form in ASCII.
    Addresses,
    /// The header has UTF-8 in it: only a peer with SMTPUTF8 can take it (RFC 6532 §3).
    Headers,
}

impl Transaction {
    /// A transaction with 7-bit content about which nothing else was said.
    #[must_use]
    pub fn new(reverse_path: ReversePath, recipients: Vec<Recipient>, size: u64) -> Self {
        Self {
            reverse_path,
            recipients,
            size,
            body: Body::default(),
            utf8: Utf8::default(),
            ret: None,
            envid: None,
        }
    }

    /// The same with content that was declared to be this.
    #[must_use]
    pub fn with_body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

impl From<Mailbox> for Recipient {
    /// A recipient of whom the sender asked nothing.
    fn from(address: Mailbox) -> Self {
        Self { address, notify: Notify::ABSENT, original: None }
    }
}
