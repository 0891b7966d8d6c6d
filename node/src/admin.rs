//! What a person does with the queue: one set of requests, carried out the same way by a running node (through its socket), beside the nodes
//! (over Redis) and with no node running (the embedded store opened directly).

pub mod act;
pub mod cli;
pub mod locate;
pub mod print;
pub mod request;
pub mod socket;

pub use act::Operator;
pub use request::{Answer, EntryView, Request, Target};
