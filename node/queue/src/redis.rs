//! The store over Redis 7.0 or later, or Valkey: standalone, one shard. I/O.
//!
//! Every operation is one function inside the server (`scripts/*.lua`), so it is atomic; with `appendfsync always` its reply says that it is
//! durable. Intake goes in batches over a connection of its own ([`intake`]); everything else shares another. What is where is said at
//! the head of `scripts/common/keys.lua`. While the server is away every operation fails within the time limit, and works again when it is back.

mod check;
mod gateways;
mod intake;
mod keys;
mod leases;
mod link;
mod people;
mod reply;
mod scripts;
mod settling;
mod shared;
mod store;
mod wake;
mod wire;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use posthouse_model::{EntryId, Incarnation, MessageId, ShardId, Timestamp};
use redis::{Client, Cmd, IntoConnectionInfo, Value};

use self::{
    intake::{Confirm, Intake},
    keys::{FIXED, Keys},
    link::Link,
    scripts::{Function, Library},
    wake::Wake,
};
use crate::{LeaseToken, Reaped, StoreError};

/// The shard that there is.
const SHARD: ShardId = ShardId(0);

/// Entries that are moved by time or release at the beginning of one lease, or as many as it asks for: bounds the function.
const MOVED_PER_LEASE: u32 = 200;

/// Octets of content that one lease answers at most: bounds memory and the time on the wire.
const OCTETS_PER_LEASE: u32 = 4 * 1024 * 1024;

/// Entries that one call of the reaper takes.
const REAPED_PER_CALL: u32 = 300;

/// How long a departed incarnation and a release id are remembered, in milliseconds: longer than anything of theirs can be under way.
const MARK_LIFE_MS: u64 = 7 * 86_400_000;

/// Releases that are kept one by one for a queue and reason while what they freed is not moved yet.
const RELEASES_KEPT: u32 = 64;

/// Records that one call of a sweep or a list looks at.
const SCANNED_PER_CALL: u32 = 300;

/// How the store is used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long one reply, or one try to connect, may take. An operation is done or `Unavailable` after at most twice that.
    pub timeout: Duration,
    /// How many replicas have to confirm an enqueue or a settle; 0: the primary's own log is the promise.
    pub confirm_replicas: u32,
    /// How long replicas may take to confirm; less than `timeout`.
    pub confirm_timeout: Duration,
    /// The server's settings, where it does not tell them itself.
    pub declared: Option<Declared>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            confirm_replicas: 0,
            confirm_timeout: Duration::from_secs(2),
            declared: None,
        }
    }
}

/// Settings of a server that forbids CONFIG, as its operator declares them. The default is a server as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// `appendonly`.
    pub appendonly: bool,
    /// `appendfsync`: `always`, `everysec` or `no`.
    pub appendfsync: String,
    /// `maxmemory-policy`.
    pub maxmemory_policy: String,
    /// `maxmemory` in octets; 0: no limit.
    pub maxmemory: u64,
    /// `no-appendfsync-on-rewrite`.
    pub no_appendfsync_on_rewrite: bool,
}

impl Default for Declared {
    fn default() -> Self {
        Self {
            appendonly: true,
            appendfsync: "always".to_owned(),
            maxmemory_policy: "noeviction".to_owned(),
            maxmemory: 1,
            no_appendfsync_on_rewrite: false,
        }
    }
}

/// The queue in Redis or Valkey.
#[derive(Debug)]
pub struct RedisStore {
    settings: Settings,
    keys: Arc<Keys>,
    library: Arc<Library>,
    link: Link,
    intake: Intake,
    wake: Wake,
}

