//! Replies that the node itself decides on; those of the protocol are the session's, those of a recipient are routing's. Pure.

use posthouse_model::{EnhancedStatus, Reply, ReplyCode};

/// 451 4.3.0: no configuration yet.
#[must_use]
pub fn no_service_now() -> Reply {
    Reply::new(
        ReplyCode::LOCAL_ERROR,
        Some(EnhancedStatus::transient(3, 5)),
        "not configured yet, try again later",
    )
}

/// 451 4.3.0: the store does not answer; RFC 3463 §3.4, other mail system status.
#[must_use]
pub fn store_away() -> Reply {
    Reply::new(
        ReplyCode::LOCAL_ERROR,
        Some(EnhancedStatus::transient(3, 0)),
        "the queue is not available, try again later",
    )
}

/// 451 4.3.2: the gateway's owner takes no mail at present; RFC 3463 §3.4.
#[must_use]
pub fn suspended() -> Reply {
    Reply::new(
        ReplyCode::LOCAL_ERROR,
        Some(EnhancedStatus::transient(3, 2)),
        "takes no mail at present, try again later",
    )
}

/// 452 4.3.1: no room now; RFC 1870 §6.1.
#[must_use]
pub fn no_room() -> Reply {
    Reply::new(
        ReplyCode::NO_ROOM,
        Some(EnhancedStatus::transient(3, 1)),
        "no room for this message now, try again later",
    )
}

/// 552 5.3.4: RFC 1870 §6.1, §6.3.
#[must_use]
pub fn too_large(limit: u64) -> Reply {
    let text = format!("larger than {limit} octets, the most that sender and recipients allow");
    Reply::new(ReplyCode::TOO_MUCH, Some(EnhancedStatus::permanent(3, 4)), &text)
}

/// 554 5.4.6: the same message for the same recipients, again and again (decision 0013); RFC 5321 §6.3, RFC 3463 §3.5.
#[must_use]
pub fn comes_again() -> Reply {
    Reply::new(
        ReplyCode::FAILED,
        Some(EnhancedStatus::permanent(4, 6)),
        "this message was here for the same recipients before, it goes round in circles",
    )
}

/// 554 5.4.6: RFC 5321 §6.3, RFC 3463 §3.5.
#[must_use]
pub fn too_many_hops() -> Reply {
    Reply::new(
        ReplyCode::FAILED,
        Some(EnhancedStatus::permanent(4, 6)),
        "too many hops, this message goes round in circles",
    )
}
