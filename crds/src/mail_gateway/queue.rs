//! A gateway's queue: where it is kept, how often it is tried, how much room it leaves. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{duration::Duration, reference::SecretKeyRef, size::Size};

/// The queue of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// The queue's name in the store; immutable; absent: namespace.name of the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub id: Option<String>,
    /// The Redis or Valkey that keeps it; needed in a cluster, ignored by local mode without `--redis`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// Room kept free in the store; below it MAIL gets 452; absent: 256Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve: Option<Size>,
    /// When mail is tried again, and when it is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Outgoing connections at one time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
}

/// How the Redis is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RedisTopology {
    /// One server, or one name that always leads to the primary.
    #[default]
    Standalone,
    /// Sentinels know the primary.
    Sentinel,
    /// A cluster with slots.
    Cluster,
}

/// The Redis or Valkey that keeps the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Redis {
    /// How it is laid out; absent: Standalone.
    #[serde(default)]
    pub topology: RedisTopology,
    /// The Secret key with the URL.
    pub url_secret_ref: SecretKeyRef,
    /// The Secret key with the certificate authority of its TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// The sentinels, with `topology: Sentinel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<Sentinel>,
    /// Who must confirm a message before 250.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
    /// What the owner vouches for where the CONFIG command is forbidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<DeclaredSettings>,
}

/// The sentinels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sentinel {
    /// The primary's name.
    #[schemars(length(min = 1, max = 253))]
    pub master_name: String,
    /// The sentinels as host:port.
    #[schemars(length(min = 1, max = 16))]
    pub hosts: Vec<String>,
}

/// Who must confirm a message before 250.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Confirm {
    /// The number of replicas.
    #[schemars(range(max = 16))]
    pub replicas: u8,
}

/// Redis' `appendfsync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AppendFsync {
    /// Each write is synced before its answer.
    Always,
    /// Once a second.
    EverySecond,
    /// When the system likes.
    Never,
}

/// Redis' `maxmemory-policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MaxmemoryPolicy {
    /// A full store refuses writes. Every other policy would evict mail.
    NoEviction,
}

/// What the owner vouches for where the CONFIG command is forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeclaredSettings {
    /// Redis' `appendfsync`.
    pub appendfsync: AppendFsync,
    /// Redis' `maxmemory-policy`.
    pub maxmemory_policy: MaxmemoryPolicy,
}

/// When mail is tried again, and when it is given up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// The waits between attempts; the last one repeats; absent: 5m, 15m, 30m, 1h, 2h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub intervals: Option<Vec<Duration>>,
    /// When mail is given up and its sender told; absent: 5d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_after: Option<Duration>,
    /// When the sender is told that the mail still waits; absent: 4h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn_after: Option<Duration>,
}

/// Outgoing connections at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Concurrency {
    /// Of one node; absent: 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub per_node: Option<u32>,
    /// To one next hop, over all nodes; absent: 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub per_next_hop: Option<u32>,
}
