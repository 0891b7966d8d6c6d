//! Wake-ups: a connection that listens to what the functions publish. I/O. While it is away, the poll of the leasing side is the fallback.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use redis::Client;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::keys::Keys;

/// The pause before another try to listen.
const PAUSE: Duration = Duration::from_millis(500);

/// The listening task; it ends with this.
#[derive(Debug)]
pub(super) struct Wake {
    told: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Wake {
    /// Starts to listen.
    pub(super) fn start(client: Client, keys: Arc<Keys>, limit: Duration) -> Self {
        let (tell, told) = watch::channel(0);
        let task = tokio::spawn(async move {
            loop {
                listen(&client, &keys, limit, &tell).await;
                sleep(PAUSE).await;
            }
        });
        Self { told, task }
    }

    /// Changes with every wake-up.
    pub(super) fn told(&self) -> watch::Receiver<u64> {
        self.told.clone()
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens until the connection ends.
async fn listen(client: &Client, keys: &Keys, limit: Duration, tell: &watch::Sender<u64>) {
    let ready = async {
        let mut ear = client.get_async_pubsub().await?;
        ear.subscribe(&keys.channel).await?;
        Ok::<_, redis::RedisError>(ear)
    };
    let Ok(Ok(ear)) = timeout(limit, ready).await else { return };
    // What was published while nobody listened may have been for us.
    tell.send_modify(|count| *count = count.wrapping_add(1));
    let mut messages = ear.into_on_message();
    while messages.next().await.is_some() {
        tell.send_modify(|count| *count = count.wrapping_add(1));
    }
}
