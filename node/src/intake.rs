//! Taking mail in: listeners, sessions, transactions, content. All that is accepted is in the queue before it is answered 250.

pub mod content;
pub mod entries;
pub mod listener;
pub mod proxy;
pub mod reply;
pub mod session;
pub mod transaction;
