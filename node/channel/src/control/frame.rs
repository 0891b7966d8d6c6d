//! Frames: a message as one line of JSON, and the descriptors that go with it. Pure, but for the sockets that it is handed.

use std::{
    collections::VecDeque,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
};

use serde::{Deserialize, Serialize};

use super::{ControlError, FromNode, Listeners, ListeningSocket, MAX_FRAME, MAX_SOCKETS, ToNode};

/// A message of one direction. Only this crate's two directions are messages.
pub trait Message: Sized + sealed::Sealed {
    /// The line, without its end, and the descriptors in the order in which it names them.
    #[doc(hidden)]
    fn encode(self) -> Result<(Vec<u8>, Vec<OwnedFd>), ControlError>;

    /// The message of a line; takes the descriptors that the line names from those that have arrived.
    #[doc(hidden)]
    fn decode(line: &[u8], arrived: &mut VecDeque<OwnedFd>) -> Result<Self, ControlError>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::ToNode {}
    impl Sealed for super::FromNode {}
}

impl Message for FromNode {
    fn encode(self) -> Result<(Vec<u8>, Vec<OwnedFd>), ControlError> {
        Ok((line(&self)?, Vec::new()))
    }

    fn decode(line: &[u8], _arrived: &mut VecDeque<OwnedFd>) -> Result<Self, ControlError> {
        Ok(serde_json::from_slice(line)?)
    }
}

/// What a [`ToNode`] is on the wire: its sockets by name, in the order of their descriptors.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum ToNodeLine {
    Listeners { sockets: Vec<SocketLine>, metrics: SocketAddr },
    Look,
    Drain { within_ms: u64 },
}

#[derive(Serialize, Deserialize)]
struct SocketLine {
    name: String,
    protocol: String,
    address: SocketAddr,
}

impl Message for ToNode {
    fn encode(self) -> Result<(Vec<u8>, Vec<OwnedFd>), ControlError> {
        let mut descriptors = Vec::new();
        let frame = match self {
            Self::Listeners(Listeners { sockets, metrics }) => {
                if sockets.len() >= MAX_SOCKETS {
                    return Err(ControlError::WrongSockets);
                }
                let mut lines = Vec::with_capacity(sockets.len());
                for ListeningSocket { name, protocol, address, socket } in sockets {
                    lines.push(SocketLine { name, protocol, address });
                    descriptors.push(OwnedFd::from(socket));
                }
                let metrics_address = metrics.local_addr()?;
                descriptors.push(OwnedFd::from(metrics));
                ToNodeLine::Listeners { sockets: lines, metrics: metrics_address }
            }
            Self::Look => ToNodeLine::Look,
            Self::Drain { within_ms } => ToNodeLine::Drain { within_ms },
        };
        Ok((line(&frame)?, descriptors))
    }

    fn decode(line: &[u8], arrived: &mut VecDeque<OwnedFd>) -> Result<Self, ControlError> {
        Ok(match serde_json::from_slice(line)? {
            ToNodeLine::Listeners { sockets, metrics } => {
                let sockets = sockets
                    .into_iter()
                    .map(|SocketLine { name, protocol, address }| {
                        let socket = take(arrived, address)?;
                        Ok(ListeningSocket { name, protocol, address, socket })
                    })
                    .collect::<Result<_, ControlError>>()?;
                Self::Listeners(Listeners { sockets, metrics: take(arrived, metrics)? })
            }
            ToNodeLine::Look => Self::Look,
            ToNodeLine::Drain { within_ms } => Self::Drain { within_ms },
        })
    }
}

/// The next descriptor, which must be the socket bound to `address`.
fn take(arrived: &mut VecDeque<OwnedFd>, address: SocketAddr) -> Result<TcpListener, ControlError> {
    let socket = TcpListener::from(arrived.pop_front().ok_or(ControlError::WrongSockets)?);
    if socket.local_addr().is_ok_and(|bound| bound == address) {
        socket.set_nonblocking(true)?;
        Ok(socket)
    } else {
        Err(ControlError::WrongSockets)
    }
}

fn line(frame: &impl Serialize) -> Result<Vec<u8>, ControlError> {
    let mut line = serde_json::to_vec(frame)?;
    line.push(b'\n');
    if line.len() > MAX_FRAME { Err(ControlError::FrameTooLong) } else { Ok(line) }
}
