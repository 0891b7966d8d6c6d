//! The conditions that a status may have, by name, and how they are put together. Pure.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

/// Parsed, attached, granted, no conflict.
pub(super) const ACCEPTED: &str = "Accepted";
/// What it names exists; hosts are allowed.
pub(super) const RESOLVED_REFS: &str = "ResolvedRefs";
/// The nodes do what it says.
pub(super) const PROGRAMMED: &str = "Programmed";
/// Of a gateway: as many nodes are ready as are wanted.
pub(super) const NODES_READY: &str = "NodesReady";
/// Of a gateway: its nodes reach the store of the queue.
pub(super) const STORE_REACHABLE: &str = "StoreReachable";
/// The summary.
pub(super) const READY: &str = "Ready";
/// kstatus: it is on its way by itself. Only while true.
pub(super) const RECONCILING: &str = "Reconciling";
/// kstatus: somebody must change something. Only while true.
pub(super) const STALLED: &str = "Stalled";
/// It can never take effect. Only while true.
pub(super) const SHADOWED: &str = "Shadowed";
/// `spec.suspend` is true. Only while true.
pub(super) const SUSPENDED: &str = "Suspended";

/// Whether a condition is true, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) truth: Truth,
    pub(super) reason: String,
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    const fn name(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl Answer {
    pub(super) fn new(truth: Truth, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { truth, reason: reason.into(), message: message.into() }
    }

    pub(super) fn yes(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Truth::True, reason, message)
    }

    pub(super) fn no(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Truth::False, reason, message)
    }

    pub(super) fn is_true(&self) -> bool {
        self.truth == Truth::True
    }

    /// The condition of this name; its time moves only if its status does.
    pub(super) fn condition(
        self,
        name: &str,
        generation: i64,
        before: &[Condition],
        now: Timestamp,
    ) -> Condition {
        let status = self.truth.name();
        let last = find(before, name).filter(|last| last.status == status);
        Condition {
            type_: name.to_owned(),
            status: status.to_owned(),
            reason: self.reason,
            message: self.message,
            observed_generation: Some(generation),
            last_transition_time: last
                .map_or_else(|| Time(whole_seconds(now)), |last| last.last_transition_time.clone()),
        }
    }
}

pub(super) fn find<'a>(conditions: &'a [Condition], name: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == name)
}

/// As times are written: what is read back is what was meant.
pub(super) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