impl RedisStore {
    /// Connects to `redis://[user:password@]host:port[/db]` or `unix:///path` for the queue with this id: 1 to 128 octets, no braces or space.
    /// [`StoreError::Refused`]: the URL or the id is wrong, or the queue there was written by a newer program; [`StoreError::Unavailable`]:
    /// it cannot be reached now. Once connected the store finds back by itself.
    pub async fn connect(url: &str, queue_id: &str, settings: Settings) -> Result<Self, StoreError> {
        let refused = |why: String| Err(StoreError::Refused(why));
        let fits = (1..=128).contains(&queue_id.len())
            && queue_id.bytes().all(|octet| octet.is_ascii_graphic() && !matches!(octet, b'{' | b'}'));
        if !fits {
            return refused("a queue id has 1 to 128 printable ASCII characters, no braces".to_owned());
        }
        let client = client(url)?;
        let (keys, library) = (Arc::new(Keys::new(queue_id)), Arc::new(Library::new()));
        let timeout = settings.timeout;
        let another = || Link::new(client.clone(), Arc::clone(&keys), Arc::clone(&library), timeout);
        let link = another();
        link.connection().await?;
        let confirm = Confirm { replicas: settings.confirm_replicas, timeout: settings.confirm_timeout };
        let intake = Intake::start(another(), Arc::clone(&keys), Arc::clone(&library), confirm, timeout * 2);
        let wake = Wake::start(client, Arc::clone(&keys), timeout);
        Ok(Self { settings, keys, library, link, intake, wake })
    }

    /// Calls a function; `arguments` adds its own.
    async fn call(
        &self,
        function: Function,
        now: Timestamp,
        arguments: impl FnOnce(&mut Cmd),
    ) -> Result<Value, StoreError> {
        self.call_with(function, now, None, arguments).await
    }

    /// Calls a function that also gets the key of a message's chunked content.
    async fn call_with(
        &self,
        function: Function,
        now: Timestamp,
        content: Option<MessageId>,
        arguments: impl FnOnce(&mut Cmd),
    ) -> Result<Value, StoreError> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.library.sha(function)).arg(FIXED + usize::from(content.is_some()));
        for key in &self.keys.fixed {
            command.arg(key);
        }
        if let Some(id) = content {
            command.arg(self.keys.content(id));
        }
        command.arg(wire::time(now)).arg(&self.keys.channel);
        arguments(&mut command);
        self.link.send(&command).await
    }

    /// Calls a function that answers numbers only.
    async fn numbers(
        &self,
        function: Function,
        now: Timestamp,
        arguments: impl FnOnce(&mut Cmd),
    ) -> Result<Vec<u64>, StoreError> {
        reply::array(self.call(function, now, arguments).await?)?.iter().map(reply::number).collect()
    }

    /// Calls a function whose first number is its answer, and 4 "departed" where it checks that.
    async fn code(
        &self,
        function: Function,
        now: Timestamp,
        arguments: impl FnOnce(&mut Cmd),
    ) -> Result<u64, StoreError> {
        match self.numbers(function, now, arguments).await?.first() {
            Some(4) => Err(StoreError::Departed),
            Some(code) => Ok(*code),
            None => Err(reply::unexpected(function.name())),
        }
    }

    /// Puts an entry aside that was leased but cannot be read.
    async fn put_aside(
        &self,
        who: Incarnation,
        id: EntryId,
        token: LeaseToken,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        tracing::warn!(entry = %id, "the record of an entry cannot be read: it is held for quarantine");
        self.code(Function::Quarantine, now, |command| {
            command.arg(&who.0[..]).arg(&wire::entry_key(id)[..]).arg(token.0);
        })
        .await
        .map(drop)
    }

    /// Reaps by `reap.lua` once; also answers whether more is left.
    async fn reap_part(
        &self,
        only: Option<Incarnation>,
        now: Timestamp,
    ) -> Result<(Reaped, bool), StoreError> {
        let numbers = self
            .numbers(Function::Reap, now, |command| {
                match &only {
                    Some(who) => command.arg(&who.0[..]),
                    None => command.arg(""),
                };
                command.arg(REAPED_PER_CALL).arg(MARK_LIFE_MS);
            })
            .await?;
        let [incarnations, leases, activated, left] = numbers[..] else {
            return Err(reply::unexpected("reap"));
        };
        Ok((Reaped { incarnations, leases, activated }, left == 1))
    }
}

/// A client for a URL, not connected.
fn client(url: &str) -> Result<Client, StoreError> {
    if url.starts_with("rediss:") || url.starts_with("valkeys:") {
        return Err(StoreError::Refused("TLS to the store (rediss://) is not supported yet".to_owned()));
    }
    // The URL may hold a password: it is named in no message.
    let url = url.replacen("valkey://", "redis://", 1);
    url.into_connection_info().and_then(Client::open).map_err(|_| {
        StoreError::Refused("the store's URL is not redis://host:port or unix:///path".to_owned())
    })
}
