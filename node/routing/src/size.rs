//! How large a message may be: the gateway's limit, and the two of a domain, for what it sends and for what it receives. Pure.

use posthouse_model::{ForwardPath, Reply, ReversePath};

use crate::{reply, router::Router};

impl Router {
    /// The gateway's limit in bytes: what EHLO says (RFC 1870 §4).
    #[must_use]
    pub fn message_size(&self) -> u64 {
        self.snapshot().gateway.limits.message_size
    }

    /// The largest message that this sender may send.
    #[must_use]
    pub fn sent_size(&self, sender: &ReversePath) -> u64 {
        let own = sender.mailbox().and_then(|sender| self.own_domain(sender.domain()));
        let sent = own.and_then(|own| own.domain.message_size.sent);
        self.message_size().min(sent.unwrap_or(u64::MAX))
    }

    /// The largest message that this recipient may get. [`Acceptance::message_size`](crate::Acceptance::message_size) has it too, with that of
    /// whoever else the recipient stands for.
    #[must_use]
    pub fn received_size(&self, recipient: &ForwardPath) -> u64 {
        let own = match recipient {
            ForwardPath::Mailbox(recipient) => self.own_domain(recipient.domain()),
            ForwardPath::Postmaster => self.primary(),
        };
        let received = own.and_then(|own| own.domain.message_size.received);
        self.message_size().min(received.unwrap_or(u64::MAX))
    }

    /// Whether a message of this size may come from this sender: for the SIZE of MAIL, and for the content once it is there.
    pub fn check_sent_size(&self, sender: &ReversePath, size: u64) -> Result<(), Reply> {
        check(size, self.sent_size(sender))
    }
}

impl crate::Acceptance {
    /// Whether everybody that the recipient stands for may get a message of this size: for the SIZE of MAIL at RCPT, and for the content once it
    /// is there.
    pub fn check_size(&self, size: u64) -> Result<(), Reply> {
        check(size, self.message_size)
    }
}

fn check(size: u64, limit: u64) -> Result<(), Reply> {
    if size > limit { Err(reply::message_too_large(limit)) } else { Ok(()) }
}
