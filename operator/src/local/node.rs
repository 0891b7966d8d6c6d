//! One node: started, told, watched, and started again when it dies, until it is to end. It runs a child process.

use std::{
    fmt, io,
    os::fd::AsFd as _,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use posthouse_channel::control::{self, ControlError, FromNode, OperatorEnd, ToNode};
use posthouse_compiler::ObjectKey;
use posthouse_config::SnapshotHash;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{backoff, sockets::Sockets};
use crate::logging::Format;

/// A node that does not read its control socket for so long, or has closed it and lives on, is stuck: it is started again.
const STUCK: Duration = Duration::from_secs(10);

/// What a node may take beyond the time it was given to drain.
const DRAIN_SLACK: Duration = Duration::from_secs(1);

/// Which node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId {
    pub(super) gateway: ObjectKey,
    pub(super) number: u16,
}

impl fmt::Display for NodeId {
    /// The node's name: `edge-0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.gateway.name, self.number)
    }
}

/// How to start it.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) id: NodeId,
    /// The directory of its snapshots.
    pub(super) config: PathBuf,
    pub(super) store: Store,
    pub(super) log_format: Format,
}

/// Where its queue is.
#[derive(Clone, Debug)]
pub(super) enum Store {
    /// Embedded, in the gateway's folder.
    Embedded(PathBuf),
    /// In Redis.
    Redis(String),
}

/// What it is to do.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// Serve these sockets by this snapshot.
    Serve(Arc<Sockets>, SnapshotHash),
    /// End within this time, and do not come back.
    Drain(Duration),
    /// End at once, and do not come back.
    Kill,
}

/// What happened to it.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) id: NodeId,
    pub(super) what: What,
}

/// What happened to a node.
#[derive(Debug)]
pub(super) enum What {
    /// This process is ready.
    Ready(u32),
    /// It said something.
    Said(FromNode),
    /// It has ended for good; whether by itself.
    Ended(bool),
}

/// Keeps the node running as ordered; returns when it has ended for good.
pub(super) async fn supervise(
    launch: Launch,
    mut orders: watch::Receiver<Order>,
    events: mpsc::Sender<Event>,
) {
    let mut deaths_before_ready = 0;
    let mut ended_by_itself = true;
    while matches!(*orders.borrow_and_update(), Order::Serve(..)) {
        let run = Run::start(&launch, orders.clone(), events.clone());
        let death = match run {
            Ok(run) => run.watch().await,
            Err(error) => {
                let program = launch.program.display();
                tracing::error!(node = %launch.id, gateway = %launch.id.gateway, "{program} cannot be started: {error}");
                Death { was_ready: false, was_killed: false }
            }
        };
        ended_by_itself = !death.was_killed;
        deaths_before_ready = if death.was_ready { 0 } else { deaths_before_ready + 1 };
        let again = sleep(backoff::delay(deaths_before_ready));
        tokio::pin!(again);
        // An edit is no reason to try earlier, but the end is one to stop waiting.
        while matches!(*orders.borrow_and_update(), Order::Serve(..)) {
            tokio::select! {
                () = &mut again => break,
                changed = orders.changed() => if changed.is_err() { return },
            }
        }
    }
    let _ = events.send(Event { id: launch.id, what: What::Ended(ended_by_itself) }).await;
}

/// One process.
struct Run {
    id: NodeId,
    child: Child,
    pid: u32,
    control: OperatorEnd,
    orders: watch::Receiver<Order>,
    events: mpsc::Sender<Event>,
    /// What it was told.
    told: Option<(Arc<Sockets>, SnapshotHash)>,
    was_ready: bool,
    was_killed: bool,
    /// When it must be gone.
    deadline: Option<Instant>,
}

struct Death {
    was_ready: bool,
    was_killed: bool,
}

impl Run {
    fn start(
        launch: &Launch,
        orders: watch::Receiver<Order>,
        events: mpsc::Sender<Event>,
    ) -> io::Result<Self> {
        let Launch { program, id, config, store, log_format } = launch;
        let (control, stdin) = control::pair().map_err(io::Error::other)?;
        let mut command = Command::new(program);
        command.args(["run", "--gateway", &id.gateway.to_string(), "--node", &id.to_string(), "--config"]);
        command.arg(config);
        match store {
            Store::Embedded(folder) => command.arg("--state").arg(folder),
            Store::Redis(url) => command.arg("--redis").arg(url),
        };
        command.args(["--log-format", log_format.name()]);
        command.stdin(Stdio::from(stdin)).stdout(Stdio::from(io::stderr().as_fd().try_clone_to_owned()?));
        // A group of its own: Ctrl-C reaches the operator only, which drains its nodes in order.
        command.process_group(0).kill_on_drop(true);
        let child = command.spawn()?;
        let pid = child.id().unwrap_or_default();
        tracing::info!(node = %id, gateway = %id.gateway, pid, "node started");
        Ok(Self {
            id: id.clone(),
            child,
            pid,
            control,
            orders,
            events,
            told: None,
            was_ready: false,
            was_killed: false,
            deadline: None,
        })
    }

