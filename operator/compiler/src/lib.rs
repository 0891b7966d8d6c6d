//! Resources in, snapshots and verdicts out: the one place where manifests are judged, in a cluster, locally and in `validate` alike.
//!
//! [`compile`] takes everything at once and depends on nothing else: no clock, no order of the input, no I/O. A resource that is wrong gets
//! verdicts that name the field and the cure, and harms only itself: what cannot be programmed of it answers 451 or keeps its mail waiting,
//! so that nothing is lost, and the rest is programmed. What was programmed of it before, if the caller hands that in, stays in force meanwhile.
//!
//! Raw documents that do not even follow their schema are not seen here: whoever reads them says so (`posthouse_crds::Object::read`).

mod certificates;
mod claims;
mod compile;
mod domain;
mod gateway;
mod memory;
mod others;
pub mod previous;
pub mod reason;
pub mod resources;
mod retired;
mod rule;
mod secrets;
mod snapshot;
mod syntax;
mod tenancy;
mod unsupported;
pub mod verdict;

pub use claims::Claims;
pub use compile::{Compilation, Compiler, compile};
pub use gateway::queue_id;
pub use previous::Standing;
pub use reason::Reason;
pub use resources::{Context, Environment, ObjectKey, Resources};
pub use verdict::{Condition, Severity, Verdict};
