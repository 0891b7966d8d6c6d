//! One gateway of a run: what it is to be, its nodes, what they say. It binds sockets; tasks of their own publish and keep nodes running.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Instant};

use posthouse_channel::{
    Channel, ChannelError, Directory, KeyFolder, Lease, Published, Publisher, RedisChannel, Report, Totals,
};
use posthouse_compiler::{ObjectKey, Severity};
use posthouse_config::{Part, Snapshot};
use posthouse_crds::Kind;
use tokio::sync::{mpsc, watch};

use super::{
    event::{Event, NodeId, Told, Trouble, What},
    fleet::Settings,
    node::{self, Launch, Order, Store},
    publishing::{Found, Publishing, Wish},
    sockets::{self, Sockets, Unbound, Wanted},
};
use crate::{
    failure::Failure,
    finding::Finding,
    reader::Identity,
    status::observation::{Counted, LiveNode, NodeRefusal, Nodes},
};

/// A gateway that runs.
#[derive(Debug)]
pub(super) struct Gateway {
    key: ObjectKey,
    /// The gateway's part of the state.
    folder: PathBuf,
    /// The last good snapshot, published or about to be.
    snapshot: Arc<Snapshot>,
    /// The reading that is published.
    reading: u64,
    publishing: Publishing,
    /// What the nodes are to run, once that is there for them.
    pub(super) published: Option<Published>,
    /// When what is to be published was wanted, until every node runs it.
    wanted_since: Option<Instant>,
    /// Publications so far in this run.
    news: u64,
    /// What the nodes report.
    pub(super) reports: Vec<Report>,
    /// What waits in its queues, once that was counted.
    totals: Option<Arc<Totals>>,
    /// Why nothing can be published just now.
    pub(super) trouble: Option<Trouble>,
    pub(super) wanted: Vec<Wanted>,
    pub(super) nodes: Vec<Node>,
    /// Its manifest is gone; its nodes are ending.
    pub(super) is_leaving: bool,
}

/// A node of it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) sockets: Arc<Sockets>,
    /// Absent until it was started.
    orders: Option<watch::Sender<Order>>,
    /// This run of it; none between two.
    uid: Option<String>,
    /// The process that was ready last.
    pub(super) ready: Option<u32>,
    /// Whether the run that is under way has been ready.
    pub(super) is_ready: bool,
    /// Why it takes no mail, where it says so itself.
    pub(super) trouble: Option<String>,
    pub(super) has_ended: bool,
}

/// Where the parts of a gateway's state are.
pub(super) fn config_folder(folder: &std::path::Path) -> PathBuf {
    folder.join("config")
}

/// Where its configuration is published: the folder is always one of them, for it is what the run after this one knows of this one. It comes first,
/// so that it is never behind what nodes ran, and a disk that is full stops a publication before any node hears of it.
pub(super) fn channels(
    folder: &std::path::Path,
    redis: Option<&str>,
    queue_id: &str,
) -> Result<Vec<Channel>, ChannelError> {
    let own = Channel::Directory(Directory::new(config_folder(folder)));
    let shared = redis.map(|url| RedisChannel::new(url, queue_id).map(Channel::Redis)).transpose()?;
    Ok([own].into_iter().chain(shared).collect())
}

/// Its sealing keys.
pub(super) fn key_folder(folder: &std::path::Path) -> KeyFolder {
    KeyFolder::new(folder.join("keys"))
}

