//! The metrics of a node and their exposition. Counters of this process; what the queue counts for the whole cluster is read from the store
//! at each scrape, so that it survives the node.

use std::fmt::Write as _;

use posthouse_queue::{Accounting, Counts};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Outcome of an attempt, per recipient.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// `delivered`, `relayed`, `deferred`, `failed`, `expired`.
    pub outcome: &'static str,
}

/// A reply that refused a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusalLabels {
    /// `mail`, `rcpt`, `data`, `content`, `session`.
    pub stage: &'static str,
    /// The reply code.
    pub code: u16,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EndLabel {
    /// `client`, `server`, `timeout`, `failures`, `violation`, `lost`.
    pub by: &'static str,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// A word of ours.
    pub reason: &'static str,
}

/// The metrics of one node.
pub struct Metrics {
    registry: Registry,
    /// Sessions open now.
    pub sessions: Gauge,
    /// Sessions that ended, by how.
    pub sessions_ended: Family<EndLabel, Counter>,
    /// TLS handshakes with clients that failed.
    pub handshakes_failed: Counter,
    /// Connections that did not say whose they are where the PROXY protocol is required, or from elsewhere than a trusted load balancer.
    pub proxy_refused: Counter,
    /// Messages answered 250.
    pub messages_accepted: Counter,
    /// Octets of content answered 250.
    pub content_bytes_accepted: Counter,
    /// Commands and messages refused.
    pub refusals: Family<RefusalLabels, Counter>,
    /// Recipients by the outcome of an attempt at this node.
    pub attempts: Family<OutcomeLabel, Counter>,
    /// Attempts whose first content octet was sent and whose settle is not yet confirmed: the bound of duplicates.
    pub attempts_in_doubt: Gauge,
    /// Outgoing connections open now.
    pub connections: Gauge,
    /// Connections that could not be made.
    pub connection_failures: Counter,
    /// Lookups of hosts and their addresses that found none.
    pub lookup_failures: Family<ReasonLabel, Counter>,
    /// Addresses that were not connected to: `itself`, `denied`, `nobody`.
    pub egress_refused: Family<ReasonLabel, Counter>,
    /// TLS handshakes with next hops that failed.
    pub client_handshakes_failed: Counter,
    /// Sessions that went on in clear for a handshake that failed.
    pub sessions_without_tls: Counter,
    /// Logins that next hops refused.
    pub logins_refused: Counter,
    /// Seconds from the first octet of content to the 250.
    pub intake_seconds: Histogram,
    /// Seconds from the acceptance of a message to its settled delivery.
    pub delivery_seconds: Histogram,
    /// Records found damaged or too new.
    pub records_quarantined: Counter,
    /// 1 while mail can be taken.
    pub store_writable: Gauge,
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("posthouse");
        let seconds = || {
            Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0])
        };
        let metrics = Self {
            sessions: Gauge::default(),
            sessions_ended: Family::default(),
            handshakes_failed: Counter::default(),
            proxy_refused: Counter::default(),
            messages_accepted: Counter::default(),
            content_bytes_accepted: Counter::default(),
            refusals: Family::default(),
            attempts: Family::default(),
            attempts_in_doubt: Gauge::default(),
            connections: Gauge::default(),
            connection_failures: Counter::default(),
            lookup_failures: Family::default(),
            egress_refused: Family::default(),
            client_handshakes_failed: Counter::default(),
            sessions_without_tls: Counter::default(),
            logins_refused: Counter::default(),
            intake_seconds: seconds(),
            delivery_seconds: seconds(),
            records_quarantined: Counter::default(),
            store_writable: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("sessions", "Sessions open now", metrics.sessions.clone());
        registry.register("sessions_ended", "Sessions that ended, by how", metrics.sessions_ended.clone());
        registry.register(
            "handshakes_failed",
            "TLS handshakes with clients that failed",
            metrics.handshakes_failed.clone(),
        );
        registry.register(
            "proxy_refused",
            "Connections refused for want of a trusted PROXY header",
            metrics.proxy_refused.clone(),
        );
        registry.register("messages_accepted", "Messages answered 250", metrics.messages_accepted.clone());
        registry.register(
            "content_accepted_bytes",
            "Content answered 250",
            metrics.content_bytes_accepted.clone(),
        );
        registry.register("refusals", "Commands and messages refused", metrics.refusals.clone());
        registry.register("attempts", "Recipients by the outcome of an attempt", metrics.attempts.clone());
        registry.register(
            "attempts_in_doubt",
            "Attempts whose content was begun and whose settle is not confirmed: the bound of duplicates",
            metrics.attempts_in_doubt.clone(),
        );
        registry.register("connections", "Outgoing connections open now", metrics.connections.clone());
        registry.register(
            "connection_failures",
            "Connections that could not be made",
            metrics.connection_failures.clone(),
        );
        registry.register(
            "lookup_failures",
            "Lookups of hosts and their addresses that found none, by why",
            metrics.lookup_failures.clone(),
        );
        registry.register(
            "egress_refused",
            "Addresses that were not connected to, by why",
            metrics.egress_refused.clone(),
        );
        registry.register(
            "client_handshakes_failed",
            "TLS handshakes with next hops that failed",
            metrics.client_handshakes_failed.clone(),
        );
        registry.register(
            "sessions_without_tls",
            "Sessions with next hops that went on in clear for a handshake that failed",
            metrics.sessions_without_tls.clone(),
        );
        registry.register("logins_refused", "Logins that next hops refused", metrics.logins_refused.clone());
        registry.register(
            "intake_seconds",
            "From the first octet of content to the 250",
            metrics.intake_seconds.clone(),
        );
        registry.register(
            "delivery_seconds",
            "From acceptance to settled delivery",
            metrics.delivery_seconds.clone(),
        );
        registry.register(
            "records_quarantined",
            "Records found damaged or too new",
            metrics.records_quarantined.clone(),
        );
        registry.register("store_writable", "1 while mail can be taken", metrics.store_writable.clone());
        Self { registry, ..metrics }
    }

    /// The exposition in `OpenMetrics` text, with what the store counts (absent while it cannot be asked). The `posthouse_recipients_total` and
    /// `posthouse_queue_…` families are of the whole queue: every node that shares it shows the same.
    #[must_use]
    pub fn expose(&self, store: Option<(Accounting, Counts)>) -> String {
        let mut text = String::new();
        if let Some((accounting, counts)) = store {
            expose_accounting(&mut text, &accounting);
            expose_counts(&mut text, &counts);
        }
        // Only a full disk or such could fail here, and a String has none; what was written stands.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn expose_accounting(text: &mut String, accounting: &Accounting) {
    let Accounting {
        accepted,
        expanded,
        generated,
        delivered,
        relayed,
        failed,
        fetched,
        deleted,
        discarded,
        queued,
    } = *accounting;
    text.push_str("# HELP posthouse_recipients Recipients of the whole queue by what became of them: accepted + expanded + generated is the sum of the others and of posthouse_queue_recipients.\n# TYPE posthouse_recipients counter\n");
    for (event, count) in [
        ("accepted", accepted),
        ("expanded", expanded),
        ("generated", generated),
        ("delivered", delivered),
        ("relayed", relayed),
        ("failed", failed),
        ("fetched", fetched),
        ("deleted", deleted),
        ("discarded", discarded),
    ] {
        let _ = writeln!(text, "posthouse_recipients_total{{event=\"{event}\"}} {count}"); // writing to a String cannot fail
    }
    text.push_str("# HELP posthouse_queue_recipients Recipients in the queue now.\n# TYPE posthouse_queue_recipients gauge\n");
    let _ = writeln!(text, "posthouse_queue_recipients {queued}");
}

fn expose_counts(text: &mut String, counts: &Counts) {
    let Counts { incoming, due, deferred, held, active } = *counts;
    text.push_str("# HELP posthouse_queue_entries Entries of the whole queue by state.\n# TYPE posthouse_queue_entries gauge\n");
    for (state, count) in
        [("incoming", incoming), ("due", due), ("deferred", deferred), ("held", held), ("active", active)]
    {
        let _ = writeln!(text, "posthouse_queue_entries{{state=\"{state}\"}} {count}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exposition_has_the_accounting_and_one_end() {
        let accounting = Accounting { accepted: 3, relayed: 2, queued: 1, ..Accounting::default() };
        let text = Metrics::new().expose(Some((accounting, Counts { due: 1, ..Counts::default() })));
        for line in [
            "posthouse_recipients_total{event=\"accepted\"} 3\n",
            "posthouse_queue_recipients 1\n",
            "posthouse_queue_entries{state=\"due\"} 1\n",
            "posthouse_messages_accepted_total 0\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert_eq!(text.matches("# EOF").count(), 1);
    }
}
