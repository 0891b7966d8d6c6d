//! From answers to the ordered list of hosts to try (RFC 5321 §5.1). Pure: chance is a parameter, lookups are made elsewhere.

mod addresses;

use std::{
    cmp::Ordering,
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use rand::{Rng, seq::SliceRandom as _};

pub use addresses::{FirstFamily, Looked, looked};

use crate::{
    answer::{Answer, Content, Failure, Target},
    error::NoHosts,
    name::{Destination, HostName},
};

/// Hosts of a domain that are looked up. Large providers publish five or six; more is a mistake or meant to keep us busy.
pub const MOST_HOSTS: usize = 32;

/// Addresses of a host that are tried.
pub const MOST_ADDRESSES_OF_HOST: usize = 8;

/// Addresses of a domain that are tried: each may cost the time to connect.
pub const MOST_ADDRESSES: usize = 40;

/// What the gateway says of itself and how it wants its addresses.
#[derive(Clone, Debug)]
pub struct Rules {
    /// This gateway, so that it sends nothing to itself.
    pub own: Own,
    /// Which family of addresses comes first.
    pub first: FirstFamily,
    /// The port that hosts found by MX are spoken to on: 25 (RFC 5321 §4.5.4.2), but in tests.
    pub port: u16,
}

impl Default for Rules {
    fn default() -> Self {
        Self { own: Own::default(), first: FirstFamily::default(), port: 25 }
    }
}

/// This gateway as others see it.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// Its names.
    pub names: BTreeSet<HostName>,
    /// Where it listens: addresses that others reach, not wildcards.
    pub listeners: BTreeSet<SocketAddr>,
}

impl Own {
    fn has_any(&self, addresses: &[IpAddr], port: u16) -> bool {
        addresses
            .iter()
            .any(|address| self.listeners.contains(&SocketAddr::new(address.to_canonical(), port)))
    }
}

/// A host that may take the mail, before its addresses are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The host.
    pub name: HostName,
    /// Lower is better.
    pub preference: u16,
    /// Whether DNSSEC proves that it is to take the mail.
    pub secure: bool,
}

/// A host that takes the mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name, for TLS and the log; an address where it has none.
    pub name: Destination,
    /// The preference of its MX record; 0 without one.
    pub preference: u16,
    /// Where to connect, in this order; at least one.
    pub addresses: Vec<IpAddr>,
    /// Whether DNSSEC proves the name and all of the addresses.
    pub secure: bool,
}

/// A host whose addresses could not be found this time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Later {
    /// The host.
    pub name: HostName,
    /// The preference of its MX record.
    pub preference: u16,
    /// Why not.
    pub failure: Failure,
}

/// The hosts to try, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// At least one.
    pub hosts: Vec<Host>,
    /// Hosts that may be found later: where no host of this plan takes the mail, that is no reason to give up.
    pub later: Vec<Later>,
}

/// The hosts that the answer to the MX question names: best first, equals shuffled, this gateway and what is no better removed, at least one.
pub fn candidates(
    domain: &HostName,
    answer: &Answer,
    own: &Own,
    rng: &mut (impl Rng + ?Sized),
) -> Result<Vec<Candidate>, NoHosts> {
    let to = || Destination::Name(domain.clone());
    let secure = answer.secure;
    let records = match &answer.content {
        Content::NoSuchName => return Err(NoHosts::NoSuchDomain(to())),
        Content::Exchangers(records) => records,
        // RFC 5321 §5.1: without an MX record the domain is its own, with preference 0.
        Content::NoRecords | Content::Addresses(_) => {
            if own.names.contains(domain) {
                return Err(NoHosts::Loop(to()));
            }
            return Ok(vec![Candidate { name: domain.clone(), preference: 0, secure }]);
        }
    };
    // RFC 7505 §3: a null MX stands alone. Beside others it is a mistake and names nobody.
    if records.iter().all(|record| record.target == Target::Nobody) {
        return Err(NoHosts::NullMx(to()));
    }
    let mut found: Vec<Candidate> = records
        .iter()
        .filter_map(|record| match &record.target {
            Target::Host(name) => {
                Some(Candidate { name: name.clone(), preference: record.preference, secure })
            }
            Target::Nobody | Target::Unusable => None,
        })
        .collect();
    // RFC 5321 §5.1: equals in random order, to spread the load.
    found.shuffle(rng);
    found.sort_by_key(|candidate| candidate.preference);
    let mut seen = BTreeSet::new();
    found.retain(|candidate| seen.insert(candidate.name.clone()));
    if found.is_empty() {
        return Err(NoHosts::NoUsableHost(to()));
    }
    // RFC 5321 §5.1: our own record and all that are no better are ignored, or mail would go in circles.
    let ours = found.iter().find(|candidate| own.names.contains(&candidate.name)).map(|own| own.preference);
    if let Some(preference) = ours {
        found.retain(|candidate| candidate.preference < preference);
    }
    found.truncate(MOST_HOSTS);
    if found.is_empty() { Err(NoHosts::Loop(to())) } else { Ok(found) }
}

