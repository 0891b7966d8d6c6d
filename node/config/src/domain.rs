//! A domain that the gateway takes mail for: its names, its recipients and where their mail goes. Plain data.

use std::{fmt, str::FromStr};

use posthouse_model::{Domain, HostPort, LocalPart, Mailbox, ParseAddressError, QueueName};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{names::NameSet, resource::ResourceName};

/// One `MailDomain` with the `MailRecipients` that belong to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MailDomain {
    /// The domain itself.
    pub domain: Domain,
    /// The resource that it comes from.
    pub origin: ResourceName,
    /// Whether bare logins and bare recipients belong to it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub role: Role,
    /// Mail for it gets 451; what is queued stays.
    #[serde(default, skip_serializing_if = "is_default")]
    pub suspended: bool,
    /// Its other names, sorted: identical addresses, for delivery only.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub aliases: Box<[Domain]>,
    /// Who receives mail in it.
    pub recipients: Recipients,
    /// Where mail of known recipients goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_delivery: Option<LocalDelivery>,
    /// What happens to mail for anybody else.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unknown_recipients: UnknownRecipients,
    /// Its own limits of size.
    #[serde(default, skip_serializing_if = "is_default")]
    pub message_size: MessageSize,
}

impl MailDomain {
    /// A domain that lists nobody, delivers nowhere and rejects everybody: what a compiler starts from.
    #[must_use]
    pub fn new(domain: Domain, origin: ResourceName) -> Self {
        Self {
            domain,
            origin,
            role: Role::default(),
            suspended: false,
            aliases: Box::default(),
            recipients: Recipients::default(),
            local_delivery: None,
            unknown_recipients: UnknownRecipients::default(),
            message_size: MessageSize::default(),
        }
    }
}

/// Whether bare logins and bare recipients belong to a domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// They do; at most one domain of a gateway.
    Primary,
    /// They do not.
    #[default]
    Member,
}

/// Who receives mail in a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Recipients {
    /// Those who are listed. A name may be a user and an alias at once: then the alias counts, and the name inside its own list is the user.
    Listed {
        /// People.
        #[serde(default, skip_serializing_if = "NameSet::is_empty")]
        users: NameSet,
        /// Names that stand for several recipients, sorted by name without regard to case.
        #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
        groups: Box<[Expansion]>,
        /// Other names of recipients, sorted in the same way.
        #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
        aliases: Box<[Expansion]>,
    },
    /// Everybody: nobody is known here, so everything is forwarded.
    AcceptAll,
}

impl Default for Recipients {
    fn default() -> Self {
        Self::Listed { users: NameSet::default(), groups: Box::default(), aliases: Box::default() }
    }
}

/// A group or an alias: a name that stands for others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expansion {
    /// The local part.
    pub name: LocalPart,
    /// Whom it stands for, in the order that was written.
    pub members: Box<[Member]>,
}

/// A member of a group or the target of an alias: a name of the same domain, or a whole address anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// A local part of the domain that lists it.
    Local(LocalPart),
    /// An address.
    Address(Mailbox),
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(local) => local.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl FromStr for Member {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        match text.parse() {
            Ok(address) => Ok(Self::Address(address)),
            Err(ParseAddressError::NoDomain) => text.parse().map(Self::Local),
            Err(error) => Err(error),
        }
    }
}

impl Serialize for Member {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Where mail of known recipients goes, and the queue that it waits in. This queue is not the forward's when that one is held: see
/// [`local_queue_name`](crate::local_queue_name).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum LocalDelivery {
    /// To a mailbox server that speaks LMTP; its host has a port.
    Lmtp {
        /// The server.
        host: HostPort,
        /// The queue.
        queue: QueueName,
        /// It is of a tenant's choosing: see [`Forward::guarded`]. Since schema 4.
        #[serde(default, skip_serializing_if = "is_default")]
        guarded: bool,
    },
    /// Kept in the queue for POP3.
    Maildrop {
        /// The queue.
        queue: QueueName,
    },
}

impl LocalDelivery {
    /// The queue that its mail waits in.
    #[must_use]
    pub fn queue(&self) -> &QueueName {
        match self {
            Self::Lmtp { queue, .. } | Self::Maildrop { queue } => queue,
        }
    }
}

/// What happens to mail for a recipient that is not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnknownRecipients {
    /// Refused at RCPT.
    #[default]
    Reject,
    /// Forwarded.
    Forward(Box<Forward>),
}

/// Where mail for unknown recipients is forwarded to. When it leaves is said by the mode of its queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Forward {
    /// With a port: the host's address records; without: its MX.
    pub host: HostPort,
    /// The queue that the mail waits in.
    pub queue: QueueName,
    /// What happens to recipients given under one of the domain's aliases.
    #[serde(default, skip_serializing_if = "is_default")]
    pub aliased_recipients: AliasedRecipients,
    /// Whose mail it takes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub admits: Admits,
    /// The host is of a tenant's choosing: the gateway's denied networks are not connected to. Since schema 4.
    #[serde(default, skip_serializing_if = "is_default")]
    pub guarded: bool,
    /// What it asks for and is not built yet, by field, or what of it is refused (`unknownRecipients.forward (refused)`): the mail is accepted
    /// and waits.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub unsupported: Box<[Box<str>]>,
}

/// What happens to unknown recipients given under one of the domain's aliases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AliasedRecipients {
    /// They are forwarded as any other.
    Forward,
    /// They are refused: this breaks the loop of two servers that forward to each other.
    #[default]
    Reject,
}

/// Whose mail a route takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Admits {
    /// Everybody's.
    #[default]
    Anyone,
    /// That of clients that may relay.
    Authorized,
}

/// A domain's own limits of size in bytes; the gateway's limit holds beside them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MessageSize {
    /// Of a message that it sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<u64>,
    /// Of a message that it receives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<u64>,
}

/// What need not be written: an encoding has one form.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
