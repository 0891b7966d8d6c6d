//! Notable facts: each is one struct that writes its one log line and counts its metric. No decision is made here.

mod delivery;
mod intake;
mod node;
mod store;

pub use delivery::*;
pub use intake::*;
pub use node::*;
pub use store::*;
