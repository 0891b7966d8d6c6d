//! Facts of taking mail in.

use std::{fmt::Display, net::IpAddr};

use posthouse_model::{MessageId, Reply};
use tracing::{debug, info, warn};

use crate::metrics::{EndLabel, Metrics, RefusalLabels};

/// A member of a group gets nothing of a message that the others get.
pub struct MemberUnreachable<'a> {
    /// The message.
    pub id: MessageId,
    /// The group, as the client named it.
    pub group: &'a dyn Display,
    /// The member.
    pub member: &'a dyn Display,
    /// What the member alone would have been answered.
    pub reply: &'a Reply,
}

impl MemberUnreachable<'_> {
    /// Says it.
    pub fn emit(&self) {
        warn!(
            event = "member_unreachable",
            id = %self.id,
            group = %self.group,
            member = %self.member,
            reply = %self.reply,
            effect = "the other members get the message, this one does not"
        );
    }
}

/// A session ended.
pub struct SessionEnded<'a> {
    /// The client.
    pub client: IpAddr,
    /// The listener.
    pub listener: &'a str,
    /// How: `client`, `server`, `timeout`, `failures`, `violation`, `lost`, `crowded`, `proxy`, `tls`.
    pub by: &'static str,
}

impl SessionEnded<'_> {
    /// Says and counts it.
    pub fn emit(&self, metrics: &Metrics) {
        metrics.sessions_ended.get_or_create(&EndLabel { by: self.by }).inc();
        debug!(event = "session_ended", client = %self.client, listener = self.listener, by = self.by);
    }
}

/// A TLS handshake with a client failed.
pub struct HandshakeFailed<'a> {
    /// The client.
    pub client: IpAddr,
    /// The listener.
    pub listener: &'a str,
    /// Why.
    pub reason: &'a str,
}

impl HandshakeFailed<'_> {
    /// Says and counts it.
    pub fn emit(&self, metrics: &Metrics) {
        metrics.handshakes_failed.inc();
        info!(event = "handshake_failed", client = %self.client, listener = self.listener, reason = self.reason);
    }
}

/// A connection did not say whose it is, where that is required.
pub struct ProxyRefused<'a> {
    /// Who connected: the load balancer, or somebody who is none.
    pub client: IpAddr,
    /// The listener.
    pub listener: &'a str,
    /// Why.
    pub reason: &'a dyn Display,
}

impl ProxyRefused<'_> {
    /// Says and counts it.
    pub fn emit(&self, metrics: &Metrics) {
        metrics.proxy_refused.inc();
        warn!(event = "proxy_refused", client = %self.client, listener = self.listener, reason = %self.reason);
    }
}

/// A command or a message was refused.
pub struct Refused<'a> {
    /// The client.
    pub client: IpAddr,
    /// `mail`, `rcpt`, `data`, `content`, `session`.
    pub stage: &'static str,
    /// What it was about: an address, or nothing.
    pub subject: &'a dyn Display,
    /// What was said.
    pub reply: &'a Reply,
}

impl Refused<'_> {
    /// Says and counts it.
    pub fn emit(&self, metrics: &Metrics) {
        let labels = RefusalLabels { stage: self.stage, code: self.reply.code().number() };
        metrics.refusals.get_or_create(&labels).inc();
        info!(event = "refused", client = %self.client, stage = self.stage, subject = %self.subject,
              reply = self.reply.code().number(), text = self.reply.text());
    }
}

/// A message was answered 250.
pub struct Accepted<'a> {
    /// The queue id.
    pub id: MessageId,
    /// The client.
    pub client: IpAddr,
    /// The reverse-path.
    pub from: &'a dyn Display,
    /// Recipients in the queue.
    pub recipients: usize,
    /// Octets.
    pub size: u64,
    /// Seconds from the first octet of content.
    pub seconds: f64,
}

impl Accepted<'_> {
    /// Says and counts it.
    pub fn emit(&self, metrics: &Metrics) {
        metrics.messages_accepted.inc();
        metrics.content_bytes_accepted.inc_by(self.size);
        metrics.intake_seconds.observe(self.seconds);
        info!(event = "accepted", id = %self.id, client = %self.client, from = %self.from, recipients = self.recipients,
              size = self.size);
    }
}
