//! The compilation as a whole: the order of its steps, and what all of them look things up in. Pure.

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;
use kube::Resource;
use posthouse_config::Snapshot;
use posthouse_crds::{GatewayRef, Kind, MailGateway};
use posthouse_model::{Domain, Timestamp};

use crate::{
    claims::{Claim, Claimant, Claims, Settled, winner},
    domain, gateway,
    gateway::Gateway,
    memory::{Memory, Parsed},
    others,
    previous::{self, Standing},
    reason::Reason,
    resources::{Context, Environment, ObjectKey, Resources},
    retired, rule,
    secrets::Secrets,
    snapshot, syntax,
    tenancy::Namespaces,
    verdict::{Report, Severity, Subject, Verdict},
};

/// What comes out of a compilation.
#[derive(Clone, Debug, Default)]
pub struct Compilation {
    /// The snapshot of each gateway that nothing is wrong with. A gateway that is missing here but was there before keeps its last one.
    pub snapshots: BTreeMap<ObjectKey, Arc<Snapshot>>,
    /// Everything worth saying, sorted by resource.
    pub verdicts: Vec<Verdict>,
    /// What becomes of refused domains and rules, where that is not told by the verdicts alone.
    pub standing: BTreeMap<(Kind, ObjectKey), Standing>,
    /// Who holds what: for the [`Context`] of the next compilation.
    pub claims: Claims,
    /// From this time on there is something else to say of the same input: a certificate will have expired, or become valid.
    pub judge_again: Option<Timestamp>,
}

impl Compilation {
    /// Whether anything was refused.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.verdicts.iter().any(|verdict| verdict.severity == Severity::Error)
    }
}

/// Compiles everything. The outcome depends on nothing but what is handed in, and not on its order.
#[must_use]
pub fn compile(resources: &Resources, context: &Context) -> Compilation {
    Compiler::default().compile(resources, context)
}

/// Compiles again and again. What it remembers of objects that it has seen makes it fast, and changes nothing about what comes out: that is what
/// [`compile`] says of the same input. A domain that is as it was comes out as the same `Arc`.
#[derive(Debug, Default)]
pub struct Compiler {
    memory: Memory,
}

impl Compiler {
    /// Compiles everything.
    #[must_use]
    pub fn compile(&mut self, resources: &Resources, context: &Context) -> Compilation {
        let parsed = self.memory.parse(resources);
        let input = Input::new(resources, context, &parsed);
        let mut report = Report::default();
        let mut claims = Settled::default();

        let mut gateways = Gateways::check(&input, &mut report);
        gateways.claim_queue_ids(&input, &mut claims, &mut report);
        let domains = domain::check(&input, &gateways, &mut claims, &mut report);
        let rules = rule::check(&input, &gateways, &mut report);
        others::check(&input, &gateways, &mut claims, &mut report);

        let kept = previous::keep(&input, &gateways, (&domains, &rules), &mut claims, &report);
        let mut snapshots =
            snapshot::build(&gateways, &domains, &rules, &kept, &context.previous, &mut self.memory);
        retired::retire(&mut snapshots, &input);
        let snapshots = snapshots.into_iter().map(|(key, snapshot)| (key, Arc::new(snapshot))).collect();
        let (verdicts, standing) = (report.into_verdicts(), kept.standing);
        let usable = parsed.certificates.values().flatten();
        let judge_again = usable.filter_map(|certificate| certificate.turns(context.now)).min();
        Compilation { snapshots, verdicts, standing, claims: claims.finish(&context.claims), judge_again }
    }
}

/// The objects of a kind with their keys, in the order of these.
pub(crate) fn sorted<K: Resource>(objects: &[Arc<K>]) -> Vec<(ObjectKey, &K)> {
    let mut sorted: Vec<_> = objects.iter().map(|object| (ObjectKey::of(object.meta()), &**object)).collect();
    sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
    sorted
}

