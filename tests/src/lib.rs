//! The harness that tests of the whole stand on: children that end with the test, ephemeral ports, real stores, real mail peers.
//!
//! It knows the product only from outside, by its binaries, files and wire; it links none of its crates, so that any crate may use it in its
//! own tests. Nothing here sleeps to let something happen: it waits for a condition, within a bound, and says what it waited for.

pub mod api_server;
pub mod binaries;
pub mod gateway;
pub mod local;
pub mod manifests;
pub mod metrics;
pub mod peers;
pub mod pki;
pub mod process;
pub mod proxy;
pub mod saboteur;
pub mod sink;
pub mod smtp;
pub mod spread;
pub mod store;
pub mod wait;
pub mod wire;
