//! Routing: snapshot, envelope and client in; decision with its reasons out. Pure: no I/O, no clock.
//!
//! [`Router`] answers three questions, each by one function that the node decides by and that `explain` prints:
//! * may this client relay? ([`Router::may_relay`])
//! * where does this recipient's mail go? ([`Router::route`]; with the path of the decision: [`Router::explain`])
//! * and where now, when it has waited in the queue since an older snapshot? ([`Router::reroute`])
//!
//! Addresses are taken as they were given and never rewritten; `%`, `!` and source routes mean nothing here.

pub mod client;
pub mod decision;
mod destination;
pub mod explain;
pub mod relay;
pub mod reply;
pub mod reroute;
pub mod router;
mod rule_index;
pub mod size;
pub mod step;
pub mod trace;
mod walk;

pub use client::{AddressSource, Authentication, Client, Identity, Source};
pub use decision::{Acceptance, Decision, Delivery, QueueMode, Reason, Refusal, RefusalReason, Unreachable};
pub use explain::Explanation;
pub use relay::{Denial, Grant, RelayPermission};
pub use reroute::{Rerouted, StoredReason};
pub use router::Router;
pub use step::{NoRoute, RecipientKind, RuleVerdict, Step};
pub use trace::{NoTrace, Trace};
pub use walk::EXPANSION_LIMIT;
