//! A gateway's listeners: where clients connect, by which protocol. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{reference::ObjectRef, tls::TlsMode};

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// SMTP between servers (RFC 5321).
    Smtp,
    /// Message submission (RFC 6409).
    Submission,
    /// On-demand mail relay (RFC 2645).
    Odmr,
    /// POP3 (RFC 1939).
    Pop3,
}

/// One place where clients connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// The listener's name: at most 15 lower-case letters, digits and hyphens, as ports of a Service are named.
    #[schemars(length(min = 1, max = 15))]
    pub name: String,
    /// The port that clients connect to. One below 1024 is bound at 10000 + port; the Service maps it back.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// What is spoken there.
    pub protocol: Protocol,
    /// TLS; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// Takes the client's address from the PROXY protocol of a load balancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// TLS of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerTls {
    /// When TLS begins: by STARTTLS (STLS for POP3), or at once.
    pub mode: TlsMode,
    /// Secrets of type kubernetes.io/tls; the one that fits the name that the client asks for is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub certificate_secret_refs: Vec<ObjectRef>,
}

/// The PROXY protocol: required, not optional, from these peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxyProtocol {
    /// The load balancers' networks.
    #[schemars(length(min = 1, max = 64))]
    pub trusted_networks: Vec<String>,
}
