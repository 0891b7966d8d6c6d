//! Facts of sending mail on.

use std::{fmt::Display, net::SocketAddr};

use posthouse_config::ResourceName;
use posthouse_model::{EntryId, MessageId, NextHop};
use posthouse_queue::Outcome;
use tracing::{debug, error, info, warn};

use crate::{
    delivery::egress::Forbidden,
    metrics::{Metrics, OutcomeLabel, ReasonLabel},
    names::NobodyToAsk as NobodyToAskError,
};

/// A next hop takes no more connections than are open.
pub struct HopCrowded<'a> {
    /// Which.
    pub next_hop: &'a str,
    /// What it said to one more.
    pub reason: &'a str,
}

impl HopCrowded<'_> {
    /// Says it.
    pub fn emit(&self) {
        info!(
            event = "next_hop_crowded",
            next_hop = self.next_hop,
            reason = self.reason,
            effect = "its mail goes over the connections that are open"
        );
    }
}

/// An attempt ended for one recipient.
pub struct Attempted<'a> {
    /// The entry.
    pub id: EntryId,
    /// The recipient.
    pub to: &'a dyn Display,
    /// What became of it.
    pub outcome: &'a Outcome,
    /// The resource that routed it.
    pub origin: &'a str,
    /// The next hop.
    pub next_hop: &'a str,
    /// Who said it.
    pub host: &'a str,
    /// What was said, by us if nobody was reached.
    pub reply: &'a str,
    /// When it is tried again, milliseconds since the epoch, if it is.
    pub next_attempt: Option<u64>,
}

impl Attempted<'_> {
    /// Says and counts it.
    pub fn emit(&self, metrics: &Metrics) {
        let outcome = match self.outcome {
            Outcome::Delivered => "delivered",
            Outcome::Relayed => "relayed",
            Outcome::Failed => "failed",
            Outcome::Expired => "expired",
            Outcome::Fetched => "fetched",
            Outcome::Deleted => "deleted",
            Outcome::Discarded => "discarded",
            Outcome::Deferred(_) => "deferred",
        };
        metrics.attempts.get_or_create(&OutcomeLabel { outcome }).inc();
        info!(event = outcome, id = %self.id, to = %self.to, route = self.origin, next_hop = self.next_hop,
              host = self.host, reply = self.reply, next_attempt = self.next_attempt);
    }
}

/// The content of a message is not in the store: its entry is quarantined.
pub struct ContentLost {
    /// The entry.
    pub id: EntryId,
}

impl ContentLost {
    /// Says and counts it.
    pub fn emit(&self, metrics: &Metrics) {
        metrics.records_quarantined.inc();
        error!(event = "content_lost", id = %self.id, effect = "the entry is held in quarantine");
    }
}

/// A notification was made.
pub struct DsnMade<'a> {
    /// Its queue id.
    pub id: MessageId,
    /// The entry or message it is about.
    pub about: &'a dyn Display,
    /// To whom.
    pub to: &'a dyn Display,
}

impl DsnMade<'_> {
    /// Says it.
    pub fn emit(&self) {
        info!(event = "dsn", id = %self.id, about = %self.about, to = %self.to);
    }
}

/// A notification that was owed could not be made: its sender cannot be reached by any route.
pub struct DsnUndeliverable<'a> {
    /// The entry or message it would have been about.
    pub about: &'a dyn Display,
    /// To whom.
    pub to: &'a dyn Display,
    /// Why not.
    pub reason: &'a str,
}

impl DsnUndeliverable<'_> {
    /// Says it.
    pub fn emit(&self) {
        warn!(event = "dsn_undeliverable", about = %self.about, to = %self.to, reason = self.reason);
    }
}

/// A next hop could not be reached.
pub struct HopDown<'a> {
    /// The next hop.
    pub next_hop: &'a str,
    /// Why.
    pub reason: &'a str,
}

impl HopDown<'_> {
    /// Says and counts it.
    pub fn emit(&self, metrics: &Metrics) {
        metrics.connection_failures.inc();
        warn!(event = "next_hop_down", next_hop = self.next_hop, reason = self.reason);
    }
}

/// The hosts of a next hop, or their addresses, were not found.
pub struct NoHosts<'a> {
    /// Whose.
    pub host: &'a str,
    /// Why not.
    pub why: &'a posthouse_dns::NoHosts,
}

impl NoHosts<'_> {
    /// Says and counts it.
    pub fn emit(&self, metrics: &Metrics) {
        metrics.lookup_failures.get_or_create(&ReasonLabel { reason: self.why.category() }).inc();
        debug!(event = "lookup_failed", host = self.host, reason = %self.why);
    }
}

/// There is nobody to ask for names.
pub struct NobodyToAsk<'a> {
    /// Why.
    pub error: &'a NobodyToAskError,
}

impl NobodyToAsk<'_> {
    /// Says it.
    pub fn emit(&self) {
        error!(
            event = "resolver_unavailable",
            error = %self.error,
            effect = "mail for hosts that have no address in the configuration waits; name nameservers in the gateway's resolver"
        );
    }
}

/// An address is not connected to.
pub struct EgressRefused<'a> {
    /// The next hop that led there.
    pub next_hop: &'a NextHop,
    /// The host of it.
    pub host: &'a str,
    /// Why not.
    pub why: &'a Forbidden,
}

impl EgressRefused<'_> {
    /// Says and counts it.
    pub fn emit(&self, metrics: &Metrics) {
        metrics.egress_refused.get_or_create(&ReasonLabel { reason: self.why.category() }).inc();
        let cure = match self.why {
            Forbidden::Denied { .. } => {
                "name the host in a RelayRule of the gateway's namespace if it is meant"
            }
            Forbidden::Nobody(_) | Forbidden::Itself(_) => "correct the host or its address records",
        };
        warn!(event = "egress_refused", next_hop = %self.next_hop, host = self.host, reason = %self.why, cure);
    }
}

/// No handshake could be made with a host that is spoken to in clear then.
pub struct WithoutTls<'a> {
    /// The host.
    pub host: &'a str,
    /// Its address.
    pub address: &'a SocketAddr,
    /// Why.
    pub reason: &'a str,
}

impl WithoutTls<'_> {
    /// Says and counts it.
    pub fn emit(&self, metrics: &Metrics) {
        metrics.sessions_without_tls.inc();
        warn!(
            event = "tls_failed",
            host = self.host,
            address = %self.address,
            reason = self.reason,
            effect = "its mail goes in clear for a while, for no verified TLS is asked for"
        );
    }
}

/// A next hop does not take the login of a relay rule, or there is no way to say it.
pub struct LoginRefused<'a> {
    /// The rule.
    pub rule: &'a ResourceName,
    /// Who refused.
    pub host: &'a str,
    /// The reply code.
    pub code: u16,
    /// What was said; no secret is in it.
    pub text: &'a str,
}

impl LoginRefused<'_> {
    /// Says and counts it.
    pub fn emit(&self, metrics: &Metrics) {
        metrics.logins_refused.inc();
        error!(
            event = "login_refused",
            rule = %self.rule,
            host = self.host,
            reply = self.code,
            text = self.text,
            effect = "the rule's mail waits; correct its credentials or its method"
        );
    }
}