    /// Tells it what is ordered and hears what it says, until it is dead.
    async fn watch(mut self) -> Death {
        let mut is_heard = true;
        self.tell().await;
        let status = loop {
            let deadline = self.deadline;
            let over = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                status = self.child.wait() => break status,
                said = self.control.receiver.receive(), if is_heard => match said {
                    Ok(Some(said)) => self.hear(said).await,
                    // It is about to end. If not, it can be told nothing any more.
                    Ok(None) => {
                        is_heard = false;
                        self.deadline.get_or_insert(Instant::now() + STUCK);
                    }
                    Err(error) => {
                        is_heard = false;
                        self.kill(&error.to_string());
                    }
                },
                changed = self.orders.changed() => match changed {
                    Ok(()) => self.tell().await,
                    Err(_) => self.kill("nobody orders it any more"),
                },
                () = over => {
                    self.deadline = None;
                    self.kill("it did not end in time");
                }
            }
        };
        self.log_death(status);
        Death { was_ready: self.was_ready, was_killed: self.was_killed }
    }

    async fn tell(&mut self) {
        let order = self.orders.borrow_and_update().clone();
        let told = match order {
            Order::Serve(sockets, hash) => self.tell_to_serve(sockets, hash).await,
            Order::Drain(within) => {
                self.told = None; // our copies of the sockets: nobody shall wait in them for a node that comes back
                self.deadline.get_or_insert(Instant::now() + within + DRAIN_SLACK);
                if !self.was_ready {
                    // It may wait for its store and not listen yet; it has taken no mail, so there is nothing to see through.
                    self.terminate();
                    return;
                }
                let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
                self.send(ToNode::Drain { within_ms }).await
            }
            Order::Kill => {
                self.kill("it is to end at once");
                Ok(())
            }
        };
        match told {
            // Who is gone will be seen dead.
            Ok(()) | Err(ControlError::Gone) => {}
            Err(error) => self.kill(&error.to_string()),
        }
    }

    async fn tell_to_serve(&mut self, sockets: Arc<Sockets>, hash: SnapshotHash) -> Result<(), ControlError> {
        let (has_sockets, has_snapshot) = match &self.told {
            Some((told, told_hash)) => (told.is_same(&sockets), *told_hash == hash),
            None => (false, false),
        };
        if !has_sockets {
            self.send(ToNode::Listeners(sockets.listeners()?)).await?;
        }
        if !has_snapshot {
            self.send(ToNode::Snapshot { hash }).await?;
        }
        self.told = Some((sockets, hash));
        Ok(())
    }

    async fn send(&mut self, message: ToNode) -> Result<(), ControlError> {
        let sent = timeout(STUCK, self.control.sender.send(message)).await;
        sent.unwrap_or_else(|_| Err(io::Error::other("it does not read its control socket").into()))
    }

    async fn hear(&mut self, said: FromNode) {
        let Self { id, pid, .. } = self;
        let what = match said {
            FromNode::Ready => {
                self.was_ready = true;
                What::Ready(*pid)
            }
            said => What::Said(said),
        };
        let _ = self.events.send(Event { id: id.clone(), what }).await;
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        // The process is not reaped before `watch` has seen its death, so the id is still its own.
        if let Some(Err(error)) = pid.map(|pid| kill_process(pid, Signal::TERM)) {
            tracing::debug!(node = %self.id, pid = self.pid, "SIGTERM: {error}");
        }
    }

    fn kill(&mut self, why: &str) {
        tracing::warn!(node = %self.id, gateway = %self.id.gateway, pid = self.pid, "node is killed: {why}");
        self.was_killed = true;
        // It fails only if the process has ended already.
        let _ = self.child.start_kill();
    }

    fn log_death(&self, status: io::Result<ExitStatus>) {
        let Self { id, pid, .. } = self;
        let is_ordered = !matches!(*self.orders.borrow(), Order::Serve(..));
        match status {
            Ok(status) if is_ordered => {
                tracing::info!(node = %id, gateway = %id.gateway, pid, "node ended: {status}");
            }
            Ok(status) if self.was_ready => {
                tracing::warn!(node = %id, gateway = %id.gateway, pid, "node died: {status}; it is started again");
            }
            Ok(status) => tracing::warn!(
                node = %id, gateway = %id.gateway, pid,
                "node died before it was ready: {status}; it is tried again, less and less often up to every 10 s"
            ),
            Err(error) => tracing::error!(node = %id, gateway = %id.gateway, pid, "node is lost: {error}"),
        }
    }
}
