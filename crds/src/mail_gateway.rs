//! `MailGateway`: a pool of mail nodes, its listeners, its queue, and who may use it. Owned by the platform team. Pure.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod listeners;
mod nodes;
mod queue;
mod routes;

pub use listeners::{Listener, ListenerTls, Protocol, ProxyProtocol};
pub use nodes::{Autoscaling, Nodes, PodOverrides, Resources, Service, ServiceType, TrafficPolicy};
pub use queue::{
    AppendFsync, Concurrency, Confirm, DeclaredSettings, MaxmemoryPolicy, Queue, Redis, RedisTopology, Retry,
    Sentinel,
};
pub use routes::{AllowedHosts, AllowedRoutes, Egress, Grant};

use crate::{
    duration::Duration, is_false, namespaces::NamespaceSelection, reference::ObjectRef, size::Size,
    status::GatewayStatus,
};

/// The operator that a gateway belongs to when it names none.
pub const DEFAULT_CONTROLLER_NAME: &str = "posthouse.dev/operator";

/// A pool of mail nodes and its queue.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "posthouse.dev",
    version = "v1alpha1",
    kind = "MailGateway",
    plural = "mailgateways",
    shortname = "mgw",
    category = "posthouse",
    namespaced,
    status = "GatewayStatus",
    derive = "PartialEq",
    doc = "A pool of mail nodes and its queue.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct MailGatewaySpec {
    /// The name in the banner, in EHLO and in Received lines; behind NAT the name of the egress address.
    #[schemars(length(min = 1, max = 253))]
    pub hostname: String,
    /// Takes no mail and sends none while true; what is queued stays.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// The number of mail nodes; absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,
    /// The operator that looks after this gateway; immutable; absent: posthouse.dev/operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub controller_name: Option<String>,
    /// The pods of the mail nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Nodes>,
    /// Lets a horizontal pod autoscaler own the number of nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// The Service in front of the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// Where clients connect.
    #[schemars(length(min = 1, max = 32))]
    pub listeners: Vec<Listener>,
    /// The DNS resolver; absent: the pod's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver: Option<Resolver>,
    /// The queue; absent: named after the gateway, with the default retry times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// Who may send to everywhere; absent: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay_control: Option<RelayControl>,
    /// Whether outgoing mail leaves at once or by a schedule; absent: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connectivity: Option<Connectivity>,
    /// Limits per client address; each absent one is no limit, but `messageSize`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// What resources of other namespaces may make the nodes connect to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
    /// Which namespaces may attach resources, and which domains they may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_routes: Option<AllowedRoutes>,
}

/// Whether DNSSEC is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Dnssec {
    /// Not checked.
    #[default]
    Disabled,
    /// Checked here, from the root.
    Validate,
}

/// The DNS resolver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resolver {
    /// Address and port of each server; absent: the pod's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub nameservers: Vec<String>,
    /// Whether DNSSEC is checked; absent: Disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dnssec: Option<Dnssec>,
}

/// Who vouches that the client addresses that the nodes see are the clients' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AddressTrust {
    /// The gateway's owner does.
    Verified,
}

/// Whether clients authenticate to relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RelayAuthentication {
    /// Not offered.
    Disabled,
    /// An address of `networks` or a login is enough.
    #[default]
    Optional,
    /// A login is needed, from an address of `networks` where there are any.
    Required,
}

/// Who may send to everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RelayControl {
    /// Client networks that may relay; exempt from sender checks and hidden in Received.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub networks: Vec<String>,
    /// Needed in a cluster without the PROXY protocol: the owner vouches that client addresses are real.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address_trust: Option<AddressTrust>,
    /// Whether clients authenticate to relay; absent: Optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<RelayAuthentication>,
    /// Lets an address relay for a while after a POP3 login from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pop_before_smtp: Option<PopBeforeSmtp>,
}

/// POP-before-SMTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PopBeforeSmtp {
    /// How long after the login.
    pub window: Duration,
}

/// When outgoing mail leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConnectivityMode {
    /// At once.
    #[default]
    Online,
    /// By the schedule.
    Scheduled,
}

/// What urgent mail does while the rest waits for the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UrgentMail {
    /// It releases the queue at once.
    Release,
    /// It waits too.
    Hold,
}

/// Whether outgoing mail leaves at once or by a schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connectivity {
    /// When outgoing mail leaves.
    pub mode: ConnectivityMode,
    /// The `MailSchedule`, with `mode: Scheduled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_ref: Option<ObjectRef>,
    /// What urgent mail does meanwhile; absent: Hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgent_mail: Option<UrgentMail>,
}

/// Limits per client address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Messages in an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub messages_per_hour: Option<u32>,
    /// Connections at one time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub connections: Option<u32>,
    /// Unknown recipients before the client is refused for an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub unknown_recipients: Option<u32>,
    /// Recipients of one message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub recipients_per_message: Option<u32>,
    /// Failed commands before the session is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub failed_commands: Option<u32>,
    /// Bytes of one message; absent: 50Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_size: Option<Size>,
}

/// Labels or annotations.
pub type StringMap = BTreeMap<String, String>;

impl AllowedRoutes {
    /// The namespaces that may attach; absent: the gateway's own.
    #[must_use]
    pub fn namespaces(&self) -> NamespaceSelection {
        self.namespaces.clone().unwrap_or_default()
    }
}
