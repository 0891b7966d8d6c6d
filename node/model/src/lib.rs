//! The vocabulary of mail that every other crate speaks: mailboxes, paths, replies, ids, routes.
//!
//! Each type is made only by a constructor that parses; a value that exists is valid. Pure: no I/O, no clock.

pub mod id;
pub mod route;
pub mod time;

pub use id::{EntryId, Incarnation, MessageId, ParseIdError, QueueName, ShardId};
pub use route::{HostPort, NextHop, Route, Transport};
pub use time::Timestamp;
