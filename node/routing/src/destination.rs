//! Where the parts of a snapshot lead, worked out once when it is taken over. Pure.

use std::{net::IpAddr, sync::Arc};

use posthouse_config::{
    Forward, Gateway, LocalDelivery, MailDomain, RelayRule, RuleTarget, UnknownRecipients,
};
use posthouse_model::{HostPort, NextHop, Route, Transport};

use crate::step::NoRoute;

/// RFC 5321 §4.5.4.2: where SMTP is spoken. An address has no MX records that could say another place.
const SMTP_PORT: u16 = 25;

/// The route to a place that mail can be sent to, or the reason why there is none.
pub(crate) type Destination = Result<Arc<Route>, NoRoute>;

/// Where a domain's mail goes.
#[derive(Debug)]
pub(crate) struct DomainDestinations {
    pub(crate) local: Option<Destination>,
    pub(crate) forward: Option<Destination>,
}

/// Where a rule's mail goes; `None`: directly, by MX.
pub(crate) type RuleDestination = Option<Destination>;

impl DomainDestinations {
    pub(crate) fn of(gateway: &Gateway, domain: &MailDomain) -> Self {
        let origin = format!("MailDomain {}", domain.origin);
        let local = domain.local_delivery.as_ref().map(|local| local_destination(local, &origin));
        let forward = match &domain.unknown_recipients {
            UnknownRecipients::Reject => None,
            UnknownRecipients::Forward(forward) => {
                let Forward { host, queue: _, aliased_recipients: _, admits: _, unsupported } = &**forward;
                Some(smtp_destination(gateway, std::slice::from_ref(host), origin, unsupported))
            }
        };
        Self { local, forward }
    }
}

pub(crate) fn rule_destination(gateway: &Gateway, rule: &RelayRule) -> RuleDestination {
    match &rule.target {
        RuleTarget::Direct => None,
        RuleTarget::Relay { hosts } => {
            Some(smtp_destination(gateway, hosts, format!("RelayRule {}", rule.origin), &rule.unsupported))
        }
    }
}

fn local_destination(local: &LocalDelivery, origin: &str) -> Destination {
    let next_hop = match local {
        LocalDelivery::Maildrop { queue: _ } => NextHop::new(Transport::Maildrop, Vec::new()),
        LocalDelivery::Lmtp { host, queue: _ } if host.port.is_none() => {
            return Err(NoRoute::NeedsDns(host.host.clone()));
        }
        LocalDelivery::Lmtp { host, queue: _ } => NextHop::new(Transport::Lmtp, vec![host.clone()]),
    };
    Ok(Arc::new(Route { next_hop, origin: origin.to_owned(), waits: None }))
}

fn smtp_destination(
    gateway: &Gateway,
    hosts: &[HostPort],
    origin: String,
    unsupported: &[Box<str>],
) -> Destination {
    let waits = why_it_waits(&origin, unsupported);
    let hosts: Result<Vec<HostPort>, NoRoute> = hosts.iter().map(|host| usable_host(gateway, host)).collect();
    hosts.and_then(|hosts| {
        if hosts.is_empty() {
            return Err(NoRoute::NeedsDns("no host".to_owned()));
        }
        let next_hop = NextHop { transport: Transport::Smtp, hosts };
        Ok(Arc::new(Route { next_hop, origin, waits }))
    })
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

/// The host with its port, if it can be connected to without DNS and is not this gateway. One host that cannot be used stops the whole route:
/// mail must not quietly go to the second only.
fn usable_host(gateway: &Gateway, host: &HostPort) -> Result<HostPort, NoRoute> {
    let port = match host.port {
        Some(port) => port,
        None if host.host.parse::<IpAddr>().is_ok() => SMTP_PORT,
        None => return Err(NoRoute::NeedsDns(host.host.clone())),
    };
    let is_own_name = host.host.eq_ignore_ascii_case(gateway.hostname.as_str());
    let is_own_port =
        gateway.listeners.iter().any(|listener| listener.port == port || listener.bind_port == port);
    if is_own_name && is_own_port {
        return Err(NoRoute::OwnHop(host.to_string()));
    }
    Ok(HostPort { host: host.host.clone(), port: Some(port) })
}
