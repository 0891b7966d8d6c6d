//! What goes into a compilation: typed objects, Secrets, namespaces, and what the caller knows besides. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use posthouse_config::Snapshot;
use posthouse_crds::{
    EtrnSchedule, Kind, MailDomain, MailGateway, MailRecipients, MailSchedule, MailUser, Object, Pop3Account,
    RelayRule, mail_gateway::DEFAULT_CONTROLLER_NAME,
};
use posthouse_model::{Domain, QueueName, Timestamp};
use serde::{Deserialize, Serialize};

/// The name of an object of a known kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// The key of an object in a namespace.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key as a snapshot has it; none if a part is missing.
    pub(crate) fn resource_name(&self) -> Option<posthouse_config::ResourceName> {
        posthouse_config::ResourceName::new(&self.namespace, &self.name).ok()
    }

    /// The key of the object with this metadata; what is absent is empty.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self::new(metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
    }
}

impl ObjectKey {
    /// Namespace and name: to look it up by parts that are borrowed elsewhere.
    pub(crate) fn parts(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Everything that a compilation reads. Each object has a name and a namespace; each key occurs once per kind. Objects are shared, and told
/// apart by their identity: what is the same `Arc` as in the compilation before is not parsed again.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// Gateways.
    pub gateways: Vec<Arc<MailGateway>>,
    /// Domains.
    pub domains: Vec<Arc<MailDomain>>,
    /// More recipients of domains.
    pub recipients: Vec<Arc<MailRecipients>>,
    /// Relay rules.
    pub relay_rules: Vec<Arc<RelayRule>>,
    /// Mailboxes elsewhere.
    pub pop3_accounts: Vec<Arc<Pop3Account>>,
    /// Servers that are asked for our mail.
    pub etrn_schedules: Vec<Arc<EtrnSchedule>>,
    /// Schedules.
    pub schedules: Vec<Arc<MailSchedule>>,
    /// Identities.
    pub users: Vec<Arc<MailUser>>,
    /// Secrets: only whether they and their keys exist is asked.
    pub secrets: Vec<Arc<Secret>>,
    /// Namespaces, for the selection by labels.
    pub namespaces: Vec<Arc<Namespace>>,
    /// Objects that are there, but whose form was refused before anything could be made of them: what names them finds them, and what was
    /// programmed of them before stays in force.
    pub refused: BTreeSet<(Kind, ObjectKey)>,
}

impl Resources {
    /// Adds an object of any kind.
    pub fn add(&mut self, object: Object) {
        match object {
            Object::MailGateway(object) => self.gateways.push(object),
            Object::MailDomain(object) => self.domains.push(object),
            Object::MailRecipients(object) => self.recipients.push(object),
            Object::RelayRule(object) => self.relay_rules.push(object),
            Object::Pop3Account(object) => self.pop3_accounts.push(object),
            Object::EtrnSchedule(object) => self.etrn_schedules.push(object),
            Object::MailSchedule(object) => self.schedules.push(object),
            Object::MailUser(object) => self.users.push(object),
        }
    }
}

/// Where the nodes run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Environment {
    /// As child processes of the operator: client addresses are real, the embedded queue may stand for Redis, host names stay as they are.
    #[default]
    Local,
    /// As pods.
    Cluster,
}

/// What the caller knows besides the resources.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where the nodes run.
    pub environment: Environment,
    /// The operator's own name: gateways of another one are left alone.
    pub controller_name: String,
    /// Who holds what, from the compilation before: with it, who was first stays so even where no creation time says so.
    pub claims: Claims,
    /// What is in force at each gateway: with it, what is refused now stays as it was programmed before.
    pub previous: BTreeMap<ObjectKey, Arc<Snapshot>>,
    /// The time: names whose domains are gone are told from those that never were for a while.
    pub now: Timestamp,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            environment: Environment::Local,
            controller_name: DEFAULT_CONTROLLER_NAME.to_owned(),
            claims: Claims::default(),
            previous: BTreeMap::new(),
            now: Timestamp::default(),
        }
    }
}

/// Something that only one resource can hold, with its hash: it is looked up far more often than it is made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "What", into = "What")]
pub(crate) struct Claim {
    hash: u64,
    what: What,
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
        match &self.what {
            What::Domain(_, name) | What::Queue(_, name) | What::QueueId(name) | What::Login(_, name) => name,
            What::Primary(_) => "",
        }
    }
}

impl From<What> for Claim {
    fn from(what: What) -> Self {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        Self { hash: hasher.finish(), what }
    }
}

impl From<Claim> for What {
    fn from(claim: Claim) -> Self {
        claim.what
    }
}

impl Hash for Claim {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
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

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

/// Who holds what. Opaque: what one compilation returns is handed to the next. It may be written down meanwhile, as a sorted list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Held>", into = "Vec<Held>")]
pub struct Claims(pub(crate) ClaimMap<Arc<Claim>, Arc<ObjectKey>>);

/// One claim as it is written down.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    what: Arc<Claim>,
    by: Arc<ObjectKey>,
}

impl From<Vec<Held>> for Claims {
    fn from(list: Vec<Held>) -> Self {
        Self(list.into_iter().map(|Held { what, by }| (what, by)).collect())
    }
}

impl From<Claims> for Vec<Held> {
    fn from(claims: Claims) -> Self {
        let mut held: Self = claims.0.into_iter().map(|(what, by)| Held { what, by }).collect();
        held.sort_by(|one, other| one.what.cmp(&other.what));
        held
    }
}

/// The keys of each Secret, by name.
#[derive(Debug)]
pub(crate) struct Secrets<'a>(HashMap<(&'a str, &'a str), &'a Secret>);

impl<'a> Secrets<'a> {
    pub(crate) fn new(secrets: &'a [Arc<Secret>]) -> Self {
        Self(
            secrets
                .iter()
                .filter_map(|secret| {
                    let metadata = &secret.metadata;
                    Some(((metadata.namespace.as_deref()?, metadata.name.as_deref()?), &**secret))
                })
                .collect(),
        )
    }

    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<&'a Secret> {
        self.0.get(&(namespace, name)).copied()
    }
}

/// Whether a Secret has a key, as `data` or, in a manifest, as `stringData`.
pub(crate) fn has_key(secret: &Secret, key: &str) -> bool {
    secret.data.as_ref().is_some_and(|data| data.contains_key(key))
        || secret.string_data.as_ref().is_some_and(|data| data.contains_key(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_written_as_a_sorted_list_and_read_back() {
        let (edge, holder) =
            (Arc::new(ObjectKey::new("mail", "edge")), Arc::new(ObjectKey::new("mail", "b")));
        let claims = Claims(
            [
                (Claim::queue_id("q"), Arc::clone(&edge)),
                (Claim::primary(&edge), Arc::clone(&holder)),
                (Claim::domain(&edge, &"b.example".parse().unwrap()), holder),
            ]
            .map(|(what, by)| (Arc::new(what), by))
            .into_iter()
            .collect(),
        );
        let written = serde_json::to_string(&claims).unwrap();
        assert_eq!(
            written,
            r#"[{"what":{"Domain":[{"namespace":"mail","name":"edge"},"b.example"]},"by":{"namespace":"mail","name":"b"}},"#.to_owned()
                + r#"{"what":{"Primary":{"namespace":"mail","name":"edge"}},"by":{"namespace":"mail","name":"b"}},"#
                + r#"{"what":{"QueueId":"q"},"by":{"namespace":"mail","name":"edge"}}]"#
        );
        assert_eq!(serde_json::from_str::<Claims>(&written).unwrap(), claims);
    }
}
