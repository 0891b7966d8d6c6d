//! Which gateways have their queues in a server: a note beside the queues, for people who ask by the gateway's name. No queue depends on it.

use std::time::Duration;

use redis::{AsyncCommands as _, AsyncConnectionConfig};

use super::{RedisStore, client, link::store_error};
use crate::StoreError;

/// One hash for all: gateway (`namespace/name`) → queue id. Outside every queue's slot, since it is of none.
const GATEWAYS: &str = "ph:gateways";

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

impl RedisStore {
    /// Notes that this queue is that gateway's.
    pub async fn note_gateway(&self, gateway: &str) -> Result<(), StoreError> {
        let (_, mut connection) = self.link.connection().await?;
        connection.hset(GATEWAYS, gateway, self.keys.queue_id()).await.map_err(|error| store_error(&error))
    }

    /// The gateways that have been noted in a server, each with its queue's id, sorted by name.
    pub async fn gateways(url: &str) -> Result<Vec<(String, String)>, StoreError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let connection = client(url)?.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = connection.map_err(|error| store_error(&error))?;
        let mut found: Vec<(String, String)> =
            connection.hgetall(GATEWAYS).await.map_err(|error| store_error(&error))?;
        found.sort_unstable();
        Ok(found)
    }
}
