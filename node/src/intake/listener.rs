//! A listening socket: accepts connections and bounds how many there are.

use std::{io, net::TcpListener as StdListener, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{crowd::Crowd, patience::Timers, session::Connection};
use crate::node::Node;

/// Connections of one node at a time: what is above is told 421. Bounds memory and file descriptors; ten thousand may be idle, and there are
/// places left for those who have mail.
pub const MAX_CONNECTIONS: usize = 12_000;

/// Connections being turned away at a time; above that they are just closed.
const MAX_TURNED_AWAY: usize = 256;

/// The bounds that all listeners of a node share.
#[derive(Clone)]
pub struct Doors {
    served: Arc<Semaphore>,
    turned_away: Arc<Semaphore>,
    crowd: Arc<Crowd>,
    /// The tasks of all connections.
    pub tasks: TaskTracker,
}

impl Doors {
    /// Open doors, with places for so many connections.
    #[must_use]
    pub fn new(places: usize) -> Self {
        Self {
            served: Arc::new(Semaphore::new(places)),
            turned_away: Arc::new(Semaphore::new(MAX_TURNED_AWAY)),
            crowd: Crowd::new(places),
            tasks: TaskTracker::new(),
        }
    }
}

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
            crowd: Arc::clone(&doors.crowd),
            timers: Timers::default(),
        };
        if let Ok(place) = Arc::clone(&doors.served).try_acquire_owned() {
            doors.tasks.spawn(holding(place, connection.serve(stream)));
        } else if let Ok(place) = Arc::clone(&doors.turned_away).try_acquire_owned() {
            doors.tasks.spawn(holding(place, connection.turn_away(stream)));
        }
    }
}

async fn holding(place: OwnedSemaphorePermit, work: impl Future<Output = ()>) {
    work.await;
    drop(place);
}

/// Whether accept failed because of the connection, which is gone, and not because of the socket.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
