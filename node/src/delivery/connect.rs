//! From a next hop to a connection on which mail can be sent: its hosts in their order, each host's addresses, one after the other within bounds. I/O.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use posthouse_dns::{Destination, HostName, Later, NoHosts, Own, Rules};
use posthouse_model::{EnhancedStatus, HopTls, HostPort, NextHop, Transport};
use posthouse_smtp::client::{Origin, Refusal, Settings, Stage, StartTls};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use rustls::pki_types::ServerName;
use tokio::{
    net::TcpStream,
    time::{self, Instant},
};

use super::{
    connection::{Connection, Failed, encrypted},
    egress,
    means::{Login, Means},
    unreachable::Unreachable,
};
use crate::{events, node::Node, policy::Policy, wire::Wire};

/// How long a connection may take to be made. RFC 5321 names no time; a host that is up answers in a round trip.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Addresses that are tried for one connection, over all hosts of the next hop.
const MOST_TRIES: u32 = 20;

/// Addresses, and hosts, that are tried for one connection however long that takes.
const LEAST: u32 = 2;

/// How long addresses are tried for one connection; a try that was begun goes on.
const TRYING: Duration = Duration::from_mins(3);

/// Connects to the first host that takes mail.
pub async fn connect(node: &Node, policy: &Policy, next_hop: &NextHop) -> Result<Connection, Unreachable> {
    let means = Arc::new(policy.means(next_hop)?);
    let connecting = Connecting { node, policy, next_hop, means };
    let mut trial = Trial::begin();
    for host in &next_hop.hosts {
        if trial.is_over() {
            break; // nobody is asked for names that are not used
        }
        let targets = match connecting.targets(host).await {
            Ok(targets) => targets,
            Err(unreachable) => {
                trial.note(unreachable);
                continue;
            }
        };
        for target in &targets {
            for (place, address) in target.addresses.iter().enumerate() {
                if !trial.takes(place == 0) {
                    continue;
                }
                match connecting.to(target, *address).await {
                    Ok(connection) => {
                        if let Some(login) = &connecting.means.login {
                            node.refused_logins.works(&login.rule);
                        }
                        return Ok(connection);
                    }
                    Err(unreachable) if unreachable.is_final => return Err(unreachable),
                    Err(unreachable) => trial.note(unreachable),
                }
            }
        }
    }
    Err(trial.outcome())
}

/// The tries for one connection.
struct Trial {
    until: Instant,
    tries: u32,
    hosts: u32,
    found: Option<Unreachable>,
}

impl Trial {
    fn begin() -> Self {
        Self { until: Instant::now() + TRYING, tries: 0, hosts: 0, found: None }
    }

    /// Whether this address is tried. RFC 5321 §5.1: at least two are, and not both of one host where there is another: one that says nothing uses up all
    /// the time, each time, and must not keep the mail from the others for ever.
    fn takes(&mut self, is_first_of_host: bool) -> bool {
        let is_needed = self.tries < LEAST || (is_first_of_host && self.hosts < LEAST);
        let takes = self.tries < MOST_TRIES && (is_needed || Instant::now() < self.until);
        self.tries += u32::from(takes);
        self.hosts += u32::from(takes && is_first_of_host);
        takes
    }

    fn is_over(&self) -> bool {
        self.tries >= MOST_TRIES || (self.hosts >= LEAST && Instant::now() >= self.until)
    }

    fn note(&mut self, next: Unreachable) {
        self.found = Some(match self.found.take() {
            Some(found) => found.or(next),
            None => next,
        });
    }

    fn outcome(self) -> Unreachable {
        self.found.unwrap_or_else(|| Unreachable::no_answer("", "it has no host".to_owned()))
    }
}

/// A host, as it is connected to.
struct Target {
    /// As the configuration or its MX record names it: what its certificate must name.
    name: Destination,
    port: u16,
    addresses: Vec<IpAddr>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HostPort { host: self.name.to_string(), port: Some(self.port) }.fmt(f)
    }
}

struct Connecting<'c> {
    node: &'c Node,
    policy: &'c Policy,
    next_hop: &'c NextHop,
    means: Arc<Means>,
}

