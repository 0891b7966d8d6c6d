//! Asks the name servers: the thin layer over hickory-resolver. It sends and receives over the network and keeps the cache; what answers mean
//! for mail is decided in `plan`.

mod hosts;
mod servers;
mod special;
mod system;
mod upstream;

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use futures::{StreamExt as _, stream};
use rand::Rng;
use tokio::time;

use self::{hosts::HostsFile, servers::Servers, upstream::Found};
use crate::{
    answer::{Answer, Cause, Content, Failure, Kind, Question},
    cache::Cache,
    error::NoHosts,
    name::{Destination, HostName},
    plan::{
        self, Assembly, Candidate, Host, Looked, MOST_ADDRESSES_OF_HOST, Plan, Rules, candidates, looked,
    },
    settings::{Cluster, Patience, Settings, SettingsError},
};

/// Hosts of a domain that are looked up at the same time.
const AT_ONCE: usize = 4;

/// A resolver with its cache. A clone is the same one.
#[derive(Clone)]
pub struct Resolver(Arc<Shared>);

struct Shared {
    servers: Servers,
    /// The cluster's domain, and who is asked for the names in it.
    cluster: Option<(HostName, Servers)>,
    /// What comes before the name servers.
    hosts: Option<HostsFile>,
    patience: Patience,
    cache: Mutex<Cache>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.servers.fmt(f)
    }
}

type Answered = Result<Arc<Answer>, Failure>;

