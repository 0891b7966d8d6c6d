//! Redis (7.0 or later) or Valkey as the channel: beside the queue, in a slot of its own. I/O. The connection comes back by itself; while the
//! server is away every call fails within the time limit.
//!
//! Keys, for the queue `ID`: `ph:{ID.config}:chunks` (hash: name → sealed piece), `…:pointer` (hash: transitions, sequence, text), `…:nodes` (hash:
//! run → report), `…:totals` (hash: at, text), `…:publisher` (hash: the publisher's lease); channels `…:news` for the nodes, `…:answers` for the
//! operator. Nothing of it expires but the lease.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use posthouse_config::{ChunkName, Epoch, Pointer, Publication};
use posthouse_model::Timestamp;
use redis::{
    Client, Cmd, FromRedisValue, IntoConnectionInfo as _, Pipeline, RedisError, Script, ScriptInvocation,
    Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::sync::OnceCell;

use crate::{
    channel::{ChannelError, Moved},
    lease::{Holder, LEASE, Lease},
    report::{REPORT_LENGTH, Report},
    totals::{TOTALS_LENGTH, Totals, clock_was_set_back_ms},
};

/// How long an answer, or one try to connect, may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Octets of pieces that are sent or asked for in one go: a queue shares the server.
const OCTETS_AT_ONCE: usize = 512 << 10;

/// Pieces that are asked for in one go: each has at most 256 KiB, most have a few.
const PIECES_AT_ONCE: usize = 32;

/// Names that are removed in one go.
const NAMES_AT_ONCE: usize = 500;

/// The configuration of one gateway in Redis. Its clones share a connection.
#[derive(Clone)]
pub struct RedisChannel(Arc<Inner>);

struct Inner {
    client: Client,
    connection: OnceCell<ConnectionManager>,
    queue_id: String,
    lease: String,
    chunks: String,
    pointer: String,
    nodes: String,
    totals: String,
    news: String,
    answers: String,
}

/// Which of the two ears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ear {
    /// The pointer moved.
    News,
    /// A node reported.
    Answers,
}

impl RedisChannel {
    /// The channel beside the queue of this id. It connects when it is first used. The URL may hold a password: it is in no message.
    pub fn new(url: &str, queue_id: &str) -> Result<Self, ChannelError> {
        let url = url.replacen("valkey://", "redis://", 1).replacen("valkey+unix://", "redis+unix://", 1);
        let client = url.into_connection_info().and_then(Client::open).map_err(|_| {
            ChannelError::Redis("its URL is not redis://host:port or unix:///path".to_owned())
        })?;
        let name = |suffix: &str| format!("ph:{{{queue_id}.config}}:{suffix}");
        Ok(Self(Arc::new(Inner {
            client,
            connection: OnceCell::new(),
            queue_id: queue_id.to_owned(),
            lease: name("publisher"),
            chunks: name("chunks"),
            pointer: name("pointer"),
            nodes: name("nodes"),
            totals: name("totals"),
            news: name("news"),
            answers: name("answers"),
        })))
    }

    pub(crate) fn queue_id(&self) -> &str {
        &self.0.queue_id
    }

    pub(crate) async fn pointer(&self) -> Result<Option<Pointer>, ChannelError> {
        let asked = Cmd::hget(&self.0.pointer, "text");
        let text: Option<Vec<u8>> = self.send(Step::Command(&asked)).await?;
        let damaged = |why: serde_json::Error| ChannelError::Damaged {
            what: format!("the pointer {}", self.0.pointer),
            why: why.to_string(),
        };
        text.map(|text| Pointer::decode(&text).map_err(damaged)).transpose()
    }

    pub(crate) async fn fetch(
        &self,
        names: &[ChunkName],
    ) -> Result<HashMap<ChunkName, Vec<u8>>, ChannelError> {
        let mut found = HashMap::with_capacity(names.len());
        for part in names.chunks(PIECES_AT_ONCE) {
            let mut asked = redis::cmd("HMGET");
            asked.arg(&self.0.chunks);
            for name in part {
                asked.arg(name.to_string());
            }
            let pieces: Vec<Option<Vec<u8>>> = self.send(Step::Command(&asked)).await?;
            found.extend(part.iter().zip(pieces).filter_map(|(name, piece)| Some((*name, piece?))));
        }
        Ok(found)
    }

