//! A gateway by itself: what its own manifest says, parsed and checked. Whatever is wrong here refuses the whole gateway, since half a
//! gateway may admit what the whole would not; the caller then keeps the last good one. Pure.

use std::sync::Arc;

use ipnet::IpNet;
use posthouse_config::{self as config, AddressTrust, Hold, ResourceName, bind_port};
use posthouse_crds::{
    Kind, MailGateway, NamespaceSelection, SecretKeyRef,
    mail_gateway::{
        Connectivity, ConnectivityMode, Dnssec, Egress, Listener, Queue, Redis, RedisTopology, RelayControl,
        Resolver, Retry,
    },
};
use posthouse_model::Domain;

use crate::{
    compile::Input,
    reason::Reason,
    resources::{Environment, ObjectKey},
    syntax,
    tenancy::{Grants, check_selection},
    unsupported,
    verdict::{Report, Subject},
};

mod listeners;

pub(crate) use listeners::{CheckedListener, Tls};

/// What is kept from resources of other namespaces by default: this machine and its link.
const DEFAULT_DENIED_NETWORKS: [&str; 3] = ["127.0.0.0/8", "::1/128", "169.254.0.0/16"];

/// The longest id of a queue.
const QUEUE_ID_LENGTH: usize = 253;

/// A gateway, checked.
#[derive(Debug)]
pub(crate) struct Gateway<'a> {
    pub(crate) object: &'a Arc<MailGateway>,
    pub(crate) key: ObjectKey,
    /// Nothing of it is wrong: it has a snapshot.
    pub(crate) accepted: bool,
    /// Another operator looks after it.
    pub(crate) foreign: bool,
    pub(crate) origin: Option<ResourceName>,
    pub(crate) hostname: Option<Domain>,
    pub(crate) queue_id: String,
    pub(crate) listeners: Vec<CheckedListener<'a>>,
    /// Who is asked for names; none: whom the system asks.
    pub(crate) resolver: Option<config::Resolver>,
    /// Clients that may relay by their address.
    pub(crate) relay_networks: Vec<IpNet>,
    /// Where these addresses are believed.
    pub(crate) address_trust: AddressTrust,
    /// The namespaces that may attach.
    pub(crate) routes: NamespaceSelection,
    pub(crate) grants: Grants,
    pub(crate) denied_networks: Vec<IpNet>,
    pub(crate) allowed_hosts: Vec<(NamespaceSelection, Vec<String>)>,
}

impl Gateway<'_> {
    /// Why mail is held that would leave at once by what its domain says.
    pub(crate) fn hold(&self) -> Option<Hold> {
        let connectivity = self.object.spec.connectivity.as_ref();
        let scheduled = connectivity.is_some_and(|c| c.mode == ConnectivityMode::Scheduled);
        scheduled.then_some(Hold::Connectivity)
    }

    /// Whether a host name with this port leads back to this gateway itself.
    pub(crate) fn is_reached_at(&self, host: &str, port: Option<u16>) -> bool {
        let named = self.hostname.as_ref().is_some_and(|name| name.as_str().eq_ignore_ascii_case(host));
        // Without a port it is the MX, which is port 25.
        let port = port.unwrap_or(25);
        let own = |port| move |listener: &Listener| listener.port == port || bind_port(listener.port) == port;
        named && self.object.spec.listeners.iter().any(own(port))
    }
}

/// The id of a gateway's queue, as far as its resource can be read: it names the queue in a store that several share.
#[must_use]
pub fn queue_id(key: &ObjectKey, gateway: Option<&MailGateway>) -> String {
    let named = gateway.and_then(|gateway| gateway.spec.queue.as_ref()?.id.clone());
    named.unwrap_or_else(|| format!("{}.{}", key.namespace, key.name))
}

/// Checks a gateway.
pub(crate) fn check<'a>(input: &Input<'a>, object: &'a Arc<MailGateway>, report: &mut Report) -> Gateway<'a> {
    let spec = &object.spec;
    let key = ObjectKey::of(&object.metadata);
    let subject = Subject { kind: Kind::MailGateway, key: &key };
    let foreign = spec.controller_name.as_ref().is_some_and(|name| *name != input.context.controller_name);
    let mut gateway = Gateway {
        object,
        key: key.clone(),
        accepted: false,
        foreign,
        origin: key.resource_name(),
        hostname: None,
        queue_id: queue_id(&key, Some(object)),
        listeners: Vec::new(),
        resolver: None,
        relay_networks: Vec::new(),
        address_trust: address_trust(input, object),
        routes: NamespaceSelection::default(),
        grants: Grants::default(),
        denied_networks: Vec::new(),
        allowed_hosts: Vec::new(),
    };
    if foreign {
        let name = spec.controller_name.as_deref().unwrap_or_default();
        let message =
            format!("{name} looks after this gateway; {} leaves it alone", input.context.controller_name);
        report.say(subject, "spec.controllerName", Reason::ForeignController, message);
        return gateway;
    }
    let refusals = report.refusals();
    name_it(&gateway, subject, report);
    let mut check = Check { input, subject, report };
    gateway.hostname = check.parsed("spec.hostname", syntax::domain(&spec.hostname));
    gateway.listeners = check.listeners(&spec.listeners, gateway.hostname.as_ref());
    if let Some(queue) = &spec.queue {
        check.queue(queue);
    }
    if let Some(control) = &spec.relay_control {
        gateway.relay_networks = check.relay_control(control, &spec.listeners);
    }
    gateway.resolver = check.resolver(object);
    check.limits(object);
    check.egress(spec.egress.as_ref(), &mut gateway);
    check.allowed_routes(object, &mut gateway);
    gateway.accepted = check.report.refusals() == refusals;
    // From here on: what names something that is missing, or is not built, harms only its own part.
    if let Some(connectivity) = &spec.connectivity {
        gateway.accepted &= check.connectivity(connectivity);
    }
    if let Some(redis) = spec.queue.as_ref().and_then(|queue| queue.redis.as_ref()) {
        check.redis_references(redis);
    } else if input.context.environment == Environment::Cluster {
        let message = "in a cluster the queue must be in Redis: give spec.queue.redis";
        check.report.say(subject, "spec.queue.redis", Reason::RedisRequired, message);
        gateway.accepted = false;
    }
    unsupported::judge(unsupported::GATEWAY, spec, "", subject, report);
    gateway
}

