//! One name server, asked through hickory: UDP, over TCP where the reply is truncated, validated where that is asked for. Aliases are followed
//! here: hickory calls an answer bogus that ends at an absence behind an alias, and one that is expanded from a wildcard right above it.

mod reading;
mod wildcard;

use std::{fs, net::SocketAddr, str::FromStr as _, sync::Arc, time::Duration};

use hickory_resolver::{
    NameServerPool, PoolContext, TlsConfig,
    config::{ConnectionConfig, NameServerConfig, ResolverOpts},
    net::{
        NetError,
        dnssec::DnssecDnsHandle,
        runtime::TokioRuntimeProvider,
        xfer::{DnsHandle as _, FirstAnswer as _},
    },
    proto::{
        dnssec::TrustAnchors,
        op::{DnsRequestOptions, DnsResponse, Query},
        rr::{Name, RecordType},
    },
};
use tokio::time;

use self::reading::{Read, read};
use crate::{
    answer::{Answer, Cause, Kind, Question},
    settings::{Dnssec, Patience, SettingsError, TrustAnchor},
};

/// Questions that one question may become by aliases (RFC 1034 §3.6.2: chains are followed, loops are errors).
const MOST_ALIASES: usize = 8;

/// Replies that a validated answer may take one after the other, in times of one: keys and delegations are asked for on the way.
const REPLIES_OF_PROOF: u32 = 4;

/// Proofs that are remembered, of about 300 octets: keys and delegations of the zones in use. hickory's own bound is a million.
const MOST_PROOFS: usize = 16_384;

/// An answer and how long it may be kept, where that is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) answer: Answer,
    pub(super) ttl: Option<Duration>,
}

type Pool = NameServerPool<TokioRuntimeProvider>;

pub(super) struct Upstream {
    address: SocketAddr,
    handle: Handle,
    patience: Duration,
}

enum Handle {
    Plain(Pool),
    Validating(DnssecDnsHandle<Pool>),
}

impl Upstream {
    pub(super) fn new(
        address: SocketAddr,
        anchor: Option<&Arc<TrustAnchors>>,
        patience: Patience,
    ) -> Result<Self, SettingsError> {
        let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
        for connection in &mut connections {
            connection.port = address.port();
        }
        let server = NameServerConfig::new(address.ip(), true, connections);
        let mut options = ResolverOpts::default();
        options.timeout = patience.reply;
        let tls = TlsConfig::new().map_err(|error| SettingsError::Library(Box::new(error)))?;
        let context = Arc::new(PoolContext::new(options, tls));
        let pool = Pool::from_config([server], context, TokioRuntimeProvider::default());
        // Twice: over UDP, then over TCP.
        let (handle, replies) = match anchor {
            None => (Handle::Plain(pool), 2),
            Some(anchor) => {
                let handle = DnssecDnsHandle::with_trust_anchor(pool, Arc::clone(anchor));
                (Handle::Validating(handle.validation_cache_size(MOST_PROOFS)), 2 * REPLIES_OF_PROOF)
            }
        };
        Ok(Self { address, handle, patience: patience.reply * replies })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn ask(&self, question: &Question) -> Result<Found, Cause> {
        time::timeout(self.patience, self.follow(question)).await.unwrap_or(Err(Cause::TimedOut))
    }

    /// Asks, and asks for what the name is an alias of until it is none.
    async fn follow(&self, question: &Question) -> Result<Found, Cause> {
        let mut name = Name::from_ascii(question.name.as_str()).map_err(|_| Cause::Malformed)?;
        name.set_fqdn(true);
        let validated = matches!(self.handle, Handle::Validating(_));
        let (mut way_is_secure, mut way_ttl) = (true, None);
        for _ in 0..MOST_ALIASES {
            let response = self.send(Query::query(name.clone(), record_type(question.kind))).await;
            match read(&name, question.kind, response, validated)? {
                Read::Found(Found { answer, ttl }) => {
                    let Answer { content, secure } = answer;
                    let answer = Answer { content, secure: secure && way_is_secure };
                    return Ok(Found { answer, ttl: lesser(ttl, way_ttl) });
                }
                Read::Alias { target, secure, ttl } => {
                    way_is_secure &= secure;
                    way_ttl = lesser(Some(ttl), way_ttl);
                    name = target;
                }
            }
        }
        Err(Cause::Malformed)
    }

    async fn send(&self, query: Query) -> Result<DnsResponse, NetError> {
        let options = DnsRequestOptions::default();
        match &self.handle {
            Handle::Plain(pool) => pool.lookup(query, options).first_answer().await,
            Handle::Validating(handle) => handle.lookup(query, options).first_answer().await,
        }
    }
}

/// What is known of the two; the lesser of both.
fn lesser(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The keys that validation starts from; none without validation.
pub(super) fn anchor(dnssec: &Dnssec) -> Result<Option<Arc<TrustAnchors>>, SettingsError> {
    let read;
    let keys = match dnssec {
        Dnssec::Disabled => return Ok(None),
        Dnssec::Validate(TrustAnchor::Iana) => return Ok(Some(Arc::new(TrustAnchors::default()))),
        Dnssec::Validate(TrustAnchor::Keys(keys)) => keys,
        Dnssec::Validate(TrustAnchor::File(path)) => {
            read = fs::read_to_string(path)
                .map_err(|source| SettingsError::AnchorFile { path: path.clone(), source })?;
            &read
        }
    };
    let anchors = TrustAnchors::from_str(keys).map_err(|_| SettingsError::Anchor)?;
    // hickory trusts nothing then and calls everything bogus. A private root has root keys.
    if anchors.is_empty() {
        return Err(SettingsError::Anchor);
    }
    Ok(Some(Arc::new(anchors)))
}

fn record_type(kind: Kind) -> RecordType {
    match kind {
        Kind::Mx => RecordType::MX,
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
    }
}
