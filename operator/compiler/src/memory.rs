//! What one compilation leaves to the next: what depends on an object alone, found by the identity of its `Arc`. The memory holds that `Arc`,
//! so no other object can come to have its address meanwhile. It changes how long a compilation takes, and never its outcome. Pure.

use std::{
    collections::{BTreeSet, HashMap, HashSet, hash_map::Entry as Slot},
    fmt,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Secret;
use posthouse_config::MailDomain as Form;
use posthouse_crds::{MailDomain, MailRecipients, MailSchedule};

use crate::{
    certificates::Usable,
    compile::{parts, target},
    domain::{Listed, ParsedDomain},
    others::schedules::{self, Judged},
    resources::{ObjectKey, Resources},
    secrets::certificate_of,
};

/// What is remembered.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    domains: HashMap<usize, Remembered, BuildHasherDefault<AddressHasher>>,
    /// The gateways that domains name, each once: what is one thing is compared by identity.
    gateways: BTreeSet<Arc<ObjectKey>>,
    schedules: HashMap<usize, Judged, BuildHasherDefault<AddressHasher>>,
    certificates: HashMap<usize, LookedInto, BuildHasherDefault<AddressHasher>>,
}

/// The certificates of Secrets, or what is wrong with them, by the address of the Secret.
pub(crate) type Certificates = HashMap<usize, Result<Arc<Usable>, &'static str>>;

/// A Secret with a certificate.
struct LookedInto {
    secret: Arc<Secret>,
    found: Result<Arc<Usable>, &'static str>,
}

impl fmt::Debug for LookedInto {
    /// Without what the Secret says.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LookedInto").field(&parts(&self.secret)).finish()
    }
}

/// A domain as it was found.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    pub(crate) parsed: Arc<ParsedDomain>,
    pub(crate) listed: Arc<Listed>,
    /// What it was compiled to, from the same manifest and recipients.
    pub(crate) form: Option<Arc<Form>>,
}

/// The domains with their recipients, parsed and sorted by key.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) domains: Vec<Remembered>,
    /// Lists of domains that are not there.
    pub(crate) stray_lists: Vec<Arc<MailRecipients>>,
    /// The schedules, each with what is wrong with it.
    pub(crate) schedules: Vec<Judged>,
    pub(crate) certificates: Certificates,
}

impl Memory {
    /// Parses what was not there before, and forgets what is not there any more.
    pub(crate) fn parse(&mut self, resources: &Resources) -> Parsed {
        let mut lists: Vec<_> = resources.recipients.iter().collect();
        lists.sort_by_key(|list| parts(list));
        let mut lists_of: HashMap<(&str, &str), Vec<Arc<MailRecipients>>> = HashMap::new();
        for list in lists {
            let domain = (parts(list).0, list.spec.domain_ref.name.as_str());
            lists_of.entry(domain).or_default().push(Arc::clone(list));
        }
        self.gateways.retain(|gateway| Arc::strong_count(gateway) > 1);
        let mut domains = Vec::with_capacity(resources.domains.len());
        for object in &resources.domains {
            let lists = if lists_of.is_empty() { None } else { lists_of.remove(&parts(object)) };
            domains.push(self.domain(object, lists.unwrap_or_default()));
        }
        domains.sort_by(|one, other| one.parsed.key.cmp(&other.parsed.key));
        if self.domains.len() > resources.domains.len() {
            let present: HashSet<usize> = resources.domains.iter().map(address).collect();
            self.domains.retain(|address, _| present.contains(address));
        }
        let stray_lists = lists_of.into_values().flatten().collect();
        let schedules = self.schedules(&resources.schedules);
        Parsed { domains, stray_lists, schedules, certificates: self.certificates(&resources.secrets) }
    }

    fn certificates(&mut self, secrets: &[Arc<Secret>]) -> Certificates {
        let mut before = std::mem::take(&mut self.certificates);
        for secret in secrets {
            let address = address(secret);
            let known = before.remove(&address);
            let looked_into = known
                .or_else(|| Some(LookedInto { secret: Arc::clone(secret), found: certificate_of(secret)? }));
            self.certificates.extend(looked_into.map(|looked_into| (address, looked_into)));
        }
        self.certificates.iter().map(|(address, one)| (*address, one.found.clone())).collect()
    }

    fn schedules(&mut self, objects: &[Arc<MailSchedule>]) -> Vec<Judged> {
        let mut before = std::mem::take(&mut self.schedules);
        for object in objects {
            let address = address(object);
            let judged = before.remove(&address);
            let judged = judged.unwrap_or_else(|| (Arc::clone(object), schedules::faults(object).into()));
            self.schedules.insert(address, judged);
        }
        self.schedules.values().cloned().collect()
    }

    fn domain(&mut self, object: &Arc<MailDomain>, lists: Vec<Arc<MailRecipients>>) -> Remembered {
        let gateways = &mut self.gateways;
        match self.domains.entry(address(object)) {
            Slot::Vacant(slot) => {
                let gateway = shared(gateways, target(parts(object).0, &object.spec.gateway_ref));
                let listed = Arc::new(Listed::new(&object.spec, &gateway, lists));
                let parsed = Arc::new(ParsedDomain::new(object, &gateway));
                let now = Remembered { parsed, listed, form: None };
                slot.insert(now).clone()
            }
            Slot::Occupied(slot) => {
                let now = slot.into_mut();
                let before = &now.listed.lists;
                let is_same = before.len() == lists.len()
                    && before.iter().zip(&lists).all(|(one, other)| Arc::ptr_eq(one, other));
                if !is_same {
                    now.listed = Arc::new(Listed::new(&object.spec, &now.parsed.gateway, lists));
                    now.form = None;
                }
                now.clone()
            }
        }
    }

    /// Remembers what a domain was compiled to, if it was from the recipients that it has.
    pub(crate) fn keep_form(&mut self, object: &Arc<MailDomain>, listed: &Arc<Listed>, form: &Arc<Form>) {
        if let Some(remembered) = self.domains.get_mut(&address(object))
            && Arc::ptr_eq(&remembered.listed, listed)
        {
            remembered.form = Some(Arc::clone(form));
        }
    }
}

fn address<T>(object: &Arc<T>) -> usize {
    Arc::as_ptr(object).addr()
}

fn shared(known: &mut BTreeSet<Arc<ObjectKey>>, key: ObjectKey) -> Arc<ObjectKey> {
    if let Some(known) = known.get(&key) {
        return Arc::clone(known);
    }
    let key = Arc::new(key);
    known.insert(Arc::clone(&key));
    key
}

/// Spreads addresses: nobody outside can choose them.
#[derive(Clone, Debug, Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte)); // not used: an address writes a number
        }
    }

    fn write_usize(&mut self, address: usize) {
        // Fibonacci hashing: the high bits depend on all, and the map takes its buckets from the low ones.
        self.0 = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).swap_bytes();
    }
}
