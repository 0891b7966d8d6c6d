//! TLS and authentication towards other servers, as several kinds set it. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::ObjectRef;

/// When TLS begins on an SMTP connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsMode {
    /// Never.
    #[default]
    Disabled,
    /// After STARTTLS (RFC 3207).
    StartTls,
    /// At once (RFC 8314).
    Implicit,
}

/// Whether a server's certificate must be right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsVerify {
    /// The certificate must name the host and chain to a trusted root, or nothing is sent.
    Required,
    /// Encrypted where the server can, whatever its certificate says.
    #[default]
    Opportunistic,
}

/// TLS towards a server that speaks SMTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientTls {
    /// When TLS begins.
    pub mode: TlsMode,
    /// Whether the certificate must be right; absent: Opportunistic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<TlsVerify>,
    /// The Secret whose key `ca.crt` has the certificates that count as roots; absent: those of the node's system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<ObjectRef>,
}

/// How an SMTP client authenticates (RFC 4954).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthenticationMethod {
    /// The strongest that both sides know; a plain one only under TLS.
    #[default]
    Auto,
    /// PLAIN (RFC 4616).
    Plain,
    /// LOGIN.
    Login,
    /// CRAM-MD5 (RFC 2195).
    CramMd5,
    /// SCRAM-SHA-256 (RFC 7677).
    ScramSha256,
    /// XOAUTH2.
    XOAuth2,
}

/// Authentication towards a server that speaks SMTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientAuthentication {
    /// The method; absent: Auto.
    #[serde(default)]
    pub method: AuthenticationMethod,
    /// The Secret with the keys `username` and `password`; for XOAUTH2 the password is the token.
    pub credentials_secret_ref: ObjectRef,
}
