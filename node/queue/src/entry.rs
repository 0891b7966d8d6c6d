//! An entry: the recipients of one message that travel together, and the lane they travel in. No I/O.

use posthouse_model::{EntryId, Mailbox, QueueName, Route, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::hold::QueueMode;

/// A lane: what is scheduled, backed off and limited as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lane {
    /// The queue that releases hold it.
    pub queue: QueueName,
    /// The next hop in its text form ([`posthouse_model::NextHop`]).
    pub next_hop: String,
    /// What the far end knows us by (address or login) where that differs; empty for the node's own. At most 255 octets.
    pub source: String,
}

impl Lane {
    /// The lane's number: the first 64 bits of SHA-256 over its three parts, so that every node and both stores agree on it.
    #[must_use]
    pub fn id(&self) -> LaneId {
        let mut hash = Sha256::new();
        for part in [self.queue.as_str(), &self.next_hop, &self.source] {
            hash.update(part.as_bytes());
            hash.update([0]); // none of the parts contains NUL
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut id = [0; 8];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        LaneId(id)
    }
}

/// The number of a lane, as it stands in records and indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LaneId(pub [u8; 8]);

/// A documented change that is made to the content on its way out (I8), named here so that one stored content serves several forms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transform {
    /// Append the footer of this `MailDomain` (`namespace/name`).
    Footer(String),
    /// Sign with the key that this resource names (`namespace/name`).
    Sign(String),
    /// Put `X-Envelope-To` with the envelope recipient in front.
    EnvelopeTo,
}

/// The last thing a next hop, or we, said of a recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReply {
    /// When.
    pub at: Timestamp,
    /// SMTP reply code; 0 where there was no reply (connection refused, time-out).
    pub code: u16,
    /// Enhanced status code in text form (`4.4.1`); ours where the far end gave none.
    pub status: String,
    /// The text, at most 512 octets.
    pub text: String,
    /// The host that said it, `host:port`; empty where it was our own decision.
    pub host: String,
}

/// One recipient of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRecipient {
    /// The forward-path that is sent in RCPT.
    pub address: Mailbox,
    /// What the client named, where expansion (alias, group) led from there to `address`.
    pub expanded_from: Option<Mailbox>,
    /// `ORCPT` as it was given, `type;xtext` (RFC 3461 §4.2).
    pub orcpt: Option<String>,
    /// `NOTIFY` as a set of flags (RFC 3461 §4.1): 1 NEVER, 2 SUCCESS, 4 FAILURE, 8 DELAY; 0 = not given.
    pub notify: u8,
    /// The last reply, for lists and for the DSN.
    pub last: Option<LastReply>,
}

/// An entry to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// The queue it waits in.
    pub queue: QueueName,
    /// The queue's mode as the enqueuing node's snapshot says; counts unless a newer snapshot's were told before
    /// ([`Store::set_queue_modes`](crate::Store::set_queue_modes)).
    pub mode: QueueMode,
    /// Where to.
    pub route: Route,
    /// See [`Lane::source`].
    pub source: String,
    /// The first 16 octets of the hash of the snapshot that routed it: a lease under another snapshot routes again.
    pub snapshot: [u8; 16],
    /// 1 to [`MAX_RECIPIENTS`](crate::MAX_RECIPIENTS) recipients.
    pub recipients: Vec<EntryRecipient>,
    /// The changes that its content gets on the way out, in order.
    pub transforms: Vec<Transform>,
    /// 0 goes first, 9 last; 4 is the default. Decides the order within a lane.
    pub priority: u8,
    /// Urgent mail may open a scheduled connection ([64]).
    pub urgent: bool,
    /// When somebody has to look at it even if its lane is backed off or it is held: for the delay warning, the expiry, the end of a hold.
    pub attend_at: Timestamp,
}

impl NewEntry {
    /// The lane it belongs to.
    #[must_use]
    pub fn lane(&self) -> Lane {
        Lane {
            queue: self.queue.clone(),
            next_hop: self.route.next_hop.to_string(),
            source: self.source.clone(),
        }
    }
}

/// An entry as a lease, a list or a query shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: EntryId,
    /// Its queue.
    pub queue: QueueName,
    /// Where to.
    pub route: Route,
    /// See [`Lane::source`].
    pub source: String,
    /// See [`NewEntry::snapshot`].
    pub snapshot: [u8; 16],
    /// The recipients that are still to be settled.
    pub recipients: Vec<EntryRecipient>,
    /// The changes that its content gets on the way out.
    pub transforms: Vec<Transform>,
    /// See [`NewEntry::priority`].
    pub priority: u8,
    /// See [`NewEntry::urgent`].
    pub urgent: bool,
    /// Attempts that ended without settling every recipient.
    pub attempts: u32,
    /// The delay warning was sent.
    pub delay_warned: bool,
    /// See [`NewEntry::attend_at`].
    pub attend_at: Timestamp,
    /// Milliseconds that it has been held in all, the hold that a lease ended included: neither retry nor expiry runs meanwhile.
    pub held_ms: u64,
}

impl Entry {
    /// The lane it belongs to.
    #[must_use]
    pub fn lane(&self) -> Lane {
        Lane {
            queue: self.queue.clone(),
            next_hop: self.route.next_hop.to_string(),
            source: self.source.clone(),
        }
    }
}