/// A plan in the making: takes the candidates in their order, each with what was found of its addresses.
#[derive(Debug)]
pub struct Assembly<'r> {
    rules: &'r Rules,
    hosts: Vec<Host>,
    later: Vec<Later>,
    room: usize,
    /// The preference of the candidate taken last.
    reached: u16,
    /// The best preference that was taken.
    best: Option<u16>,
    /// The preference at which this gateway was found.
    ours: Option<u16>,
}

impl<'r> Assembly<'r> {
    /// Nothing yet.
    #[must_use]
    pub fn new(rules: &'r Rules) -> Self {
        let (hosts, later) = (Vec::new(), Vec::new());
        Self { rules, hosts, later, room: MOST_ADDRESSES, reached: 0, best: None, ours: None }
    }

    /// Whether the addresses of this candidate, the next one, are of use.
    #[must_use]
    pub fn wants(&self, next: &Candidate) -> bool {
        // A full plan looks on among equals: one of them may be this gateway.
        self.ours.is_none() && (self.room > 0 || next.preference == self.reached)
    }

    /// Takes the next candidate.
    pub fn take(&mut self, candidate: Candidate, looked: Looked) {
        let Candidate { name, preference, secure } = candidate;
        self.reached = preference;
        self.best.get_or_insert(preference);
        match looked {
            Looked::Addresses { addresses, .. } if self.rules.own.has_any(&addresses, self.rules.port) => {
                self.ours = Some(preference);
                self.hosts.retain(|host| host.preference < preference);
                self.later.retain(|later| later.preference < preference);
            }
            Looked::Addresses { mut addresses, secure: proven } => {
                addresses.truncate(self.room.min(MOST_ADDRESSES_OF_HOST));
                self.room -= addresses.len();
                if !addresses.is_empty() {
                    let name = Destination::Name(name);
                    self.hosts.push(Host { name, preference, addresses, secure: secure && proven });
                }
            }
            Looked::Nothing => {}
            Looked::Failed(failure) => self.later.push(Later { name, preference, failure }),
        }
    }

    /// The plan, or why there is none.
    pub fn finish(self, domain: &HostName) -> Result<Plan, NoHosts> {
        if !self.hosts.is_empty() {
            return Ok(Plan { hosts: self.hosts, later: self.later });
        }
        if let Some(later) = self.later.into_iter().next() {
            return Err(later.failure.into());
        }
        let to = Destination::Name(domain.clone());
        // That better ones exist and have no address does not make us the best.
        let is_best = self.ours.is_some() && self.ours.cmp(&self.best) == Ordering::Equal;
        Err(if is_best { NoHosts::Loop(to) } else { NoHosts::NoUsableHost(to) })
    }
}

/// The plan for an address: no question is needed.
pub(crate) fn of_address(address: IpAddr, rules: &Rules) -> Result<Plan, NoHosts> {
    let name = Destination::Address(address);
    if rules.own.has_any(&[address], rules.port) {
        return Err(NoHosts::Loop(name));
    }
    let host = Host { name, preference: 0, addresses: vec![address], secure: false };
    Ok(Plan { hosts: vec![host], later: Vec::new() })
}

#[cfg(test)]
mod tests;
