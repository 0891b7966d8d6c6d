//! All gateways of a run: which there are, who is ready, what `local.json` says of it.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use posthouse_compiler::{Claims, ObjectKey, Severity};
use posthouse_config::Snapshot;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use super::{
    event::Event,
    gateway::{self, Gateway, Node, key_folder},
    node::Order,
    publishing::{self, Found, Wish},
    run::DRAIN,
    sockets::Unbound,
    state::{LocalListener, LocalNode, LocalRun, State},
};
use crate::{
    failure::{Failure, cannot_listen},
    finding::Finding,
    logging::Format,
    reader::Identity,
    status::observation::{Counted, Nodes},
};

/// How long giving the leases back may take at the end: a Redis that is away gets none.
const LAST_WORDS: Duration = Duration::from_secs(2);

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
    /// What the run before had in force, until its gateway runs.
    before: BTreeMap<ObjectKey, Arc<Snapshot>>,
    /// What was found to be published when this run began, until its gateway runs.
    found: BTreeMap<ObjectKey, Found>,
    /// Gateways that are gone: their leases are being given back.
    endings: JoinSet<()>,
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

/// A listener of a gateway that could not be bound.
#[derive(Debug)]
pub(super) struct Closed {
    gateway: ObjectKey,
    unbound: Unbound,
}