fn name_it(gateway: &Gateway<'_>, subject: Subject<'_>, report: &mut Report) {
    if gateway.origin.is_none() {
        let message = "the resource needs a namespace and a name";
        report.say(subject, "metadata", Reason::InvalidName, message);
    }
}

/// Locally a client's address is its own; in a cluster only if the owner says so, or a load balancer by the PROXY protocol.
fn address_trust(input: &Input<'_>, object: &MailGateway) -> AddressTrust {
    let vouched = object.spec.relay_control.as_ref().is_some_and(|control| control.address_trust.is_some());
    if vouched || input.context.environment == Environment::Local {
        AddressTrust::Always
    } else {
        AddressTrust::ProxyProtocol
    }
}

struct Check<'r, 'a> {
    input: &'r Input<'a>,
    subject: Subject<'r>,
    report: &'r mut Report,
}

impl Check<'_, '_> {
    fn say(&mut self, field: impl Into<String>, reason: Reason, message: impl Into<String>) {
        self.report.say(self.subject, field, reason, message);
    }

    fn parsed<T>(&mut self, field: impl Into<String>, parsed: Result<T, syntax::Wrong>) -> Option<T> {
        parsed.map_err(|wrong| self.say(field, wrong.reason, wrong.message)).ok()
    }

    fn networks(&mut self, field: &str, networks: &[String]) -> Vec<IpNet> {
        let parse =
            |(place, text): (usize, &String)| self.parsed(format!("{field}[{place}]"), syntax::network(text));
        networks.iter().enumerate().filter_map(parse).collect()
    }

    fn queue(&mut self, queue: &Queue) {
        if let Some(id) = &queue.id {
            self.parsed("spec.queue.id", syntax::name(id, QUEUE_ID_LENGTH, "."));
        }
        if let Some(retry) = &queue.retry {
            self.retry(retry);
        }
        if let Some(Redis { topology, sentinel, .. }) = &queue.redis {
            match (topology, sentinel) {
                (RedisTopology::Sentinel, None) => {
                    let message = "topology: Sentinel needs sentinel with masterName and hosts";
                    self.say("spec.queue.redis.sentinel", Reason::MissingField, message);
                }
                (RedisTopology::Standalone | RedisTopology::Cluster, Some(_)) => {
                    let message =
                        "sentinel counts only with topology: Sentinel; leave it out or change topology";
                    self.say("spec.queue.redis.sentinel", Reason::ConflictingFields, message);
                }
                _ => {}
            }
        }
    }

    fn retry(&mut self, retry: &Retry) {
        if let Some(intervals) = &retry.intervals {
            if intervals.is_empty() {
                let message = "give at least one interval, or leave the field out for the default";
                self.say("spec.queue.retry.intervals", Reason::EmptyList, message);
            }
            for (place, interval) in
                intervals.iter().enumerate().filter(|(_, interval)| interval.as_secs() == 0)
            {
                let message = format!("{interval} would try again without a pause: use at least 1s");
                self.say(format!("spec.queue.retry.intervals[{place}]"), Reason::InvalidDuration, message);
            }
        }
        for (field, duration) in [("expireAfter", retry.expire_after), ("warnAfter", retry.warn_after)] {
            if duration.is_some_and(|duration| duration.as_secs() == 0) {
                let message = "0s leaves no time for a first attempt: use at least 1s";
                self.say(format!("spec.queue.retry.{field}"), Reason::InvalidDuration, message);
            }
        }
    }

    fn redis_references(&mut self, redis: &Redis) {
        let references =
            [("urlSecretRef", Some(&redis.url_secret_ref)), ("caSecretRef", redis.ca_secret_ref.as_ref())];
        for (field, reference) in references {
            let Some(SecretKeyRef { name, key }) = reference else { continue };
            let field = format!("spec.queue.redis.{field}");
            self.input.require_secret(self.subject, &field, name, &[key], self.report);
        }
    }