impl Resolver {
    /// A resolver with an empty cache. It reads `resolv.conf` where no name server is given, and the trust anchor's file.
    pub fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let Settings { nameservers, hosts, dnssec, cluster, patience, cache } = settings;
        let system;
        let nameservers = if nameservers.is_empty() {
            system = system::nameservers()?;
            &system
        } else {
            nameservers
        };
        let anchor = upstream::anchor(dnssec)?;
        let servers = Servers::new(nameservers, anchor.as_ref(), *patience)?;
        let cluster = match cluster {
            Some(Cluster { domain, nameservers }) => {
                Some((domain.clone(), Servers::new(nameservers, None, *patience)?))
            }
            None => None,
        };
        let cache = Mutex::new(Cache::new(cache.clone()));
        let hosts = hosts.clone().map(HostsFile::new);
        Ok(Self(Arc::new(Shared { servers, cluster, hosts, patience: *patience, cache })))
    }

    /// The cluster that this process runs in, as `resolv.conf` tells it: a search list that has `svc.DOMAIN`.
    #[must_use]
    pub fn cluster_of_system() -> Option<Cluster> {
        system::cluster()
    }

    /// The hosts that take the mail of a domain (RFC 5321 §5.1), in the order to try them.
    pub async fn mail_hosts(
        &self,
        domain: &Destination,
        rules: &Rules,
        rng: &mut (impl Rng + Send),
    ) -> Result<Plan, NoHosts> {
        let domain = match domain {
            Destination::Address(address) => return plan::of_address(*address, rules),
            Destination::Name(name) => name,
        };
        let until = time::Instant::now() + self.0.patience.plan;
        let answer = self.ask(Question { name: domain.clone(), kind: Kind::Mx }).await?;
        let candidates = candidates(domain, &answer, &rules.own, rng)?;
        let mut assembly = Assembly::new(rules);
        // A few at a time and no more than are of use; what is not waited for any more ends with the stream.
        let mut lookups = stream::iter(candidates)
            .map(|candidate| async move {
                let answers = time::timeout_at(until, self.both_families(&candidate.name)).await;
                (candidate, answers.ok())
            })
            .buffered(AT_ONCE);
        while let Some((candidate, answers)) = lookups.next().await {
            if !assembly.wants(&candidate) {
                break;
            }
            let found = match answers {
                Some((four, six)) => from_answers(&four, &six, rules, rng),
                None => Looked::Failed(too_late(&candidate)),
            };
            assembly.take(candidate, found);
        }
        assembly.finish(domain)
    }

    /// The addresses of a host that is named with its port: no MX is asked for. In a cluster `NAME.NAMESPACE.svc` is a service of it.
    pub async fn host(
        &self,
        host: &Destination,
        rules: &Rules,
        rng: &mut (impl Rng + Send),
    ) -> Result<Host, NoHosts> {
        let (name, preference) = (host.clone(), 0);
        let asked = match host {
            Destination::Address(address) => {
                return Ok(Host { name, preference, addresses: vec![*address], secure: false });
            }
            Destination::Name(asked) => asked,
        };
        let (four, six) = match self.in_cluster(asked) {
            Some(completed) if !self.has_of_its_own(asked) => self.both_families(&completed).await,
            _ => self.both_families(asked).await,
        };
        match from_answers(&four, &six, rules, rng) {
            Looked::Addresses { mut addresses, secure } => {
                addresses.truncate(MOST_ADDRESSES_OF_HOST);
                Ok(Host { name, preference, addresses, secure })
            }
            Looked::Nothing => Err(NoHosts::NoSuchHost(name)),
            Looked::Failed(failure) => Err(failure.into()),
        }
    }

    /// The answer to one question, from the cache or from a name server.
    pub async fn ask(&self, question: Question) -> Answered {
        if let Some(answer) = special::answer(&question) {
            return Ok(Arc::new(answer));
        }
        let failure = |cause| Failure { question: question.clone(), cause };
        if let Some(kept) = self.cache(|cache| cache.find(&question, Instant::now())) {
            return kept.map_err(failure);
        }
        let servers = match &self.0.cluster {
            Some((domain, servers)) if question.name.is_below(domain) => servers,
            _ => &self.0.servers,
        };
        let found = time::timeout(self.0.patience.question, servers.ask(&question)).await;
        let (kept, ttl) = match found.unwrap_or(Err(Cause::TimedOut)) {
            Ok(Found { answer, ttl }) => (Ok(Arc::new(answer)), ttl),
            Err(cause) => (Err(cause), None),
        };
        self.cache(|cache| cache.keep(question.clone(), kept.clone(), ttl, Instant::now()));
        kept.map_err(failure)
    }

    async fn both_families(&self, name: &HostName) -> (Answered, Answered) {
        if let Some(addresses) = self.own_addresses(name) {
            let (four, six) = addresses.into_iter().partition(IpAddr::is_ipv4);
            let answer = |addresses: Vec<IpAddr>| {
                let content =
                    if addresses.is_empty() { Content::NoRecords } else { Content::Addresses(addresses) };
                Ok(Arc::new(Answer { content, secure: false }))
            };
            return (answer(four), answer(six));
        }
        let ask = |kind| self.ask(Question { name: name.clone(), kind });
        tokio::join!(ask(Kind::A), ask(Kind::Aaaa))
    }

    /// What the system's own file says of a name.
    fn own_addresses(&self, name: &HostName) -> Option<Vec<IpAddr>> {
        self.0.hosts.as_ref()?.find(name, Instant::now())
    }

    fn has_of_its_own(&self, name: &HostName) -> bool {
        self.own_addresses(name).is_some()
    }

    /// The whole name of a host that ends with `.svc`, where there is a cluster. No other name is completed: a search list would let
    /// whoever has a name in it take another's mail.
    fn in_cluster(&self, host: &HostName) -> Option<HostName> {
        let (domain, _) = self.0.cluster.as_ref()?;
        let is_service = host.as_str().rsplit('.').next() == Some("svc");
        if is_service { HostName::new(&format!("{host}.{domain}")).ok() } else { None }
    }

    fn cache<T>(&self, with: impl FnOnce(&mut Cache) -> T) -> T {
        // Its entries are whole at every moment, whoever panicked.
        with(&mut self.0.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn from_answers(four: &Answered, six: &Answered, rules: &Rules, rng: &mut (impl Rng + Send)) -> Looked {
    looked(four.as_deref(), six.as_deref(), rules.first, rng)
}

fn too_late(candidate: &Candidate) -> Failure {
    Failure { question: Question { name: candidate.name.clone(), kind: Kind::A }, cause: Cause::TimedOut }
}
