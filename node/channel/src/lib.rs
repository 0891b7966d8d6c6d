//! How a snapshot travels from the operator to the nodes, and what they answer.
//!
//! Two roads, both on one machine: a [`directory`] holds the snapshots themselves, and a [`control`] socket between the operator and each
//! node that it started carries words about them ("look now", "applied", "refused because …") and the listening sockets. It does I/O, on
//! files and on that socket; what a snapshot means is not its business.

pub mod control;
pub mod directory;

pub use directory::Directory;