impl Gateway {
    /// A gateway with its first snapshot, and what was `found` to be published, if that was looked for; its nodes wait for [`start`](Self::start).
    pub(super) fn new(
        key: &ObjectKey,
        folder: PathBuf,
        wish: Wish,
        found: Option<Found>,
        lease: Lease,
        settings: &Settings,
        events: &mpsc::Sender<Event>,
    ) -> Result<Self, Failure> {
        let snapshot = Arc::clone(&wish.snapshot);
        let keys = key_folder(&folder);
        if keys.read().is_err_and(|error| matches!(error, posthouse_channel::KeyFolderError::Empty(_))) {
            keys.create()?;
        }
        Directory::create(config_folder(&folder))?;
        let channels = channels(&folder, settings.redis.as_deref(), &snapshot.gateway.queue.id)?;
        let nodes = (0..settings.nodes).map(|number| {
            let id = NodeId { gateway: key.clone(), number };
            let sockets = Sockets::with_metrics().map_err(|Unbound { name, address, error }| {
                Failure::Listen { what: format!("{name} of {key}"), address, source: error }
            })?;
            Ok(Node::new(id, sockets))
        });
        let nodes = nodes.collect::<Result<_, Failure>>()?;
        let publisher = Publisher::new(channels, keys, lease);
        let publishing = Publishing::start(key.clone(), publisher, wish, found, events.clone());
        Ok(Self {
            key: key.clone(),
            folder,
            wanted: sockets::wanted(&snapshot, settings.listen, settings.ephemeral_ports),
            snapshot,
            reading: 0,
            publishing,
            published: None,
            wanted_since: Some(Instant::now()),
            news: 0,
            reports: Vec::new(),
            totals: None,
            trouble: None,
            nodes,
            is_leaving: false,
        })
    }

    /// The last good snapshot.
    pub(super) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// From now on it is to be this.
    pub(super) fn want(&mut self, wish: Wish, settings: &Settings) {
        self.wanted = sockets::wanted(&wish.snapshot, settings.listen, settings.ephemeral_ports);
        self.snapshot = Arc::clone(&wish.snapshot);
        self.wanted_since.get_or_insert_with(Instant::now);
        self.publishing.want(wish);
    }

    /// Binds what is not bound, and hands it to the nodes; what stays closed.
    pub(super) fn bind(&mut self) -> Vec<Unbound> {
        let mut closed = Vec::new();
        for node in &mut self.nodes {
            let (sockets, unbound) = node.sockets.rebound(&self.wanted);
            closed.extend(unbound);
            if !node.sockets.is_same(&sockets) {
                node.sockets = Arc::new(sockets);
            }
            node.order(self.news);
        }
        closed
    }

    /// Starts the nodes that were never started.
    pub(super) fn start(&mut self, settings: &Settings, events: &mpsc::Sender<Event>) {
        for node in self.nodes.iter_mut().filter(|node| node.orders.is_none()) {
            let (orders, received) = watch::channel(Order::Serve(Arc::clone(&node.sockets), self.news));
            let store = match &settings.redis {
                Some(url) => Store::Redis(url.clone()),
                None => Store::Embedded { folder: self.folder.clone(), config: config_folder(&self.folder) },
            };
            let launch = Launch {
                program: settings.program.clone(),
                id: node.id.clone(),
                keys: key_folder(&self.folder).path().to_owned(),
                queue_id: self.snapshot.gateway.queue.id.to_string(),
                store,
                log_format: settings.log_format,
            };
            tokio::spawn(node::supervise(launch, received, events.clone()));
            node.orders = Some(orders);
        }
    }

    /// Takes in what happened to a node.
    pub(super) fn take(&mut self, number: u16, what: What) {
        let Some(node) = self.nodes.get_mut(usize::from(number)) else { return };
        match what {
            What::Reported => return self.publishing.reported(),
            what => node.take(what),
        }
        let runs = self.nodes.iter().filter_map(|node| Some((node.uid.clone()?, node.is_ready)));
        self.publishing.set_runs(&runs.collect());
    }

