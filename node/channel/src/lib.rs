//! How configuration travels from the operator to the nodes, and what they answer.
//!
//! A [`Channel`] holds the sealed pieces of one gateway's snapshots, the pointer to the one that holds, the nodes' reports, and what waits in the
//! queues: a folder for one machine, Redis for a cluster, the same words over both. The operator's side is a [`Publisher`], a node's a [`Follower`]. Beside it, a
//! [`control`] socket goes from the operator to each node that it started itself: listening sockets, "look now", "end". It does I/O on files,
//! sockets and Redis; what a snapshot means is not its business.

pub mod channel;
mod collection;
pub mod control;
pub mod directory;
pub mod follower;
pub mod keys;
pub mod lease;
pub mod news;
pub mod publisher;
pub mod redis;
pub mod report;
pub mod totals;

pub use channel::{Channel, ChannelError, Moved};
pub use directory::Directory;
pub use follower::{FollowError, Follower, Look, read_once};
pub use keys::{KeyFolder, KeyFolderError, Keys};
pub use lease::{Holder, Lease};
pub use news::News;
pub use publisher::{Mended, PublishError, Published, Publisher, last_published};
pub use redis::RedisChannel;
pub use report::{Applied, MOST_REFUSED_LOGINS, Refused, RefusedLogin, Report};
pub use totals::{Totals, Waiting};
