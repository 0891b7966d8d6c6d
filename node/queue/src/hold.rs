//! Holds, releases and claims: what keeps mail until somebody asks for it. No I/O.

use posthouse_model::{EntryId, Incarnation, QueueName, Timestamp};
use serde::{Deserialize, Serialize};

/// Why an entry is held. A release frees one reason only: an ETRN frees `OnRequest` and never what an administrator holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HoldReason {
    /// The domain's mail waits for ETRN, ATRN, POP3 or a schedule.
    OnRequest,
    /// The domain's mail waits for its schedule.
    Scheduled,
    /// The gateway is offline until its connectivity schedule opens.
    Connectivity,
    /// A person holds it.
    Administrator,
    /// Its record cannot be read, or a rule put it aside.
    Quarantine,
}

impl HoldReason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::OnRequest, Self::Scheduled, Self::Connectivity, Self::Administrator, Self::Quarantine];

    /// Those that a queue's mode gives; the others end by other hands.
    pub const OF_MODES: [Self; 3] = [Self::OnRequest, Self::Scheduled, Self::Connectivity];

    /// The number in records and scripts: 1 to 5; 0 there means "not held".
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::OnRequest => 1,
            Self::Scheduled => 2,
            Self::Connectivity => 3,
            Self::Administrator => 4,
            Self::Quarantine => 5,
        }
    }

    /// The reason with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.number() == number)
    }
}

/// Whether new entries of a queue are held, as the snapshot of this generation says. Which of two counts:
/// [`Store::set_queue_modes`](crate::Store::set_queue_modes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueMode {
    /// `None`: Online.
    pub hold: Option<HoldReason>,
    /// The snapshot's generation; 0 before any.
    pub generation: u64,
}

/// The id of one release: made by who asks for it, so that a repeated or resumed release happens once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReleaseId(pub [u8; 16]);

/// Which queues a release is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReleaseScope {
    /// One queue.
    Queue(QueueName),
    /// Every queue.
    All,
}

/// A release: frees what is held now for one reason, and nothing that is held later. One record per shard; it moves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its id.
    pub id: ReleaseId,
    /// Which queues.
    pub scope: ReleaseScope,
    /// Which reason it frees.
    pub reason: HoldReason,
    /// When it was asked for: hold time ends here.
    pub at: Timestamp,
}

/// The id of a claim: the session that took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClaimId(pub [u8; 16]);

/// A claim: a session (ATRN, POP3 maildrop) has the held entries of a queue for itself, up to a hold sequence, while its incarnation lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The session.
    pub id: ClaimId,
    /// Who speaks for it.
    pub who: Incarnation,
    /// The queue.
    pub queue: QueueName,
    /// The entries in it in hold order, at most as many as were asked for: held for `OnRequest` or `Scheduled` at the time of the claim.
    pub entries: Vec<EntryId>,
}
