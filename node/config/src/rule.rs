//! A relay rule: whose mail to whom goes by which hosts. Plain data.

use posthouse_model::HostPort;
use serde::{Deserialize, Serialize};

use crate::{
    domain::is_default,
    pattern::{AddressPattern, SenderPattern},
    resource::ResourceName,
    secret::Credentials,
    tls::{AuthenticationMethod, ClientTls},
};

/// One `RelayRule`. Rules are asked by tier, then namespace, then order, then name; the first that matches decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RelayRule {
    /// The resource that it comes from.
    pub origin: ResourceName,
    /// Which rules it comes before.
    pub tier: Tier,
    /// Its place inside its tier and namespace, ascending.
    #[serde(default, skip_serializing_if = "is_default")]
    pub order: i64,
    /// It is passed over.
    #[serde(default, skip_serializing_if = "is_default")]
    pub suspended: bool,
    /// Which mail it is for.
    #[serde(rename = "match")]
    pub matches: Match,
    /// Where that mail goes.
    pub target: RuleTarget,
    /// What the hosts are logged in to with. Since schema 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// How they are logged in with. Since schema 4.
    #[serde(default, skip_serializing_if = "is_default")]
    pub method: AuthenticationMethod,
    /// TLS towards the hosts. Since schema 4.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tls: ClientTls,
    /// The hosts are of a tenant's choosing: the gateway's denied networks are not connected to. Since schema 4.
    #[serde(default, skip_serializing_if = "is_default")]
    pub guarded: bool,
    /// What it asks for and is not built yet, by field (`relay.authentication`), or what of it is refused (`relay (refused)`): the mail is
    /// accepted and waits, and is never sent without it.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub unsupported: Box<[Box<str>]>,
}

/// Which rules come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Tier {
    /// The gateway owner's, before all others.
    First,
    /// Of another namespace: it sees only mail whose source is that namespace's own.
    Tenant,
    /// The gateway owner's, after all others.
    Default,
}

/// Which mail a rule is for: AND across senders and recipients, OR inside each; an empty list asks nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Match {
    /// All that it sees.
    Always,
    /// That of these senders to these recipients; never both empty.
    Addresses {
        /// Reverse-paths.
        #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
        senders: Box<[SenderPattern]>,
        /// Recipients.
        #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
        recipients: Box<[AddressPattern]>,
    },
}

/// Where the mail of a rule goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum RuleTarget {
    /// To these hosts: the next where one fails. With a port: address records; without: MX.
    Relay {
        /// At least one; of a rule that is refused, and whose mail waits, perhaps none.
        hosts: Box<[HostPort]>,
    },
    /// To the recipient domain's own servers, by MX.
    Direct,
}
