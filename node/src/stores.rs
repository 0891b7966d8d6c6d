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

/// Opens the embedded queue of a gateway's folder; waits a moment for another process that has it open, and for nothing else.
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
    // It panicked: it would again.
    let broken =
        |error| StoreError::Refused(format!("the queue in {} cannot be opened: {error}", folder.display()));
    Ok(Arc::new(opened.map_err(broken)??))
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

#[cfg(test)]
mod tests {
    use std::fs;

    use posthouse_model::{Incarnation, Timestamp};

    use super::*;

    #[tokio::test]
    async fn a_queue_that_lost_its_index_is_refused_at_once_however_often() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join(locate::QUEUE).join("index.redb");
        let store = embedded(folder.path()).await.unwrap();
        store.heartbeat(Incarnation([1; 16]), Timestamp(1)).await.unwrap();
        tokio::task::spawn_blocking(|| drop(store)).await.unwrap();
        let whole = fs::read(&index).unwrap();
        let mut damaged = whole.clone();
        damaged[0] ^= 1;
        fs::remove_file(&index).unwrap();
        let begun = Instant::now();
        for what in ["has a log but no index", "is damaged"] {
            for _ in 0..3 {
                let Err(error) = embedded(folder.path()).await else { panic!("it was opened: {what}") };
                assert!(matches!(&error, StoreError::Refused(why) if why.contains(what)), "{error}");
            }
            fs::write(&index, &damaged).unwrap();
        }
        assert!(begun.elapsed() < LOCK_PATIENCE, "only another process is waited for");
        fs::write(&index, whole).unwrap();
        let store = embedded(folder.path()).await.unwrap();
        tokio::task::spawn_blocking(|| drop(store)).await.unwrap();
    }
}
