//! `MailUser`: an identity that may authenticate. Pure.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    is_false,
    reference::{GatewayRef, SecretKeyRef},
    status::Status,
};

/// An identity that may authenticate: SMTP AUTH, POP3, ATRN.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "posthouse.dev",
    version = "v1alpha1",
    kind = "MailUser",
    plural = "mailusers",
    shortname = "mu",
    category = "posthouse",
    namespaced,
    status = "Status",
    derive = "PartialEq",
    doc = "An identity that may authenticate: SMTP AUTH, POP3, ATRN."
)]
#[serde(rename_all = "camelCase")]
pub struct MailUserSpec {
    /// The gateway that it may use; immutable.
    pub gateway_ref: GatewayRef,
    /// It may not authenticate while true.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// The login name; immutable; outside the gateway's namespace: user@granted-domain.
    #[schemars(length(min = 1, max = 320))]
    pub login: String,
    /// The Secret key with the password: an argon2id, bcrypt or SCRAM hash, or plain where CRAM-MD5 or APOP is needed.
    pub password_secret_ref: SecretKeyRef,
    /// Sender patterns that it may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub may_send_as: Vec<String>,
}
