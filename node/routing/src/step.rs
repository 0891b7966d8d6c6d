//! The steps of a decision, for people and programs to read. Plain data.

use std::fmt;

use posthouse_config::{Hold, ResourceName, Tier};
use posthouse_model::{Domain, HostPort, LocalPart, Mailbox, NextHop, QueueName, Reply};
use serde::{Serialize, Serializer};

use crate::relay::RelayPermission;

/// One step of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Step {
    /// The gateway takes no mail.
    GatewaySuspended {
        /// The gateway.
        gateway: ResourceName,
    },
    /// `<Postmaster>` belongs to this domain.
    BarePostmaster {
        /// Its address there.
        address: Mailbox,
        /// Whether the domain is the primary one, or the first for want of one.
        primary: bool,
    },
    /// The domain is ours.
    OwnDomain {
        /// As it was given.
        given: Domain,
        /// Its own name.
        domain: Domain,
        /// Its resource.
        origin: ResourceName,
    },
    /// The domain is not ours.
    OtherDomain {
        /// As it was given.
        given: Domain,
    },
    /// The domain was ours until lately.
    RetiredDomain {
        /// As it was given.
        given: Domain,
    },
    /// The domain is suspended.
    DomainSuspended {
        /// Its resource.
        origin: ResourceName,
    },
    /// What the domain knows of the recipient.
    Recipient {
        /// The local part.
        name: LocalPart,
        /// What it is.
        is: RecipientKind,
        /// Whom it stands for.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        members: Vec<String>,
    },
    /// The postmaster is not listed here: another domain's takes the mail.
    PostmasterElsewhere {
        /// Who takes it.
        address: Mailbox,
    },
    /// It is for the postmaster of the gateway itself, or of its misuse.
    OwnHost {
        /// As it was given.
        given: Domain,
        /// Who takes it; none where only a rule can say so.
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<Mailbox>,
    },
    /// Nobody is listed who hears of misuse: the postmaster does.
    PostmasterHears {
        /// Who takes it.
        address: Mailbox,
    },
    /// The name is listed and leads to nobody, but it is one that gets mail in every domain.
    TakenUnlisted {
        /// The name.
        name: LocalPart,
    },
    /// The name was expanded before on another way.
    ExpandedBefore {
        /// The name.
        name: LocalPart,
    },
    /// The recipient has the mail already.
    HasItAlready {
        /// Who.
        recipient: Mailbox,
    },
    /// Groups and aliases lead in a circle.
    Loop {
        /// The names of the circle, the first and the last the same.
        names: Vec<String>,
    },
    /// Groups and aliases lead to too many recipients.
    TooLarge {
        /// How many there may be.
        limit: usize,
    },
    /// Whether the mail may be relayed.
    Permission {
        /// The answer.
        permission: RelayPermission,
    },
    /// The domain forwards mail for whom it does not know.
    Forwards {
        /// The host.
        host: HostPort,
    },
    /// The recipient was given under an alias of the domain, and such mail is not forwarded.
    AliasedRejected {
        /// The alias.
        given: Domain,
    },
    /// The domain rejects mail for whom it does not know.
    RejectsUnknown,
    /// The domain has no local delivery.
    NoLocalDelivery,
    /// A rule was asked, or was not.
    Rule {
        /// The rule.
        origin: ResourceName,
        /// Its tier.
        tier: Tier,
        /// Its order.
        order: i64,
        /// What it said.
        verdict: RuleVerdict,
    },
    /// No rule matches: direct delivery by MX.
    NoRule,
    /// The rule that matches says direct delivery by MX.
    Direct,
    /// The route cannot be used.
    NoRoute {
        /// Why.
        why: NoRoute,
    },
    /// The mail is taken for a recipient.
    Delivers {
        /// Who.
        recipient: Mailbox,
        /// The queue.
        queue: QueueName,
        /// Why the queue is held.
        #[serde(skip_serializing_if = "Option::is_none")]
        hold: Option<Hold>,
        /// Where to.
        #[serde(serialize_with = "as_text")]
        next_hop: NextHop,
        /// By which resource.
        origin: String,
        /// Why it waits.
        #[serde(skip_serializing_if = "Option::is_none")]
        waits: Option<String>,
    },
    /// The mail is not taken for a recipient.
    Refuses {
        /// Who.
        recipient: Mailbox,
        /// What is said.
        reply: Reply,
    },
    /// The mail keeps the route that the queue has for it.
    KeepsRoute {
        /// The route's resource.
        origin: String,
    },
}

/// What a domain knows of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RecipientKind {
    /// A user.
    User,
    /// A group.
    Group,
    /// An alias.
    Alias,
    /// Not listed, but every domain has a postmaster.
    Postmaster,
    /// Not listed, but misuse of every domain can be reported.
    Abuse,
    /// Nobody is listed: everybody is taken.
    Anybody,
    /// Not listed.
    Unknown,
}

/// What a rule said to a recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RuleVerdict {
    /// It matches.
    Matches {
        /// By which pattern of senders; absent: it asks for none.
        #[serde(skip_serializing_if = "Option::is_none")]
        sender: Option<String>,
        /// By which pattern of recipients; absent: it asks for none.
        #[serde(skip_serializing_if = "Option::is_none")]
        recipient: Option<String>,
    },
    /// It is suspended.
    Suspended,
    /// The mail's source is not its namespace's own.
    NotItsMail,
    /// The null reverse-path is matched by `<>` and by `always` only.
    NullReversePath,
    /// None of its patterns fits the sender.
    SenderDiffers,
    /// None of its patterns fits the recipient.
    RecipientDiffers,
    /// A rule before it matched.
    NotReached,
}

