//! The nodes of all gateways: what each is to serve, who is ready, what `local.json` says of it. It publishes snapshots and starts the tasks
//! that keep nodes running.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use posthouse_channel::{Directory, control::FromNode};
use posthouse_compiler::{Claims, ObjectKey, Severity};
use posthouse_config::{Snapshot, SnapshotHash};
use posthouse_model::Timestamp;
use tokio::sync::{mpsc, watch};

use super::{
    node::{self, Event, Launch, NodeId, Order, Store, What},
    run::DRAIN,
    sockets::{self, Sockets, Unbound, Wanted},
    state::{LocalListener, LocalNode, LocalRun, State},
};
use crate::{
    failure::{Failure, cannot_listen},
    finding::Finding,
    logging::Format,
    reader::Identity,
};

/// What holds for the whole run.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// The node program.
    pub(super) program: PathBuf,
    /// Where mail listeners listen.
    pub(super) listen: IpAddr,
    /// On any free ports.
    pub(super) ephemeral_ports: bool,
    /// How many nodes a gateway has.
    pub(super) nodes: u16,
    /// The Redis that holds the queues; absent: they are embedded.
    pub(super) redis: Option<String>,
    pub(super) log_format: Format,
}

/// All gateways of a run.
#[derive(Debug)]
pub(super) struct Fleet {
    settings: Settings,
    state: State,
    events: mpsc::Sender<Event>,
    gateways: BTreeMap<ObjectKey, Gateway>,
    /// What `local.json` says; nothing until everything has been ready.
    written: Option<LocalRun>,
    is_ending: bool,
}

/// What came of applying the manifests.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Worth saying.
    pub(super) findings: Vec<Finding>,
    /// What could not be done, each for one gateway.
    pub(super) failures: Vec<Failure>,
}

#[derive(Debug)]
struct Gateway {
    directory: Directory,
    /// The snapshot that holds, and its name; absent only until the first is published.
    published: Option<(SnapshotHash, Arc<Snapshot>)>,
    wanted: Vec<Wanted>,
    nodes: Vec<Node>,
    /// Its manifest is gone; its nodes are ending.
    is_leaving: bool,
}

#[derive(Debug)]
struct Node {
    id: NodeId,
    sockets: Arc<Sockets>,
    /// Absent until it was started.
    orders: Option<watch::Sender<Order>>,
    /// The process that was ready last.
    ready: Option<u32>,
    has_ended: bool,
}

/// A listener of a gateway that could not be bound.
#[derive(Debug)]
pub(super) struct Closed {
    gateway: ObjectKey,
    unbound: Unbound,
}

impl Fleet {
    /// No gateway yet.
    pub(super) fn new(settings: Settings, state: State, events: mpsc::Sender<Event>) -> Self {
        Self { settings, state, events, gateways: BTreeMap::new(), written: None, is_ending: false }
    }

    /// What holds for the whole run.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Who held what when the run before ended.
    pub(super) fn claims(&self) -> Claims {
        self.state.claims()
    }

    /// Keeps who holds what for the run after this one.
    pub(super) fn remember(&self, claims: &Claims) -> Result<(), Failure> {
        self.state.write_claims(claims)
    }

    /// The snapshot that a gateway goes by until another is published, be it from a run before.
    pub(super) fn in_force(&self, key: &ObjectKey) -> Option<Arc<Snapshot>> {
        let published = match self.gateways.get(key) {
            Some(gateway) => gateway.published.clone(),
            None => last_snapshot(&Directory::new(self.config_folder(key))),
        };
        published.map(|(_, snapshot)| snapshot)
    }

    fn config_folder(&self, key: &ObjectKey) -> PathBuf {
        self.state.gateway_folder(key).join("config")
    }