impl Fleet {
    /// No gateway yet; what the run before left of these, each with the id of its queue, is read.
    pub(super) async fn new(
        settings: Settings,
        state: State,
        events: mpsc::Sender<Event>,
        gateways: impl IntoIterator<Item = (ObjectKey, String)>,
    ) -> Self {
        let (mut before, mut found) = (BTreeMap::new(), BTreeMap::new());
        for (key, queue_id) in gateways {
            let folder = state.gateway_folder(&key);
            // Who has no keys was given nothing before, and could not read it.
            if key_folder(&folder).look().is_err() {
                continue;
            }
            let Ok(channels) = gateway::channels(&folder, settings.redis.as_deref(), &queue_id) else {
                continue;
            };
            let last = publishing::find(&key, &channels, &key_folder(&folder)).await;
            before.extend(last.iter().map(|last| (key.clone(), Arc::clone(&last.snapshot))));
            found.insert(key, last);
        }
        Self {
            settings,
            state,
            events,
            gateways: BTreeMap::new(),
            before,
            found,
            endings: JoinSet::new(),
            written: None,
            is_ending: false,
        }
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

    /// The snapshot that a gateway goes by until another is good, be it from a run before.
    pub(super) fn in_force(&self, key: &ObjectKey) -> Option<&Arc<Snapshot>> {
        self.gateways.get(key).map(Gateway::snapshot).or_else(|| self.before.get(key))
    }

    /// Makes the gateways what the manifests say: publishes snapshots, binds listeners, lets go of gateways that are gone. A gateway without
    /// a snapshot is refused as it is written now: it goes on with the last one it had, be it from a run before. New nodes wait for
    /// [`start`](Self::start).
    pub(super) fn apply(
        &mut self,
        reading: u64,
        wanted: &BTreeMap<ObjectKey, Option<&Arc<Snapshot>>>,
    ) -> Applied {
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
                    if let Some(snapshot) = snapshot {
                        gateway.want(Wish { reading, snapshot: Arc::clone(snapshot) }, &self.settings);
                    }
                }
                None if !self.settings.ephemeral_ports && !is_first => findings.push(Finding {
                    resource: Some(identity(key)),
                    severity: Severity::Error,
                    field: None,
                    reason: "SamePorts".to_owned(),
                    message: "a second gateway is not started: it would want ports of the first; start again with --ephemeral-ports".to_owned(),
                    place: None,
                }),
                None => match self.new_gateway(key, reading, *snapshot) {
                    Ok(gateway) => self.gateways.extend(gateway.map(|gateway| (key.clone(), gateway))),
                    Err(failure) => failures.push(failure),
                },
            }
        }
        Applied { findings, failures }
    }

    fn new_gateway(
        &mut self,
        key: &ObjectKey,
        reading: u64,
        snapshot: Option<&Arc<Snapshot>>,
    ) -> Result<Option<Gateway>, Failure> {
        let snapshot = match (snapshot, self.before.get(key)) {
            (Some(snapshot), _) => snapshot,
            (None, Some(last)) => {
                tracing::warn!(gateway = %key, "the gateway starts with the last configuration that was good");
                last
            }
            (None, None) => return Ok(None),
        };
        let folder = self.state.gateway_folder(key);
        let wish = Wish { reading, snapshot: Arc::clone(snapshot) };
        let found = self.found.remove(key);
        let lease = self.state.lease().clone();
        Gateway::new(key, folder, wish, found, lease, &self.settings, &self.events).map(Some)
    }

    /// The nodes of every gateway that stays, as statuses are judged from them.
    pub(super) fn nodes(&self) -> BTreeMap<ObjectKey, Nodes> {
        self.running().map(|(key, gateway)| (key.clone(), gateway.observed())).collect()
    }

    /// What waits in the queues of every gateway that stays.
    pub(super) fn counted(&self) -> BTreeMap<ObjectKey, Counted> {
        self.running().filter_map(|(key, gateway)| Some((key.clone(), gateway.counted()?))).collect()
    }

    /// For each gateway the reading that is published, and the sequence of its publication.
    pub(super) fn published(&self) -> BTreeMap<ObjectKey, (u64, u64)> {
        self.running().filter_map(|(key, gateway)| Some((key.clone(), gateway.covered()?))).collect()
    }

    /// What keeps gateways from having what their manifests say.
    pub(super) fn findings(&self) -> Vec<Finding> {
        self.running().filter_map(|(_, gateway)| gateway.finding()).collect()
    }

    fn running(&self) -> impl Iterator<Item = (&ObjectKey, &Gateway)> {
        self.gateways.iter().filter(|(_, gateway)| !gateway.is_leaving)
    }

    /// The state folder.
    pub(super) fn state(&self) -> &Path {
        self.state.folder()
    }

    /// Binds what is not bound, and hands it to the nodes; says what stays closed.
    pub(super) fn bind(&mut self) -> Vec<Closed> {
        let staying = self.gateways.iter_mut().filter(|(_, gateway)| !gateway.is_leaving);
        let closed = staying.flat_map(|(key, gateway)| {
            gateway.bind().into_iter().map(|unbound| Closed { gateway: key.clone(), unbound })
        });
        closed.collect()
    }

    /// Starts the nodes that were never started.
    pub(super) fn start(&mut self) {
        for gateway in self.gateways.values_mut().filter(|gateway| !gateway.is_leaving) {
            gateway.start(&self.settings, &self.events);
        }
    }

    /// Takes in what happened; whether a gateway is gone for good, so that one of its name may come again.
    pub(super) fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Node { id, what } => {
                let Some(gateway) = self.gateways.get_mut(&id.gateway) else { return false };
                gateway.take(id.number, what);
                let is_gone = gateway.is_gone();
                if is_gone {
                    self.let_go(&id.gateway);
                }
                self.write();
                is_gone
            }
            Event::Gateway { gateway, told } => {
                if let Some(gateway) = self.gateways.get_mut(&gateway) {
                    gateway.hear(told);
                }
                false
            }
        }
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
        let gone = self.gateways.iter().filter(|(_, gateway)| gateway.is_gone());
        for key in gone.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.let_go(&key);
        }
    }

    /// A gateway is gone: what it had in force is remembered, its lease is given back.
    fn let_go(&mut self, key: &ObjectKey) {
        let Some(gone) = self.gateways.remove(key) else { return };
        self.before.insert(key.clone(), Arc::clone(gone.snapshot()));
        self.endings.spawn(gone.end());
    }

    /// Waits until the leases of all that are gone are given back, but not long.
    pub(super) async fn finish(&mut self) {
        while let Ok(Some(_)) = timeout(LAST_WORDS, self.endings.join_next()).await {}
    }

    /// Whether there is no gateway, or none any more.
    pub(super) fn is_empty(&self) -> bool {
        self.gateways.is_empty()
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
