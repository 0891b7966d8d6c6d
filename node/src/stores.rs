//! Opening the queue: embedded in a folder, or in Redis.

use std::{path::Path, sync::Arc, time::Duration};

use posthouse_queue::{
    Store, StoreError,
    embedded::EmbeddedStore,
    redis::{RedisStore, Settings},
};
use tokio::time::{self, Instant};

use crate::admin::locate;

/// How long another process that holds the embedded queue is waited for: a queue command at work, or a node that is just ending.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// Between two tries.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Opens the embedded queue of a gateway's folder; waits a moment for another process that has it open.
pub async fn embedded(folder: &Path) -> Result<Arc<dyn Store>, StoreError> {
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match embedded_now(folder).await {
            Err(StoreError::Unavailable(_)) if Instant::now() < until => time::sleep(AGAIN_AFTER).await,
            opened => return opened,
        }
    }
}

/// Opens the embedded queue of a gateway's folder, if no other process has it open.
pub async fn embedded_now(folder: &Path) -> Result<Arc<dyn Store>, StoreError> {
    let queue = folder.join(locate::QUEUE);
    let opened = tokio::task::spawn_blocking(move || EmbeddedStore::open(&queue)).await;
    Ok(Arc::new(opened.map_err(|error| StoreError::Unavailable(error.to_string()))??))
}

/// Connects to the queue of this id, for a gateway (`namespace/name`), whose name is noted beside it.
pub async fn redis(url: &str, gateway: &str, queue_id: &str) -> Result<Arc<dyn Store>, StoreError> {
    let store = RedisStore::connect(url, queue_id, Settings::default()).await?;
    store.note_gateway(gateway).await?;
    Ok(Arc::new(store))
}

/// The gateways whose queues are in a Redis, `namespace/name`, each with its queue's id.
pub async fn gateways(url: &str) -> Result<Vec<(String, String)>, StoreError> {
    RedisStore::gateways(url).await
}