    /// Makes the gateways what the manifests say: publishes snapshots, binds listeners, lets go of gateways that are gone. A gateway without
    /// a snapshot is refused as it is written now: it goes on with the last one it had, be it from a run before. New nodes wait for
    /// [`start`](Self::start).
    pub(super) fn apply(&mut self, wanted: &BTreeMap<ObjectKey, Option<&Snapshot>>) -> Applied {
        let Applied { mut findings, mut failures } = Applied::default();
        for (key, gateway) in &mut self.gateways {
            if !wanted.contains_key(key) {
                tracing::info!(gateway = %key, "its manifest is gone: the gateway's nodes drain");
                gateway.leave(&Order::Drain(DRAIN));
            }
        }
        for (key, snapshot) in wanted {
            let is_first = self.gateways.is_empty();
            match self.gateways.get_mut(key) {
                Some(gateway) if gateway.is_leaving => {} // it comes back when its nodes have let go of its queue
                Some(gateway) => {
                    let published = snapshot.map(|snapshot| gateway.publish(key, snapshot, &self.settings));
                    failures.extend(published.and_then(Result::err));
                }
                None if !self.settings.ephemeral_ports && !is_first => findings.push(Finding {
                    resource: Some(identity(key)),
                    severity: Severity::Error,
                    field: None,
                    reason: "SamePorts".to_owned(),
                    message: "a second gateway is not started: it would want ports of the first; start again with --ephemeral-ports".to_owned(),
                    place: None,
                }),
                None => match self.new_gateway(key, *snapshot) {
                    Ok(gateway) => self.gateways.extend(gateway.map(|gateway| (key.clone(), gateway))),
                    Err(failure) => failures.push(failure),
                },
            }
        }
        Applied { findings, failures }
    }

    fn new_gateway(&self, key: &ObjectKey, snapshot: Option<&Snapshot>) -> Result<Option<Gateway>, Failure> {
        let directory = Directory::create(self.config_folder(key))?;
        let published = last_snapshot(&directory);
        let last = published.as_ref().map(|(_, snapshot)| Arc::clone(snapshot));
        let snapshot = match (snapshot, last.as_deref()) {
            (Some(snapshot), _) => snapshot,
            (None, Some(last)) => {
                tracing::warn!(gateway = %key, "the gateway starts with the last configuration that was good");
                last
            }
            (None, None) => return Ok(None),
        };
        let nodes = (0..self.settings.nodes).map(|number| {
            let id = NodeId { gateway: key.clone(), number };
            let sockets = Sockets::with_metrics().map_err(|Unbound { name, address, error }| {
                Failure::Listen { what: format!("{name} of {key}"), address, source: error }
            })?;
            Ok(Node { id, sockets: Arc::new(sockets), orders: None, ready: None, has_ended: false })
        });
        let nodes = nodes.collect::<Result<_, Failure>>()?;
        let mut gateway = Gateway { directory, published, wanted: Vec::new(), nodes, is_leaving: false };
        gateway.publish(key, snapshot, &self.settings)?;
        Ok(Some(gateway))
    }

    /// Binds what is not bound, and hands it to the nodes; says what stays closed.
    pub(super) fn bind(&mut self) -> Vec<Closed> {
        let mut closed = Vec::new();
        for (key, gateway) in self.gateways.iter_mut().filter(|(_, gateway)| !gateway.is_leaving) {
            for node in &mut gateway.nodes {
                let (sockets, unbound) = node.sockets.rebound(&gateway.wanted);
                closed.extend(unbound.into_iter().map(|unbound| Closed { gateway: key.clone(), unbound }));
                if !node.sockets.is_same(&sockets) {
                    node.sockets = Arc::new(sockets);
                }
                if let Some((hash, _)) = &gateway.published {
                    node.order(*hash);
                }
            }
        }
        closed
    }

    /// Starts the nodes that were never started.
    pub(super) fn start(&mut self) {
        for gateway in self.gateways.values_mut().filter(|gateway| !gateway.is_leaving) {
            let Some((hash, _)) = gateway.published else { continue };
            for node in gateway.nodes.iter_mut().filter(|node| node.orders.is_none()) {
                let order = Order::Serve(Arc::clone(&node.sockets), hash);
                let (orders, received) = watch::channel(order);
                let folder = self.state.gateway_folder(&node.id.gateway);
                let store = self.settings.redis.clone().map_or(Store::Embedded(folder), Store::Redis);
                let launch = Launch {
                    program: self.settings.program.clone(),
                    id: node.id.clone(),
                    config: gateway.directory.path().to_owned(),
                    store,
                    log_format: self.settings.log_format,
                };
                tokio::spawn(node::supervise(launch, received, self.events.clone()));
                node.orders = Some(orders);
            }
        }
    }

