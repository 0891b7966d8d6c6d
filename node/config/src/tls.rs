//! TLS, on the listeners and towards next hops: what is asked, and the certificates. Plain data; nothing here looks into a certificate.

use serde::{Deserialize, Serialize};

use crate::{domain::is_default, resource::ResourceName, secret::Secret};

/// When TLS begins on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsMode {
    /// By STARTTLS (RFC 3207): on a listener offered, towards a next hop taken where it is offered.
    #[default]
    StartTls,
    /// At once (RFC 8314).
    Implicit,
    /// Never.
    Disabled,
}

/// TLS of a listener; without it none is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenerTls {
    /// `StartTls` or `Implicit`.
    pub mode: TlsMode,
    /// Without TLS nothing is done there.
    #[serde(default, skip_serializing_if = "is_default")]
    pub required: bool,
    /// The names of its certificates among [`Snapshot::certificates`](crate::Snapshot::certificates), at least one; the first is shown to
    /// clients that ask for no name, or for one that none has.
    pub certificates: Box<[ResourceName]>,
}

/// A certificate with its key: a Secret of type `kubernetes.io/tls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Certificate {
    /// The Secret.
    pub name: ResourceName,
    /// The certificate and those that lead to its root, in PEM.
    pub chain: Box<str>,
    /// The private key, in PEM.
    pub key: Secret,
}

/// TLS towards the hosts of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientTls {
    /// When it begins.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: TlsMode,
    /// The certificate must name the host and chain to a trusted root, and without TLS nothing is sent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub verified: bool,
    /// The certificates that count as roots instead of the system's, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roots: Option<Box<str>>,
}

/// How a login to a next hop is made (RFC 4954).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthenticationMethod {
    /// The strongest that both sides know.
    #[default]
    Auto,
    /// PLAIN (RFC 4616).
    Plain,
    /// LOGIN.
    Login,
    /// CRAM-MD5 (RFC 2195).
    CramMd5,
    /// SCRAM-SHA-1 (RFC 5802).
    ScramSha1,
    /// SCRAM-SHA-256 (RFC 7677).
    ScramSha256,
    /// XOAUTH2.
    XOAuth2,
}
