//! What a client session tells its driver, and what became of each recipient.

use std::time::Duration;

use posthouse_model::{EnhancedStatus, Reply, ReplyCode, Severity};

/// What the driver must know or do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer waits for the handshake of TLS, and everything was written: make it on the connection, then call
    /// [`upgraded`](super::Session::upgraded). If it fails, drop the connection: what the session learned in clear is worth nothing.
    StartTls,
    /// The next transaction may [`begin`](super::Session::begin), or the session [`quit`](super::Session::quit); said once each time it becomes so.
    Ready,
    /// The peer is ready for the content, and at least one recipient was accepted: check the lease, then
    /// [`begin_content`](super::Session::begin_content) or [`abort`](super::Session::abort).
    ContentDue,
    /// The transaction is over: one delivery per recipient, in the order of the transaction.
    Finished(Vec<Delivery>),
    /// The session is over; comes once, after the deliveries of a transaction that was in flight.
    Closed(Closed),
}

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The peer took the responsibility.
    Accepted {
        /// By this reply.
        reply: Reply,
        /// It knows DSN, so it has also taken over what the sender asked to be told (RFC 3461 §5.2.1). If not, and the sender asked for SUCCESS, a
        /// "relayed" DSN is due from this side (§5.2.2 (b)).
        dsn: bool,
    },
    /// The peer, or this side without asking the peer, said no. Of a very long reply only the first words are kept.
    Refused(Refusal),
    /// The connection ended before there was an outcome.
    Lost(Loss),
    /// The driver gave up before the final dot.
    Aborted,
    /// The recipient was not named to the peer, which takes no more of them at once (RFC 9422): send to it in another transaction. That is no failed
    /// attempt. If it is so for all recipients, the session has ended, and a new one takes them.
    NotTried,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was refused.
    pub stage: Stage,
    /// How.
    pub reply: Reply,
    /// By whom: only what the peer said belongs into a DSN's Diagnostic-Code (RFC 3464 §2.3.6).
    pub origin: Origin,
}

impl Refusal {
    /// Whether another attempt is pointless.
    ///
    /// RFC 5321 §4.5.3.1.10: 552 to RCPT is taken as 452 when it means too many recipients: it says 5.5.3, or nothing. With another status (mailbox
    /// full, message too large) it stays permanent.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        let too_many_recipients = self.stage == Stage::Rcpt
            && self.reply.code() == ReplyCode::TOO_MUCH
            && self.reply.status().is_none_or(|status| status == EnhancedStatus::permanent(5, 3));
        self.reply.severity() == Severity::Permanent && !too_many_recipients
    }

    /// Whether the peer ends the connection with it (RFC 5321 §3.8): 421 may answer anything, and says nothing of what it answers.
    #[must_use]
    pub fn is_farewell(&self) -> bool {
        self.reply.code() == ReplyCode::NOT_AVAILABLE
    }
}

/// Who refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The peer.
    Remote,
    /// This side, from what the peer offered.
    Local,
}

/// A connection that ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// What was waited for.
    pub stage: Stage,
    /// Why it ended.
    pub cause: Cause,
    /// The final dot, or the last chunk, was on its way: the peer may have delivered, and another attempt may be a duplicate (RFC 5321 §4.5.4.1).
    pub final_dot_sent: bool,
}

/// Why a connection ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It was closed or reset.
    Disconnected,
    /// A timer ran out.
    Timeout,
    /// The peer broke the protocol.
    Protocol(ProtocolError),
}

/// How the peer broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ProtocolError {
    /// A reply is longer than 64 KiB.
    #[error("the reply is too long")]
    ReplyTooLong,
    /// A reply is not made as RFC 5321 §4.2 says.
    #[error("the reply is malformed")]
    MalformedReply,
    /// A reply came that nothing asked for, or one whose code makes no sense here.
    #[error("a reply that makes no sense here")]
    UnexpectedReply,
    /// A reply came before its command was written.
    #[error("a reply before its command")]
    EarlyReply,
    /// Octets in clear came behind the peer's go-ahead for TLS (RFC 3207 §4.2): somebody may want them to be taken for the peer's encrypted words.
    #[error("octets in clear behind the reply to STARTTLS")]
    ClearAfterStartTls,
}

/// Where in a session something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Waiting for the greeting.
    Greeting,
    /// EHLO, HELO or LHLO.
    Hello,
    /// STARTTLS, and the handshake.
    StartTls,
    /// AUTH and its exchange.
    Authentication,
    /// Between two transactions, RSET, QUIT.
    Idle,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA.
    Data,
    /// The content, before the final dot or the last chunk.
    Content,
    /// After the final dot or the last chunk.
    FinalDot,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// By QUIT.
    Quit,
    /// The peer wants no (more) mail now: its greeting, its answer to EHLO or AUTH, or 421 at any point. Or it gets none from this side, for it
    /// lacks what is required here.
    Refused(Refusal),
    /// The connection ended early.
    Lost(Loss),
    /// By [`abort`](super::Session::abort).
    Aborted,
}

/// What the session waits for from the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    /// The greeting.
    Greeting,
    /// The reply to EHLO, HELO or LHLO.
    Hello,
    /// The reply to STARTTLS.
    StartTls,
    /// The reply to AUTH or to a response.
    Authentication,
    /// The reply to RSET.
    Reset,
    /// The reply to MAIL.
    Mail,
    /// The reply to RCPT.
    Rcpt,
    /// The reply to DATA.
    Data,
    /// That the peer takes the next piece of content: the timer of each write.
    ContentBlock,
    /// The reply to a chunk (RFC 3030 §2).
    Chunk,
    /// The reply to the content.
    FinalDot,
    /// The reply to QUIT.
    Quit,
    /// Nothing: it is the driver's turn.
    Nothing,
}

impl Wait {
    /// How long to wait at least (RFC 5321 §4.5.3.2); none where the peer owes nothing. Each is for one reply or one write, never for the whole
    /// transaction.
    #[must_use]
    pub fn timeout(self) -> Option<Duration> {
        match self {
            Self::Greeting     // RFC 5321 §4.5.3.2.1
            | Self::Mail       // RFC 5321 §4.5.3.2.2
            | Self::Rcpt       // RFC 5321 §4.5.3.2.3
            | Self::Hello | Self::StartTls | Self::Authentication | Self::Reset | Self::Chunk => Some(Duration::from_mins(5)), // not named there; like MAIL
            Self::Data => Some(Duration::from_mins(2)),         // RFC 5321 §4.5.3.2.4
            Self::ContentBlock => Some(Duration::from_mins(3)), // RFC 5321 §4.5.3.2.5
            Self::FinalDot => Some(Duration::from_mins(10)),    // RFC 5321 §4.5.3.2.6
            Self::Quit => Some(Duration::from_secs(10)),        // everything is settled: courtesy only
            Self::Nothing => None,
        }
    }
}
