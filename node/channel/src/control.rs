//! The control socket between the operator and a node that it started: a Unix stream socket pair, one end of which is the node's standard
//! input. Newline-delimited JSON frames both ways; listening sockets travel with the frame that names them (`SCM_RIGHTS`).
//!
//! The operator binds the listening sockets and keeps them, so a node that is started again has the addresses of the one before, and
//! clients that connect meanwhile wait instead of being refused. End of file at the node's end means that the operator is gone.
//! Both ends need a Tokio runtime with I/O enabled. All waits are safe to cancel: no frame is ever half sent or half lost by it.

mod frame;
mod stream;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net,
    },
    sync::Arc,
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt};
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

pub use stream::{Receiver, Sender};

/// The most octets a frame may have, its line end included.
pub const MAX_FRAME: usize = 64 * 1024;

/// The most sockets that may travel with one frame: more listeners than a gateway may have, fewer than the kernel's limit (253).
pub const MAX_SOCKETS: usize = 128;

/// What the operator says to a node.
#[derive(Debug)]
pub enum ToNode {
    /// These are the node's listening sockets from now on.
    Listeners(Listeners),
    /// The pointer may have moved: look now, and say at once that this was [seen](FromNode::Seen). A hint; a node looks by itself as well.
    Look,
    /// Take no new mail, finish what is under way, end.
    Drain {
        /// How long that may take, in milliseconds.
        within_ms: u64,
    },
}

/// The full set of a node's listening sockets. Each frame brings all of them: a node keeps the socket that it has under a name and an
/// address (and drops the copy), takes the others, and closes what is named no more.
#[derive(Debug)]
pub struct Listeners {
    /// For mail.
    pub sockets: Vec<ListeningSocket>,
    /// For `/metrics`, `/livez` and `/readyz`.
    pub metrics: TcpListener,
}

/// A bound, listening, non-blocking socket for mail.
#[derive(Debug)]
pub struct ListeningSocket {
    /// The listener's name in the gateway's manifest, and so in the snapshot.
    pub name: String,
    /// Its protocol, as the manifest spells it: `Smtp`, `Submission` …
    pub protocol: String,
    /// The address that it is bound to.
    pub address: SocketAddr,
    /// The socket.
    pub socket: TcpListener,
}

/// What a node says to the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FromNode {
    /// It has a snapshot and a store, and serves its listeners. Said once.
    Ready,
    /// It heard that it is to look: it lives, whatever the channel and the store do. Said once for each time.
    Seen,
    /// Its report in the channel is another one. A hint.
    Reported,
    /// Its state changed.
    Status(Status),
}

/// Whether a node that has been ready can take mail just now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// What `/readyz` says.
    pub ready: bool,
    /// Why, for a person: `the store is unreachable: …`, `the store is back`.
    pub reason: String,
}

/// Why the control socket cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Standard input is no socket: nobody who speaks this protocol is there.
    #[error(
        "standard input is no control socket: a node is started by `posthouse-operator local`, which hands it one"
    )]
    NoSocket,
    /// The other side is gone.
    #[error("the other side of the control socket is gone")]
    Gone,
    /// The system refused.
    #[error("the control socket failed: {0}")]
    Io(#[from] io::Error),
    /// A frame is longer than [`MAX_FRAME`].
    #[error("a frame on the control socket has more than {MAX_FRAME} octets")]
    FrameTooLong,
    /// A frame is no message of this protocol.
    #[error("a frame on the control socket is not understood: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A frame and the sockets that travelled with it do not agree, or there are more than [`MAX_SOCKETS`].
    #[error("the sockets on the control socket are not those that its frames name")]
    WrongSockets,
}

/// The operator's end.
#[derive(Debug)]
pub struct OperatorEnd {
    /// To the node.
    pub sender: Sender<ToNode>,
    /// From the node.
    pub receiver: Receiver<FromNode>,
}

/// The node's end.
#[derive(Debug)]
pub struct NodeEnd {
    /// To the operator.
    pub sender: Sender<FromNode>,
    /// From the operator; its end of file means that the operator is gone.
    pub receiver: Receiver<ToNode>,
}

/// A new control socket: the operator's end, and the descriptor that becomes the standard input of the node (`Stdio::from`). Both are
/// closed on exec, so that no other child keeps this one's socket open.
pub fn pair() -> Result<(OperatorEnd, OwnedFd), ControlError> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(io::Error::from)?;
    let socket = register(ours)?;
    Ok((OperatorEnd { sender: Sender::new(Arc::clone(&socket)), receiver: Receiver::new(socket) }, theirs))
}

impl NodeEnd {
    /// The node's end, which the operator made its standard input.
    pub fn from_stdin() -> Result<Self, ControlError> {
        Self::new(io::stdin().as_fd().try_clone_to_owned()?)
    }

    /// The node's end from its descriptor.
    pub fn new(descriptor: OwnedFd) -> Result<Self, ControlError> {
        let is_stream = sockopt::socket_type(&descriptor).is_ok_and(|kind| kind == SocketType::STREAM);
        let is_unix = sockopt::socket_domain(&descriptor).is_ok_and(|family| family == AddressFamily::UNIX);
        if !(is_stream && is_unix) {
            return Err(ControlError::NoSocket);
        }
        let socket = register(descriptor)?;
        Ok(Self { sender: Sender::new(Arc::clone(&socket)), receiver: Receiver::new(socket) })
    }
}

fn register(descriptor: OwnedFd) -> Result<Arc<UnixStream>, ControlError> {
    let stream = net::UnixStream::from(descriptor);
    stream.set_nonblocking(true)?;
    Ok(Arc::new(UnixStream::from_std(stream)?))
}

#[cfg(test)]
mod tests;