/// Why a route cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum NoRoute {
    /// No host is named.
    NoHost,
    /// This host is the gateway itself.
    OwnHop(String),
}

fn as_text<S: Serializer>(next_hop: &NextHop, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(next_hop)
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GatewaySuspended { gateway } => {
                write!(f, "MailGateway {gateway} is suspended: it takes no mail")
            }
            Self::BarePostmaster { address, primary } => {
                let which =
                    if *primary { "the primary domain" } else { "the first domain, as none is Primary" };
                write!(f, "<Postmaster> without a domain is <{address}>, of {which}")
            }
            Self::OwnDomain { given, domain, origin } if given == domain => {
                write!(f, "domain {given} is MailDomain {origin}")
            }
            Self::OwnDomain { given, domain, origin } => {
                write!(f, "domain {given} is an alias of {domain}, MailDomain {origin}")
            }
            Self::OtherDomain { given } => write!(f, "domain {given} is no MailDomain of this gateway"),
            Self::RetiredDomain { given } => {
                write!(f, "domain {given} was one of this gateway until lately: its mail may come again")
            }
            Self::DomainSuspended { origin } => {
                write!(f, "MailDomain {origin} is suspended: it takes no mail")
            }
            Self::Recipient { name, is, members } => {
                write!(f, "{name} {is}")?;
                if members.is_empty() { Ok(()) } else { write!(f, " for {}", members.join(", ")) }
            }
            Self::PostmasterElsewhere { address } => {
                write!(f, "the domain has nowhere to deliver its postmaster's mail: <{address}> takes it")
            }
            Self::OwnHost { given, address: Some(address) } => {
                write!(f, "{given} is this gateway itself: <{address}> takes it")
            }
            Self::OwnHost { given, address: None } => {
                write!(f, "{given} is this gateway itself, which has no domain: a rule says where it goes")
            }
            Self::PostmasterHears { address } => write!(f, "<{address}> takes it"),
            Self::TakenUnlisted { name } => {
                write!(f, "{name} gets mail in every domain: it is taken as if it were not listed")
            }
            Self::ExpandedBefore { name } => {
                write!(f, "{name} was reached before: its members have the mail")
            }
            Self::HasItAlready { recipient } => write!(f, "<{recipient}> has the mail already"),
            Self::Loop { names } => write!(f, "alias loop: {}", names.join(" → ")),
            Self::TooLarge { limit } => write!(f, "more than {limit} recipients"),
            Self::Permission { permission } => write!(f, "the mail {permission}"),
            Self::Forwards { host } => {
                write!(f, "such mail is forwarded to {host} (unknownRecipients.forward)")
            }
            Self::AliasedRejected { given } => write!(
                f,
                "it was given under the alias {given}, and aliasedRecipients is Reject: not forwarded, so that it cannot go in circles"
            ),
            Self::RejectsUnknown => f.write_str("such mail is rejected (unknownRecipients.action)"),
            Self::NoLocalDelivery => f.write_str("the domain has no localDelivery"),
            Self::Rule { origin, tier, order, verdict } => {
                write!(f, "RelayRule {origin} ({tier:?}, order {order}): {verdict}")
            }
            Self::NoRule => f.write_str("no RelayRule matches: direct delivery by MX"),
            Self::Direct => f.write_str("the rule says direct delivery by MX"),
            Self::NoRoute { why } => why.fmt(f),
            Self::Delivers { recipient, queue, hold, next_hop, origin, waits } => {
                let next_hop = next_hop.in_words();
                write!(f, "<{recipient}> goes by {origin} to {next_hop}, queue {queue}")?;
                if let Some(hold) = hold {
                    write!(f, ", {hold}")?;
                }
                if let Some(waits) = waits { write!(f, "; it waits: {waits}") } else { Ok(()) }
            }
            Self::Refuses { recipient, reply } => write!(f, "<{recipient}> is refused: {reply}"),
            Self::KeepsRoute { origin } => {
                write!(f, "it keeps the route that the queue has for it, by {origin}")
            }
        }
    }
}

impl fmt::Display for RecipientKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "is a user",
            Self::Group => "is a group and stands",
            Self::Alias => "is an alias and stands",
            Self::Postmaster => "is not listed, but is the postmaster, who gets mail in every domain",
            Self::Abuse => "is not listed, but takes reports of misuse, as in every domain",
            Self::Anybody => "is taken like anybody (recipients.policy AcceptAll)",
            Self::Unknown => "is no user, group or alias of the domain",
        })
    }
}

impl fmt::Display for RuleVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Matches { sender, recipient } => {
                return match (sender, recipient) {
                    (None, None) => f.write_str("matches always"),
                    (Some(sender), None) => write!(f, "matches the sender by {sender}"),
                    (None, Some(recipient)) => write!(f, "matches the recipient by {recipient}"),
                    (Some(sender), Some(recipient)) => {
                        write!(f, "matches the sender by {sender} and the recipient by {recipient}")
                    }
                };
            }
            Self::Suspended => "passed over, it is suspended",
            Self::NotItsMail => {
                "passed over, it sees only mail of its own namespace's users and domains, and this is not"
            }
            Self::NullReversePath => "does not match, the null reverse-path is matched by <> or always only",
            Self::SenderDiffers => "does not match the sender",
            Self::RecipientDiffers => "does not match the recipient",
            Self::NotReached => "not asked, a rule before it matched",
        })
    }
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHost => f.write_str("no host is named"),
            Self::OwnHop(host) => write!(f, "{host} is this gateway itself: the mail would go in circles"),
        }
    }
}
