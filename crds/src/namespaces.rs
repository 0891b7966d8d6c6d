//! Which namespaces a permission is for, in the words of the Gateway API. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How namespaces are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamespacesFrom {
    /// The gateway's own namespace.
    #[default]
    Same,
    /// Every namespace.
    All,
    /// The namespaces listed in `names`.
    Names,
    /// The namespaces whose labels match `selector`.
    Selector,
}

/// A choice of namespaces. The gateway's own is always in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelection {
    /// How they are chosen; absent: Same.
    #[serde(default)]
    pub from: NamespacesFrom,
    /// The namespaces, with `from: Names`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub names: Vec<String>,
    /// Labels of the namespaces, with `from: Selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}
