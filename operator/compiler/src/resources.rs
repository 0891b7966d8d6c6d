//! What goes into a compilation: typed objects, Secrets, namespaces, and what the caller knows besides. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
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
use posthouse_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::claims::Claims;

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
#[derive(Clone, Default)]
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
    /// Secrets: whether they and their keys exist is asked, and of some what they say.
    pub secrets: Vec<Arc<Secret>>,
    /// Namespaces, for the selection by labels.
    pub namespaces: Vec<Arc<Namespace>>,
    /// Objects that are there, but whose form was refused before anything could be made of them: what names them finds them, and what was
    /// programmed of them before stays in force.
    pub refused: BTreeSet<(Kind, ObjectKey)>,
    /// The same for Secrets: what names them is refused for now, and keeps what it had.
    pub refused_secrets: BTreeSet<ObjectKey>,
}

impl fmt::Debug for Resources {
    /// How many there are: what Secrets say is never printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resources")
            .field("gateways", &self.gateways.len())
            .field("domains", &self.domains.len())
            .field("secrets", &self.secrets.len())
            .field("refused", &self.refused)
            .field("refused_secrets", &self.refused_secrets)
            .finish_non_exhaustive()
    }
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
