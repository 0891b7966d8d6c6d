//! `MailRecipients`: more recipients of one domain, many resources per domain. Pure.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{is_false, reference::ObjectRef, status::Status};

/// More recipients of one domain of the same namespace.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "posthouse.dev",
    version = "v1alpha1",
    kind = "MailRecipients",
    plural = "mailrecipients",
    shortname = "mrc",
    category = "posthouse",
    namespaced,
    status = "Status",
    derive = "PartialEq",
    doc = "More recipients of one domain of the same namespace."
)]
#[serde(rename_all = "camelCase")]
pub struct MailRecipientsSpec {
    /// The `MailDomain`.
    pub domain_ref: ObjectRef,
    /// The recipients are unknown while true.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// Local parts.
    #[schemars(length(max = 10000))]
    pub users: Vec<String>,
}
