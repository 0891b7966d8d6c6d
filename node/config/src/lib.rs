//! The snapshot: one gateway's compiled configuration, all that its nodes need and nothing more. No credential is in it.
//!
//! [`Snapshot`] is plain data that the compiler fills in and [`Snapshot::sorted`] brings into the one order that its encoding has;
//! [`Snapshot::encode`] gives canonical JSON, named by its SHA-256 ([`SnapshotHash`]). [`Snapshot::decode`] refuses what it does not know.
//! What a domain needs stands in its [`MailDomain`] and in the queues that this names, so that it can travel as a chunk of its own.
//! Pure: no I/O, no clock.

pub mod domain;
pub mod encoding;
pub mod gateway;
pub mod hash;
pub mod names;
pub mod pattern;
pub mod resource;
pub mod rule;
pub mod snapshot;
pub mod span;

pub use domain::{
    Admits, AliasedRecipients, Expansion, Forward, LocalDelivery, MailDomain, Member, MessageSize,
    Recipients, Role, UnknownRecipients,
};
pub use encoding::{DecodeError, ENCODED_LENGTH, SCHEMA_MAX, SCHEMA_MIN};
pub use gateway::{
    AddressTrust, Concurrency, Connectivity, Gateway, Limits, Listener, Protocol, QueueSettings,
    RelayAuthentication, RelayControl, Retry, bind_port,
};
pub use hash::{ParseHashError, SnapshotHash};
pub use names::{NameSet, NamesOutOfOrder};
pub use pattern::{AddressPattern, ParsePatternError, SenderPattern};
pub use resource::{ParseResourceError, ResourceName};
pub use rule::{Match, RelayRule, RuleTarget, Tier};
pub use snapshot::{Disorder, Hold, Queue, Snapshot, local_queue_name};
pub use span::Millis;