impl Connecting<'_> {
    /// Where a host leads: with a port to its addresses, without one to those who take the mail for it.
    async fn targets(&self, host: &HostPort) -> Result<Vec<Target>, Unreachable> {
        let Ok(name) = host.host.parse::<Destination>() else {
            // RFC 3463 §3.5: 4.4.4, unable to route
            let why = format!("{} is no name of a host", host.host);
            return Err(Unreachable::ours("", EnhancedStatus::transient(4, 4), why));
        };
        if let (Destination::Address(address), Some(port)) = (&name, host.port) {
            let only = Target { name: name.clone(), port, addresses: vec![*address] };
            return self.sifted(name, vec![only], None);
        }
        let resolver = self.policy.names.resolver()?;
        let (rules, mut rng) = (self.rules(), StdRng::from_os_rng());
        let found = match host.port {
            Some(port) => resolver.host(&name, &rules, &mut rng).await.map(|host| {
                let addresses = host.addresses;
                (vec![Target { name: name.clone(), port, addresses }], None)
            }),
            None => resolver.mail_hosts(&name, &rules, &mut rng).await.map(|plan| {
                let hosts = plan.hosts.into_iter();
                let targets = hosts
                    .map(|host| Target { name: host.name, port: rules.port, addresses: host.addresses })
                    .collect();
                (targets, plan.later.into_iter().next())
            }),
        };
        match found {
            // Whoever named the host can correct it: that is told when it comes to it.
            Ok((targets, _)) if host.port.is_some() => Ok(targets),
            Ok((targets, later)) => self.sifted(name, targets, later),
            Err(why) => {
                events::NoHosts { host: &host.host, why: &why }.emit(&self.node.metrics);
                Err(why.into())
            }
        }
    }

    /// Without the addresses that may not be connected to, where those are not the owner's choice. `later`: a host that may be found
    /// another time.
    fn sifted(
        &self,
        name: Destination,
        targets: Vec<Target>,
        later: Option<Later>,
    ) -> Result<Vec<Target>, Unreachable> {
        if !self.means.guarded {
            return Ok(targets);
        }
        let denied = &*self.policy.snapshot.gateway.denied_networks;
        let (mut good, mut reason) = (Vec::new(), None);
        for target in targets {
            let (addresses, forbidden) = egress::sift(target.addresses, target.port, denied);
            let target = Target { addresses, ..target };
            let host = target.to_string();
            for why in &forbidden {
                events::EgressRefused { next_hop: self.next_hop, host: &host, why }.emit(&self.node.metrics);
                reason.get_or_insert_with(|| format!("{host} is not connected to: {why}"));
            }
            if !target.addresses.is_empty() {
                good.push(target);
            }
        }
        match (good.is_empty(), reason, later) {
            (true, Some(reason), None) => Err(Unreachable { reason, ..NoHosts::Forbidden(name).into() }),
            (true, _, Some(later)) => Err(NoHosts::from(later.failure).into()),
            _ => Ok(good),
        }
    }

    fn rules(&self) -> Rules {
        let gateway = &self.policy.snapshot.gateway;
        let names = HostName::new(gateway.hostname.as_str()).into_iter().collect();
        Rules { own: Own { names, listeners: self.node.here.listeners(gateway) }, ..Rules::default() }
    }

    /// One address.
    async fn to(&self, target: &Target, address: IpAddr) -> Result<Connection, Unreachable> {
        let Self { node, policy, next_hop, means } = self;
        let (host, address) = (Arc::<str>::from(target.to_string()), SocketAddr::new(address, target.port));
        let denied = if means.guarded { &*policy.snapshot.gateway.denied_networks } else { &[] };
        if let Err(why) = egress::allow(address, node.here.is_at(address), denied) {
            events::EgressRefused { next_hop, host: &host, why: &why }.emit(&node.metrics);
            return Err(Unreachable::forbidden(&host, &why));
        }
        let is_known_without = || node.delivery.without_tls.has(address, std::time::Instant::now());
        let starttls = match means.starttls() {
            StartTls::IfOffered if means.may_go_in_clear() && is_known_without() => StartTls::Never,
            starttls => starttls,
        };
        let failed = match self.converse(target, address, &host, starttls).await? {
            Ok(connection) => return Ok(connection),
            Err(failed) => failed,
        };
        if !failed.is_for_tls() {
            return Err(self.said(&host, failed));
        }
        let unreachable = self.said(&host, failed);
        node.metrics.client_handshakes_failed.inc();
        if starttls == StartTls::Never || !means.may_go_in_clear() {
            return Err(unreachable);
        }
        // RFC 7435 §3: better in clear than not at all, where nothing more was asked for.
        events::WithoutTls { host: &host, address: &address, reason: &unreachable.reason }
            .emit(&node.metrics);
        let connection = match self.converse(target, address, &host, StartTls::Never).await? {
            Ok(connection) => connection,
            Err(failed) => return Err(self.said(&host, failed)),
        };
        // Only now it is known that TLS was the trouble.
        node.delivery.without_tls.note(address, std::time::Instant::now());
        Ok(connection)
    }

    /// Connects and brings a session to where mail can be sent; the outer error is of the connection.
    async fn converse(
        &self,
        target: &Target,
        address: SocketAddr,
        host: &Arc<str>,
        starttls: StartTls,
    ) -> Result<Result<Connection, Failed>, Unreachable> {
        let means = &self.means;
        let server = self.server(target, address).map_err(|why| Unreachable::no_handshake(host, why))?;
        let settings = self.settings(host, starttls)?;
        let made = time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        let stream = match made {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return Err(Unreachable::no_answer(host, format!("cannot connect to {address}: {error}")));
            }
            Err(_) => {
                let why = format!("{address} did not answer within {} s", CONNECT_TIMEOUT.as_secs());
                return Err(Unreachable::no_answer(host, why));
            }
        };
        // Commands are gathered by the session and written whole.
        stream.set_nodelay(true).map_err(|error| Unreachable::no_answer(host, error.to_string()))?;
        let mut wire = Wire::Clear(stream);
        if means.tls == HopTls::Implicit {
            wire = match encrypted(wire, means, server.clone()).await {
                Ok(wire) => wire,
                Err(failed) => return Ok(Err(failed)),
            };
        }
        Ok(Connection::new(wire, settings, Arc::clone(host), Arc::clone(means)).greet(server).await)
    }

    fn settings(&self, host: &str, starttls: StartTls) -> Result<Settings, Unreachable> {
        let hello = self.policy.snapshot.gateway.hostname.clone();
        let mut settings = match self.next_hop.transport {
            Transport::Lmtp => Settings::lmtp(hello),
            Transport::Smtp | Transport::Maildrop => Settings::smtp(hello),
        };
        settings.encrypted = self.means.tls == HopTls::Implicit;
        settings.starttls = starttls;
        if let Some(login) = &self.means.login {
            let authentication = login.authentication(rand::rng().random()).map_err(|error| {
                // RFC 3463 §3.8: X.7.8, credentials invalid
                let why = format!("the login of RelayRule {} cannot be used: {error}", login.rule);
                Unreachable::ours(host, EnhancedStatus::transient(7, 8), why)
            })?;
            settings.authentication = Some(authentication);
        }
        Ok(settings)
    }

    /// Whose name the certificate must have: that of the host as the configuration or its MX record names it.
    fn server(&self, target: &Target, address: SocketAddr) -> Result<ServerName<'static>, &'static str> {
        let by_address = ServerName::from(address.ip().to_canonical());
        match &target.name {
            Destination::Address(_) => Ok(by_address),
            Destination::Name(name) => match ServerName::try_from(name.as_str().to_owned()) {
                Ok(name) => Ok(name),
                Err(_) if self.means.verified => Err("no certificate can have its name"),
                Err(_) => Ok(by_address),
            },
        }
    }

    /// What a session that failed says of its host.
    fn said(&self, host: &str, failed: Failed) -> Unreachable {
        match failed {
            Failed::Lost(loss) => Unreachable::lost(host, loss),
            Failed::Handshake(why) => Unreachable::no_handshake(host, &why),
            Failed::Ended => Unreachable::no_answer(host, "it ended the session".to_owned()),
            Failed::Refused(refusal) => {
                let is_of_login = refusal.stage == Stage::Authentication && !refusal.is_farewell();
                let refused_login = self.means.login.as_deref().filter(|_| is_of_login);
                let code = refusal.reply.code().number();
                if let Some(login) = refused_login {
                    self.say_refused(login, host, &refusal);
                }
                let is_theirs = refusal.origin == Origin::Remote;
                let unreachable = Unreachable::refused(host, refusal);
                if let Some(login) = refused_login {
                    let why = "the login cannot be said by the method that is configured: see the node's log";
                    let why = if is_theirs { &unreachable.reason } else { why };
                    self.node.refused_logins.refused(&login.rule, code, why);
                }
                unreachable
            }
        }
    }

    fn say_refused(&self, login: &Login, host: &str, refusal: &Refusal) {
        let (rule, code) = (&login.rule, refusal.reply.code().number());
        events::LoginRefused { rule, host, code, text: &refusal.reply.text() }.emit(&self.node.metrics);
    }
}
