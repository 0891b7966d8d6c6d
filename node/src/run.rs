//! `posthouse-node run`: brings a node up, keeps it in step with the operator, brings it down without losing anything.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use clap::Args;
use posthouse_channel::{
    Channel, Directory, KeyFolder, RedisChannel,
    control::{ControlError, FromNode, Listeners as NewListeners, NodeEnd, Receiver, Sender, Status, ToNode},
};
use posthouse_queue::{Store, StoreError};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time,
};
use tokio_util::sync::CancellationToken;

use crate::{
    activator::Activator,
    admin::{Operator, locate, socket::AdminSocket},
    configuration::{Configuration, Origin},
    delivery::{Delivery, scheduler, settler::Settler},
    events, files, health,
    intake::doors::MAX_CONNECTIONS,
    listeners::Listeners,
    metrics::Metrics,
    node::Node,
    presence::Presence,
    queue_modes,
    readiness::Readiness,
    stores, totals,
};

/// Between two tries to reach the store at the start.
const STORE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Between two tries to open what was refused: nothing but a person mends it.
const REFUSED_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// How long a drain may take when nobody says otherwise.
const DRAIN: Duration = Duration::from_secs(30);

/// How long it may take when the operator is gone: nobody starts another node meanwhile, but whoever comes next wants the queue.
const ORPHAN_DRAIN: Duration = Duration::from_secs(5);

/// How long what is done may take to be settled at the end.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What the operator tells a node at its start.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The gateway that the node belongs to
    #[arg(long, value_name = "NAMESPACE/NAME")]
    gateway: String,
    /// The node's name, for logs
    #[arg(long, value_name = "NAME")]
    node: String,
    /// This run of the node: what its reports are known by
    #[arg(long, value_name = "UID")]
    uid: String,
    /// The id of the gateway's queue
    #[arg(long, value_name = "ID")]
    queue_id: String,
    /// The folder of the sealing keys
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// The folder that the configuration comes by; otherwise it comes by the Redis of the queue
    #[arg(long, value_name = "DIR", required_unless_present = "redis")]
    config: Option<PathBuf>,
    /// The gateway's folder: holds the embedded queue, and the socket for `posthouse-node queue`
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The Redis or Valkey that holds the queue, instead of the embedded one
    #[arg(long, value_name = "URL", env = "POSTHOUSE_REDIS_URL", hide_env_values = true)]
    redis: Option<String>,
}

/// Runs the node to its end; answers the exit code.
pub async fn run(args: RunArgs) -> anyhow::Result<u8> {
    let NodeEnd { mut sender, mut receiver } = NodeEnd::from_stdin()?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut heard = Vec::new();
    let store = tokio::select! {
        store = open_store(&args) => store?,
        _ = terminate.recv() => return Ok(0), // nothing was begun
        () = gone(&mut receiver, &mut sender, &mut heard) => return Ok(0),
    };
    let mut node = Running::start(&args, store, sender)?;
    for message in heard {
        node.hear(message).await;
    }
    node.serve(receiver, terminate).await
}

/// Keeps what the operator says for later; ends when it is gone, or asks the node to end.
async fn gone(receiver: &mut Receiver<ToNode>, sender: &mut Sender<FromNode>, heard: &mut Vec<ToNode>) {
    while let Ok(Some(message)) = receiver.receive().await {
        // Only the newest of each kind counts; sockets that are no longer wanted are closed.
        match &message {
            ToNode::Drain { within_ms: _ } => return,
            ToNode::Listeners(_) => heard.retain(|message| !matches!(message, ToNode::Listeners(_))),
            ToNode::Look => {
                say(sender, FromNode::Seen).await; // who waits for a store is not stuck; it looks when it begins
                continue;
            }
        }
        heard.push(message);
    }
}

/// Opens the queue; waits as long as it takes for a Redis that is away, or for somebody to mend a folder that cannot be opened.
async fn open_store(args: &RunArgs) -> anyhow::Result<Arc<dyn Store>> {
    let Some(url) = &args.redis else {
        let folder = args.state.as_deref().context("name --state DIR or --redis URL")?;
        // To end would help nothing: another node would be started, to find the same.
        return until_open(|_| true, || stores::embedded(folder)).await;
    };
    let is_away = |error: &StoreError| matches!(error, StoreError::Unavailable(_));
    until_open(is_away, || stores::redis(url, &args.gateway, &args.queue_id)).await
}

