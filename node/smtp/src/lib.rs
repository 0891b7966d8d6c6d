//! SMTP and LMTP wire and states, both sides, sans-IO: bytes in, events and bytes out.
//!
//! No socket, no clock, no task: a driver (the node) moves bytes between a connection and a [`server::Session`] or [`client::Session`], answers
//! the events that ask, and keeps the timers that the session names. What a session decides by itself is the protocol; what it asks is policy.

mod buffer;
pub mod client;
mod command;
pub mod content;
pub mod reply;
pub mod server;
