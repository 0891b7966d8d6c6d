//! What a node says of its configuration: what it reads, what it runs, what it refused. Plain data.

use posthouse_config::{Epoch, KeyId, Pointer, SCHEMA_MAX, SCHEMA_MIN, SnapshotHash};
use serde::{Deserialize, Serialize};

/// The most octets of a report.
pub const REPORT_LENGTH: usize = 16 << 10;

/// The most octets of a reason: it is for a person.
const REASON_LENGTH: usize = 4 << 10;

/// Logins that a report names at most: more of them have one cause that a few tell as well.
pub const MOST_REFUSED_LOGINS: usize = 16;

/// The report of one run of one node. Each replaces the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Which run of a node: a pod's UID, or what the operator gave it.
    pub uid: String,
    /// The node's name, for people.
    pub node: String,
    /// The oldest schema that it reads.
    pub schema_min: u32,
    /// The newest schema that it reads.
    pub schema_max: u32,
    /// The keys that it has.
    pub keys: Vec<KeyId>,
    /// What it runs; absent until there was a first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    /// What it refused since; absent once it took a newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
    /// The logins that next hops refused last, at most [`MOST_REFUSED_LOGINS`]; one that works since is not among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_logins: Vec<RefusedLogin>,
}

/// A login that a next hop refused: the mail of the resource waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedLogin {
    /// Whose login it is: `RelayRule mail/customer-a`.
    pub resource: String,
    /// The reply code; where this side could not even say it, the code that says so.
    pub code: u16,
    /// In words of ours: nothing in them is the far end's.
    pub reason: String,
}

/// The snapshot that a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// Its publication.
    pub epoch: Epoch,
    /// Its name.
    pub hash: SnapshotHash,
    /// The key that opened it.
    pub key: KeyId,
}

/// A snapshot that a node refused: it goes on with the one it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// Its publication.
    pub epoch: Epoch,
    /// Its name.
    pub hash: SnapshotHash,
    /// The resource that is to blame (`namespace/name`), where one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Why, for a person.
    pub reason: String,
    /// Whether a piece of it was missing or damaged where it lies: it is to be uploaded again.
    #[serde(default)]
    pub is_damaged: bool,
}

impl Report {
    /// The first report of a run: it has nothing yet.
    #[must_use]
    pub fn new(uid: String, node: String) -> Self {
        Self {
            uid,
            node,
            schema_min: SCHEMA_MIN,
            schema_max: SCHEMA_MAX,
            keys: Vec::new(),
            applied: None,
            refused: None,
            refused_logins: Vec::new(),
        }
    }

    /// Whether the node runs the snapshot of this publication, or a later one.
    #[must_use]
    pub fn has_applied(&self, epoch: Epoch) -> bool {
        self.applied.is_some_and(|applied| applied.epoch >= epoch)
    }
}

impl From<&Pointer> for Applied {
    fn from(pointer: &Pointer) -> Self {
        Self { epoch: pointer.epoch, hash: pointer.index, key: pointer.key }
    }
}

impl Refused {
    /// The refusal of what a pointer names.
    #[must_use]
    pub fn new(pointer: &Pointer, resource: Option<&str>, mut reason: String, is_damaged: bool) -> Self {
        reason.truncate(reason.floor_char_boundary(REASON_LENGTH));
        Self {
            epoch: pointer.epoch,
            hash: pointer.index,
            resource: resource.map(str::to_owned),
            reason,
            is_damaged,
        }
    }
}
