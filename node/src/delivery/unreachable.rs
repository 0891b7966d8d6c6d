//! Why no host of a next hop takes mail, and what is said of the mail that waits for it. Pure.

use posthouse_dns::NoHosts;
use posthouse_model::{EnhancedStatus, Mailbox, Reply, ReplyCode, Route, Severity};
use posthouse_smtp::client::{Cause, Loss, Origin, Refusal, Stage};

use super::{egress::Forbidden, means::NoMeans};
use crate::names::NobodyToAsk;

/// Where no relay rule matches: the recipient domain's own servers.
const DIRECT_DELIVERY: &str = "direct delivery";

/// The kind of resource that can say so too.
const RELAY_RULE: &str = "RelayRule ";

/// Why no host of a next hop takes mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// The host that was tried last, `host:port`; empty where it came to none.
    pub host: String,
    /// Who says so, and how.
    pub said: Said,
    /// In words; of the far end's there are none but in a reply.
    pub reason: String,
    /// Whether to go on to the next host.
    pub is_final: bool,
}

/// Who says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The far end.
    Theirs(Reply),
    /// This side.
    Ours(EnhancedStatus),
    /// The DNS.
    Dns(NoHosts),
}

impl Unreachable {
    /// Of this side's own.
    #[must_use]
    pub fn ours(host: &str, status: EnhancedStatus, reason: String) -> Self {
        Self { host: host.to_owned(), said: Said::Ours(status), reason, is_final: false }
    }

    /// A connection that could not be made. RFC 3463 §3.5: 4.4.1, no answer from host
    #[must_use]
    pub fn no_answer(host: &str, reason: String) -> Self {
        Self::ours(host, EnhancedStatus::transient(4, 1), reason)
    }

    /// A connection that was lost before mail could be sent. RFC 3463 §3.5: 4.4.2, bad connection
    #[must_use]
    pub fn lost(host: &str, loss: Loss) -> Self {
        Self::ours(host, EnhancedStatus::transient(4, 2), lost(loss.cause, loss.stage))
    }

    /// A handshake that failed. RFC 3463 §3.8: 4.7.5, cryptographic failure
    #[must_use]
    pub fn no_handshake(host: &str, why: &str) -> Self {
        Self::ours(host, EnhancedStatus::transient(7, 5), format!("no TLS with {host}: {why}"))
    }

    /// A session that the far end, or this side, refused before mail could be sent.
    #[must_use]
    pub fn refused(host: &str, refusal: Refusal) -> Self {
        let Refusal { stage, reply, origin } = refusal;
        let (host, is_farewell) = (host.to_owned(), reply.code() == ReplyCode::NOT_AVAILABLE);
        match (origin, stage) {
            // What the far end offers, and why that will not do, is for the node's log.
            (Origin::Local, Stage::Authentication) => {
                let status = reply.status().unwrap_or(EnhancedStatus::transient(7, 0));
                let reason = format!("this gateway cannot log in to {host}");
                Self { host, said: Said::Ours(status), reason, is_final: false }
            }
            (Origin::Local, _) => {
                let status = reply.status().unwrap_or(EnhancedStatus::transient(0, 0));
                Self { host, said: Said::Ours(status), reason: reply.text(), is_final: false }
            }
            // Its text is for who runs the gateway, not for who sent the mail. RFC 4954 §6: X.7.8, credentials invalid. The next host would know them no
            // better, and may lock them for the try.
            (Origin::Remote, Stage::Authentication) if !is_farewell => Self {
                reason: format!("{host} refuses the login of this gateway with {}", reply.code()),
                host,
                said: Said::Ours(EnhancedStatus::transient(7, 8)),
                is_final: reply.severity() == Severity::Permanent,
            },
            (Origin::Remote, _) => Self {
                host,
                reason: format!("it takes no mail now: {reply}"),
                said: Said::Theirs(reply),
                is_final: false,
            },
        }
    }

    /// The outcome of a next hop of which the first hosts led to `self` and another one to `next`: who was spoken to tells more than who could not be.
    #[must_use]
    pub fn or(self, next: Self) -> Self {
        let weight = |one: &Self| match one.said {
            Said::Theirs(_) => 2,
            Said::Ours(_) => 1,
            Said::Dns(_) => 0,
        };
        if weight(&self) > weight(&next) { self } else { next }
    }

    /// Why mail by this route to this recipient can never be delivered, if so. Only the recipient domain's own word counts: a smart host that is mistyped
    /// bounces nothing.
    #[must_use]
    pub fn permanent(&self, route: &Route, recipient: &Mailbox) -> Option<&NoHosts> {
        match &self.said {
            Said::Dns(why) if why.is_permanent() && is_direct(route, recipient) => Some(why),
            _ => None,
        }
    }
}

impl From<NoMeans> for Unreachable {
    fn from(why: NoMeans) -> Self {
        Self { is_final: true, ..Self::ours("", why.status(), why.to_string()) }
    }
}

impl From<NoHosts> for Unreachable {
    fn from(why: NoHosts) -> Self {
        Self { host: String::new(), reason: why.to_string(), said: Said::Dns(why), is_final: false }
    }
}

impl From<NobodyToAsk> for Unreachable {
    fn from(why: NobodyToAsk) -> Self {
        // RFC 3463 §3.5: 4.4.3, directory server failure
        Self::ours("", EnhancedStatus::transient(4, 3), why.to_string())
    }
}

impl Unreachable {
    /// An address that is not connected to.
    #[must_use]
    pub fn forbidden(host: &str, why: &Forbidden) -> Self {
        Self::ours(host, why.status(), format!("{host} is not connected to: {why}"))
    }
}

/// Whether the recipient domain's own servers are meant.
fn is_direct(route: &Route, recipient: &Mailbox) -> bool {
    let says_so = route.origin == DIRECT_DELIVERY || route.origin.starts_with(RELAY_RULE);
    let [only] = route.next_hop.hosts.as_slice() else { return false };
    let is_its_host = match recipient.domain().address() {
        Some(address) => only.host == address.to_string(),
        None => only.port.is_none() && only.host == recipient.domain().to_lowercase(),
    };
    says_so && is_its_host
}

/// How a connection was lost, in words.
#[must_use]
pub fn lost(cause: Cause, stage: Stage) -> String {
    let stage = match stage {
        Stage::Greeting => "before the greeting",
        Stage::Hello => "in reply to EHLO",
        Stage::StartTls => "in reply to STARTTLS",
        Stage::Authentication => "in reply to AUTH",
        Stage::Idle => "between two messages",
        Stage::Mail => "in reply to MAIL",
        Stage::Rcpt => "in reply to RCPT",
        Stage::Data => "in reply to DATA",
        Stage::Content => "while the content was sent",
        Stage::FinalDot => "after the final dot, before its reply",
    };
    match cause {
        Cause::Disconnected => format!("it closed the connection {stage}"),
        Cause::Timeout => format!("it did not answer in time {stage}"),
        Cause::Protocol(error) => format!("it broke the protocol {stage}: {error}"),
    }
}

#[cfg(test)]
mod tests;
