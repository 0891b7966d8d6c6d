//! What routing decides for a recipient. Plain data.

use std::{fmt, sync::Arc};

use posthouse_config::Hold;
use posthouse_model::{Mailbox, QueueName, Reply, Route};
use serde::{Serialize, Serializer};

/// What happens with the mail for one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// It is taken.
    Accepted(Acceptance),
    /// It is refused.
    Refused(Refusal),
}

/// A recipient whose mail is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Acceptance {
    /// Who gets the mail, at least one, nobody twice. One for a plain recipient, more for a group or an alias.
    pub deliveries: Vec<Delivery>,
    /// Members of a group who cannot be reached while others can: they get nothing, and the owner should hear of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<Unreachable>,
    /// The largest message that all of them may get, in bytes.
    pub message_size: u64,
}

/// One recipient to send to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// What RCPT will say: the address as it was given, or as a group or an alias has it.
    pub recipient: Mailbox,
    /// The queue that the mail waits in.
    pub queue: QueueName,
    /// Whether the queue is held.
    pub mode: QueueMode,
    /// Where it goes, and which resource says so.
    #[serde(serialize_with = "plain")]
    pub route: Arc<Route>,
    /// How it came to this route.
    pub reason: Reason,
}

/// Whether new mail of a queue is held, as the snapshot of this generation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueMode {
    /// Why; `None`: Online.
    pub hold: Option<Hold>,
    /// The snapshot's generation.
    pub generation: u64,
}

/// How mail came to its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// A known recipient of one of our domains.
    Local,
    /// Not known in a domain that forwards such mail.
    Forwarded,
    /// For the postmaster, who is not listed and gets mail all the same.
    Postmaster,
    /// For another domain.
    Relayed,
}

/// A member of a group that cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unreachable {
    /// Who.
    pub recipient: Mailbox,
    /// Why.
    pub refusal: Refusal,
}

/// A recipient whose mail is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Why, for metrics and limits.
    pub reason: RefusalReason,
    /// What the client is told.
    pub reply: Reply,
}

/// Why a recipient is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RefusalReason {
    /// Nobody of this name is known, and the domain forwards nothing.
    UnknownRecipient,
    /// Nobody of this name is known, and it was given under an alias of the domain: forwarding it could go round in circles.
    AliasedRecipient,
    /// The client may not relay.
    RelayDenied,
    /// The client may not relay, and the forward takes mail of those who may only.
    NotAdmitted,
    /// Groups and aliases lead back to themselves and to nobody else.
    AliasLoop,
    /// Groups and aliases lead to more recipients than a message may have.
    ExpansionTooLarge,
    /// The address of a member with its domain is too long to be one.
    AddressTooLong,
    /// The gateway is suspended.
    GatewaySuspended,
    /// The domain is suspended.
    DomainSuspended,
    /// The domain was ours until lately.
    DomainRetired,
    /// The recipient is known, and the domain has no local delivery.
    NoLocalDelivery,
    /// The route names no host.
    NoHost,
    /// It waits in the queue, its resource routes it no longer, and no other does.
    NoLongerRouted,
    /// The next hop is this gateway.
    OwnHop,
}

impl Refusal {
    pub(crate) fn new(reason: RefusalReason) -> Self {
        use crate::reply as r;
        let reply = match reason {
            RefusalReason::UnknownRecipient | RefusalReason::AliasedRecipient => r::unknown_recipient(),
            RefusalReason::RelayDenied => r::relaying_denied(),
            RefusalReason::NotAdmitted => r::not_admitted(),
            RefusalReason::AliasLoop => r::alias_loop(),
            RefusalReason::ExpansionTooLarge => r::expansion_too_large(),
            RefusalReason::AddressTooLong => r::address_too_long(),
            RefusalReason::GatewaySuspended | RefusalReason::DomainSuspended => r::suspended(),
            RefusalReason::DomainRetired => r::retired(),
            RefusalReason::NoLocalDelivery => r::no_local_delivery(),
            RefusalReason::NoHost => r::no_host(),
            RefusalReason::NoLongerRouted => r::no_longer_routed(),
            RefusalReason::OwnHop => r::own_hop(),
        };
        Self { reason, reply }
    }

    /// Whether a later attempt may do better.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.reply.severity() == posthouse_model::Severity::Transient
    }
}

impl Decision {
    /// The acceptance, if it is one.
    #[must_use]
    pub fn accepted(&self) -> Option<&Acceptance> {
        match self {
            Self::Accepted(acceptance) => Some(acceptance),
            Self::Refused(_) => None,
        }
    }

    /// The refusal, if it is one.
    #[must_use]
    pub fn refused(&self) -> Option<&Refusal> {
        match self {
            Self::Accepted(_) => None,
            Self::Refused(refusal) => Some(refusal),
        }
    }
}

impl fmt::Display for QueueMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hold {
            None => f.write_str("online"),
            Some(hold) => hold.fmt(f),
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { recipient, queue, mode, route, reason: _ } = self;
        let (origin, next_hop) = (&route.origin, route.next_hop.in_words());
        write!(f, "<{recipient}> by {origin} to {next_hop}, queue {queue} ({mode})")?;
        match &route.waits {
            Some(waits) => write!(f, "; it waits: {waits}"),
            None => Ok(()),
        }
    }
}

fn plain<S: Serializer>(route: &Arc<Route>, serializer: S) -> Result<S::Ok, S::Error> {
    route.serialize(serializer)
}