/// Opens the queue, again and again while what is wrong `may_pass`; says each reason once.
async fn until_open<F: Future<Output = Result<Arc<dyn Store>, StoreError>>>(
    may_pass: impl Fn(&StoreError) -> bool,
    open: impl Fn() -> F,
) -> anyhow::Result<Arc<dyn Store>> {
    let mut said = String::new();
    loop {
        let (error, again_after) = match open().await {
            Ok(store) => return Ok(store),
            Err(error) if !may_pass(&error) => return Err(error.into()),
            Err(StoreError::Unavailable(why)) => (why, STORE_AGAIN_AFTER),
            Err(StoreError::Refused(why)) => (why, REFUSED_AGAIN_AFTER),
            Err(error) => (error.to_string(), REFUSED_AGAIN_AFTER),
        };
        if error != said {
            tracing::warn!(event = "store_away", error, effect = "the node waits for it and takes no mail");
            said = error;
        }
        time::sleep(again_after).await;
    }
}

/// Where the configuration comes from.
fn origin(args: &RunArgs) -> anyhow::Result<Origin> {
    let channel = match (&args.config, &args.redis) {
        (Some(folder), _) => Channel::Directory(Directory::new(folder)),
        (None, Some(url)) => Channel::Redis(RedisChannel::new(url, &args.queue_id)?),
        (None, None) => anyhow::bail!("name --config DIR or --redis URL"),
    };
    Ok(Origin {
        channel,
        keys: KeyFolder::new(&args.keys),
        uid: args.uid.clone(),
        node: args.node.clone(),
        queue_id: args.queue_id.clone(),
    })
}

/// A node with its tasks.
struct Running {
    node: Arc<Node>,
    gateway: String,
    configuration: Configuration,
    readiness: Arc<Readiness>,
    listeners: Listeners,
    sender: Sender<FromNode>,
    said_ready: bool,
    metrics_served: bool,
    /// No new work is begun; sessions end at the next command.
    stop: CancellationToken,
    /// Everything ends.
    end: CancellationToken,
    presence: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(args: &RunArgs, store: Arc<dyn Store>, sender: Sender<FromNode>) -> anyhow::Result<Self> {
        let (stop, end) = (CancellationToken::new(), CancellationToken::new());
        let metrics = Arc::new(Metrics::new());
        let presence = Arc::new(Presence::new(Arc::clone(&store)));
        let settler = Settler::new(Arc::clone(&store), Arc::clone(&presence), Arc::clone(&metrics));
        let delivery = Delivery::new(settler, stop.clone());
        let (activator, work) = Activator::new();
        let node = Node::new(Arc::clone(&store), Arc::clone(&presence), metrics, delivery, activator);
        node.delivery.attach(&node);
        tokio::spawn(work.run(store, Arc::clone(&presence)));
        tokio::spawn(Arc::clone(&presence).tend(end.clone()));
        let presence = tokio::spawn(presence.keep(end.clone()));
        tokio::spawn(scheduler::run(Arc::clone(&node)));
        tokio::spawn(settle_budget(Arc::clone(&node), end.clone()));
        let (policies, told) = watch::channel(None);
        tokio::spawn(queue_modes::tell(Arc::clone(&node), told));
        let origin = origin(args)?;
        tokio::spawn(totals::keep(Arc::clone(&node), origin.channel.clone(), end.clone()));
        let configuration = Configuration::follow(origin, Arc::clone(&node), policies);
        if let Some(folder) = &args.state {
            let path = folder.join(locate::SOCKET);
            let socket =
                AdminSocket::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
            tokio::spawn(socket.serve(Arc::new(Operator::of(Arc::clone(&node))), end.clone()));
        }
        tracing::info!(event = "starting", node = args.node, gateway = args.gateway);
        Ok(Self {
            listeners: Listeners::new(Arc::clone(&node), files::make_room_for(MAX_CONNECTIONS), stop.clone()),
            gateway: args.gateway.clone(),
            configuration,
            readiness: Arc::default(),
            said_ready: false,
            metrics_served: false,
            node,
            sender,
            stop,
            end,
            presence,
        })
    }

