//! A whole gateway as a user runs it: `posthouse-operator local` over a folder of manifests, with what one can ask of it from outside.
//!
//! It starts processes, reads `local.json`, asks the queue commands and the metrics page.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;

use crate::local::{LocalRun, Node};
use crate::metrics::Metrics;
use crate::process::Child;
use crate::{binaries, wait};

/// How to run it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The store's URL; absent, the embedded store.
    pub redis: Option<String>,
    /// How many nodes; 0 is the operator's default.
    pub nodes: usize,
    /// More arguments for `local`.
    pub more: Vec<String>,
}

/// A running local gateway. It ends with its scope.
#[derive(Debug)]
pub struct Gateway {
    // Before the folder, so that nothing writes there any more when it goes.
    operator: Child,
    program: PathBuf,
    options: Options,
    manifests: PathBuf,
    folder: TempDir,
}

/// What `queue counts -o json` says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Counts {
    /// `namespace/name`.
    pub gateway: String,
    /// Not yet confirmed.
    pub incoming: u64,
    /// Ready to be sent.
    pub due: u64,
    /// Waiting for a time.
    pub deferred: u64,
    /// Waiting for a release.
    pub held: u64,
    /// Leased.
    pub active: u64,
}

impl Counts {
    /// What the queue at a place (`--redis URL`, `--state DIR`, or both) holds.
    pub fn of(place: &[&str]) -> Result<Self> {
        let output = queue(&[&["counts", "-o", "json"], place].concat())?;
        serde_json::from_str(&output).with_context(|| format!("queue counts said {output:?}"))
    }

    /// All that is queued.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.incoming + self.due + self.deferred + self.held + self.active
    }
}

impl Gateway {
    /// Starts a gateway with the embedded store and waits until it is ready.
    pub fn start(manifests: &Path) -> Result<Self> {
        Self::start_with(manifests, Options::default())
    }

    /// Starts a gateway and waits until it is ready.
    pub fn start_with(manifests: &Path, options: Options) -> Result<Self> {
        let program = binaries::product("posthouse-operator")?;
        Self::start_program(program, manifests, options)
    }

    /// The same with the programs of this folder.
    pub fn start_from(programs: &Path, manifests: &Path, options: Options) -> Result<Self> {
        Self::start_program(programs.join("posthouse-operator"), manifests, options)
    }

    fn start_program(program: PathBuf, manifests: &Path, options: Options) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("posthouse-gateway-").tempdir()?;
        let operator = launch(&program, manifests, folder.path(), &options)?;
        let mut gateway = Self { operator, program, options, manifests: manifests.to_path_buf(), folder };
        gateway.until_ready()?;
        Ok(gateway)
    }

    /// Ends the operator (SIGTERM, then its nodes drain) and starts it again on the same state.
    pub fn restart(&mut self) -> Result<()> {
        self.operator.terminate(wait::SOON * 2)?;
        self.start_again()
    }

    /// Starts the operator again on the same state, after it has ended.
    pub fn start_again(&mut self) -> Result<()> {
        // A crash leaves the file; what it says is not true any more.
        let _ = std::fs::remove_file(self.state().join("local.json"));
        self.operator = launch(&self.program, &self.manifests, self.folder.path(), &self.options)?;
        self.until_ready()
    }

    /// The folder given by `--state`.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The operator's process; its log has the nodes' lines too.
    pub fn operator(&mut self) -> &mut Child {
        &mut self.operator
    }

    /// `local.json` as it is now.
    pub fn run(&self) -> Result<LocalRun> {
        LocalRun::read(&self.state().join("local.json"))
    }

    /// The address of the first SMTP listener.
    pub fn smtp(&self) -> Result<std::net::SocketAddr> {
        self.run()?.listener("Smtp")
    }

    /// The address of the listener of this name.
    pub fn listener(&self, name: &str) -> Result<std::net::SocketAddr> {
        self.run()?.named(name)
    }

    /// Waits until the log of the operator and its nodes has a line with all of these.
    pub fn until_logged(&mut self, parts: &[&str]) -> Result<String> {
        let has_all = |line: &&str| parts.iter().all(|part| line.contains(part));
        let log = || Ok(self.operator.log()?.lines().find(has_all).map(str::to_owned));
        wait::until(&format!("a line of the log with {parts:?}"), wait::SOON, log)
            .with_context(|| self.operator.log_tail())
    }

    /// What the queue holds, by the queue command. Works while nodes run and while none does.
    pub fn counts(&self) -> Result<Counts> {
        let state = self.state();
        Counts::of(&self.place(&state)?)
    }

    /// Runs `posthouse-node queue ARGUMENTS` on this gateway's store; fails unless it exits 0.
    pub fn queue(&self, arguments: &[&str]) -> Result<String> {
        let state = self.state();
        queue(&[arguments, &self.place(&state)?].concat())
    }

    /// Where the queue is, for a queue command.
    fn place<'s>(&'s self, state: &'s Path) -> Result<Vec<&'s str>> {
        let mut place = vec!["--state", state.to_str().context("a temporary folder has a name in UTF-8")?];
        if let Some(url) = &self.options.redis {
            place.extend(["--redis", url]);
        }
        Ok(place)
    }

    /// The metrics of one node.
    pub fn metrics(&self, node: &Node) -> Result<Metrics> {
        Metrics::scrape(node.metrics)
    }

    /// SIGKILL to a node, by the id that `local.json` gives; returns once it is gone.
    pub fn kill_node(&self, node: &Node) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(node.pid)?).context("a node has a process")?;
        kill_process(pid, Signal::KILL).context("killing a node")?;
        // The operator reaps it; until then it is a zombie, which runs nothing any more and has no memory.
        wait::until("the killed node to be gone", wait::SOON, || {
            let line = std::fs::read(format!("/proc/{}/cmdline", node.pid)).unwrap_or_default();
            Ok(line.is_empty().then_some(()))
        })
    }

    /// Waits until the queue is empty.
    pub fn until_drained(&mut self, bound: std::time::Duration) -> Result<()> {
        wait::until("the queue to be empty", bound, || Ok((self.counts()?.queued() == 0).then_some(())))
            .with_context(|| self.operator.log_tail())
    }

    fn until_ready(&mut self) -> Result<()> {
        let file = self.state().join("local.json");
        self.operator.until("the gateway to be ready", wait::SOON, || Ok(file.exists().then_some(())))
    }
}

/// Runs `posthouse-node queue ARGUMENTS`; fails unless it exits 0.
pub fn queue(arguments: &[&str]) -> Result<String> {
    let output = Command::new(binaries::product("posthouse-node")?).arg("queue").args(arguments).output()?;
    let (said, errors) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "queue {arguments:?} ended with {}: {said}{errors}", output.status);
    Ok(said)
}

fn launch(program: &Path, manifests: &Path, folder: &Path, options: &Options) -> Result<Child> {
    let mut command = Command::new(program);
    command.args(["local", "--ephemeral-ports", "--log-format", "text"]);
    command.arg("-f").arg(manifests).arg("--state").arg(folder.join("state"));
    if let Some(url) = &options.redis {
        command.arg("--redis").arg(url);
    }
    if options.nodes > 0 {
        command.arg("--nodes").arg(options.nodes.to_string());
    }
    command.args(&options.more);
    Child::start("operator", command, folder)
}
