//! What the operator reports: conditions on every kind, and the few figures that people ask for. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The status of kinds that report conditions only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Accepted, `ResolvedRefs`, Programmed, Ready and what else is worth saying.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
    /// The last value of the annotation `posthouse.dev/requested-at` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_request: Option<String>,
}

/// The status of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// Accepted, `ResolvedRefs`, Programmed, Ready and what else is worth saying.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
    /// The mail nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeCounts>,
    /// What is attached to the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<AttachedCounts>,
    /// The number of mail nodes, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// The label selector of the mail nodes, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The image that the nodes were created with, where `nodes.image` is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The last value of the annotation `posthouse.dev/requested-at` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_request: Option<String>,
}

/// Mail nodes, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCounts {
    /// Wanted.
    pub desired: i32,
    /// Ready.
    pub ready: i32,
    /// With the current configuration.
    pub programmed: i32,
}

/// Resources of each kind that the gateway accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AttachedCounts {
    /// `MailDomain`s.
    pub domains: i32,
    /// `RelayRule`s.
    pub relay_rules: i32,
    /// `Pop3Account`s.
    pub pop3_accounts: i32,
    /// `EtrnSchedule`s.
    pub etrn_schedules: i32,
    /// `MailUser`s.
    pub users: i32,
}

/// The status of a domain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DomainStatus {
    /// Accepted, `ResolvedRefs`, Programmed, Ready and what else is worth saying.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
    /// The domain's queue; written when two significant digits change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueCounts>,
    /// The last value of the annotation `posthouse.dev/requested-at` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_request: Option<String>,
}

/// A queue, counted in entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueCounts {
    /// Waiting for a release.
    pub held: i64,
    /// Waiting for another attempt.
    pub deferred: i64,
    /// When the oldest entry was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_time: Option<Time>,
}

/// The status of a kind that runs by a schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// Accepted, `ResolvedRefs`, Programmed, Ready and what else is worth saying.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
    /// The last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<LastRun>,
    /// When the next run is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_run: Option<Time>,
    /// The last value of the annotation `posthouse.dev/requested-at` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_request: Option<String>,
}

/// One run, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastRun {
    /// When it ended.
    pub time: Time,
    /// What came of it: our own words and a reply code, never remote text.
    pub result: String,
    /// Messages taken in.
    #[serde(default)]
    pub messages: i64,
    /// Bytes taken in.
    #[serde(default)]
    pub bytes: i64,
    /// Messages discarded.
    #[serde(default)]
    pub discarded: i64,
}
