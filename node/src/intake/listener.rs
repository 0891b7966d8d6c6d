//! A listening socket: accepts connections, and serves or turns away each.

use std::{io, net::TcpListener as StdListener, sync::Arc, time::Duration};

use tokio::{net::TcpListener, time};
use tokio_util::sync::CancellationToken;

use super::{doors::Doors, patience::Timers, session::Connection};
use crate::node::Node;

/// Accepts connections on a socket until `close`; sessions end at `stop`.
pub async fn accept(
    node: Arc<Node>,
    listener: Arc<str>,
    socket: StdListener,
    doors: Doors,
    close: CancellationToken,
    stop: CancellationToken,
) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let socket = TcpListener::from_std(socket)?;
    loop {
        let accepted = tokio::select! {
            () = close.cancelled() => return Ok(()),
            accepted = socket.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                // Out of file descriptors, most likely: those in use will be closed.
                tracing::warn!(event = "accept_failed", listener = &*listener, error = %error);
                time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let connection = Connection {
            node: Arc::clone(&node),
            listener: Arc::clone(&listener),
            address,
            stop: stop.clone(),
            doors: doors.clone(),
            timers: Timers::default(),
        };
        if let Some(place) = doors.place() {
            doors.tasks.spawn(connection.serve(stream, place));
        } else if let Some(place) = doors.place_to_be_turned_away() {
            doors.tasks.spawn(connection.turn_away(stream, place));
        }
    }
}

/// Whether accept failed because of the connection, which is gone, and not because of the socket.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
