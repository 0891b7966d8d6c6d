//! The statuses of a run: a task of its own that looks at how things are and writes what is new, so that no edit waits for it. It writes files.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use posthouse_compiler::ObjectKey;
use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep, sleep_until},
};

use crate::{
    finding::Finding,
    manifests::Judged,
    reader::{Item, Reading},
    status::{
        keeper::Moment,
        local::LocalStatuses,
        observation::{Counted, Nodes, Observation, Observed, ResourceId},
    },
};

/// What happens together is said together: a publication and its acknowledgements are one write.
const TOGETHER: Duration = Duration::from_millis(100);

/// How long what could not be written waits.
const AGAIN_AFTER: Duration = Duration::from_secs(3);

/// How everything is.
#[derive(Clone, Debug, Default)]
pub(super) struct Situation {
    /// Counts the readings.
    pub(super) number: u64,
    pub(super) reading: Arc<Reading>,
    pub(super) judged: Arc<Judged>,
    /// Everything that there is to say.
    pub(super) findings: Arc<[Finding]>,
    pub(super) nodes: BTreeMap<ObjectKey, Nodes>,
    /// For each gateway what waits in its queues.
    pub(super) counted: BTreeMap<ObjectKey, Counted>,
    /// For each gateway a reading, and the sequence of the publication that has all of it.
    pub(super) published: BTreeMap<ObjectKey, (u64, u64)>,
}

/// The task; it ends with this.
#[derive(Debug)]
pub(super) struct Reporting {
    situation: watch::Sender<Situation>,
    task: JoinHandle<()>,
}

impl Reporting {
    /// Begins with nothing to say.
    pub(super) fn start(statuses: LocalStatuses) -> Self {
        let (situation, received) = watch::channel(Situation::default());
        let reporter = Reporter { statuses, number: 0, resources: Vec::new(), first_seen: HashMap::new() };
        Self { situation, task: tokio::spawn(run(reporter, received)) }
    }

    /// Things are different now.
    pub(super) fn update(&self, change: impl FnOnce(&mut Situation)) {
        self.situation.send_modify(change);
    }
}

impl Drop for Reporting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(mut reporter: Reporter, mut situation: watch::Receiver<Situation>) {
    let mut look_at: Option<Instant> = None;
    loop {
        let waited = async {
            match look_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = situation.changed() => {
                if changed.is_err() {
                    return;
                }
                sleep(TOGETHER).await;
            }
            () = waited => {}
        }
        let now = situation.borrow_and_update().clone();
        let step = spawn_blocking(move || {
            let next = reporter.step(&now);
            (reporter, next)
        });
        match step.await {
            Ok((back, next)) => (reporter, look_at) = (back, next),
            Err(error) => {
                tracing::error!("statuses are not written any more: {error}");
                return;
            }
        }
    }
}

/// What the task knows.
struct Reporter {
    statuses: LocalStatuses,
    /// The reading that `resources` are of.
    number: u64,
    resources: Vec<Observed>,
    /// For each resource its generation, the first reading that had it, and the sequence of the first publication that did.
    first_seen: HashMap<ResourceId, (i64, u64, Option<u64>)>,
}

impl Reporter {
    /// Looks at how things are, and writes what is new; when to look again if nothing happens.
    fn step(&mut self, situation: &Situation) -> Option<Instant> {
        let Situation { number, reading, judged, findings, nodes, counted, published } = situation;
        let now = Moment::now();
        if *number != self.number {
            self.number = *number;
            let objects = reading.documents.values().filter_map(|document| match &document.item {
                Item::Ours(object) => Some(object),
                Item::Secret(_) | Item::Namespace(_) => None,
            });
            self.resources = self.statuses.resources(objects, findings, now);
        }
        self.note_publications(published);
        let compilation = &judged.compilation;
        let observation = Observation { resources: &self.resources, compilation, findings, nodes, counted };
        let next = self.statuses.observe(&observation, now).map(Instant::from_std);
        while let Some(batch) = self.statuses.batch() {
            if let Err(unwritten) = batch.write() {
                tracing::error!("{}; it is tried again", unwritten.why);
                self.statuses.put_back(unwritten);
                let again = Instant::now() + AGAIN_AFTER;
                return Some(next.map_or(again, |next| next.min(again)));
            }
        }
        next
    }

    /// Notes since which publication each resource is in force as it is now.
    fn note_publications(&mut self, published: &BTreeMap<ObjectKey, (u64, u64)>) {
        let mut before = std::mem::take(&mut self.first_seen);
        self.first_seen.reserve(self.resources.len());
        for resource in &mut self.resources {
            let id = (resource.kind, resource.key.clone());
            let known = before.remove(&id).filter(|(generation, ..)| *generation == resource.generation);
            let (generation, reading, mut since) = known.unwrap_or((resource.generation, self.number, None));
            if since.is_none() {
                let covered = resource.gateway.as_ref().and_then(|gateway| published.get(gateway));
                since = covered.filter(|(number, _)| *number >= reading).map(|(_, sequence)| *sequence);
            }
            resource.since = since;
            self.first_seen.insert(id, (generation, reading, since));
        }
    }
}
