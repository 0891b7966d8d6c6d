//! Where the parts of a snapshot lead, worked out once when it is taken over. Pure.

use std::{net::IpAddr, sync::Arc};

use posthouse_config::{
    ClientTls, Forward, Gateway, LocalDelivery, MailDomain, RelayRule, RuleTarget, TlsMode, UnknownRecipients,
};
use posthouse_model::{Domain, HopTls, HostPort, NextHop, Route, Security, Transport};

use crate::step::NoRoute;

/// RFC 5321 §4.5.4.2: where SMTP is spoken. An address has no MX records that could say another place.
const SMTP_PORT: u16 = 25;

/// Where LMTP is spoken where nobody says it: RFC 2033 §5 forbids port 25, and 24 is for private mail systems.
const LMTP_PORT: u16 = 24;

/// The route to a place that mail can be sent to, or the reason why there is none.
pub(crate) type Destination = Result<Arc<Route>, NoRoute>;

/// Where a domain's mail goes.
#[derive(Debug)]
pub(crate) struct DomainDestinations {
    pub(crate) local: Option<Destination>,
    pub(crate) forward: Option<Destination>,
}

/// Where a rule's mail goes.
#[derive(Debug)]
pub(crate) enum RuleDestination {
    /// To the rule's own hosts.
    Hosts(Destination),
    /// To the recipient domain's own servers.
    Direct(Direct),
}

/// A route to the recipient domain's own servers but for the domain.
#[derive(Clone, Debug)]
pub(crate) struct Direct {
    origin: String,
    security: Security,
    waits: Option<String>,
}

impl DomainDestinations {
    pub(crate) fn of(gateway: &Gateway, domain: &MailDomain) -> Self {
        let origin = format!("MailDomain {}", domain.origin);
        let local = domain.local_delivery.as_ref().map(|local| Ok(local_destination(local, &origin)));
        let forward = match &domain.unknown_recipients {
            UnknownRecipients::Reject => None,
            UnknownRecipients::Forward(forward) => {
                let Forward { host, queue: _, aliased_recipients: _, admits: _, guarded, unsupported } =
                    &**forward;
                let security = Security { guarded: *guarded, ..Security::default() };
                let waits = why_it_waits(&origin, unsupported);
                Some(smtp_destination(gateway, std::slice::from_ref(host), origin, security, waits))
            }
        };
        Self { local, forward }
    }
}

impl RuleDestination {
    pub(crate) fn of(gateway: &Gateway, rule: &RelayRule) -> Self {
        let origin = format!("RelayRule {}", rule.origin);
        let waits = why_it_waits(&origin, &rule.unsupported);
        let security = security(rule);
        match &rule.target {
            RuleTarget::Direct => Self::Direct(Direct { origin, security: guarded(security), waits }),
            RuleTarget::Relay { hosts } => {
                Self::Hosts(smtp_destination(gateway, hosts, origin, security, waits))
            }
        }
    }
}

/// The origin of routes that no resource asked for.
pub(crate) const DIRECT_DELIVERY: &str = "direct delivery";

impl Direct {
    /// Where no rule matches.
    pub(crate) fn by_default() -> Self {
        let security = guarded(Security::default());
        Self { origin: DIRECT_DELIVERY.to_owned(), security, waits: None }
    }

    /// The route for a recipient of this domain.
    pub(crate) fn to(&self, gateway: &Gateway, domain: &Domain) -> Destination {
        let host = match domain.address() {
            Some(address) => HostPort { host: address.to_string(), port: Some(SMTP_PORT) },
            None => HostPort { host: domain.to_lowercase(), port: None },
        };
        smtp_destination(gateway, &[host], self.origin.clone(), self.security.clone(), self.waits.clone())
    }
}

/// Where the recipient's domain chooses the addresses: nobody has who may send anywhere, not even the gateway's owner (decision 0015).
fn guarded(security: Security) -> Security {
    Security { guarded: true, ..security }
}

fn security(rule: &RelayRule) -> Security {
    let ClientTls { mode, verified, roots } = &rule.tls;
    let tls = match mode {
        TlsMode::StartTls => HopTls::StartTls,
        TlsMode::Implicit => HopTls::Implicit,
        TlsMode::Disabled => HopTls::Disabled,
    };
    let is_its_own = rule.credentials.is_some() || roots.is_some();
    let own = is_its_own.then(|| rule.origin.as_str().into());
    Security { tls, verified: *verified, guarded: rule.guarded, rule: own }
}

fn local_destination(local: &LocalDelivery, origin: &str) -> Arc<Route> {
    let next_hop = match local {
        LocalDelivery::Maildrop { queue: _ } => NextHop::new(Transport::Maildrop, Vec::new()),
        LocalDelivery::Lmtp { host, queue: _, guarded } => {
            let host = HostPort { host: host.host.clone(), port: Some(host.port.unwrap_or(LMTP_PORT)) };
            let security = Security { guarded: *guarded, ..Security::default() };
            NextHop { security, ..NextHop::new(Transport::Lmtp, vec![host]) }
        }
    };
    Arc::new(Route { next_hop, origin: origin.to_owned(), waits: None })
}

fn smtp_destination(
    gateway: &Gateway,
    hosts: &[HostPort],
    origin: String,
    security: Security,
    waits: Option<String>,
) -> Destination {
    let hosts: Vec<HostPort> =
        hosts.iter().map(|host| usable_host(gateway, host)).collect::<Result<_, _>>()?;
    if hosts.is_empty() {
        return Err(NoRoute::NoHost);
    }
    let next_hop = NextHop { security, ..NextHop::new(Transport::Smtp, hosts) };
    Ok(Arc::new(Route { next_hop, origin, waits }))
}

/// Why the mail of a route waits, if it does. A part that is refused has a mark that ends with ` (refused)`; it comes first, for it can be
/// corrected.
fn why_it_waits(origin: &str, unsupported: &[Box<str>]) -> Option<String> {
    let refused: Vec<_> = unsupported.iter().filter_map(|mark| mark.strip_suffix(" (refused)")).collect();
    if !refused.is_empty() {
        return Some(format!("{origin}: {} is refused, see its verdict", refused.join(", ")));
    }
    (!unsupported.is_empty())
        .then(|| format!("{origin} asks for {}, which is not built yet", unsupported.join(", ")))
}

/// The host as it is connected to, if it is not this gateway. One host that cannot be used stops the whole route: mail must not quietly go to
/// the second only.
fn usable_host(gateway: &Gateway, host: &HostPort) -> Result<HostPort, NoRoute> {
    let port = match host.port {
        None if host.host.parse::<IpAddr>().is_ok() => Some(SMTP_PORT),
        port => port,
    };
    let is_own_name = host.host.eq_ignore_ascii_case(gateway.hostname.as_str());
    let is_own_port = |port: u16| {
        gateway.listeners.iter().any(|listener| listener.port == port || listener.bind_port == port)
    };
    // By MX a name may lead elsewhere: who looks it up sees whether it leads here.
    if is_own_name && port.is_some_and(is_own_port) {
        return Err(NoRoute::OwnHop(host.to_string()));
    }
    Ok(HostPort { host: host.host.clone(), port })
}
