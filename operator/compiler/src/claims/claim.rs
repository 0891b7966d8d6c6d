//! Something that only one resource can hold. Pure.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, BuildHasherDefault, Hash, Hasher, RandomState},
    sync::{Arc, OnceLock},
};

use posthouse_model::{Domain, QueueName};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::resources::ObjectKey;

/// Something that only one resource can hold, with its hash: it is looked up far more often than it is made.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    hash: u64,
    what: Arc<What>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename = "Claim")]
enum What {
    /// A domain name at a gateway, as a domain or as an alias.
    Domain(Arc<ObjectKey>, String),
    /// To be the primary domain of a gateway.
    Primary(Arc<ObjectKey>),
    /// A queue name at a gateway: held by a namespace.
    Queue(Arc<ObjectKey>, String),
    /// The id of a gateway's queue.
    QueueId(String),
    /// A login at a gateway.
    Login(Arc<ObjectKey>, String),
}

impl Claim {
    pub(crate) fn domain(gateway: &Arc<ObjectKey>, name: &Domain) -> Self {
        What::Domain(Arc::clone(gateway), name.to_lowercase()).into()
    }

    pub(crate) fn primary(gateway: &Arc<ObjectKey>) -> Self {
        What::Primary(Arc::clone(gateway)).into()
    }

    pub(crate) fn queue(gateway: &Arc<ObjectKey>, name: &QueueName) -> Self {
        What::Queue(Arc::clone(gateway), name.as_str().to_owned()).into()
    }

    pub(crate) fn queue_id(id: &str) -> Self {
        What::QueueId(id.to_owned()).into()
    }

    pub(crate) fn login(gateway: &Arc<ObjectKey>, login: &str) -> Self {
        What::Login(Arc::clone(gateway), login.to_owned()).into()
    }

    /// The name that is claimed, in lower case if it is a domain; nothing for the role of primary.
    pub(crate) fn name(&self) -> &str {
        match &*self.what {
            What::Domain(_, name) | What::Queue(_, name) | What::QueueId(name) | What::Login(_, name) => name,
            What::Primary(_) => "",
        }
    }
}

impl From<What> for Claim {
    fn from(what: What) -> Self {
        // Tenants choose names, so the seed is this process's own: else they could choose many with one hash. It changes no outcome.
        static SEED: OnceLock<RandomState> = OnceLock::new();
        Self { hash: SEED.get_or_init(RandomState::new).hash_one(&what), what: Arc::new(what) }
    }
}

impl PartialEq for Claim {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.what == other.what
    }
}

impl Eq for Claim {}

impl PartialOrd for Claim {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Claim {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.what.cmp(&other.what)
    }
}

impl Hash for Claim {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Serialize for Claim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.what.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Claim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        What::deserialize(deserializer).map(Into::into)
    }
}

/// Takes the hash that a claim has for what it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClaimHasher(u64);

impl Hasher for ClaimHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not used: a claim writes a number.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// A map by claims.
pub(crate) type ClaimMap<K, V> = HashMap<K, V, BuildHasherDefault<ClaimHasher>>;
