//! What a gateway lets other namespaces do. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::namespaces::NamespaceSelection;

/// What resources of other namespaces, and the DNS records of recipients' domains, may make the nodes connect to; hosts that the gateway's own
/// namespace names are not held against it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// Networks that are not connected to, checked on the address at connect time, by direct delivery too; absent: loopback and link-local.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub denied_networks: Option<Vec<String>>,
    /// Hosts that are allowed whatever their address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allowed_hosts: Vec<AllowedHosts>,
}

/// Hosts that some namespaces may connect to, whatever their address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedHosts {
    /// The namespaces.
    pub namespaces: NamespaceSelection,
    /// The hosts, each spelled as the resources spell it.
    #[schemars(length(min = 1, max = 64))]
    pub hosts: Vec<String>,
}

/// Which namespaces may attach resources, and which domains they may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedRoutes {
    /// The namespaces; absent: the gateway's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceSelection>,
    /// The domains that others may claim, alias, send as and relay for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub grants: Vec<Grant>,
}

/// Domains that some namespaces may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// The namespaces.
    pub namespaces: NamespaceSelection,
    /// Domains, and `*.domain` for every domain below one.
    #[schemars(length(min = 1, max = 256))]
    pub domains: Vec<String>,
}