    /// Says what is wrong with the relay control, and gives the networks that may relay.
    fn relay_control(&mut self, control: &RelayControl, listeners: &[Listener]) -> Vec<IpNet> {
        let networks = self.networks("spec.relayControl.networks", &control.networks);
        // The networks stay where a login is asked for besides: without them it would be enough.
        unsupported::judge(
            unsupported::RELAY_CONTROL,
            control,
            "spec.relayControl",
            self.subject,
            self.report,
        );
        if control.pop_before_smtp.as_ref().is_some_and(|pop| pop.window.as_secs() == 0) {
            let message = "0s would end before it began: use at least 1s, or leave popBeforeSmtp out";
            self.say("spec.relayControl.popBeforeSmtp.window", Reason::InvalidDuration, message);
        }
        let known = self.input.context.environment == Environment::Local
            || control.address_trust.is_some()
            || listeners.iter().any(|listener| listener.proxy_protocol.is_some());
        if !known && !networks.is_empty() {
            let message = "networks counts only on listeners with proxyProtocol, since a cluster may hide client \
                           addresses; set addressTrust: Verified if they are real";
            self.say("spec.relayControl.networks", Reason::AddressesNotTrusted, message);
        }
        networks
    }

    fn resolver(&mut self, object: &MailGateway) -> Option<config::Resolver> {
        let Resolver { nameservers, dnssec } = object.spec.resolver.as_ref()?;
        let nameservers = nameservers.iter().enumerate().filter_map(|(place, text)| {
            self.parsed(format!("spec.resolver.nameservers[{place}]"), syntax::nameserver(text))
        });
        let nameservers = nameservers.collect();
        let resolver = config::Resolver { nameservers, dnssec: *dnssec == Some(Dnssec::Validate) };
        Some(resolver).filter(|resolver| *resolver != config::Resolver::default())
    }

    fn limits(&mut self, object: &MailGateway) {
        let size = object.spec.limits.as_ref().and_then(|limits| limits.message_size);
        if size.is_some_and(|size| size.as_bytes() == 0) {
            let message = "0 would refuse every message: give a size, or leave the field out for 50Mi";
            self.say("spec.limits.messageSize", Reason::InvalidSize, message);
        }
    }

    fn egress(&mut self, egress: Option<&Egress>, gateway: &mut Gateway<'_>) {
        gateway.denied_networks = match egress.and_then(|egress| egress.denied_networks.as_ref()) {
            Some(networks) => self.networks("spec.egress.deniedNetworks", networks),
            None => DEFAULT_DENIED_NETWORKS.iter().filter_map(|text| text.parse().ok()).collect(),
        };
        for (place, allowed) in egress.iter().flat_map(|egress| &egress.allowed_hosts).enumerate() {
            let path = format!("spec.egress.allowedHosts[{place}]");
            check_selection(&allowed.namespaces, &format!("{path}.namespaces"), self.subject, self.report);
            if allowed.hosts.is_empty() {
                self.say(format!("{path}.hosts"), Reason::EmptyList, "name at least one host");
            }
            let hosts = allowed.hosts.iter().enumerate().filter_map(|(place, text)| {
                self.parsed(format!("{path}.hosts[{place}]"), syntax::host(text))
            });
            let hosts = hosts.collect();
            gateway.allowed_hosts.push((allowed.namespaces.clone(), hosts));
        }
    }

    fn allowed_routes(&mut self, object: &MailGateway, gateway: &mut Gateway<'_>) {
        let Some(routes) = &object.spec.allowed_routes else { return };
        gateway.routes = routes.namespaces();
        check_selection(&gateway.routes, "spec.allowedRoutes.namespaces", self.subject, self.report);
        for (place, grant) in routes.grants.iter().enumerate() {
            let path = format!("spec.allowedRoutes.grants[{place}]");
            check_selection(&grant.namespaces, &format!("{path}.namespaces"), self.subject, self.report);
            if grant.domains.is_empty() {
                self.say(format!("{path}.domains"), Reason::EmptyList, "name at least one domain");
            }
            for (place, text) in grant.domains.iter().enumerate() {
                let pattern = self.parsed(format!("{path}.domains[{place}]"), syntax::domain_pattern(text));
                if let Some(pattern) = pattern {
                    gateway.grants.add(pattern, &grant.namespaces);
                }
            }
        }
    }

    /// Whether the connectivity is complete; a missing schedule is said, but leaves the gateway as it is.
    fn connectivity(&mut self, connectivity: &Connectivity) -> bool {
        const FIELD: &str = "spec.connectivity.scheduleRef";
        match (connectivity.mode, &connectivity.schedule_ref) {
            (ConnectivityMode::Scheduled, None) => {
                self.say(FIELD, Reason::MissingField, "mode: Scheduled needs scheduleRef");
                false
            }
            (_, Some(schedule)) => {
                self.input.require_schedule(self.subject, FIELD, &schedule.name, self.report);
                true
            }
            _ => true,
        }
    }
}
