//! How the resolver asks: whom, how patiently, and how long it remembers.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use crate::name::HostName;

/// Settings of a resolver. Another resolver is made where they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The name servers, in the order to ask them; none: the system's (`resolv.conf`).
    pub nameservers: Vec<SocketAddr>,
    /// A file of names in the form of hosts(5), whose addresses of a host come before what the name servers say; read again when it changes.
    pub hosts: Option<PathBuf>,
    /// Whether answers are validated.
    pub dnssec: Dnssec,
    /// The cluster that the gateway runs in.
    pub cluster: Option<Cluster>,
    /// How long to wait.
    pub patience: Patience,
    /// How long to remember.
    pub cache: CacheBounds,
}

/// A cluster's own names. They are asked of its own name servers and never validated: no chain of signatures leads to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// What its names end with: `cluster.local`. Hosts that end with `.svc` are completed with it.
    pub domain: HostName,
    /// Its name servers.
    pub nameservers: Vec<SocketAddr>,
}

/// Whether answers are validated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Dnssec {
    /// They are taken as they come; none is secure.
    #[default]
    Disabled,
    /// They are validated here, by the chain of signatures from the trust anchor. The name servers must hand on what DNSSEC needs.
    Validate(TrustAnchor),
}

/// The keys that validation starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TrustAnchor {
    /// The root keys of IANA that this program knows: 20326 and 38696.
    #[default]
    Iana,
    /// DNSKEY records in the form of a zone file.
    Keys(String),
    /// A file of such records.
    File(PathBuf),
}

/// How long the resolver waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a reply of a name server; over UDP the query is repeated meanwhile.
    pub reply: Duration,
    /// Rounds over all name servers, at least one.
    pub rounds: u32,
    /// For the answer to one question, whatever it takes.
    pub question: Duration,
    /// For the hosts of a domain, all questions together. Hosts that were not asked for by then are for later.
    pub plan: Duration,
}

impl Default for Patience {
    /// glibc's habits, a little less patient: mail waits in a queue, not with a person.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { reply: seconds(3), rounds: 2, question: seconds(15), plan: seconds(30) }
    }
}

/// What the cache keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheBounds {
    /// Answers: about 300 octets each.
    pub entries: usize,
    /// Of records. The least saves questions where a zone says 0; the most bounds a zone's mistakes (RFC 8767 §4: days).
    pub ttl: RangeInclusive<Duration>,
    /// Of an absence (RFC 2308 §5: one to three hours have been found to work well).
    pub negative_ttl: RangeInclusive<Duration>,
    /// Of a failure (RFC 9520 §3.2: at least 1 s, at most 5 min; 5 s is suggested).
    pub failure_ttl: Duration,
}

impl Default for CacheBounds {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            entries: 10_000,
            ttl: seconds(1)..=seconds(86_400),
            negative_ttl: seconds(1)..=seconds(3600),
            failure_ttl: seconds(5),
        }
    }
}

/// Settings that no resolver can be made of.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The system names no name server, or not in a way that can be read.
    #[error("the system's name servers cannot be read")]
    System(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The trust anchor's file cannot be read.
    #[error("the trust anchor {path} cannot be read")]
    AnchorFile {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The trust anchor is not made of DNSKEY records, or of none.
    #[error("the trust anchor has no DNSKEY record, or is not in the form of a zone file")]
    Anchor,
    /// The library refuses.
    #[error("the resolver cannot be made")]
    Library(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl SettingsError {
    /// For a metric's label.
    #[must_use]
    pub const fn category(&self) -> &'static str {
        match self {
            Self::System(_) => "system",
            Self::AnchorFile { .. } | Self::Anchor => "trust_anchor",
            Self::Library(_) => "library",
        }
    }
}
