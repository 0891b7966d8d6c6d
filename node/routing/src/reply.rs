//! The replies to RCPT and MAIL that routing decides: each by name, with its section. Pure.
//!
//! A reply tells a stranger what to do and nothing of how the gateway is set up; the path of the decision does that for its owner.

use posthouse_model::{EnhancedStatus, Reply, ReplyCode};

/// RFC 5321 §4.2.3, RFC 3463 §3.2 (x.1.1): nobody of this name receives mail here.
#[must_use]
pub fn unknown_recipient() -> Reply {
    Reply::new(
        ReplyCode::MAILBOX_UNAVAILABLE,
        Some(EnhancedStatus::permanent(1, 1)),
        "no such recipient here",
    )
}

/// RFC 3463 §3.2 (x.1.3): the address of a member cannot be written.
#[must_use]
pub fn address_too_long() -> Reply {
    Reply::new(ReplyCode::MAILBOX_UNAVAILABLE, Some(EnhancedStatus::permanent(1, 3)), "address too long")
}

/// RFC 5321 §3.6.1, RFC 3463 §3.8 (x.7.1): we are no relay for this client.
#[must_use]
pub fn relaying_denied() -> Reply {
    Reply::new(ReplyCode::MAILBOX_UNAVAILABLE, Some(EnhancedStatus::permanent(7, 1)), "relaying denied")
}

/// RFC 3463 §3.8 (x.7.1): the route takes mail of authorised clients only.
#[must_use]
pub fn not_admitted() -> Reply {
    let text = "recipient takes mail of authorised clients only";
    Reply::new(ReplyCode::MAILBOX_UNAVAILABLE, Some(EnhancedStatus::permanent(7, 1)), text)
}

/// RFC 3463 §3.5 (x.4.6): groups and aliases lead back to themselves and to nobody else.
#[must_use]
pub fn alias_loop() -> Reply {
    Reply::new(ReplyCode::MAILBOX_UNAVAILABLE, Some(EnhancedStatus::permanent(4, 6)), "alias loop")
}

/// RFC 3463 §3.3 (x.2.4): a group has more members than a message may have recipients.
#[must_use]
pub fn expansion_too_large() -> Reply {
    let text = "too many recipients in this group";
    Reply::new(ReplyCode::LOCAL_ERROR, Some(EnhancedStatus::transient(2, 4)), text)
}

/// RFC 3463 §3.4 (x.3.2): the gateway or the domain takes no mail for a while, by its owner's will.
#[must_use]
pub fn suspended() -> Reply {
    let text = "suspended, try again later";
    Reply::new(ReplyCode::LOCAL_ERROR, Some(EnhancedStatus::transient(3, 2)), text)
}

/// RFC 3463 §3.4 (x.3.2): the domain was deleted, by mistake perhaps: for an hour its mail is not refused for good.
#[must_use]
pub fn retired() -> Reply {
    let text = "this domain is not served here at the moment, try again later";
    Reply::new(ReplyCode::LOCAL_ERROR, Some(EnhancedStatus::transient(3, 2)), text)
}

/// RFC 3463 §3.4 (x.3.5): known recipients have no place to be delivered to.
#[must_use]
pub fn no_local_delivery() -> Reply {
    let text = "no local delivery is configured";
    Reply::new(ReplyCode::LOCAL_ERROR, Some(EnhancedStatus::transient(3, 5)), text)
}

/// RFC 3463 §3.4 (x.3.5): the route names no host. Transient, so that nothing is lost while the owner mends it.
#[must_use]
pub fn no_host() -> Reply {
    let text = "no route: it names no host";
    Reply::new(ReplyCode::LOCAL_ERROR, Some(EnhancedStatus::transient(3, 5)), text)
}

/// RFC 3463 §3.4 (x.3.5): what the mail was accepted to go by is gone, and nothing else is for it. Transient: its owner may bring it back.
#[must_use]
pub fn no_longer_routed() -> Reply {
    let text = "the resource that routed it is gone or suspended";
    Reply::new(ReplyCode::LOCAL_ERROR, Some(EnhancedStatus::transient(3, 5)), text)
}

/// RFC 3463 §3.5 (x.4.6): the next hop is this gateway itself. Transient, so that nothing is lost while the owner mends it.
#[must_use]
pub fn own_hop() -> Reply {
    let text = "routing loop: the next hop is this host";
    Reply::new(ReplyCode::LOCAL_ERROR, Some(EnhancedStatus::transient(4, 6)), text)
}

/// RFC 1870 §6.1, RFC 3463 §3.4 (x.3.4): larger than this recipient or sender may have.
#[must_use]
pub fn message_too_large(limit: u64) -> Reply {
    let text = format!("message too large: at most {limit} bytes");
    Reply::new(ReplyCode::TOO_MUCH, Some(EnhancedStatus::permanent(3, 4)), &text)
}
