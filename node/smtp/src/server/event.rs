//! What a server session tells and asks its driver.

use std::fmt;

use posthouse_model::{Envid, ForwardPath, Notify, OriginalRecipient, Reply, Ret, ReversePath};

use crate::content::Mark;

/// What the driver must know or decide. Those marked *asks* wait for [`Session::answer`](super::Session::answer).
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'s> {
    /// HELO or EHLO was accepted. An open transaction is gone (RFC 5321 §4.1.4).
    Hello(Client),
    /// *Asks*: MAIL, well-formed, in order, and not above the size limit.
    Mail(Mail),
    /// *Asks*: RCPT, well-formed, in order, within the limit of recipients.
    Rcpt(Rcpt),
    /// *Asks*: STARTTLS. A positive answer is said as 220; when that is written the driver makes the handshake, then calls
    /// [`Session::secured`](super::Session::secured). What the client says in clear behind STARTTLS is dropped unseen (RFC 3207 §4.2).
    StartTls,
    /// *Asks*: DATA, or the first BDAT, with at least one accepted recipient. A positive answer is said as 354; to BDAT it is not said.
    Data,
    /// The next piece of content, unstuffed; valid until the session is touched again.
    Content(&'s [u8]),
    /// *Asks*: the content is complete. A positive answer takes over the responsibility (RFC 5321 §4.2.5): only once it is durable.
    ContentEnd(ContentSummary),
    /// The content is refused: drop what came of it. The session gives the reply itself; the transaction is over.
    Discarded(Discard),
    /// The transaction is gone without content: RSET.
    Reset,
    /// The session refused a command by itself; for logs and metrics.
    Refused(Reply),
    /// The session is over, and with it an open transaction; comes once.
    Closed(ClosedBy),
}

/// Whether the client said HELO or EHLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HELO.
    Smtp,
    /// EHLO.
    Esmtp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Smtp => "SMTP",
            Self::Esmtp => "ESMTP",
        })
    }
}

impl Protocol {
    /// The `with` clause of Received: RFC 3848, RFC 6531 §4.3. HELO has only the one, whatever the connection.
    #[must_use]
    pub fn with_clause(self, encrypted: bool, smtputf8: bool) -> &'static str {
        match (self, smtputf8, encrypted) {
            (Self::Smtp, ..) => "SMTP",
            (Self::Esmtp, false, false) => "ESMTP",
            (Self::Esmtp, false, true) => "ESMTPS",
            (Self::Esmtp, true, false) => "UTF8SMTP",
            (Self::Esmtp, true, true) => "UTF8SMTPS",
        }
    }
}

/// Who the client says it is. The name is 1 to 255 printable ASCII characters without space, parentheses or angle brackets: good for a
/// Received line, but never checked against an address (RFC 5321 §4.1.4: a mismatch is no reason to refuse).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The argument of HELO or EHLO.
    pub name: String,
    /// Which of the two.
    pub protocol: Protocol,
}

/// The BODY parameter (RFC 6152, RFC 3030 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// `BODY=7BIT`
    SevenBit,
    /// `BODY=8BITMIME`
    EightBitMime,
    /// `BODY=BINARYMIME`: any octets; the content comes by BDAT.
    BinaryMime,
}

/// A MAIL command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Who gets the bounce.
    pub reverse_path: ReversePath,
    /// `SIZE=`: how large the client thinks the message is; not above the limit.
    pub size: Option<u64>,
    /// `BODY=`, if given.
    pub body: Option<Body>,
    /// `SMTPUTF8`: addresses and header may be beyond ASCII (RFC 6531 §3.4).
    pub smtputf8: bool,
    /// `RET=`, if given (RFC 3461 §4.3).
    pub ret: Option<Ret>,
    /// `ENVID=`, if given (RFC 3461 §4.4).
    pub envid: Option<Envid>,
}

/// A RCPT command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rcpt {
    /// Who the mail is for.
    pub forward_path: ForwardPath,
    /// `NOTIFY=` (RFC 3461 §4.1).
    pub notify: Notify,
    /// `ORCPT=`, if given (RFC 3461 §4.2).
    pub orcpt: Option<OriginalRecipient>,
}

/// What was learned while the content streamed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentSummary {
    /// Octets of content, unstuffed.
    pub size: u64,
    /// `Received` fields in the header: the hops so far (RFC 5321 §6.3).
    pub received: u32,
    /// What hosts wrote into them to know their own again.
    pub marks: Vec<Mark>,
    /// Whether there are octets above 127: what the next hop needs 8BITMIME for.
    pub eight_bit: bool,
    /// Whether a header of it, at any level of MIME, is beyond ASCII: what the next hop needs SMTPUTF8 for (RFC 6531 §3.7.1). Only looked
    /// for where the client said SMTPUTF8.
    pub utf8_header: bool,
}

/// Why content is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Discard {
    /// A bare CR or LF; the session closes.
    BareLineEnd,
    /// A line above the limit.
    LineTooLong,
    /// Above the size limit.
    TooLarge,
}

/// Who ended the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClosedBy {
    /// QUIT.
    Client,
    /// 421 by the driver: shutdown, or too busy.
    Server,
    /// The client was silent too long.
    Timeout,
    /// Too many failed commands.
    Failures,
    /// The client broke the protocol in a way that leaves no safe next step.
    Violation,
}

/// What the session waits for from the client, and so which of the driver's timers runs (RFC 5321 §4.5.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    /// The next command: §4.5.3.2.7.
    Command,
    /// The next piece of content: §4.5.3.2.5.
    Content,
    /// The command that brings the next piece of content (RFC 3030 §2), or drops what has come.
    Chunk,
    /// Nothing: an answer of the driver is due, or the session is over.
    Nothing,
}