    /// Takes in what happened to its configuration.
    pub(super) fn hear(&mut self, told: Told) {
        match told {
            Told::Published { reading, published } => {
                self.reading = reading;
                if self.published.as_ref() == Some(&published) {
                    self.wanted_since = None; // it says the same
                    return;
                }
                let Published { epoch, hash, schema, downgraded, .. } = &published;
                tracing::info!(gateway = %self.key, publication = %epoch, snapshot = %hash, schema, "snapshot published");
                for part in downgraded {
                    let (resource, meanwhile) = match part {
                        Part::Gateway => (
                            format!("MailGateway {}", self.key),
                            "listeners that need a newer one are closed",
                        ),
                        Part::Domain(name) => (format!("MailDomain {name}"), "its mail waits or gets 451"),
                        Part::Rule(name) => (format!("RelayRule {name}"), "its mail waits"),
                    };
                    tracing::warn!(gateway = %self.key, resource, "a node is too old for all of this: {meanwhile}");
                }
                self.published = Some(published);
                self.news += 1;
                self.nodes.iter().for_each(|node| node.order(self.news));
            }
            Told::Reports(reports) => {
                let before: BTreeMap<_, _> =
                    self.reports.iter().map(|report| (report.uid.as_str(), report)).collect();
                for report in &reports {
                    say(&self.key, report, before.get(report.uid.as_str()).copied());
                }
                self.reports = reports;
                self.say_propagation();
            }
            Told::Totals(totals) => self.totals = Some(totals),
            Told::Trouble(trouble) => {
                if let Some(Trouble { why, .. }) = &trouble {
                    tracing::error!(
                        gateway = %self.key,
                        "the configuration cannot be published: {why}; the nodes go on with what they have, and it is tried again"
                    );
                } else {
                    tracing::info!(gateway = %self.key, "the configuration can be published again");
                }
                self.trouble = trouble;
            }
        }
    }

    /// Says once of each publication that every node runs it.
    fn say_propagation(&mut self) {
        let (Some(since), Some(published)) = (self.wanted_since, &self.published) else { return };
        let runs: Vec<_> = self.nodes.iter().filter_map(|node| node.uid.as_deref()).collect();
        let has = |uid: &&str| {
            self.reports.iter().any(|report| report.uid == *uid && report.has_applied(published.epoch))
        };
        if !runs.is_empty() && runs.iter().all(has) {
            let (nodes, milliseconds) = (runs.len(), since.elapsed().as_millis());
            tracing::info!(gateway = %self.key, publication = %published.epoch, nodes, milliseconds, "in force on every node");
            self.wanted_since = None;
        }
    }

    /// The reading that is published, and the sequence of its publication.
    pub(super) fn covered(&self) -> Option<(u64, u64)> {
        Some((self.reading, self.published.as_ref()?.epoch.sequence))
    }

    /// Its nodes, as statuses are judged from them.
    pub(super) fn observed(&self) -> Nodes {
        let reports: BTreeMap<_, _> =
            self.reports.iter().map(|report| (report.uid.as_str(), report)).collect();
        let live = self.nodes.iter().filter_map(|node| {
            let report = reports.get(node.uid.as_deref()?);
            let refused = report.and_then(|report| report.refused.as_ref());
            let live = LiveNode {
                is_ready: node.is_ready && node.trouble.is_none(),
                applied: report.and_then(|report| report.applied).map(|applied| applied.epoch.sequence),
                refused: refused.map(|refused| NodeRefusal {
                    sequence: refused.epoch.sequence,
                    resource: refused.resource.clone(),
                    reason: refused.reason.clone(),
                }),
            };
            Some((node.id.to_string(), live))
        });
        let downgraded = self.published.iter().flat_map(|published| &published.downgraded);
        let too_old_for = downgraded.map(|part| {
            let (kind, name) = match part {
                Part::Gateway => return (Kind::MailGateway, self.key.clone()),
                Part::Domain(name) => (Kind::MailDomain, name),
                Part::Rule(name) => (Kind::RelayRule, name),
            };
            (kind, ObjectKey::new(name.namespace(), name.name()))
        });
        Nodes {
            desired: u32::try_from(self.nodes.len()).unwrap_or(u32::MAX),
            published: self.published.as_ref().map(|published| published.epoch.sequence),
            live: live.collect(),
            too_old_for: too_old_for.collect(),
            is_store_lost: self.nodes.iter().any(|node| node.trouble.is_some()),
        }
    }

