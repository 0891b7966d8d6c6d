//! Group commit: what waits goes to the store in one write, one batch under way at a time while the next one forms. I/O.
//!
//! A batch is the messages that are waiting (`enqueue`), then the steps (activations, withdrawals, settles: `commit`), then, where replicas
//! have to confirm, WAIT on the same connection. A withdrawal never overtakes what it withdraws: an enqueue that was given up before it was
//! sent is dropped.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use posthouse_model::{MessageId, Timestamp};
use redis::{Cmd, Pipeline, Value};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    keys::{FIXED, Keys},
    link::Link,
    reply,
    scripts::{Function, Library},
    wire,
};
use crate::{StoreError, TOMBSTONE_LIFE_MS};

/// The most messages in a batch: beyond it, more messages only make the first one wait longer.
const BATCH_MESSAGES: usize = 64;

/// The most steps in a batch.
const BATCH_STEPS: usize = 256;

/// The octets from which on a batch is full: bounds how long the store is busy with one function.
const BATCH_OCTETS: usize = 1024 * 1024;

/// How many callers may wait in line before the next ones are made to wait for a place.
const LINE: usize = 1024;

/// An argument of a function.
#[derive(Debug)]
pub(super) enum Argument {
    /// Octets.
    Octets(Bytes),
    /// The number of the key of this message's chunked content among the batch's keys; 0 for none.
    ContentKey(Option<MessageId>),
}

impl<T: Into<Bytes>> From<T> for Argument {
    fn from(octets: T) -> Self {
        Self::Octets(octets.into())
    }
}

/// What waits for a batch: its arguments, and who waits for the reply.
#[derive(Debug)]
struct Item {
    arguments: Vec<Argument>,
    octets: usize,
    now: u64,
    reply: oneshot::Sender<Result<Value, StoreError>>,
}

#[derive(Debug)]
enum Waiting {
    Message(Item),
    Step(Item),
}

/// How replicas confirm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confirm {
    /// How many replicas have to have it.
    pub(super) replicas: u32,
    /// How long they may take.
    pub(super) timeout: Duration,
}

/// The line in front of the batches. The task behind it ends with it.
#[derive(Debug)]
pub(super) struct Intake {
    line: mpsc::Sender<Waiting>,
    patience: Duration,
}

impl Intake {
    /// Starts the task. Nobody waits longer than `patience`.
    pub(super) fn start(
        link: Link,
        keys: Arc<Keys>,
        library: Arc<Library>,
        confirm: Confirm,
        patience: Duration,
    ) -> Self {
        let (line, waiting) = mpsc::channel(LINE);
        let batcher = Batcher { link, keys, library, confirm };
        tokio::spawn(batcher.run(waiting));
        Self { line, patience }
    }

    /// Enqueues one message: the reply is its part of what `enqueue.lua` returns.
    pub(super) async fn message(
        &self,
        arguments: Vec<Argument>,
        now: Timestamp,
    ) -> Result<Value, StoreError> {
        self.put(arguments, now, Waiting::Message).await
    }

    /// Does one step: the reply is its part of what `commit.lua` returns.
    pub(super) async fn step(&self, arguments: Vec<Argument>, now: Timestamp) -> Result<Value, StoreError> {
        self.put(arguments, now, Waiting::Step).await
    }

    async fn put(
        &self,
        arguments: Vec<Argument>,
        now: Timestamp,
        kind: fn(Item) -> Waiting,
    ) -> Result<Value, StoreError> {
        let octets =
            arguments.iter().map(|a| if let Argument::Octets(octets) = a { octets.len() } else { 0 }).sum();
        let (reply, answer) = oneshot::channel();
        let item = kind(Item { arguments, octets, now: wire::time(now), reply });
        let wait = async {
            self.line.send(item).await.ok()?;
            answer.await.ok()
        };
        let late = || StoreError::Unavailable("the store did not answer in time".to_owned());
        let gone = || StoreError::Unavailable("the store is closed".to_owned());
        timeout(self.patience, wait).await.map_err(|_| late())?.ok_or_else(gone)?
    }
}

struct Batcher {
    link: Link,
    keys: Arc<Keys>,
    library: Arc<Library>,
    confirm: Confirm,
}

impl Batcher {
    async fn run(self, mut line: mpsc::Receiver<Waiting>) {
        let (mut messages, mut steps) = (VecDeque::new(), VecDeque::new());
        loop {
            if messages.is_empty() && steps.is_empty() {
                match line.recv().await {
                    Some(Waiting::Message(item)) => messages.push_back(item),
                    Some(Waiting::Step(item)) => steps.push_back(item),
                    None => return,
                }
            }
            while messages.len() < BATCH_MESSAGES && steps.len() < BATCH_STEPS {
                match line.try_recv() {
                    Ok(Waiting::Message(item)) => messages.push_back(item),
                    Ok(Waiting::Step(item)) => steps.push_back(item),
                    Err(_) => break,
                }
            }
            // An enqueue that nobody waits for any more was not sent yet: the best that can become of it is nothing.
            messages.retain(|item| !item.reply.is_closed());
            let messages = part(&mut messages, BATCH_MESSAGES);
            let steps = part(&mut steps, BATCH_STEPS);
            if !messages.is_empty() || !steps.is_empty() {
                self.send(messages, steps).await;
            }
        }
    }

