//! One node: started, told, watched, and started again when it dies, until it is to end. It runs a child process.

use std::{
    io,
    os::fd::AsFd as _,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use posthouse_channel::control::{self, ControlError, FromNode, OperatorEnd, ToNode};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    backoff,
    event::{Event, NodeId, What},
    sockets::Sockets,
};
use crate::logging::Format;

/// The variable that names the Redis to a node.
const REDIS_URL: &str = "POSTHOUSE_REDIS_URL";

/// A node that does not read its control socket for so long, or does not answer, or has closed it and lives on, is stuck: it is started again.
const STUCK: Duration = Duration::from_secs(10);

/// How often a node is asked whether it lives, where nothing else is to be said: it may be stuck without an edit.
const ASK: Duration = Duration::from_secs(10);

/// What a node may take beyond the time it was given to drain.
const DRAIN_SLACK: Duration = Duration::from_secs(1);

/// How to start it.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) id: NodeId,
    /// The folder of the sealing keys.
    pub(super) keys: PathBuf,
    /// The id of its queue.
    pub(super) queue_id: String,
    pub(super) store: Store,
    pub(super) log_format: Format,
}

/// Where its queue and its configuration are.
#[derive(Clone, Debug)]
pub(super) enum Store {
    /// The queue embedded in the gateway's folder, the configuration in a folder of it.
    Embedded { folder: PathBuf, config: PathBuf },
    /// Both in Redis.
    Redis(String),
}

/// What it is to do.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// Serve these sockets; look for configuration where there were so many publications.
    Serve(Arc<Sockets>, u64),
    /// End within this time, and do not come back.
    Drain(Duration),
    /// End at once, and do not come back.
    Kill,
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
            Ok(run) => {
                let death = run.watch().await;
                let _ = events.send(Event::Node { id: launch.id.clone(), what: What::Died }).await;
                death
            }
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
    let _ = events.send(Event::Node { id: launch.id, what: What::Ended(ended_by_itself) }).await;
}

/// One process.
struct Run {
    id: NodeId,
    uid: String,
    child: Child,
    pid: u32,
    control: OperatorEnd,
    orders: watch::Receiver<Order>,
    events: mpsc::Sender<Event>,
    /// What it was told.
    told: Option<(Arc<Sockets>, u64)>,
    was_ready: bool,
    was_killed: bool,
    /// When it must be gone.
    deadline: Option<Instant>,
    asked: Asked,
}