    /// What waits in its queues, as statuses are judged from it.
    pub(super) fn counted(&self) -> Option<Counted> {
        let totals = Arc::clone(self.totals.as_ref()?);
        Some(Counted { snapshot: Arc::clone(&self.snapshot), totals })
    }

    /// Why nothing can be published, if it cannot.
    pub(super) fn finding(&self) -> Option<Finding> {
        let Trouble { words, .. } = self.trouble.as_ref()?;
        Some(Finding {
            resource: Some(Identity { kind: Kind::MailGateway.name().to_owned(), key: self.key.clone() }),
            severity: Severity::Error,
            field: None,
            reason: "NotProgrammed".to_owned(),
            message: format!("the configuration cannot be published: {words}"),
            place: None,
        })
    }

    /// Lets its nodes end.
    pub(super) fn leave(&mut self, order: &Order) {
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

    /// Publishes nothing any more; what is left to be done for that.
    pub(super) fn end(self) -> impl Future<Output = ()> + use<> {
        self.publishing.end()
    }

    /// Whether nothing of it runs any more.
    pub(super) fn is_gone(&self) -> bool {
        self.is_leaving && self.nodes.iter().all(|node| node.has_ended)
    }
}

impl Node {
    fn new(id: NodeId, sockets: Sockets) -> Self {
        Self {
            id,
            sockets: Arc::new(sockets),
            orders: None,
            uid: None,
            ready: None,
            is_ready: false,
            trouble: None,
            has_ended: false,
        }
    }

    fn take(&mut self, what: What) {
        let Self { id, .. } = self;
        match what {
            What::Started(uid) => (self.uid, self.is_ready, self.trouble) = (Some(uid), false, None),
            What::Ready(pid) => {
                tracing::info!(node = %id, gateway = %id.gateway, pid, "node is ready");
                (self.ready, self.is_ready, self.trouble) = (Some(pid), true, None);
            }
            What::Status(status) if status.ready => {
                tracing::info!(node = %id, gateway = %id.gateway, "node takes mail again: {}", status.reason);
                self.trouble = None;
            }
            What::Status(status) => {
                tracing::warn!(node = %id, gateway = %id.gateway, "node takes no mail: {}", status.reason);
                self.trouble = Some(status.reason);
            }
            What::Died => (self.uid, self.is_ready) = (None, false),
            What::Ended(_) => (self.uid, self.is_ready, self.has_ended) = (None, false, true),
            What::Reported => {}
        }
    }

    fn order(&self, news: u64) {
        let Some(orders) = &self.orders else { return };
        orders.send_if_modified(|order| {
            let is_same = match order {
                Order::Serve(sockets, told) => Arc::ptr_eq(sockets, &self.sockets) && *told == news,
                Order::Drain(_) | Order::Kill => true, // it is not to come back
            };
            if !is_same {
                *order = Order::Serve(Arc::clone(&self.sockets), news);
            }
            !is_same
        });
    }
}

/// Logs what is new in a report.
fn say(gateway: &ObjectKey, report: &Report, before: Option<&Report>) {
    let node = &report.node;
    if let Some(applied) =
        report.applied.filter(|_| before.and_then(|before| before.applied) != report.applied)
    {
        tracing::info!(node, %gateway, publication = %applied.epoch, snapshot = %applied.hash, "snapshot applied");
    }
    let refused = report.refused.as_ref();
    if let Some(refused) = refused.filter(|_| before.and_then(|before| before.refused.as_ref()) != refused) {
        let effect = if report.applied.is_some() {
            "goes on with the one before"
        } else {
            "has no other: it takes no mail"
        };
        tracing::error!(
            node, %gateway, publication = %refused.epoch, snapshot = %refused.hash, resource = refused.resource,
            "the node refuses the snapshot and {effect}: {}", refused.reason
        );
    }
}
