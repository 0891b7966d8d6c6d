//! `RelayRule`: where mail for other domains goes. The first rule that matches wins; none: direct delivery by MX. Pure.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    duration::Duration,
    is_false,
    reference::GatewayRef,
    status::Status,
    tls::{ClientAuthentication, ClientTls},
};

/// Where some mail for other domains goes.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "posthouse.dev",
    version = "v1alpha1",
    kind = "RelayRule",
    plural = "relayrules",
    shortname = "rr",
    category = "posthouse",
    namespaced,
    status = "Status",
    derive = "PartialEq",
    doc = "Where some mail for other domains goes."
)]
#[serde(rename_all = "camelCase")]
pub struct RelayRuleSpec {
    /// The gateway whose mail it is for; immutable.
    pub gateway_ref: GatewayRef,
    /// The rule matches nothing while true.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// Before or after the rules of other namespaces; absent: Default in the gateway's namespace, Tenant elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// The place among the rules of the same tier and namespace, ascending, ties by name; absent: 0.
    #[serde(default)]
    pub order: i32,
    /// What the rule is for, in the owner's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,
    /// Which mail.
    #[serde(rename = "match")]
    pub matches: Match,
    /// Through these hosts; this or `direct`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<Relay>,
    /// By MX; this or `relay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<Direct>,
}

/// The place of a rule among those of all namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Tier {
    /// Before all others; only in the gateway's namespace.
    First,
    /// Rules of other namespaces.
    Tenant,
    /// After all others; only in the gateway's namespace.
    Default,
}

/// Which mail a rule is for: the lists are joined by AND, the entries of a list by OR.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// Patterns of the sender: `alice@example.com`, `*@example.com`, `<>` for the null reverse-path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub senders: Vec<String>,
    /// Patterns of the recipient: `alice@example.com`, `*@example.com`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub recipients: Vec<String>,
    /// All mail; without the lists.
    #[serde(default, skip_serializing_if = "is_false")]
    pub always: bool,
}

/// Hosts that mail is relayed through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Relay {
    /// The hosts in the order to try them.
    #[schemars(length(min = 1, max = 16))]
    pub hosts: Vec<RelayHost>,
    /// TLS towards them; absent: STARTTLS when offered, unverified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    /// Authentication towards them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<ClientAuthentication>,
    /// How many messages at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// One host that mail is relayed through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RelayHost {
    /// A host name or address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// With a port: the host's address records; without: its MX.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
}

/// So many messages in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// Messages.
    #[schemars(range(min = 1))]
    pub messages: u32,
    /// In this time.
    pub per: Duration,
}

/// Direct delivery by MX.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Direct {}
