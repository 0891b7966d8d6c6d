//! Asks the name servers: the thin layer over hickory-resolver. It sends and receives over the network and keeps the cache; what answers mean
//! for mail is decided in `plan`.

mod special;
mod upstream;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use futures::{StreamExt as _, stream};
use rand::Rng;
use tokio::time;
use upstream::{Found, Upstream};

use crate::{
    answer::{Answer, Cause, Failure, Kind, Question},
    cache::Cache,
    error::NoHosts,
    name::{Destination, HostName},
    plan::{
        self, Assembly, Candidate, Host, Looked, MOST_ADDRESSES_OF_HOST, Plan, Rules, candidates, looked,
    },
    settings::{Patience, Settings, SettingsError},
};

/// Hosts of a domain that are looked up at the same time.
const AT_ONCE: usize = 4;

/// A resolver with its cache. A clone is the same one.
#[derive(Clone)]
pub struct Resolver(Arc<Shared>);

struct Shared {
    upstreams: Vec<Upstream>,
    patience: Patience,
    cache: Mutex<Cache>,
    /// The name server that answered last: the next question goes there first, so that a dead one costs its time once.
    good: AtomicUsize,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.upstreams.iter().map(Upstream::address)).finish()
    }
}

type Answered = Result<Arc<Answer>, Failure>;

impl Resolver {
    /// A resolver with an empty cache. It reads `resolv.conf` where no name server is given, and the trust anchor's file.
    pub fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let Settings { nameservers, dnssec, patience, cache } = settings;
        let system;
        let nameservers = if nameservers.is_empty() {
            system = upstream::of_system()?;
            &system
        } else {
            nameservers
        };
        let anchor = upstream::anchor(dnssec)?;
        let upstreams = nameservers
            .iter()
            .map(|address| Upstream::new(*address, anchor.as_ref(), *patience))
            .collect::<Result<_, _>>()?;
        let (cache, good) = (Mutex::new(Cache::new(cache.clone())), AtomicUsize::new(0));
        Ok(Self(Arc::new(Shared { upstreams, patience: *patience, cache, good })))
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

    /// The addresses of a host that is named with its port: no MX is asked for.
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
        let (four, six) = self.both_families(asked).await;
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
        let found = time::timeout(self.0.patience.question, self.ask_upstreams(&question)).await;
        let (kept, ttl) = match found.unwrap_or(Err(Cause::TimedOut)) {
            Ok(Found { answer, ttl }) => (Ok(Arc::new(answer)), ttl),
            Err(cause) => (Err(cause), None),
        };
        self.cache(|cache| cache.keep(question.clone(), kept.clone(), ttl, Instant::now()));
        kept.map_err(failure)
    }

    async fn both_families(&self, name: &HostName) -> (Answered, Answered) {
        let ask = |kind| self.ask(Question { name: name.clone(), kind });
        tokio::join!(ask(Kind::A), ask(Kind::Aaaa))
    }

    /// One name server after the other, until one of them answers. SERVFAIL of one says nothing of the next.
    async fn ask_upstreams(&self, question: &Question) -> Result<Found, Cause> {
        let Shared { upstreams, patience, good, .. } = &*self.0;
        let first = good.load(Ordering::Relaxed);
        let mut worst = Cause::TimedOut;
        for _ in 0..patience.rounds.max(1) {
            let places = (0..upstreams.len()).map(|place| (first + place) % upstreams.len());
            for (place, upstream) in places.filter_map(|place| Some((place, upstreams.get(place)?))) {
                match upstream.ask(question).await {
                    Ok(found) => {
                        good.store(place, Ordering::Relaxed);
                        return Ok(found);
                    }
                    Err(cause) => worst = worst.max(cause),
                }
            }
        }
        Err(worst)
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
