//! One name server, asked through hickory-resolver: UDP, over TCP where the reply is truncated. What hickory says becomes our own words here and
//! nowhere else.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    str::FromStr as _,
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    lookup::Lookup,
    net::{DnsError, NetError, NoRecords, runtime::TokioRuntimeProvider},
    proto::{
        dnssec::{Proof, TrustAnchors},
        op::ResponseCode,
        rr::{Name, RData, Record, RecordType},
    },
    system_conf::read_system_conf,
};
use tokio::time;

use crate::{
    answer::{Answer, Cause, Content, Exchanger, Kind, Question, Target},
    name::HostName,
    settings::{Dnssec, Patience, SettingsError, TrustAnchor},
};

/// Records of one answer that are kept, the best ones of MX: a reply over TCP has room for thousands.
const MOST_RECORDS: usize = 128;

/// Aliases that are followed within an answer; hickory follows eight over several.
const MOST_ALIASES: usize = 16;

/// Replies that a validated answer may take one after the other, in times of one: keys and delegations are asked for on the way.
const REPLIES_OF_PROOF: u32 = 4;

/// An answer and how long it may be kept, where that is known.
pub(super) struct Found {
    pub(super) answer: Answer,
    pub(super) ttl: Option<Duration>,
}

pub(super) struct Upstream {
    address: SocketAddr,
    resolver: TokioResolver,
    patience: Duration,
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
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.timeout = patience.reply;
        options.attempts = 0; // after the first: rounds are ours, over all name servers
        options.cache_size = 0; // ours: see `cache`
        options.use_hosts_file = ResolveHosts::Never;
        options.preserve_intermediates = true; // aliases, for their proofs and their TTL
        if let Some(anchor) = anchor {
            options.validate = true;
            builder = builder.with_trust_anchor(Arc::clone(anchor));
        }
        let resolver = builder.build().map_err(|error| SettingsError::Library(Box::new(error)))?;
        // Twice: over UDP, then over TCP.
        let times = if anchor.is_some() { 2 * REPLIES_OF_PROOF } else { 2 };
        Ok(Self { address, resolver, patience: patience.reply * times })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn ask(&self, question: &Question) -> Result<Found, Cause> {
        let mut name = Name::from_ascii(question.name.as_str()).map_err(|_| Cause::Malformed)?;
        name.set_fqdn(true); // no search list
        let lookup = self.resolver.lookup(name.clone(), record_type(question.kind));
        match time::timeout(self.patience, lookup).await {
            Ok(Ok(lookup)) => found(&name, question.kind, &lookup),
            Ok(Err(error)) => absent(&error),
            Err(_) => Err(Cause::TimedOut),
        }
    }
}

/// The system's name servers.
pub(super) fn of_system() -> Result<Vec<SocketAddr>, SettingsError> {
    let (config, _) = read_system_conf().map_err(|error| SettingsError::System(Box::new(error)))?;
    Ok(config.name_servers().iter().map(|server| SocketAddr::new(server.ip, 53)).collect())
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

/// The records at the end of the aliases. hickory hands on whatever the answer section has.
fn found(asked: &Name, kind: Kind, lookup: &Lookup) -> Result<Found, Cause> {
    let (mut owner, mut chain) = (asked.clone(), Vec::new());
    while let Some((alias, target)) = alias(&owner, lookup.answers())
        && chain.len() < MOST_ALIASES
    {
        chain.push(alias);
        owner = target;
    }
    let wanted = record_type(kind);
    let records: Vec<&Record> = lookup
        .answers()
        .iter()
        .filter(|record| record.name == owner && record.record_type() == wanted)
        .collect();
    let used = || chain.iter().chain(&records);
    let ttl = used().map(|record| Duration::from_secs(record.ttl.into())).min();
    let secure = used().all(|record| record.proof == Proof::Secure);
    let content = match kind {
        Kind::Mx => Content::Exchangers(exchangers(&records)),
        Kind::A | Kind::Aaaa => Content::Addresses(addresses(&records)),
    };
    match &content {
        Content::Exchangers(found) if found.is_empty() => Err(Cause::Malformed),
        Content::Addresses(found) if found.is_empty() => Err(Cause::Malformed),
        _ => Ok(Found { answer: Answer { content, secure }, ttl }),
    }
}

fn alias<'a>(owner: &Name, records: &'a [Record]) -> Option<(&'a Record, Name)> {
    records.iter().find_map(|record| match &record.data {
        RData::CNAME(target) if record.name == *owner => Some((record, target.0.clone())),
        _ => None,
    })
}

fn exchangers(records: &[&Record]) -> Vec<Exchanger> {
    let mut found: Vec<Exchanger> = records
        .iter()
        .filter_map(|record| match &record.data {
            RData::MX(mx) => Some(Exchanger { preference: mx.preference, target: target(&mx.exchange) }),
            _ => None,
        })
        .collect();
    found.sort_by_key(|exchanger| exchanger.preference);
    found.truncate(MOST_RECORDS);
    found
}

fn target(name: &Name) -> Target {
    if name.is_root() {
        return Target::Nobody;
    }
    let text = name.to_ascii();
    HostName::new(text.strip_suffix('.').unwrap_or(&text)).map_or(Target::Unusable, Target::Host)
}

fn addresses(records: &[&Record]) -> Vec<IpAddr> {
    let address = |record: &&Record| match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    };
    records.iter().filter_map(address).take(MOST_RECORDS).collect()
}

/// An absence, or why there is no answer.
fn absent(error: &NetError) -> Result<Found, Cause> {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => no_records(none),
        // An absence that is proven to be beyond proof (an opt-out, too many NSEC3 iterations) is an insecure one.
        NetError::Dns(DnsError::Nsec { response, proof: Proof::Insecure, .. }) => {
            let ttl = response.negative_ttl().map(|ttl| Duration::from_secs(ttl.into()));
            absence(response.response_code, false, ttl)
        }
        NetError::Dns(DnsError::Nsec { .. } | DnsError::DnssecBogus) => Err(Cause::Bogus),
        NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)) => Err(Cause::ServerFailed),
        NetError::Dns(DnsError::ResponseCode(_)) => Err(Cause::Refused),
        NetError::Timeout => Err(Cause::TimedOut),
        NetError::Io(_) | NetError::NoConnections | NetError::Busy => Err(Cause::Network),
        _ => Err(Cause::Malformed),
    }
}

fn no_records(none: &NoRecords) -> Result<Found, Cause> {
    // A referral: this name server does not look further, so it knows nothing of the name.
    if none.soa.is_none() && none.ns.is_some() {
        return Err(Cause::Malformed);
    }
    // RFC 2308 §5: the lesser of the SOA's own TTL and its minimum
    let ttl = none.soa.as_ref().map(|soa| Duration::from_secs(soa.ttl.min(soa.data.minimum).into()));
    let authorities = none.authorities.as_deref().unwrap_or_default();
    let mut proofs = authorities.iter().filter(|record| record.record_type() != RecordType::RRSIG);
    let secure = !authorities.is_empty() && proofs.all(|record| record.proof == Proof::Secure);
    absence(none.response_code, secure, ttl)
}

fn absence(code: ResponseCode, secure: bool, ttl: Option<Duration>) -> Result<Found, Cause> {
    let content = match code {
        ResponseCode::NXDomain => Content::NoSuchName,
        ResponseCode::NoError => Content::NoRecords,
        ResponseCode::ServFail => return Err(Cause::ServerFailed),
        _ => return Err(Cause::Malformed),
    };
    Ok(Found { answer: Answer { content, secure }, ttl })
}
