//! Taking mail in: listeners, sessions, transactions, content. All that is accepted is in the queue before it is answered 250.

pub mod content;
pub mod crowd;
pub mod doors;
pub mod entries;
pub mod listener;
pub mod memory;
pub mod patience;
pub mod proxy;
pub mod reply;
pub mod session;
mod talk;
pub mod transaction;