    /// Takes in what happened to a node; whether a gateway is gone for good, so that one of its name may come again.
    pub(super) fn take(&mut self, event: Event) -> bool {
        let Event { id, what } = event;
        let Some(gateway) = self.gateways.get_mut(&id.gateway) else { return false };
        let Some(node) = gateway.nodes.get_mut(usize::from(id.number)) else { return false };
        match what {
            What::Ready(pid) => {
                tracing::info!(node = %id, gateway = %id.gateway, pid, "node is ready");
                node.ready = Some(pid);
            }
            What::Said(said) => log(&id, said),
            What::Ended(_) => node.has_ended = true,
        }
        let is_gone = gateway.is_leaving && gateway.nodes.iter().all(|node| node.has_ended);
        if is_gone {
            self.gateways.remove(&id.gateway);
        }
        self.write();
        is_gone
    }

    /// Writes `local.json` if it is to say something else, and only once all has been ready.
    pub(super) fn write(&mut self) {
        let is_ready = || !self.gateways.is_empty() && self.staying().all(|node| node.ready.is_some());
        if self.is_ending || self.written.is_none() && !is_ready() {
            return;
        }
        let run = self.local_run();
        if self.written.as_ref() == Some(&run) {
            return;
        }
        if let Err(failure) = self.state.write_local_run(&run) {
            tracing::error!("{failure}"); // what is written then is no longer true, but mail goes on
            return;
        }
        if self.written.is_none() {
            for LocalNode { gateway, node, metrics, listeners, .. } in &run.nodes {
                for LocalListener { name, protocol, address } in listeners {
                    tracing::info!(gateway, node, listener = name, protocol, %address, "listening");
                }
                tracing::info!(gateway, node, address = %metrics, "metrics and health");
            }
            tracing::info!(state = %self.state.folder().display(), "ready");
        }
        self.written = Some(run);
    }

    fn staying(&self) -> impl Iterator<Item = &Node> {
        self.gateways.values().filter(|gateway| !gateway.is_leaving).flat_map(|gateway| &gateway.nodes)
    }

    fn local_run(&self) -> LocalRun {
        let ready = self.staying().filter_map(|node| {
            let listeners = node.sockets.mail.iter().map(|bound| LocalListener {
                name: bound.name.clone(),
                protocol: bound.protocol.clone(),
                address: bound.address,
            });
            Some(LocalNode {
                gateway: node.id.gateway.to_string(),
                node: node.id.to_string(),
                pid: node.ready?,
                metrics: node.sockets.metrics_address,
                listeners: listeners.collect(),
            })
        });
        LocalRun { nodes: ready.collect() }
    }

    /// Ends all nodes. `local.json` goes first: from now on nobody shall come.
    pub(super) fn end(&mut self, order: &Order) {
        self.is_ending = true;
        if let Err(failure) = self.state.remove_local_run() {
            tracing::error!("{failure}");
        }
        for gateway in self.gateways.values_mut() {
            gateway.leave(order);
        }
        self.gateways.retain(|_, gateway| !gateway.nodes.iter().all(|node| node.has_ended));
    }

    /// Whether there is no gateway, or none any more.
    pub(super) fn is_empty(&self) -> bool {
        self.gateways.is_empty()
    }
}

impl Gateway {
    fn publish(&mut self, key: &ObjectKey, snapshot: &Snapshot, settings: &Settings) -> Result<(), Failure> {
        let last = self.published.as_ref().map(|(_, snapshot)| &**snapshot);
        let generation = generation(last, snapshot, now());
        let snapshot = Snapshot { generation, ..snapshot.clone() };
        let (encoded, hash) = snapshot
            .encode_and_hash()
            .map_err(|source| Failure::Encoding { gateway: key.to_string(), source })?;
        self.directory.publish(&encoded)?;
        self.wanted = sockets::wanted(&snapshot, settings.listen, settings.ephemeral_ports);
        if self.published.as_ref().is_none_or(|(published, _)| *published != hash) {
            tracing::info!(gateway = %key, snapshot = %hash, generation, "snapshot published");
        }
        self.published = Some((hash, Arc::new(snapshot)));
        Ok(())
    }