    pub(crate) async fn names(&self) -> Result<HashSet<ChunkName>, ChannelError> {
        let asked = Cmd::hkeys(&self.0.chunks);
        let names: Vec<String> = self.send(Step::Command(&asked)).await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    pub(crate) async fn claim(&self, lease: &Lease) -> Result<Option<Holder>, ChannelError> {
        let script = publishers(include_str!("../scripts/claim.lua"));
        let mut call = script.prepare_invoke();
        call.key(&self.0.lease);
        lease.write(&mut call);
        let held: Option<(String, u64, String)> = self.send(Step::Call(&call)).await?;
        Ok(held.map(|(_, transitions, who)| Holder::new(transitions, &who)))
    }

    pub(crate) async fn give_back(&self, lease: &Lease) -> Result<(), ChannelError> {
        let script = Script::new(include_str!("../scripts/give_back.lua"));
        let mut call = script.prepare_invoke();
        call.key(&self.0.lease).arg(&lease.id);
        let _: Value = self.send(Step::Call(&call)).await?;
        Ok(())
    }

    pub(crate) async fn publish(
        &self,
        publication: &Publication,
        lease: &Lease,
    ) -> Result<Moved, ChannelError> {
        let mut batch = Pipeline::new();
        let mut octets = 0;
        for (name, sealed) in &publication.fresh {
            if octets > 0 && octets + sealed.len() > OCTETS_AT_ONCE {
                self.upload(&batch).await?;
                batch.clear();
                octets = 0;
            }
            batch.hset(&self.0.chunks, name.to_string(), sealed.as_slice()).ignore();
            octets += sealed.len();
        }
        self.upload(&batch).await?;
        let Pointer { epoch, index, .. } = &publication.pointer;
        let text = encoded(&publication.pointer)?;
        let script = publishers(include_str!("../scripts/publish.lua"));
        let mut call = script.prepare_invoke();
        call.key(&self.0.lease).key(&self.0.pointer).key(&self.0.chunks);
        lease.write(&mut call);
        call.arg(epoch.transitions).arg(epoch.sequence).arg(text).arg(index.to_string()).arg(&self.0.news);
        let stopped: Option<(String, u64, String)> = self.send(Step::Call(&call)).await?;
        Ok(match stopped {
            None => Moved::Forward,
            Some((why, transitions, who)) if why == "held" => Moved::Held(Holder::new(transitions, &who)),
            Some((_, transitions, sequence)) => {
                let number = |error| ChannelError::Redis(format!("the pointer's sequence: {error}"));
                Moved::Outdated(Epoch { transitions, sequence: sequence.parse().map_err(number)? })
            }
        })
    }

    async fn upload(&self, batch: &Pipeline) -> Result<(), ChannelError> {
        self.send(Step::Batch(batch)).await
    }

    pub(crate) async fn collect(
        &self,
        pointer: &Pointer,
        keep: &HashSet<ChunkName>,
        lease: &Lease,
    ) -> Result<(), ChannelError> {
        let gone: Vec<String> = self.names().await?.difference(keep).map(ToString::to_string).collect();
        let text = encoded(pointer)?;
        let script = publishers(include_str!("../scripts/collect.lua"));
        for part in gone.chunks(NAMES_AT_ONCE) {
            let mut call = script.prepare_invoke();
            call.key(&self.0.lease).key(&self.0.pointer).key(&self.0.chunks);
            lease.write(&mut call);
            call.arg(&text).arg(part);
            let _: u64 = self.send(Step::Call(&call)).await?;
        }
        Ok(())
    }

    pub(crate) async fn report(&self, report: &Report) -> Result<(), ChannelError> {
        let text = serde_json::to_vec(report).map_err(|error| ChannelError::Redis(error.to_string()))?;
        let script = Script::new(include_str!("../scripts/report.lua"));
        let mut call = script.prepare_invoke();
        call.key(&self.0.nodes).arg(&report.uid).arg(text).arg(&self.0.answers);
        let _: Value = self.send(Step::Call(&call)).await?;
        Ok(())
    }

    pub(crate) async fn has_report(&self, uid: &str) -> Result<bool, ChannelError> {
        let asked = Cmd::hexists(&self.0.nodes, uid);
        self.send(Step::Command(&asked)).await
    }

    pub(crate) async fn reports(&self) -> Result<Vec<Report>, ChannelError> {
        let asked = Cmd::hvals(&self.0.nodes);
        let reports: Vec<Vec<u8>> = self.send(Step::Command(&asked)).await?;
        let reports = reports.iter().filter(|report| report.len() <= REPORT_LENGTH);
        Ok(reports.filter_map(|report| serde_json::from_slice(report).ok()).collect())
    }

    pub(crate) async fn forget(&self, uids: &[String], lease: &Lease) -> Result<(), ChannelError> {
        if uids.is_empty() {
            return Ok(());
        }
        let script = publishers(include_str!("../scripts/forget.lua"));
        let mut call = script.prepare_invoke();
        call.key(&self.0.lease).key(&self.0.nodes);
        lease.write(&mut call);
        call.arg(uids);
        let _: Value = self.send(Step::Call(&call)).await?;
        Ok(())
    }

    pub(crate) async fn totals_at(&self) -> Result<Option<Timestamp>, ChannelError> {
        let asked = Cmd::hget(&self.0.totals, "at");
        let at: Option<String> = self.send(Step::Command(&asked)).await?;
        Ok(at.and_then(|at| at.parse().ok()).map(Timestamp))
    }

    pub(crate) async fn totals(&self) -> Result<Option<Totals>, ChannelError> {
        let asked = Cmd::hget(&self.0.totals, "text");
        let text: Option<Vec<u8>> = self.send(Step::Command(&asked)).await?;
        Ok(text.filter(|text| text.len() <= TOTALS_LENGTH).and_then(|text| Totals::decode(&text)))
    }

    pub(crate) async fn replace_totals(&self, totals: &Totals) -> Result<bool, ChannelError> {
        let text = totals.encode().map_err(|error| ChannelError::Redis(error.to_string()))?;
        let script = Script::new(include_str!("../scripts/totals.lua"));
        let mut call = script.prepare_invoke();
        call.key(&self.0.totals).arg(totals.at.0).arg(text).arg(clock_was_set_back_ms()).arg(&self.0.answers);
        self.send(Step::Call(&call)).await
    }

    /// Listens until the connection ends; `tell` is called once it listens, and for each word.
    pub(crate) async fn listen(&self, ear: Ear, mut tell: impl FnMut()) {
        use futures::StreamExt as _;
        let name = match ear {
            Ear::News => &self.0.news,
            Ear::Answers => &self.0.answers,
        };
        let ready = async {
            let mut subscriber = self.0.client.get_async_pubsub().await?;
            subscriber.subscribe(name).await?;
            Ok::<_, RedisError>(subscriber)
        };
        let Ok(Ok(subscriber)) = tokio::time::timeout(TIMEOUT, ready).await else { return };
        tell(); // what was said while nobody listened may have been for us
        let mut messages = subscriber.into_on_message();
        while messages.next().await.is_some() {
            tell();
        }
    }

    /// Does something, and does it once more where the connection broke: everything here is as good done twice.
    async fn send<T: FromRedisValue>(&self, step: Step<'_>) -> Result<T, ChannelError> {
        let connect = || async {
            let config = ConnectionManagerConfig::new()
                .set_connection_timeout(Some(TIMEOUT))
                .set_response_timeout(Some(TIMEOUT))
                .set_number_of_retries(1);
            ConnectionManager::new_with_config(self.0.client.clone(), config).await
        };
        let mut connection = self.0.connection.get_or_try_init(connect).await.map_err(failed)?.clone();
        match step.send(&mut connection).await {
            Err(error) if error.is_io_error() && !error.is_timeout() => {
                step.send(&mut connection).await.map_err(failed)
            }
            done => done.map_err(failed),
        }
    }
}

/// Something to do.
#[derive(Clone, Copy)]
enum Step<'s> {
    Command(&'s Cmd),
    Batch(&'s Pipeline),
    Call(&'s ScriptInvocation<'s>),
}

impl Step<'_> {
    async fn send<T: FromRedisValue>(self, connection: &mut ConnectionManager) -> Result<T, RedisError> {
        match self {
            Self::Command(command) => command.query_async(connection).await,
            Self::Batch(batch) => batch.query_async(connection).await,
            Self::Call(call) => call.invoke_async(connection).await,
        }
    }
}

impl fmt::Debug for RedisChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisChannel({})", self.0.pointer) // the URL may hold a password
    }
}

impl Lease {
    /// The first arguments of every function that a publisher calls.
    fn write(&self, call: &mut ScriptInvocation<'_>) {
        let Self { transitions, id, who } = self;
        let life = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
        call.arg(*transitions).arg(id).arg(who).arg(life);
    }
}

/// A function that is the publisher's alone.
fn publishers(source: &str) -> Script {
    Script::new(&[include_str!("../scripts/common/lease.lua"), source].concat())
}

fn encoded(pointer: &Pointer) -> Result<String, ChannelError> {
    pointer.encode().map_err(|error| ChannelError::Redis(error.to_string()))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn failed(error: RedisError) -> ChannelError {
    ChannelError::Redis(error.to_string())
}
