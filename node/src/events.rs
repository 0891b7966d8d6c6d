//! Notable facts: each is one struct that writes its one log line and counts its metric. No decision is made here.

use std::{
    fmt::Display,
    net::{IpAddr, SocketAddr},
};

use posthouse_config::ResourceName;
use posthouse_model::{EntryId, MessageId, NextHop, Reply};
use posthouse_queue::{Finding, Outcome, Reaped, StoreError};
use tracing::{debug, error, info, warn};

use crate::{
    delivery::egress::Forbidden,
    metrics::{EndLabel, Metrics, OutcomeLabel, ReasonLabel, RefusalLabels},
    names::NobodyToAsk as NobodyToAskError,
};

/// The node takes mail.
pub struct Ready<'a> {
    /// Its gateway, `namespace/name`.
    pub gateway: &'a str,
}

impl Ready<'_> {
    /// Says it.
    pub fn emit(&self) {
        info!(event = "ready", gateway = self.gateway);
    }
}

/// A snapshot is in force.
pub struct SnapshotApplied<'a> {
    /// Its hash.
    pub hash: &'a dyn Display,
    /// Its place in the order of publications.
    pub epoch: &'a dyn Display,
}

impl SnapshotApplied<'_> {
    /// Says it.
    pub fn emit(&self) {
        info!(event = "snapshot_applied", snapshot = %self.hash, publication = %self.epoch);
    }
}

/// A snapshot was refused; the one in force stays, where there is one.
pub struct SnapshotRefused<'a> {
    /// Its place in the order of publications.
    pub epoch: &'a dyn Display,
    /// The resource that is to blame, where one is.
    pub resource: Option<&'a str>,
    /// Why.
    pub reason: &'a str,
    /// None is in force.
    pub is_cold: bool,
}

impl SnapshotRefused<'_> {
    /// Says it.
    pub fn emit(&self) {
        error!(
            event = "snapshot_refused", publication = %self.epoch, resource = self.resource, reason = self.reason, effect = effect(self.is_cold)
        );
    }
}

/// What a node does that gets no other snapshot.
fn effect(is_cold: bool) -> &'static str {
    if is_cold {
        "the node has no configuration and takes no mail"
    } else {
        "the node goes on with what it has"
    }
}

/// There is no snapshot yet.
pub struct ConfigurationAwaited;

impl ConfigurationAwaited {
    /// Says it.
    pub fn emit(&self) {
        info!(
            event = "configuration_awaited",
            effect = "nothing is published for this gateway: the node waits for the operator to publish, and takes no mail"
        );
    }
}

/// A file among the keys holds none.
pub struct KeyPassedOver<'a> {
    /// Which, and what is wrong with it.
    pub reason: &'a str,
}

impl KeyPassedOver<'_> {
    /// Says it.
    pub fn emit(&self) {
        warn!(event = "key_passed_over", reason = self.reason, effect = "the node goes by the other keys");
    }
}

/// It cannot be looked for another snapshot; the one in force stays, where there is one.
pub struct ConfigurationAway<'a> {
    /// Why.
    pub error: &'a dyn Display,
    /// None is in force.
    pub is_cold: bool,
}

impl ConfigurationAway<'_> {
    /// Says it.
    pub fn emit(&self) {
        warn!(event = "configuration_away", error = %self.error, effect = effect(self.is_cold));
    }
}

/// Mail can be taken, or cannot any more.
pub struct StoreState<'a> {
    /// Which of the two.
    pub writable: bool,
    /// Why not.
    pub why: &'a str,
}

impl StoreState<'_> {
    /// Says it.
    pub fn emit(&self) {
        if self.writable {
            info!(event = "store_ready");
        } else {
            warn!(
                event = "store_lost",
                reason = self.why,
                effect = "MAIL is answered 451 until the store is back"
            );
        }
    }
}

/// The store said something about its settings.
pub struct StoreFinding<'a> {
    /// What.
    pub finding: &'a Finding,
}

impl StoreFinding<'_> {
    /// Says it.
    pub fn emit(&self) {
        if self.finding.refuse {
            error!(event = "store_setting", reason = self.finding.message, effect = "no mail is taken");
        } else {
            warn!(event = "store_setting", reason = self.finding.message);
        }
    }
}

/// Something could not be done in the store; it is tried again.
pub struct StoreTrouble<'a> {
    /// What was to be done.
    pub doing: &'static str,
    /// Why it was not.
    pub error: &'a StoreError,
}

impl StoreTrouble<'_> {
    /// Says it.
    pub fn emit(&self) {
        warn!(event = "store_trouble", doing = self.doing, error = %self.error);
    }
}

/// The others took this node for dead; it goes on as a new incarnation.
pub struct Departed;

impl Departed {
    /// Says it.
    pub fn emit(&self) {
        warn!(
            event = "incarnation_lost",
            effect = "what this node had leased is with others; it goes on anew"
        );
    }
}

/// The answer to a lease was lost.
pub struct LeasesInDoubt;

impl LeasesInDoubt {
    /// Says it.
    pub fn emit(&self) {
        warn!(
            event = "leases_in_doubt",
            effect = "what may have been leased unheard goes back when this node's attempts of that time have ended"
        );
    }
}

/// Leases of dead nodes were taken over.
pub struct TookOver {
    /// How much.
    pub reaped: Reaped,
}

impl TookOver {
    /// Says it.
    pub fn emit(&self) {
        let Reaped { incarnations, leases, activated } = self.reaped;
        info!(event = "took_over", incarnations, leases, activated);
    }
}

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

/// Less is free in the store than the reserve, or enough again.
pub struct Room {
    /// Octets that may still be written; `None`: no limit is known.
    pub free: Option<u64>,
    /// Octets that are kept free.
    pub reserve: u64,
}

impl Room {
    /// Says it.
    pub fn emit(&self) {
        let (free, reserve) = (self.free, self.reserve);
        if free.is_some_and(|free| free <= reserve) {
            warn!(
                event = "room_short",
                free,
                reserve,
                effect = "MAIL is answered 452 4.3.1; give the store more room (disk, or maxmemory), or the gateway a smaller queue.reserve"
            );
        } else {
            info!(event = "room_enough", free, reserve);
        }
    }
}

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

/// A session ended.
pub struct SessionEnded<'a> {
    /// The client.
    pub client: IpAddr,
    /// The listener.
    pub listener: &'a str,
    /// How: `client`, `server`, `timeout`, `failures`, `violation`, `lost`.
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
        warn!(event = "egress_refused", next_hop = %self.next_hop, host = self.host, reason = %self.why);
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

/// The system's trusted roots are not what they should be.
pub struct SystemRoots<'a> {
    /// How many can be used.
    pub usable: usize,
    /// What is wrong.
    pub reason: &'a str,
}

impl SystemRoots<'_> {
    /// Says it.
    pub fn emit(&self) {
        warn!(
            event = "system_roots",
            usable = self.usable,
            reason = self.reason,
            effect = "certificates of next hops are verified by those that can be used, or by none"
        );
    }
}

/// The node is asked to end.
pub struct Draining {
    /// Why.
    pub why: &'static str,
}

impl Draining {
    /// Says it.
    pub fn emit(&self) {
        info!(event = "draining", reason = self.why);
    }
}

/// A listener is open.
pub struct Listening<'a> {
    /// Its name.
    pub listener: &'a str,
    /// Where.
    pub address: &'a dyn Display,
}

impl Listening<'_> {
    /// Says it.
    pub fn emit(&self) {
        info!(event = "listening", listener = self.listener, address = %self.address);
    }
}