/// The namespace and name of an object.
pub(crate) fn parts<K: Resource>(object: &Arc<K>) -> (&str, &str) {
    let metadata = object.meta();
    (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}

/// What all steps look things up in.
pub(crate) struct Input<'a> {
    pub(crate) resources: &'a Resources,
    pub(crate) context: &'a Context,
    pub(crate) parsed: &'a Parsed,
    pub(crate) namespaces: Namespaces<'a>,
    pub(crate) secrets: Secrets<'a>,
    schedules: HashSet<(&'a str, &'a str)>,
    users: HashSet<(&'a str, &'a str)>,
    refused: HashSet<(Kind, (&'a str, &'a str))>,
}

impl<'a> Input<'a> {
    fn new(resources: &'a Resources, context: &'a Context, parsed: &'a Parsed) -> Self {
        let refused = resources.refused.iter().map(|(kind, key)| (*kind, key.parts()));
        Self {
            resources,
            context,
            parsed,
            namespaces: Namespaces::new(&resources.namespaces),
            secrets: Secrets::new(resources),
            schedules: resources.schedules.iter().map(parts).collect(),
            users: resources.users.iter().map(parts).collect(),
            refused: refused.collect(),
        }
    }

    /// Whether there is an object of which nothing is known, since its form was refused.
    pub(crate) fn is_refused(&self, kind: Kind, key: (&str, &str)) -> bool {
        !self.refused.is_empty() && self.refused.contains(&(kind, key))
    }

    /// Whether the domain is there, whatever is wrong with it.
    pub(crate) fn has_domain(&self, key: (&str, &str)) -> bool {
        let parsed = &self.parsed.domains;
        parsed.binary_search_by_key(&key, |remembered| remembered.parsed.key.parts()).is_ok()
            || self.is_refused(Kind::MailDomain, key)
    }

    /// Whether the schedule is there; says so if not.
    pub(crate) fn require_schedule(
        &self,
        subject: Subject<'_>,
        field: &str,
        name: &str,
        report: &mut Report,
    ) -> bool {
        let key = ObjectKey::new(&subject.key.namespace, name);
        let found = self.schedules.contains(&key.parts()) || self.is_refused(Kind::MailSchedule, key.parts());
        if !found {
            let message = format!("there is no MailSchedule {key}: create it, or correct the name");
            report.say(subject, format!("{field}.name"), Reason::ScheduleNotFound, message);
        }
        found
    }

    /// Whether the user is there; says so if not.
    pub(crate) fn require_user(
        &self,
        subject: Subject<'_>,
        field: &str,
        name: &str,
        report: &mut Report,
    ) -> bool {
        let key = ObjectKey::new(&subject.key.namespace, name);
        let found = self.users.contains(&key.parts()) || self.is_refused(Kind::MailUser, key.parts());
        if !found {
            let message = format!("there is no MailUser {key}: create it, or correct the name");
            report.say(subject, field, Reason::UserNotFound, message);
        }
        found
    }

    /// A host that a resource of a namespace wants to connect to; none, and a verdict, if it is no host or the gateway does not let it.
    pub(crate) fn host(
        &self,
        gateway: &Gateway<'_>,
        subject: Subject<'_>,
        field: &str,
        text: &str,
        report: &mut Report,
    ) -> Option<Host> {
        let host = match syntax::host(text) {
            Ok(host) => host,
            Err(wrong) => {
                report.say(subject, field, wrong.reason, wrong.message);
                return None;
            }
        };
        let namespace = &subject.key.namespace;
        if !self.may_connect(gateway, namespace, &host) {
            let message = format!(
                "gateway {} lets resources of namespace {namespace} connect to no such address; its owner can allow it by \
                 egress.allowedHosts",
                gateway.key
            );
            report.say(subject, field, Reason::HostNotAllowed, message);
            return None;
        }
        let is_listed =
            namespace != &gateway.key.namespace && self.is_allowed_host(gateway, namespace, &host);
        let guarded = self.is_guarded(gateway, namespace, &host);
        let single = !host.contains(['.', ':']);
        let complete = single && self.context.environment == Environment::Cluster;
        let name = if complete { format!("{host}.{namespace}.svc") } else { host };
        Some(Host { name, guarded, is_listed })
    }

