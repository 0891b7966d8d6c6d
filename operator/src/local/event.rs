//! What the tasks of a run tell it. Plain data.

use std::{fmt, sync::Arc};

use posthouse_channel::{ChannelError, PublishError, Published, Report, Totals, control::Status};
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
    /// The nodes are to run this now: it has all of this reading.
    Published { reading: u64, published: Published },
    /// What its nodes report is this now.
    Reports(Vec<Report>),
    /// This waits in its queues now.
    Totals(Arc<Totals>),
    /// It cannot be published, or not be looked after: why; or not any more.
    Trouble(Option<Trouble>),
}

/// Why nothing can be published just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// For the log.
    pub(super) why: String,
    /// For a status, which carries our own words only.
    pub(super) words: String,
}

impl Trouble {
    pub(super) fn of(error: &PublishError) -> Self {
        let why = error.to_string();
        let words = match error {
            PublishError::Channel(ChannelError::Redis(_)) => {
                "the Redis of the configuration does not answer, or takes nothing: see the operator's log"
                    .to_owned()
            }
            PublishError::Held(_) => "another operator publishes for this queue id: stop it, or give this gateway a spec.queue.id of its own; the operator's log \
                                      says who it is"
                .to_owned(),
            _ => why.clone(),
        };
        Self { why, words }
    }
}