/// How often it was told to look and has not said yet that it saw it, and by when it is to answer; or when it is asked next.
#[derive(Debug)]
struct Asked {
    unseen: u32,
    at: Instant,
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
        let Launch { program, id, keys, queue_id, store, log_format } = launch;
        let (control, stdin) = control::pair().map_err(io::Error::other)?;
        let mut command = Command::new(program);
        let uid = format!("{id}.{:x}", now_nanos());
        command.args(["run", "--gateway", &id.gateway.to_string(), "--node", &id.to_string(), "--uid", &uid]);
        command.args(["--queue-id", queue_id, "--keys"]).arg(keys);
        match store {
            Store::Embedded { folder, config } => {
                command.arg("--state").arg(folder).arg("--config").arg(config);
            }
            Store::Redis(url) => {
                command.env(REDIS_URL, url); // it may hold a password, and everybody may read command lines
            }
        }
        command.args(["--log-format", log_format.name()]);
        command.stdin(Stdio::from(stdin)).stdout(Stdio::from(io::stderr().as_fd().try_clone_to_owned()?));
        // A group of its own: Ctrl-C reaches the operator only, which drains its nodes in order.
        command.process_group(0).kill_on_drop(true);
        let child = command.spawn()?;
        let pid = child.id().unwrap_or_default();
        tracing::info!(node = %id, gateway = %id.gateway, pid, "node started");
        Ok(Self {
            id: id.clone(),
            uid,
            child,
            pid,
            control,
            orders,
            events,
            told: None,
            was_ready: false,
            was_killed: false,
            deadline: None,
            asked: Asked { unseen: 0, at: Instant::now() + ASK },
        })
    }

    /// Tells it what is ordered and hears what it says, until it is dead.
    async fn watch(mut self) -> Death {
        let mut is_heard = true;
        self.say(What::Started(self.uid.clone())).await;
        self.tell().await;
        let status = loop {
            let deadline = self.deadline;
            let over = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            let asked_at = self.asked.at;
            tokio::select! {
                // What it said while this process was stopped counts before the time that has passed since.
                biased;
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
                () = sleep_until(asked_at), if is_heard && self.told.is_some() && !self.was_killed => self.ask().await,
            }
        };
        self.log_death(status);
        Death { was_ready: self.was_ready, was_killed: self.was_killed }
    }

    async fn tell(&mut self) {
        let order = self.orders.borrow_and_update().clone();
        let told = match order {
            Order::Serve(sockets, news) => self.tell_to_serve(sockets, news).await,
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

    async fn tell_to_serve(&mut self, sockets: Arc<Sockets>, news: u64) -> Result<(), ControlError> {
        let (has_sockets, has_news) = match &self.told {
            Some((told, told_news)) => (told.is_same(&sockets), *told_news == news),
            None => (false, true), // it looks when it begins
        };
        if !has_sockets {
            self.send(ToNode::Listeners(sockets.listeners()?)).await?;
        }
        if !has_news {
            self.look().await?;
        }
        self.told = Some((sockets, news));
        Ok(())
    }

    async fn look(&mut self) -> Result<(), ControlError> {
        self.send(ToNode::Look).await?;
        self.asked.sent(Instant::now());
        Ok(())
    }

    /// The time has come to ask whether it lives, or it has not answered in time. The answer comes from what hears everything in a node, and waits for
    /// no store.
    async fn ask(&mut self) {
        if self.asked.unseen > 0 {
            let why = format!("it is stuck: it did not answer its control socket for {} s", STUCK.as_secs());
            return self.kill(&why);
        }
        match self.look().await {
            Ok(()) => {}
            Err(ControlError::Gone) => self.asked.at = Instant::now() + ASK, // who is gone will be seen dead
            Err(error) => self.kill(&error.to_string()),
        }
    }

    async fn send(&mut self, message: ToNode) -> Result<(), ControlError> {
        let sent = timeout(STUCK, self.control.sender.send(message)).await;
        sent.unwrap_or_else(|_| Err(io::Error::other("it does not read its control socket").into()))
    }

    async fn hear(&mut self, said: FromNode) {
        let what = match said {
            FromNode::Ready => {
                self.was_ready = true;
                What::Ready(self.pid)
            }
            FromNode::Seen => return self.asked.seen(Instant::now()),
            FromNode::Reported => What::Reported,
            FromNode::Status(status) => What::Status(status),
        };
        self.say(what).await;
    }

    async fn say(&self, what: What) {
        let _ = self.events.send(Event::Node { id: self.id.clone(), what }).await;
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

impl Asked {
    fn sent(&mut self, now: Instant) {
        if self.unseen == 0 {
            self.at = now + STUCK;
        }
        self.unseen = self.unseen.saturating_add(1);
    }

    fn seen(&mut self, now: Instant) {
        self.unseen = self.unseen.saturating_sub(1);
        self.at = now + if self.unseen > 0 { STUCK } else { ASK };
    }
}

/// A run's name has to differ from that of every other run of the node.
fn now_nanos() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_gives_time_to_the_next_and_none_is_counted_twice() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut asked = Asked { unseen: 0, at: after(10) };
        asked.sent(after(1));
        asked.sent(after(5));
        assert_eq!((asked.unseen, asked.at), (2, after(1) + STUCK), "the first word is to be answered");
        asked.seen(after(6));
        assert_eq!((asked.unseen, asked.at), (1, after(6) + STUCK));
        asked.seen(after(7));
        assert_eq!((asked.unseen, asked.at), (0, after(7) + ASK), "then it is asked again");
        asked.seen(after(8)); // a word too many
        assert_eq!(asked.unseen, 0);
    }
}