    /// Whether a resource of a namespace may use a domain name at a gateway.
    pub(crate) fn grants(&self, gateway: &Gateway<'_>, namespace: &str, name: &Domain) -> bool {
        gateway.grants.allow(&self.namespaces, &gateway.key.namespace, namespace, name)
    }

    /// Whether the node must look at the addresses of a host that was compiled before.
    pub(crate) fn still_guards(&self, gateway: &Gateway<'_>, namespace: &str, host: &str) -> bool {
        let written = match self.context.environment {
            Environment::Cluster => host.strip_suffix(&format!(".{namespace}.svc")),
            Environment::Local => None,
        };
        [Some(host), written].into_iter().flatten().all(|host| self.is_guarded(gateway, namespace, host))
    }

    /// Whether the node must look at the addresses of a host when it connects: a tenant chose the name, and nobody knows yet where it leads. An
    /// address by itself was judged here.
    fn is_guarded(&self, gateway: &Gateway<'_>, namespace: &str, host: &str) -> bool {
        namespace != gateway.key.namespace
            && host.parse::<IpAddr>().is_err()
            && !self.is_allowed_host(gateway, namespace, host)
    }

    fn is_allowed_host(&self, gateway: &Gateway<'_>, namespace: &str, host: &str) -> bool {
        gateway.allowed_hosts.iter().any(|(namespaces, hosts)| {
            hosts.iter().any(|allowed| allowed == host)
                && self.namespaces.selects(namespaces, &gateway.key.namespace, namespace)
        })
    }

    /// Whether a resource of a namespace may make the gateway connect to a host. A name is checked again by the node, on its address.
    pub(crate) fn may_connect(&self, gateway: &Gateway<'_>, namespace: &str, host: &str) -> bool {
        if namespace == gateway.key.namespace {
            return true;
        }
        let Ok(address) = host.parse::<IpAddr>() else { return true };
        // An IPv4 address in IPv6 clothes is connected to as what it is, and the unspecified address is this machine.
        let address = address.to_canonical();
        let denied = address.is_unspecified()
            || gateway.denied_networks.iter().any(|network: &IpNet| network.contains(&address));
        !denied || self.is_allowed_host(gateway, namespace, host)
    }
}

/// A host that a resource wants to connect to.
pub(crate) struct Host {
    /// Its name or address, in lower case.
    pub(crate) name: String,
    /// The node looks at its addresses when it connects.
    pub(crate) guarded: bool,
    /// The gateway's owner lets this tenant connect to it wherever it leads.
    pub(crate) is_listed: bool,
}

/// The gateways, checked, by key.
pub(crate) struct Gateways<'a> {
    pub(crate) all: Vec<Gateway<'a>>,
}

/// Where a resource is attached.
pub(crate) enum Attachment {
    /// To the gateway at this place.
    To(usize),
    /// Nowhere, and a verdict says why; or the gateway is not ours.
    Nowhere,
}

impl<'a> Gateways<'a> {
    fn check(input: &Input<'a>, report: &mut Report) -> Self {
        let mut objects: Vec<&'a Arc<MailGateway>> = input.resources.gateways.iter().collect();
        objects.sort_by_key(|object| parts(object));
        Self { all: objects.into_iter().map(|object| gateway::check(input, object, report)).collect() }
    }

