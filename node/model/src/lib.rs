//! The vocabulary of mail that every other crate speaks: mailboxes, paths, replies, ids, routes.
//!
//! Each type is made only by a constructor that parses; a value that exists is valid. Pure: no I/O, no clock.

pub mod address;
pub mod domain;
pub mod id;
pub mod mailbox;
pub mod notification;
pub mod path;
pub mod reply;
pub mod route;
pub mod status;
mod text;
pub mod time;

pub use address::ParseAddressError;
pub use domain::Domain;
pub use id::{EntryId, Incarnation, MessageId, ParseIdError, QueueName, ShardId};
pub use mailbox::{LocalPart, Mailbox};
pub use notification::{Envid, Notify, OriginalRecipient, ParseNotificationError, Ret};
pub use path::{ForwardPath, ReversePath};
pub use reply::{ParseReplyError, Reply, ReplyCode, Severity};
pub use route::{HopTls, HostPort, NextHop, Route, Security, Transport};
pub use status::{EnhancedStatus, ParseStatusError, StatusClass};
pub use time::Timestamp;
