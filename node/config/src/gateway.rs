//! What belongs to the gateway as a whole: listeners, queue settings, relay control, limits. Plain data.

use std::net::SocketAddr;

use ipnet::IpNet;
use posthouse_model::Domain;
use serde::{Deserialize, Serialize};

use crate::{domain::is_default, resource::ResourceName, span::Millis, tls::ListenerTls};

/// Ports below this are bound higher: a node has no right to bind them.
const FIRST_UNPRIVILEGED_PORT: u16 = 1024;

/// How much higher.
const PORT_SHIFT: u16 = 10_000;

/// One `MailGateway`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gateway {
    /// The resource.
    pub origin: ResourceName,
    /// What it calls itself: banner, EHLO, Received.
    pub hostname: Domain,
    /// It takes no mail.
    #[serde(default, skip_serializing_if = "is_default")]
    pub suspended: bool,
    /// Where clients connect, in the order that was written.
    pub listeners: Box<[Listener]>,
    /// How the queue works.
    pub queue: QueueSettings,
    /// Who may relay; absent: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay_control: Option<RelayControl>,
    /// Limits.
    pub limits: Limits,
    /// When outgoing mail leaves that no queue of a domain says more about.
    #[serde(default, skip_serializing_if = "is_default")]
    pub connectivity: Connectivity,
    /// Who is asked for names; absent: whom the system asks, without DNSSEC. Since schema 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver: Option<Resolver>,
    /// What is not connected to for a resource of another namespace, sorted. Since schema 4.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub denied_networks: Box<[IpNet]>,
}

/// Who is asked for names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resolver {
    /// The nameservers, in the order to ask them; none: the system's.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub nameservers: Box<[SocketAddr]>,
    /// Answers are validated by DNSSEC: one that should be signed and is not right is as if there was none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dnssec: bool,
}

impl Gateway {
    /// A gateway with the defaults of the API: no listener, nobody relays.
    #[must_use]
    pub fn new(origin: ResourceName, hostname: Domain) -> Self {
        let queue_id = format!("{}.{}", origin.namespace(), origin.name()).into();
        Self {
            origin,
            hostname,
            suspended: false,
            listeners: Box::default(),
            queue: QueueSettings { id: queue_id, ..QueueSettings::default() },
            relay_control: None,
            limits: Limits::default(),
            connectivity: Connectivity::default(),
            resolver: None,
            denied_networks: Box::default(),
        }
    }
}

/// A place where clients connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listener {
    /// Its name.
    pub name: Box<str>,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The port that clients connect to.
    pub port: u16,
    /// The port that is bound: see [`bind_port`].
    pub bind_port: u16,
    /// Why it is not bound, in words for people; absent: it is. A listener that asks for what is not built yet stays closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Box<str>>,
    /// Its TLS; absent: none. Since schema 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// The networks of load balancers that say the client's address by the PROXY protocol, sorted. Where there is one, nobody else is
    /// listened to, and they are not without it. Since schema 4.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub proxy_networks: Box<[IpNet]>,
}

/// The port that a listener's port is bound at: below 1024, 10000 higher (25 → 10025), else the port itself.
#[must_use]
pub fn bind_port(port: u16) -> u16 {
    if port < FIRST_UNPRIVILEGED_PORT { port + PORT_SHIFT } else { port }
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

/// How the queue works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueueSettings {
    /// Its name in the store.
    pub id: Box<str>,
    /// Room kept free in the store, in bytes; below it MAIL gets 452.
    pub reserve: u64,
    /// When mail is tried again, and when it is given up.
    pub retry: Retry,
    /// Outgoing connections at one time.
    pub concurrency: Concurrency,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            id: "".into(),
            reserve: 256 << 20,
            retry: Retry::default(),
            concurrency: Concurrency::default(),
        }
    }
}

/// When mail is tried again, and when it is given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// The waits between attempts, never empty, each at least 1 s; the last repeats.
    pub intervals: Box<[Millis]>,
    /// When mail is given up and its sender told.
    pub expire_after: Millis,
    /// When the sender is told that the mail still waits.
    pub warn_after: Millis,
}

impl Default for Retry {
    fn default() -> Self {
        // RFC 5321 §4.5.4.1: a retry of a destination not before 30 minutes, or sooner with a strategy; 4-5 days in all
        Self {
            intervals: [5, 15, 30, 60, 120].map(|minutes| Millis::from_secs(minutes * 60)).into(),
            expire_after: Millis::from_secs(5 * 86_400),
            warn_after: Millis::from_secs(4 * 3_600),
        }
    }
}

/// Outgoing connections at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Concurrency {
    /// Of one node.
    pub per_node: u32,
    /// To one next hop, over all nodes.
    pub per_next_hop: u32,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { per_node: 200, per_next_hop: 20 }
    }
}

/// Who may relay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RelayControl {
    /// Client networks that may, sorted; exempt from sender checks and hidden in Received.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub networks: Box<[IpNet]>,
    /// When a client's address is believed.
    pub address_trust: AddressTrust,
    /// Whether clients authenticate to relay.
    pub authentication: RelayAuthentication,
}

/// When the address that a node sees is believed to be the client's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressTrust {
    /// Always: locally, or because the owner vouches for it.
    Always,
    /// Only where a trusted load balancer said it by the PROXY protocol.
    #[default]
    ProxyProtocol,
}

/// Whether clients authenticate to relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RelayAuthentication {
    /// Not offered.
    Disabled,
    /// An address of the networks or a login is enough.
    #[default]
    Optional,
    /// A login is needed, from an address of the networks where there are any.
    Required,
}

/// Limits of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Bytes of one message.
    pub message_size: u64,
    /// Recipients of one message; absent: no limit of the owner's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipients_per_message: Option<u32>,
    /// Failed commands before the session is closed; absent: no limit of the owner's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_commands: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_size: 50 << 20, recipients_per_message: None, failed_commands: None }
    }
}

/// When outgoing mail leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Connectivity {
    /// At once.
    #[default]
    Online,
    /// By the gateway's schedule: until then it is held.
    Scheduled,
}
