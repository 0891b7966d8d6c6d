//! The set of listening sockets: those that the operator hands over, or those that the node binds itself. Follows changes: what stays is
//! untouched, what is new is opened, what is gone is closed; sessions go on.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use posthouse_channel::control::ListeningSocket;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    events,
    intake::{doors::Doors, listener::accept},
    node::Node,
};

/// Name and address of a listener.
type Key = (String, SocketAddr);

/// The open listeners of a node.
pub struct Listeners {
    node: Arc<Node>,
    doors: Doors,
    open: HashMap<Key, (CancellationToken, JoinHandle<()>)>,
    /// Sessions end at their next command.
    stop: CancellationToken,
}

impl Listeners {
    /// No listener yet; together they will have so many connections at one time.
    #[must_use]
    pub fn new(node: Arc<Node>, places: usize, stop: CancellationToken) -> Self {
        Self { node, doors: Doors::new(places), open: HashMap::new(), stop }
    }

    /// Makes these the listeners.
    pub fn replace(&mut self, sockets: Vec<ListeningSocket>) {
        self.node.here.listens_at(sockets.iter().map(|socket| socket.address).collect());
        let wanted: Vec<Key> = sockets.iter().map(|socket| (socket.name.clone(), socket.address)).collect();
        self.open.retain(|key, (close, _)| {
            let stays = wanted.contains(key);
            if !stays {
                close.cancel();
            }
            stays
        });
        for ListeningSocket { name, protocol: _, address, socket } in sockets {
            let key = (name, address);
            if self.open.contains_key(&key) {
                continue; // the copy is dropped, the one in use stays
            }
            events::Listening { listener: &key.0, address: &key.1 }.emit();
            let close = CancellationToken::new();
            let accepting = accept(
                Arc::clone(&self.node),
                key.0.as_str().into(),
                socket,
                self.doors.clone(),
                close.clone(),
                self.stop.clone(),
            );
            let name = key.0.clone();
            let task = tokio::spawn(async move {
                if let Err(error) = accepting.await {
                    tracing::error!(event = "listener_failed", listener = name, error = %error);
                }
            });
            self.open.insert(key, (close, task));
        }
    }

    /// Takes no more connections, and waits until every session has ended.
    pub async fn close(self) {
        for (close, task) in self.open.into_values() {
            close.cancel();
            let _ = task.await; // it ends by itself, or it panicked and said so
        }
        self.doors.tasks.close();
        self.doors.tasks.wait().await;
    }
}
