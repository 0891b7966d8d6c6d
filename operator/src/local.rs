//! `local`: the operator without a cluster. A folder of manifests stands for the API server, child processes stand for pods, the embedded
//! queue stands for Redis. It watches files, binds sockets, starts processes.
//!
//! Everything is level-triggered: a hint, an event or a tick leads to a look at what is, and what differs from what should be is corrected.

mod backoff;
mod edits;
mod event;
mod fleet;
mod gateway;
mod node;
mod publishing;
mod reporting;
mod run;
mod sockets;
mod state;
mod watch;

use std::{
    env, fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use tokio::sync::mpsc;

use self::{
    fleet::{Fleet, Settings},
    run::{Run, Signals},
    state::State,
};
use url::Url;

use crate::{
    Ending,
    failure::Failure,
    logging::Format,
    reader::{Reader, Reading},
};

/// The name of the node program.
const NODE_PROGRAM: &str = "posthouse-node";

/// How many events of nodes may wait: a few of each node.
const EVENTS: usize = 256;

/// The command line of `local`.
#[derive(Debug, Args)]
pub(crate) struct LocalArgs {
    /// A folder of manifests, or one file
    #[arg(short, long, value_name = "DIR")]
    filename: PathBuf,
    /// Where the queue and `local.json` are kept; otherwise under `$XDG_STATE_HOME/posthouse`
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The address to listen on
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen: IpAddr,
    /// Listen on free ports, which `local.json` names, instead of the manifests'
    #[arg(long)]
    ephemeral_ports: bool,
    /// How many nodes each gateway has; more than one needs --redis
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    nodes: u16,
    /// The Redis or Valkey that holds the queue, instead of the embedded one
    #[arg(long, value_name = "URL", env = "POSTHOUSE_REDIS_URL", hide_env_values = true, value_parser = redis_url)]
    redis: Option<String>,
}

/// Whether a text can be the URL of a store: a mistake is found here, and not by every node again and again. It may hold a password: it is not
/// repeated.
fn redis_url(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| format!("{error}; write redis://host:port"))?;
    let fits = match url.scheme() {
        "redis" | "valkey" => url.has_host(),
        "unix" | "redis+unix" | "valkey+unix" => !url.path().is_empty(),
        "rediss" | "valkeys" => return Err("TLS to the store is not supported yet".to_owned()),
        _ => false,
    };
    if fits { Ok(text.to_owned()) } else { Err("write redis://host:port, or unix:///path".to_owned()) }
}

/// Runs until a signal ends it: good if all nodes ended by themselves.
pub(crate) fn run(args: LocalArgs, log_format: Format) -> Result<Ending, Failure> {
    let LocalArgs { filename, state, listen, ephemeral_ports, nodes, redis } = args;
    if nodes > 1 && redis.is_none() {
        return Err(Failure::OneNodeOnly { nodes });
    }
    if nodes > 1 && !ephemeral_ports {
        return Err(Failure::SamePorts { what: format!("the nodes of --nodes {nodes}") });
    }
    let settings = Settings { program: node_program()?, listen, ephemeral_ports, nodes, redis, log_format };
    let mut reader = Reader::new(filename);
    let reading = reader.read(&Reading::default())?;
    let folder = state.map_or_else(|| state::default_folder(reader.path()), Ok)?;
    let state = State::take(&folder)?;
    let (manifests, folder) = (reader.path().display().to_string(), state.folder().display().to_string());
    tracing::info!(manifests, state = folder, "local run");
    let system = |doing| move |source| Failure::System { doing, source };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(system("start the runtime"))?;
    let ending = runtime.block_on(async {
        let signals = Signals::listen().map_err(system("listen to signals"))?;
        let (sender, events) = mpsc::channel(EVENTS);
        let fleet = Fleet::new(settings, state, sender, run::queues(&reading)).await;
        // On this thread, always: what it reads and compiles is large, and each thread that did so would keep a heap for it.
        Run::new(reader, reading, fleet, log_format)?.run(signals, events).await
    });
    // What is left are tasks whose nodes are dead, or die with them.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ending
}

/// The node program: beside this one, else what the environment names.
fn node_program() -> Result<PathBuf, Failure> {
    let own =
        env::current_exe().map_err(|source| Failure::System { doing: "find the own program", source })?;
    let beside = own.with_file_name(NODE_PROGRAM);
    let named = env::var_os("POSTHOUSE_NODE").filter(|name| !name.is_empty()).map(PathBuf::from);
    if is_program(&beside) {
        return Ok(beside);
    }
    let named = named.unwrap_or(beside);
    if is_program(&named) { Ok(named) } else { Err(Failure::NoNodeProgram { path: named }) }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