    async fn send(&self, messages: Vec<Item>, steps: Vec<Item>) {
        // The larger one first: the server syncs its log between two functions that do not come in one read, and the smaller one most often
        // comes with the end of the larger.
        let mut commands = Pipeline::new();
        if !messages.is_empty() {
            commands.add_command(self.command(Function::Enqueue, &messages, None));
        }
        if !steps.is_empty() {
            commands.add_command(self.command(Function::Commit, &steps, Some(TOMBSTONE_LIFE_MS)));
        }
        if self.confirm.replicas > 0 {
            // WAIT waits for what this connection wrote: without a write of its own, a batch that changed nothing would be "confirmed" by a
            // replica that is away.
            commands.cmd("INCR").arg(&self.keys.barrier);
            let limit = u64::try_from(self.confirm.timeout.as_millis()).unwrap_or(u64::MAX);
            commands.cmd("WAIT").arg(self.confirm.replicas).arg(limit.max(1));
        }
        let mut replies = match self.link.send_all(&commands).await {
            Ok(replies) => replies.into_iter(),
            Err(error) => {
                for item in messages.into_iter().chain(steps) {
                    _ = item.reply.send(Err(error.clone())); // who went away does not wait for it
                }
                return;
            }
        };
        let mut take = |there: bool| if there { replies.next().unwrap_or_default() } else { Value::Nil };
        let (for_messages, for_steps) = (take(!messages.is_empty()), take(!steps.is_empty()));
        let confirmed = self.confirm.replicas == 0 || {
            take(true);
            let count = reply::number(&take(true)).unwrap_or(0);
            count >= u64::from(self.confirm.replicas)
        };
        self.scatter(for_steps, steps, confirmed, Function::Commit).await;
        self.scatter(for_messages, messages, confirmed, Function::Enqueue).await;
    }

    /// Gives everybody his part of the reply.
    async fn scatter(&self, reply: Value, items: Vec<Item>, confirmed: bool, function: Function) {
        let parts = match reply {
            Value::Array(parts) if parts.len() == items.len() => Ok(parts),
            // The server did not know the function (it was flushed) and did nothing; it has been loaded again meanwhile.
            Value::ServerError(error) if error.code() == "NOSCRIPT" && !items.is_empty() => {
                let again = self.command(
                    function,
                    &items,
                    (function == Function::Commit).then_some(TOMBSTONE_LIFE_MS),
                );
                match (self.confirm.replicas, self.link.send(&again).await) {
                    (0, sent) => sent.and_then(reply::array),
                    _ => Err(StoreError::Unavailable(
                        "the store lost its functions; they are loaded again".to_owned(),
                    )),
                }
            }
            Value::ServerError(error) => Err(reply::server_error(error)),
            _ => Err(reply::unexpected(function.name())),
        };
        match parts {
            Err(error) => {
                if !items.is_empty() {
                    tracing::warn!(function = function.name(), %error, items = items.len(), "a batch failed");
                }
                for item in items {
                    _ = item.reply.send(Err(error.clone()));
                }
            }
            Ok(parts) => {
                for (item, part) in items.into_iter().zip(parts) {
                    let short = || StoreError::Unavailable("too few replicas confirmed".to_owned());
                    _ = item.reply.send(if confirmed { Ok(part) } else { Err(short()) });
                }
            }
        }
    }

    fn command(&self, function: Function, items: &[Item], extra: Option<u64>) -> Cmd {
        let arguments = || items.iter().flat_map(|item| &item.arguments);
        let content_keys: Vec<String> = arguments()
            .filter_map(|argument| match argument {
                Argument::ContentKey(Some(id)) => Some(self.keys.content(*id)),
                _ => None,
            })
            .collect();
        let octets: usize = items.iter().map(|item| item.octets + 64).sum();
        let mut command = Cmd::with_capacity(2 * FIXED + arguments().count(), octets + 4096);
        command.arg("EVALSHA").arg(self.library.sha(function)).arg(FIXED + content_keys.len());
        for key in self.keys.fixed.iter().chain(&content_keys) {
            command.arg(key);
        }
        command
            .arg(items.iter().map(|item| item.now).max().unwrap_or(0))
            .arg(&self.keys.channel)
            .arg(items.len());
        if let Some(extra) = extra {
            command.arg(extra);
        }
        let mut content_key = FIXED;
        for argument in arguments() {
            match argument {
                Argument::Octets(octets) => command.arg(&octets[..]),
                Argument::ContentKey(None) => command.arg(0),
                Argument::ContentKey(Some(_)) => {
                    content_key += 1;
                    command.arg(content_key)
                }
            };
        }
        command
    }
}

/// The first items, as many as a batch takes.
fn part(waiting: &mut VecDeque<Item>, most: usize) -> Vec<Item> {
    let mut octets = 0;
    let taken = waiting
        .iter()
        .take(most)
        .take_while(|item| {
            let fits = octets < BATCH_OCTETS;
            octets += item.octets;
            fits
        })
        .count();
    waiting.drain(..taken).collect()
}
