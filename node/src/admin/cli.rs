//! `posthouse-node queue …`: arguments in, one answer on standard output, exit code out.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use posthouse_model::QueueName;
use posthouse_queue::{HoldReason, State, StoreError};
use tokio::time::{self, Instant};

use super::{Answer, Operator, Request, Target, locate, print, socket};

/// How long a node that is starting or ending is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Entries that a person is shown at most who does not say how many.
const LISTED: usize = 1000;

/// Between two tries.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Where the queue is, and how to answer.
#[derive(Args, Debug)]
pub struct QueueArgs {
    /// The state folder of a local run; a running node is asked through its socket there. With --redis it only says how senders are told
    #[arg(long, value_name = "DIR", global = true)]
    state: Option<PathBuf>,
    /// The Redis or Valkey that holds the queue
    #[arg(long, value_name = "URL", global = true)]
    redis: Option<String>,
    /// The gateway, where there are several
    #[arg(long, value_name = "NAMESPACE/NAME", global = true)]
    gateway: Option<String>,
    /// How to answer
    #[arg(short, long, value_enum, default_value = "text", global = true)]
    output: Output,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Count entries by state
    Counts {
        /// Of this queue only
        #[arg(long)]
        queue: Option<QueueName>,
    },
    /// List entries, oldest first
    List {
        /// Of this queue only
        #[arg(long)]
        queue: Option<QueueName>,
        /// In this state only
        #[arg(long = "in", value_enum, value_name = "STATE")]
        within: Option<StateArg>,
        /// At most so many; 1000 for people, all of them in JSON, if it is not given
        #[arg(long)]
        limit: Option<usize>,
    },
    /// Show the entries of a message, or one entry, in full
    Show {
        /// A queue id as in the 250 reply, or with `.N` one entry of it
        id: String,
    },
    /// Hold mail until it is released
    Hold(Which),
    /// Release held mail
    Release {
        #[command(flatten)]
        which: Which,
        /// Only what is held for this reason
        #[arg(long, value_enum)]
        reason: Option<ReasonArg>,
    },
    /// Try deferred mail now
    Retry(Which),
    /// Delete mail; its sender is not told
    Delete(Which),
    /// Give mail up and tell its sender
    Bounce(Which),
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Which {
    /// A queue id as in the 250 reply, or with `.N` one entry of it
    id: Option<String>,
    /// Every entry of a queue
    #[arg(long)]
    queue: Option<QueueName>,
    /// Every entry there is
    #[arg(long)]
    all: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StateArg {
    Incoming,
    Due,
    Deferred,
    Held,
    Active,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReasonArg {
    OnRequest,
    Scheduled,
    Connectivity,
    Administrator,
}

/// Runs the command; the exit code is 0, or 1 if something was refused.
pub async fn run(args: QueueArgs) -> anyhow::Result<u8> {
    let QueueArgs { state, redis, gateway, output, verb } = args;
    let request = verb.request(output)?;
    let (gateway, answer) = match (state, redis) {
        (Some(state), None) => ask_state(&state, gateway.as_deref(), &request).await?,
        (state, Some(url)) => ask_redis(&url, state.as_deref(), gateway.as_deref(), &request).await?,
        (None, None) => bail!("say where the queue is: --state DIR (a local run) or --redis URL"),
    };
    match say(&answer, &gateway, output) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        said => Ok(said?),
    }
}

async fn ask_state(
    state: &Path,
    gateway: Option<&str>,
    request: &Request,
) -> anyhow::Result<(String, Answer)> {
    let found = locate::one(locate::all(state)?, |found| found.gateway.as_str(), gateway)?;
    let path = found.folder.join(locate::SOCKET);
    let until = Instant::now() + PATIENCE;
    // A node may be starting or ending just now: then the one way is open in a moment, if the other is not.
    loop {
        match socket::ask(&path, request).await {
            Ok(answer) => return Ok((found.gateway, answer)),
            Err(error) if may_ask_again(&error, request) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot ask the node at {}", path.display()));
            }
        }
        if !found.folder.join(locate::QUEUE).exists() {
            bail!(
                "{} has no queue of gateway {}: if its nodes were started with --redis URL, name that here as well",
                state.display(),
                found.gateway
            );
        }
        // No node answers: if none holds the queue, it is ours as long as we look.
        match crate::stores::embedded_now(&found.folder).await {
            Ok(store) => {
                let operator = Operator::beside(store, Some(&found.folder)).await?;
                let answer = operator.carry_out(request).await;
                operator.leave().await;
                return Ok((found.gateway, answer));
            }
            Err(StoreError::Unavailable(_)) if Instant::now() < until => time::sleep(AGAIN_AFTER).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether a failed request did not reach a node, or may be asked twice.
fn may_ask_again(error: &io::Error, request: &Request) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    let only_asks = matches!(request, Request::Counts { .. } | Request::List { .. } | Request::Show { .. });
    match error.kind() {
        NotFound | ConnectionRefused => true,
        ConnectionReset | BrokenPipe | UnexpectedEof => only_asks, // the node ended while it was asked
        _ => false,
    }
}

async fn ask_redis(
    url: &str,
    state: Option<&Path>,
    gateway: Option<&str>,
    request: &Request,
) -> anyhow::Result<(String, Answer)> {
    let found = crate::stores::gateways(url).await?;
    let (gateway, queue_id) = locate::one(found, |(gateway, _)| gateway.as_str(), gateway)?;
    let folder = match state {
        Some(state) => {
            let found = locate::all(state)?;
            Some(locate::one(found, |found| found.gateway.as_str(), Some(&gateway))?.folder)
        }
        None => None,
    };
    let store = crate::stores::redis(url, &gateway, &queue_id).await?;
    let operator = Operator::beside(store, folder.as_deref()).await?;
    let answer = operator.carry_out(request).await;
    operator.leave().await;
    Ok((gateway, answer))
}

fn say(answer: &Answer, gateway: &str, output: Output) -> io::Result<u8> {
    if let Answer::Failed { error, refused } = answer {
        writeln!(io::stderr().lock(), "error: {error}")?;
        return Ok(if *refused { 1 } else { 2 });
    }
    let mut out = io::stdout().lock();
    match output {
        Output::Text => out.write_all(print::text(answer).as_bytes())?,
        Output::Json => writeln!(out, "{}", json(answer, gateway))?,
    }
    out.flush()?;
    if let (Output::Json, Answer::Entries { more: true, .. }) = (output, answer) {
        writeln!(io::stderr().lock(), "there are more: raise --limit")?;
    }
    Ok(match answer {
        Answer::Changed { skipped, .. } if !skipped.is_empty() => 1,
        _ => 0,
    })
}

/// The documented forms: counts as one object with the gateway, lists as an array.
fn json(answer: &Answer, gateway: &str) -> serde_json::Value {
    match answer {
        Answer::Counts(counts) => serde_json::json!({
            "gateway": gateway, "incoming": counts.incoming, "due": counts.due, "deferred": counts.deferred,
            "held": counts.held, "active": counts.active,
        }),
        Answer::Entries { entries, .. } => serde_json::json!(entries),
        Answer::Changed { changed, skipped } => serde_json::json!({"changed": changed, "skipped": skipped}),
        Answer::Failed { error, .. } => serde_json::json!({"error": error}),
    }
}

impl Verb {
    fn request(self, output: Output) -> anyhow::Result<Request> {
        Ok(match self {
            Self::Counts { queue } => Request::Counts { queue },
            Self::List { queue, within, limit } => {
                let all = if output == Output::Json { usize::MAX } else { LISTED };
                Request::List { queue, state: within.map(StateArg::state), limit: limit.unwrap_or(all) }
            }
            Self::Show { id } => Request::Show { target: by_id(&id)? },
            Self::Hold(which) => Request::Hold { target: which.target()? },
            Self::Release { which, reason } => {
                Request::Release { target: which.target()?, reason: reason.map(ReasonArg::reason) }
            }
            Self::Retry(which) => Request::Retry { target: which.target()? },
            Self::Delete(which) => Request::Delete { target: which.target()? },
            Self::Bounce(which) => Request::Bounce { target: which.target()? },
        })
    }
}

impl Which {
    fn target(self) -> anyhow::Result<Target> {
        match (self.id, self.queue, self.all) {
            (Some(id), None, false) => by_id(&id),
            (None, Some(queue), false) => Ok(Target::Queue(queue)),
            (None, None, true) => Ok(Target::All),
            _ => bail!("name one of: a queue id, --queue NAME, --all"),
        }
    }
}

fn by_id(text: &str) -> anyhow::Result<Target> {
    if text.contains('.') { Ok(Target::Entry(text.parse()?)) } else { Ok(Target::Message(text.parse()?)) }
}

impl StateArg {
    fn state(self) -> State {
        match self {
            Self::Incoming => State::Incoming,
            Self::Due => State::Due,
            Self::Deferred => State::Deferred,
            Self::Held => State::Held,
            Self::Active => State::Active,
        }
    }
}

impl ReasonArg {
    fn reason(self) -> HoldReason {
        match self {
            Self::OnRequest => HoldReason::OnRequest,
            Self::Scheduled => HoldReason::Scheduled,
            Self::Connectivity => HoldReason::Connectivity,
            Self::Administrator => HoldReason::Administrator,
        }
    }
}
