//! `MailDomain`: a domain that the gateway takes mail for, its recipients and where their mail goes. Owned by whoever owns the domain. Pure.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    duration::Duration,
    is_false,
    reference::{GatewayRef, ObjectRef},
    size::Size,
    status::DomainStatus,
};

/// A domain that a gateway takes mail for.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "posthouse.dev",
    version = "v1alpha1",
    kind = "MailDomain",
    plural = "maildomains",
    shortname = "md",
    category = "posthouse",
    namespaced,
    status = "DomainStatus",
    derive = "PartialEq",
    doc = "A domain that a gateway takes mail for."
)]
#[serde(rename_all = "camelCase")]
pub struct MailDomainSpec {
    /// The gateway that takes the domain's mail; immutable.
    pub gateway_ref: GatewayRef,
    /// The domain in A-labels; immutable: a new resource with `renamedFrom` takes the old name over.
    #[schemars(length(min = 1, max = 253))]
    pub domain: String,
    /// Mail for the domain gets 451 while true; what is queued stays.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// What the domain is, in the owner's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,
    /// Whether bare logins and bare recipients belong to this domain; absent: Member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Other names of the domain, for delivery only; addresses are never rewritten on the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub aliases: Vec<String>,
    /// Takes over the name of another `MailDomain` of this namespace, as an alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<ObjectRef>,
    /// Who receives mail here; absent: whom `MailRecipients` list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipients: Option<Recipients>,
    /// Where mail of users goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_delivery: Option<LocalDelivery>,
    /// What happens to mail for anybody else; absent: it is rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_recipients: Option<UnknownRecipients>,
    /// The queue that the domain's mail waits in; absent: one named after the domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<DomainQueue>,
    /// Who may release the held queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// The largest message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_size: Option<MessageSize>,
    /// Text added to mail that the domain sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footer: Option<Footer>,
}

/// Whether bare logins and bare recipients belong to a domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Role {
    /// They do; one domain per gateway.
    Primary,
    /// They do not.
    #[default]
    Member,
}

/// Who receives mail in a domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RecipientPolicy {
    /// Those who are listed.
    #[default]
    Listed,
    /// Everybody: no lists, everything is forwarded.
    AcceptAll,
}

/// Who receives mail in a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recipients {
    /// Those who are listed, or everybody; absent: Listed.
    #[serde(default)]
    pub policy: RecipientPolicy,
    /// People; more of them in `MailRecipients`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub users: Vec<User>,
    /// Names that stand for several recipients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub groups: Vec<Group>,
    /// Other names of recipients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub aliases: Vec<Alias>,
}

/// A person with mail in the domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// The local part.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
}

/// A name that stands for several recipients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// The local part.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// Local parts of this domain, or whole addresses.
    #[schemars(length(min = 1, max = 1000))]
    pub members: Vec<String>,
}

/// Another name of recipients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alias {
    /// The local part.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// Local parts of this domain, or whole addresses.
    #[schemars(length(min = 1, max = 100))]
    pub deliver_to: Vec<String>,
}

/// Where mail of users goes: exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalDelivery {
    /// To a mailbox server that speaks LMTP (RFC 2033).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lmtp: Option<Lmtp>,
    /// Kept in the queue for POP3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maildrop: Option<Maildrop>,
}

/// A mailbox server that speaks LMTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lmtp {
    /// Its host name or address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Its port.
    #[schemars(range(min = 1))]
    pub port: u16,
}

/// Mail kept in the queue for POP3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Maildrop {}

/// What happens to mail for a recipient that is not listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnknownAction {
    /// It is refused at RCPT.
    #[default]
    Reject,
    /// It is forwarded.
    Forward,
}

/// What happens to mail for recipients that are not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnknownRecipients {
    /// Refused or forwarded; absent: Reject.
    #[serde(default)]
    pub action: UnknownAction,
    /// Where it is forwarded to, with `action: Forward`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<Forward>,
}

/// When forwarded mail leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Delivery {
    /// At once.
    #[default]
    Online,
    /// By the schedule of `release`.
    Scheduled,
    /// Held until ETRN, ATRN, POP3 or a schedule releases it.
    OnRequest,
}

/// What happens to unknown recipients given under one of the domain's aliases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AliasedRecipients {
    /// They are forwarded as any other.
    Forward,
    /// They are refused: this breaks the loop of two servers that forward to each other.
    #[default]
    Reject,
}

/// Whose mail a route takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Admits {
    /// Everybody's.
    #[default]
    Anyone,
    /// That of clients that may relay.
    Authorized,
}

/// Where mail for unknown recipients is forwarded to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Forward {
    /// A host name or address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// With a port: the host's address records; without: its MX.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// When it leaves; absent: Online.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// What happens to recipients given under one of `aliases`; absent: Reject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aliased_recipients: Option<AliasedRecipients>,
    /// Whose mail it takes; absent: Anyone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admits: Option<Admits>,
}

/// The queue that a domain's mail waits in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DomainQueue {
    /// Its name; several domains of one namespace may name one queue; absent: the domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub name: Option<String>,
    /// How long mail is held before it is given up; absent: the gateway's `retry.expireAfter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_expires_after: Option<Duration>,
}

/// Who may release the held queue. Users are `MailUser`s of this namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// By ETRN (RFC 1985).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etrn: Option<EtrnRelease>,
    /// By ATRN (RFC 2645).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub atrn: Option<UserRelease>,
    /// By POP3: one maildrop for the whole domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pop3: Option<UserRelease>,
    /// By a `MailSchedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_ref: Option<ObjectRef>,
}

/// How ETRN is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EtrnReplies {
    /// 251 to 253 with true counts.
    #[default]
    Precise,
    /// Always 250, for clients that stop at 251.
    Legacy,
}

/// Who may release by ETRN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EtrnRelease {
    /// Client networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub networks: Vec<String>,
    /// `MailUser`s of this namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub users: Vec<String>,
    /// How ETRN is answered; absent: Precise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replies: Option<EtrnReplies>,
}

/// Who may release by a login.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserRelease {
    /// `MailUser`s of this namespace.
    #[schemars(length(min = 1, max = 64))]
    pub users: Vec<String>,
}

/// The largest message of a domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageSize {
    /// That it sends; absent: the gateway's limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<Size>,
    /// That it receives; absent: the gateway's limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<Size>,
}

/// Which mail gets the footer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FooterScope {
    /// What leaves for other domains.
    #[default]
    External,
    /// All that the domain sends.
    All,
}

/// Text added to mail that the domain sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Footer {
    /// Plain text.
    #[schemars(length(min = 1, max = 4096))]
    pub text: String,
    /// Which mail gets it; absent: External.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<FooterScope>,
}
