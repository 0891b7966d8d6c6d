//! A connection that comes back by itself. I/O. While the store is away every call fails at once, but for one try after each pause.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, Value, aio::MultiplexedConnection,
};
use tokio::sync::Mutex;

use super::{keys::Keys, reply, scripts::Library};
use crate::StoreError;

/// The version of keys and records that this program writes and reads.
pub(super) const KEY_FORMAT: u64 = 1;

/// The pause after the first failed try to connect; doubled to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// One connection to the store, made when it is first needed and again after it was lost.
#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    keys: Arc<Keys>,
    library: Arc<Library>,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that who lost an older one does not drop the newer.
    epoch: u64,
    failure: Option<Failure>,
}

#[derive(Debug)]
struct Failure {
    error: StoreError,
    until: Instant,
    pause: Duration,
}

impl Link {
    /// A link that is not connected yet. A reply has to come within `timeout`.
    pub(super) fn new(client: Client, keys: Arc<Keys>, library: Arc<Library>, timeout: Duration) -> Self {
        Self { client, keys, library, timeout, state: Mutex::default() }
    }

    /// Sends one command.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, StoreError> {
        let (epoch, mut connection) = self.connection().await?;
        let mut reply = connection.send_packed_command(command).await;
        if is_no_script(&reply) {
            self.load(&mut connection).await.map_err(|error| store_error(&error))?;
            reply = connection.send_packed_command(command).await;
        }
        match reply {
            Ok(Value::ServerError(error)) => Err(reply::server_error(error)),
            Ok(value) => Ok(value),
            Err(error) => Err(self.failed(epoch, &error).await),
        }
    }

    /// Sends several commands in one write, on one unbroken connection. Each has its own reply; none is repeated.
    pub(super) async fn send_all(&self, commands: &Pipeline) -> Result<Vec<Value>, StoreError> {
        let (epoch, mut connection) = self.connection().await?;
        match connection.send_packed_commands(commands, 0, commands.len()).await {
            Ok(values) => {
                if values.iter().any(|value| matches!(value, Value::ServerError(e) if e.code() == "NOSCRIPT"))
                {
                    self.load(&mut connection).await.map_err(|error| store_error(&error))?;
                }
                Ok(values)
            }
            Err(error) => Err(self.failed(epoch, &error).await),
        }
    }

    /// Connects if need be; says why it cannot.
    pub(super) async fn connection(&self) -> Result<(u64, MultiplexedConnection), StoreError> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            return Ok((state.epoch, connection.clone()));
        }
        if let Some(failure) = state.failure.as_ref().filter(|failure| Instant::now() < failure.until) {
            return Err(failure.error.clone());
        }
        let made = tokio::time::timeout(self.timeout, self.connect()).await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable("no connection within the time limit".to_owned()))
        });
        match made {
            Ok(connection) => {
                state.epoch += 1;
                state.failure = None;
                state.connection = Some(connection.clone());
                Ok((state.epoch, connection))
            }
            Err(error) => {
                let pause = state.failure.as_ref().map_or(FIRST_PAUSE, |f| (f.pause * 2).min(LONGEST_PAUSE));
                state.failure = Some(Failure { error: error.clone(), until: Instant::now() + pause, pause });
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, StoreError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let step = |error: RedisError| store_error(&error);
        let mut connection =
            self.client.get_multiplexed_async_connection_with_config(&config).await.map_err(step)?;
        self.check_format(&mut connection).await?;
        self.load(&mut connection).await.map_err(step)?;
        Ok(connection)
    }

    /// Writes the meta record of a new queue; refuses one of a newer program. Asked on every connection: it may be another store by now.
    async fn check_format(&self, connection: &mut MultiplexedConnection) -> Result<(), StoreError> {
        let mut ask = redis::pipe();
        ask.cmd("HSETNX").arg(&self.keys.meta).arg("format").arg(KEY_FORMAT).ignore();
        ask.cmd("HSETNX").arg(&self.keys.meta).arg("shards").arg(1).ignore();
        ask.cmd("HMGET").arg(&self.keys.meta).arg("format").arg("shards");
        let ((format, shards),): ((u64, u64),) =
            ask.query_async(connection).await.map_err(|error| store_error(&error))?;
        if format != KEY_FORMAT {
            return Err(StoreError::Refused(format!(
                "the queue in this store has format {format}, this program reads format {KEY_FORMAT}: use a newer version of it"
            )));
        }
        if shards != 1 {
            return Err(StoreError::Refused(format!(
                "the queue in this store has {shards} shards; only 1 is supported yet"
            )));
        }
        Ok(())
    }

    async fn load(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let mut load = redis::pipe();
        for source in self.library.sources() {
            load.cmd("SCRIPT").arg("LOAD").arg(source).ignore();
        }
        load.query_async(connection).await
    }

    /// What an error means; a connection that is no longer sound is given up.
    async fn failed(&self, epoch: u64, error: &RedisError) -> StoreError {
        let sound = matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension);
        let moved =
            error.code().is_some_and(|code| matches!(code, "READONLY" | "LOADING" | "MASTERDOWN" | "NOAUTH"));
        if !sound || moved {
            let mut state = self.state.lock().await;
            if state.epoch == epoch {
                state.connection = None;
            }
        }
        store_error(error)
    }
}

fn is_no_script(reply: &Result<Value, RedisError>) -> bool {
    match reply {
        Ok(Value::ServerError(error)) => error.code() == "NOSCRIPT",
        Ok(_) => false,
        Err(error) => error.code() == Some("NOSCRIPT"),
    }
}

/// What an error of the client means to the contract.
pub(super) fn store_error(error: &RedisError) -> StoreError {
    match error.code() {
        // The server refuses what needs memory before it does anything: it is the one error that says "did not happen".
        Some("OOM") => StoreError::Full("the memory limit of the store is reached".to_owned()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}
