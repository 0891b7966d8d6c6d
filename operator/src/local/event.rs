//! What the tasks of a run tell it. Plain data.

use std::fmt;

use posthouse_channel::{Published, Report, control::Status};
use posthouse_compiler::ObjectKey;

/// Something happened.
#[derive(Debug)]
pub(super) enum Event {
    /// To a node.
    Node { id: NodeId, what: What },
    /// To the configuration of a gateway.
    Gateway { gateway: ObjectKey, told: Told },
}

/// Which node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId {
    pub(super) gateway: ObjectKey,
    pub(super) number: u16,
}

impl fmt::Display for NodeId {
    /// The node's name: `edge-0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.gateway.name, self.number)
    }
}

/// What happened to a node.
#[derive(Debug)]
pub(super) enum What {
    /// A process was started: this run of it.
    Started(String),
    /// This process is ready.
    Ready(u32),
    /// It reported: the channel has it.
    Reported,
    /// Its state changed.
    Status(Status),
    /// The process is dead.
    Died,
    /// It has ended for good; whether by itself.
    Ended(bool),
}

/// What happened to the configuration of a gateway.
#[derive(Debug)]
pub(super) enum Told {
    /// The nodes are to run this now.
    Published(Published),
    /// What its nodes report is this now.
    Reports(Vec<Report>),
    /// It cannot be published, or not be looked after: why; or not any more.
    Trouble(Option<String>),
}
