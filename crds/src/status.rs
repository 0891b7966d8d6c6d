//! What the operator reports: conditions on every kind, and the few figures that people ask for. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Kind;

/// The status of an object of any kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ObjectStatus {
    /// Of a `MailGateway`.
    Gateway(GatewayStatus),
    /// Of a `MailDomain`.
    Domain(DomainStatus),
    /// Of a `Pop3Account` or an `EtrnSchedule`.
    Run(RunStatus),
    /// Of all other kinds.
    Plain(Status),
}

impl ObjectStatus {
    /// The status of an object of which nothing was said yet.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::MailGateway => Self::Gateway(GatewayStatus::default()),
            Kind::MailDomain => Self::Domain(DomainStatus::default()),
            Kind::Pop3Account | Kind::EtrnSchedule => Self::Run(RunStatus::default()),
            Kind::MailRecipients | Kind::RelayRule | Kind::MailSchedule | Kind::MailUser => {
                Self::Plain(Status::default())
            }
        }
    }

    /// The status that a raw document of this kind has.
    pub fn read(kind: Kind, status: Value) -> serde_json::Result<Self> {
        match Self::new(kind) {
            Self::Gateway(_) => serde_json::from_value(status).map(Self::Gateway),
            Self::Domain(_) => serde_json::from_value(status).map(Self::Domain),
            Self::Run(_) => serde_json::from_value(status).map(Self::Run),
            Self::Plain(_) => serde_json::from_value(status).map(Self::Plain),
        }
    }

    /// Its conditions.
    #[must_use]
    pub fn conditions(&self) -> &[Condition] {
        match self {
            Self::Gateway(GatewayStatus { conditions, .. })
            | Self::Domain(DomainStatus { conditions, .. })
            | Self::Run(RunStatus { conditions, .. })
            | Self::Plain(Status { conditions, .. }) => conditions,
        }
    }

    /// Its conditions, to be said anew.
    pub fn conditions_mut(&mut self) -> &mut Vec<Condition> {
        match self {
            Self::Gateway(GatewayStatus { conditions, .. })
            | Self::Domain(DomainStatus { conditions, .. })
            | Self::Run(RunStatus { conditions, .. })
            | Self::Plain(Status { conditions, .. }) => conditions,
        }
    }

    /// The last request that was acted on.
    pub fn last_handled_request_mut(&mut self) -> &mut Option<String> {
        match self {
            Self::Gateway(GatewayStatus { last_handled_request, .. })
            | Self::Domain(DomainStatus { last_handled_request, .. })
            | Self::Run(RunStatus { last_handled_request, .. })
            | Self::Plain(Status { last_handled_request, .. }) => last_handled_request,
        }
    }
}

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

impl AttachedCounts {
    /// The number of resources of a kind; none for kinds that are not counted.
    pub fn of_mut(&mut self, kind: Kind) -> Option<&mut i32> {
        match kind {
            Kind::MailDomain => Some(&mut self.domains),
            Kind::RelayRule => Some(&mut self.relay_rules),
            Kind::Pop3Account => Some(&mut self.pop3_accounts),
            Kind::EtrnSchedule => Some(&mut self.etrn_schedules),
            Kind::MailUser => Some(&mut self.users),
            Kind::MailGateway | Kind::MailRecipients | Kind::MailSchedule => None,
        }
    }
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
