//! The snapshot: one gateway's compiled configuration, all that its nodes need and nothing more.
//!
//! [`Snapshot`] is plain data that the compiler fills in and [`Snapshot::sorted`] brings into the one order that its encoding has. It travels as a
//! [`Publication`]: cut into pieces by content, each compressed, sealed by a [`SealingKey`] and named by its hash, under an index that a small
//! [`Pointer`] names. An [`Assembly`] makes it a snapshot again, or refuses it whole. [`Snapshot::encode`] is the same document in one piece, as
//! canonical JSON. Pure: no I/O, no clock, no randomness.

pub mod assembly;
pub mod domain;
pub mod encoding;
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
pub mod hash;
pub mod index;
pub mod names;
pub mod pattern;
pub mod pointer;
pub mod publication;
pub mod resource;
pub mod rule;
pub mod schema;
pub mod seal;
pub mod secret;
pub mod sections;
pub mod snapshot;
pub mod span;
pub mod tls;

pub use assembly::{Assembled, Assembly, Refusal};
pub use domain::{
    Admits, AliasedRecipients, Expansion, Forward, LocalDelivery, MailDomain, Member, MessageSize,
    Recipients, Role, UnknownRecipients,
};
pub use encoding::{DecodeError, ENCODED_LENGTH, SCHEMA_MAX, SCHEMA_MIN};
pub use gateway::{
    AddressTrust, Concurrency, Connectivity, Gateway, Limits, Listener, Protocol, QueueSettings,
    RelayAuthentication, RelayControl, Resolver, Retry, bind_port,
};
pub use hash::{ParseHashError, SnapshotHash};
pub use index::{INDEX_LENGTH, IndexError};
pub use names::{NameSet, NamesOutOfOrder};
pub use pattern::{AddressPattern, ParsePatternError, SenderPattern};
pub use pointer::{ChunkName, Epoch, POINTER_LENGTH, Pointer};
pub use publication::Publication;
pub use resource::{ParseResourceError, ResourceName};
pub use rule::{Match, RelayRule, RuleTarget, Tier};
pub use schema::{Downgraded, Part, common_schema};
pub use seal::{KEY_LENGTH, KeyId, ParseKeyError, SealError, SealingKey, TraceKey};
pub use secret::{Credentials, Secret};
pub use sections::CHUNK_LENGTH;
pub use snapshot::{Disorder, Hold, Queue, Retired, Snapshot, local_queue_name};
pub use span::Millis;
pub use tls::{AuthenticationMethod, Certificate, ClientTls, ListenerTls, TlsMode};
