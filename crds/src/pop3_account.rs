//! `Pop3Account`: a mailbox elsewhere that is emptied into the gateway. Pure.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    duration::Duration,
    is_false,
    reference::{GatewayRef, ObjectRef},
    size::Size,
    status::RunStatus,
    tls::TlsVerify,
};

/// A mailbox elsewhere that is emptied into the gateway.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "posthouse.dev",
    version = "v1alpha1",
    kind = "Pop3Account",
    plural = "pop3accounts",
    shortname = "pop3",
    category = "posthouse",
    namespaced,
    status = "RunStatus",
    derive = "PartialEq",
    doc = "A mailbox elsewhere that is emptied into the gateway."
)]
#[serde(rename_all = "camelCase")]
pub struct Pop3AccountSpec {
    /// The gateway that picks the mail up; immutable.
    pub gateway_ref: GatewayRef,
    /// Nothing is picked up while true.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// What the account is, in the owner's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,
    /// The POP3 server.
    pub server: Pop3Server,
    /// The login.
    pub authentication: Pop3Authentication,
    /// One recipient of everything; this or `sorting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 320))]
    pub deliver_to: Option<String>,
    /// Recipients by header; this or `deliverTo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sorting: Option<Sorting>,
    /// Limits of one session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionLimits>,
    /// How long mail stays on the server; absent: it is deleted once it is durably queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// When mail is picked up.
    pub schedule_ref: ObjectRef,
}

/// When TLS begins on a POP3 connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Pop3TlsMode {
    /// Never.
    #[default]
    Disabled,
    /// After STLS (RFC 2595).
    Stls,
    /// At once (RFC 8314).
    Implicit,
}

/// TLS towards a POP3 server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pop3Tls {
    /// When TLS begins.
    pub mode: Pop3TlsMode,
    /// Whether the certificate must be right; absent: Required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<TlsVerify>,
    /// The Secret whose key `ca.crt` has the certificates that count as roots; absent: those of the node's system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<ObjectRef>,
}

/// A POP3 server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pop3Server {
    /// A host name or address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Its port.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// TLS; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Pop3Tls>,
}

/// How a POP3 client authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Pop3Method {
    /// USER and PASS, or PLAIN.
    Plain,
    /// APOP (RFC 1939 §7).
    Apop,
    /// CRAM-MD5 (RFC 2195).
    CramMd5,
    /// SCRAM-SHA-256 (RFC 7677).
    ScramSha256,
    /// XOAUTH2.
    XOAuth2,
}

/// The login at a POP3 server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pop3Authentication {
    /// The method.
    pub method: Pop3Method,
    /// The Secret with the keys `username` and `password`.
    pub credentials_secret_ref: ObjectRef,
}

/// Recipients by header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sorting {
    /// The header that is asked first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 76))]
    pub preferred_header: Option<String>,
    /// Address by address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub rules: Vec<SortingRule>,
    /// What happens to mail that no rule fits; absent: Discard, counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Otherwise>,
    /// Takes one of several copies of a message.
    #[serde(default, skip_serializing_if = "is_false")]
    pub drop_duplicates: bool,
}

/// One address and where its mail goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SortingRule {
    /// The complete address in the header.
    #[schemars(length(min = 1, max = 320))]
    pub address: String,
    /// The recipient.
    #[schemars(length(min = 1, max = 320))]
    pub deliver_to: String,
    /// What the rule is for, in the owner's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,
}

/// What happens to mail that no rule fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OtherwiseAction {
    /// It goes to one recipient.
    Deliver,
    /// It is thrown away, and counted.
    Discard,
    /// It is kept for an administrator.
    Quarantine,
}

/// What happens to mail that no rule fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Otherwise {
    /// What happens.
    pub action: OtherwiseAction,
    /// The recipient, with `action: Deliver`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 320))]
    pub deliver_to: Option<String>,
}

/// Limits of one session; absent: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionLimits {
    /// Messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub messages: Option<u32>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
}

/// How long mail stays on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// This long after it was picked up.
    pub keep_for: Duration,
}