    fn leave(&mut self, order: &Order) {
        if self.is_leaving && !matches!(order, Order::Kill) {
            return; // a second drain would only begin its time anew
        }
        self.is_leaving = true;
        self.wanted.clear();
        for node in &mut self.nodes {
            match (&node.orders, node.sockets.without_listeners()) {
                (Some(orders), sockets) => {
                    orders.send_replace(order.clone());
                    node.sockets = Arc::new(sockets); // nobody shall wait in one for a node that comes back
                }
                (None, _) => node.has_ended = true, // it never began
            }
        }
    }
}

impl Node {
    fn order(&self, hash: SnapshotHash) {
        let Some(orders) = &self.orders else { return };
        orders.send_if_modified(|order| {
            let is_same = matches!(order, Order::Serve(sockets, told) if Arc::ptr_eq(sockets, &self.sockets) && *told == hash);
            if !is_same {
                *order = Order::Serve(Arc::clone(&self.sockets), hash);
            }
            !is_same
        });
    }
}

impl Closed {
    /// For a run that begins: it ends.
    pub(super) fn into_failure(self) -> Failure {
        let Self { gateway, unbound: Unbound { name, address, error } } = self;
        Failure::Listen { what: format!("listener {name} of {gateway}"), address, source: error }
    }

    /// For a run that goes on: the listener stays closed and is tried again.
    pub(super) fn finding(&self) -> Finding {
        let Self { gateway, unbound: Unbound { name, address, error } } = self;
        Finding {
            resource: Some(identity(gateway)),
            severity: Severity::Error,
            field: Some(format!("spec.listeners[{name}].port")),
            reason: "CannotListen".to_owned(),
            message: cannot_listen(&format!("listener {name}"), *address, error),
            place: None,
        }
    }
}

fn identity(gateway: &ObjectKey) -> Identity {
    Identity { kind: "MailGateway".to_owned(), key: gateway.clone() }
}

/// The last good snapshot of a run before.
fn last_snapshot(directory: &Directory) -> Option<(SnapshotHash, Arc<Snapshot>)> {
    let (hash, encoded) = directory.read_current().ok().flatten()?;
    Some((hash, Arc::new(Snapshot::decode_verified(&encoded, hash).ok()?)))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The generation of a snapshot that is to be published: that of the last one if it says the same, else a greater one. The clock is in it so that
/// a Redis that outlives this state still sees it grow.
fn generation(last: Option<&Snapshot>, snapshot: &Snapshot, now: Timestamp) -> u64 {
    match last {
        Some(last) if Snapshot { generation: last.generation, ..snapshot.clone() } == *last => {
            last.generation
        }
        Some(last) => now.0.max(last.generation + 1),
        None => now.0,
    }
}

fn log(id: &NodeId, said: FromNode) {
    let gateway = &id.gateway;
    match said {
        FromNode::Ready => {}
        FromNode::Applied { hash } => {
            tracing::info!(node = %id, %gateway, snapshot = %hash, "snapshot applied");
        }
        FromNode::Refused { hash, resource, reason } => tracing::error!(
            node = %id, %gateway, snapshot = %hash, resource,
            "the node refuses the snapshot and goes on with the one before: {reason}"
        ),
        FromNode::Status(status) if status.ready => {
            tracing::info!(node = %id, %gateway, "node takes mail again: {}", status.reason);
        }
        FromNode::Status(status) => {
            tracing::warn!(node = %id, %gateway, "node takes no mail: {}", status.reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use posthouse_config::{Gateway, ResourceName};

    use super::*;

    fn snapshot(hostname: &str, generation: u64) -> Snapshot {
        let origin = ResourceName::new("mail", "edge").unwrap();
        Snapshot { generation, ..Snapshot::new(Gateway::new(origin, hostname.parse().unwrap())) }
    }

    #[test]
    fn a_generation_grows_with_each_change_and_only_then() {
        let new = snapshot("b.example", 0);
        assert_eq!(generation(None, &new, Timestamp(7)), 7);
        assert_eq!(generation(Some(&snapshot("b.example", 5)), &new, Timestamp(7)), 5);
        assert_eq!(generation(Some(&snapshot("a.example", 5)), &new, Timestamp(7)), 7);
        let clock_went_back = generation(Some(&snapshot("a.example", 9)), &new, Timestamp(7));
        assert_eq!(clock_went_back, 10);
    }
}