    /// Two gateways with one queue id would eat each other's mail: only one gets it.
    fn claim_queue_ids(&mut self, input: &Input<'_>, claims: &mut Settled<'_>, report: &mut Report) {
        let defended = self.defended_queue_ids(input);
        let mut claimants: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (place, gateway) in self.all.iter().enumerate().filter(|(_, gateway)| !gateway.foreign) {
            claimants.entry(gateway.queue_id.clone()).or_default().push(place);
        }
        for (id, places) in claimants {
            let claim = Claim::queue_id(&id);
            let contenders: Vec<_> = places
                .iter()
                .filter_map(|place| self.all.get(*place))
                .map(|gateway| Claimant {
                    key: &gateway.key,
                    created: gateway.object.metadata.creation_timestamp.as_ref(),
                })
                .collect();
            let holder = match defended.get(id.as_str()) {
                Some(holder) => Some((*holder).clone()),
                None => winner(&claim, &contenders, &input.context.claims).cloned(),
            };
            for place in places {
                let Some(gateway) = self.all.get_mut(place) else { continue };
                if Some(&gateway.key) == holder.as_ref() {
                    continue;
                }
                gateway.accepted = false;
                let message =
                    format!("another gateway has the queue id {id:?} too: give each its own spec.queue.id");
                let subject = Subject { kind: Kind::MailGateway, key: &gateway.key };
                report.say(subject, "spec.queue.id", Reason::QueueIdClaimed, message);
            }
            if let Some(holder) = holder {
                claims.insert(claim, Arc::new(holder));
            }
        }
    }

    /// The ids of queues whose gateways are refused and go on as they were: their nodes still use them.
    fn defended_queue_ids<'c>(&self, input: &Input<'c>) -> BTreeMap<&'c str, &'c ObjectKey> {
        let goes_on = |key: &ObjectKey| match self.place(key).and_then(|place| self.at(place)) {
            Some(gateway) => !gateway.accepted && !gateway.foreign,
            None => input.is_refused(Kind::MailGateway, key.parts()),
        };
        let previous = input.context.previous.iter().filter(|(key, _)| goes_on(key));
        previous.map(|(key, snapshot)| (&*snapshot.gateway.queue.id, key)).collect()
    }

    /// Where the resource is attached; says why if nowhere.
    pub(crate) fn attach(
        &self,
        input: &Input<'_>,
        subject: Subject<'_>,
        key: &ObjectKey,
        report: &mut Report,
    ) -> Attachment {
        let own = &subject.key.namespace;
        let found = self.place(key);
        let Some((place, gateway)) = found.and_then(|place| Some((place, self.at(place)?))) else {
            if input.is_refused(Kind::MailGateway, key.parts()) {
                say_refused(subject, key, report);
                return Attachment::Nowhere;
            }
            let message = format!("there is no MailGateway {key}: create it, or correct spec.gatewayRef");
            report.say(subject, "spec.gatewayRef", Reason::GatewayNotFound, message);
            return Attachment::Nowhere;
        };
        if gateway.foreign {
            return Attachment::Nowhere;
        }
        if !input.namespaces.selects(&gateway.routes, &key.namespace, own) {
            let message = format!(
                "gateway {key} takes no resources from namespace {own}; its owner can allow it by allowedRoutes.namespaces"
            );
            report.say(subject, "spec.gatewayRef", Reason::NamespaceNotAllowed, message);
            return Attachment::Nowhere;
        }
        if !gateway.accepted {
            say_refused(subject, key, report);
        }
        Attachment::To(place)
    }

    /// The place of the gateway that a resource names, if it is there.
    pub(crate) fn place(&self, key: &ObjectKey) -> Option<usize> {
        self.all.binary_search_by(|gateway| gateway.key.cmp(key)).ok()
    }

    /// The gateway at a place that [`attach`](Self::attach) gave.
    pub(crate) fn at(&self, place: usize) -> Option<&Gateway<'a>> {
        self.all.get(place)
    }
}

fn say_refused(subject: Subject<'_>, gateway: &ObjectKey, report: &mut Report) {
    let message = format!("gateway {gateway} is itself refused, so this is not programmed: see there");
    report.say(subject, "spec.gatewayRef", Reason::GatewayRefused, message);
}

/// The key of the gateway that a resource of a namespace names.
pub(crate) fn target(namespace: &str, reference: &GatewayRef) -> ObjectKey {
    ObjectKey::new(reference.namespace.as_deref().unwrap_or(namespace), &reference.name)
}
