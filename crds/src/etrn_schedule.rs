//! `EtrnSchedule`: another server is asked for the mail that it holds for us. Pure.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    duration::Duration,
    is_false,
    reference::{GatewayRef, ObjectRef},
    status::RunStatus,
    tls::{ClientAuthentication, ClientTls},
};

/// Another server is asked for the mail that it holds for us.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "posthouse.dev",
    version = "v1alpha1",
    kind = "EtrnSchedule",
    plural = "etrnschedules",
    shortname = "etrn",
    category = "posthouse",
    namespaced,
    status = "RunStatus",
    derive = "PartialEq",
    doc = "Another server is asked for the mail that it holds for us."
)]
#[serde(rename_all = "camelCase")]
pub struct EtrnScheduleSpec {
    /// The gateway that asks; immutable.
    pub gateway_ref: GatewayRef,
    /// Nothing is asked while true.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// What the server is, in the owner's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,
    /// The server that holds our mail.
    pub server: EtrnServer,
    /// How it is asked; absent: Etrn.
    #[serde(default)]
    pub method: EtrnMethod,
    /// Domains, `@domain` for one with all below it, `#name` for a queue.
    #[schemars(length(min = 1, max = 256))]
    pub domains: Vec<String>,
    /// The login; needed by Atrn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<ClientAuthentication>,
    /// How long an answer may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_timeout: Option<Duration>,
    /// When it is asked.
    pub schedule_ref: ObjectRef,
}

/// A server that holds our mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EtrnServer {
    /// A host name or address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Its port.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// TLS; absent: STARTTLS when offered, unverified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
}

/// How a server is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EtrnMethod {
    /// ETRN (RFC 1985): the mail comes over another connection.
    #[default]
    Etrn,
    /// ATRN (RFC 2645): the mail comes back down the same connection.
    Atrn,
}