    async fn serve(mut self, mut receiver: Receiver<ToNode>, mut terminate: Signal) -> anyhow::Result<u8> {
        let mut writable = self.node.presence.watch_writable();
        writable.mark_changed(); // what happened before counts as well
        let mut reported = self.configuration.reported();
        let drain = loop {
            tokio::select! {
                heard = receiver.receive() => match heard {
                    Ok(Some(message)) => if let Some(within) = self.hear(message).await {
                        events::Draining { why: "the operator asks for it" }.emit();
                        break within;
                    },
                    Ok(None) => {
                        events::Draining { why: "the operator is gone" }.emit();
                        break ORPHAN_DRAIN;
                    }
                    Err(error) => {
                        tracing::error!(event = "control_failed", error = %error);
                        break ORPHAN_DRAIN;
                    }
                },
                _ = terminate.recv() => {
                    events::Draining { why: "SIGTERM" }.emit();
                    break DRAIN;
                }
                changed = writable.changed() => if changed.is_ok() {
                    self.say_store_state(*writable.borrow_and_update()).await;
                },
                changed = reported.changed() => if changed.is_ok() {
                    self.say(FromNode::Reported).await;
                },
            }
            self.say_ready().await;
        };
        self.drain(drain, &mut receiver, &mut terminate).await;
        Ok(0)
    }

    /// Does what the operator says; how long a drain may take, if it asks for one.
    async fn hear(&mut self, message: ToNode) -> Option<Duration> {
        match message {
            ToNode::Listeners(listeners) => self.listen(listeners),
            ToNode::Look => {
                self.configuration.hint();
                self.say(FromNode::Seen).await;
            }
            ToNode::Drain { within_ms } => return Some(Duration::from_millis(within_ms)),
        }
        None
    }

    fn listen(&mut self, listeners: NewListeners) {
        let NewListeners { sockets, metrics } = listeners;
        self.listeners.replace(sockets);
        if !self.metrics_served {
            self.metrics_served = true;
            let serving =
                health::serve(metrics, Arc::clone(&self.node), Arc::clone(&self.readiness), self.end.clone());
            tokio::spawn(async move {
                if let Err(error) = serving.await {
                    tracing::error!(event = "metrics_failed", error = %error);
                }
            });
        }
        self.readiness.set_listening();
    }

    async fn say_ready(&mut self) {
        if !self.said_ready && self.readiness.why_not(&self.node).is_none() {
            self.said_ready = true;
            events::Ready { gateway: &self.gateway }.emit();
            self.say(FromNode::Ready).await;
        }
    }

    async fn say_store_state(&mut self, writable: bool) {
        if self.said_ready {
            let reason = if writable { "the store is back" } else { "the store does not take writes" };
            self.say(FromNode::Status(Status { ready: writable, reason: reason.to_owned() })).await;
        }
    }

    async fn say(&mut self, message: FromNode) {
        say(&mut self.sender, message).await;
    }

    /// Ends in order: no new mail, sessions end, attempts end, everything is settled, the incarnation departs.
    async fn drain(mut self, within: Duration, receiver: &mut Receiver<ToNode>, terminate: &mut Signal) {
        self.readiness.set_draining();
        self.stop.cancel();
        let deadline = time::Instant::now() + within;
        let node = Arc::clone(&self.node);
        let ended = async {
            self.listeners.close().await;
            node.delivery.finished().await;
        };
        tokio::select! {
            () = ended => {}
            () = time::sleep_until(deadline) => tracing::warn!(event = "drain_cut", effect = "sessions and attempts under way are broken off; nothing accepted is lost"),
            () = answer(receiver, &mut self.sender) => {}
            _ = terminate.recv() => tracing::warn!(event = "drain_cut", effect = "second SIGTERM: ends at once"),
        }
        self.end.cancel();
        let _ = time::timeout(LAST_WORDS, self.presence).await;
    }
}

/// Tells the operator, as long as it asks, that a node which ends lives. Never returns: its end is no reason to end sooner.
async fn answer(receiver: &mut Receiver<ToNode>, sender: &mut Sender<FromNode>) {
    while let Ok(Some(message)) = receiver.receive().await {
        if matches!(message, ToNode::Look) {
            say(sender, FromNode::Seen).await;
        }
    }
    std::future::pending::<()>().await;
}

async fn say(sender: &mut Sender<FromNode>, message: FromNode) {
    if let Err(error) = sender.send(message).await
        && !matches!(error, ControlError::Gone)
    {
        tracing::warn!(event = "control_failed", error = %error); // its end is noticed by the receiver
    }
}

/// Now and then gives back the part of the byte budget that is not used.
async fn settle_budget(node: Arc<Node>, end: CancellationToken) {
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            () = time::sleep(Duration::from_secs(5)) => node.budget.settle().await,
        }
    }
}
