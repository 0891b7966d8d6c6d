//! What was said last of each resource, and what is to be said now: nothing at rest, one write when an outcome is known, one before if that
//! takes long. Figures go with it, or by themselves at a pace of their own. It hands out batches of bounded size; whoever writes them may take his time. Pure: time is a parameter.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;
use posthouse_compiler::ObjectKey;
use posthouse_crds::status::{ObjectStatus, QueueCounts};

use super::{
    figures::News,
    judge::{Before, Judgement, judge},
    observation::{Observation, ResourceId},
    pace::Pace,
    programmed::Motion,
};

/// How long an outcome may take before it is said that it is awaited.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How long a gateway may be without any node before what belongs to it is not programmed any more: as long as a dead node's leases last. A node
/// that is started again is back long before, and the statuses of thousands of resources stay as they are.
pub(super) const DESERTED: Duration = Duration::from_secs(10);

/// So many writes at once.
pub(super) const BATCH: usize = 256;

/// The moment of an observation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// For what is written.
    pub(crate) wall: Timestamp,
    /// For what is waited for.
    pub(crate) at: Instant,
}

/// Something to be written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) id: ResourceId,
    /// The status and the generation of the spec; none where the resource is gone.
    pub(crate) status: Option<(i64, ObjectStatus)>,
}

/// The statuses of all resources.
#[derive(Debug, Default)]
pub(crate) struct Statuses {
    /// As they are written, or will be as soon as the queue is.
    said: Before,
    /// What is to be written, each resource once: the generation of what is said, or none where the resource is gone.
    queue: BTreeMap<ResourceId, Option<i64>>,
    /// Since when something is awaited that was not said yet.
    awaited: HashMap<ResourceId, Instant>,
    /// Since when a gateway has no node.
    without_nodes: BTreeMap<ObjectKey, Instant>,
    pace: Pace,
}

/// Figures that no other write takes along.
#[derive(Debug)]
struct Alone {
    generation: i64,
    news: News,
}

impl Statuses {
    /// Statuses that go on from those that were written before.
    pub(crate) fn new(written: BTreeMap<ResourceId, ObjectStatus>) -> Self {
        Self { said: written, ..Self::default() }
    }

    /// Takes in how things are; says when to look again if nothing happens until then.
    pub(crate) fn observe(&mut self, observation: &Observation<'_>, now: Moment) -> Option<Instant> {
        let (deserted, desertion) = self.deserted(observation, now.at);
        let judgements = judge(observation, &self.said, &deserted, now.wall);
        let mut gone: BTreeSet<ResourceId> = self.said.keys().cloned().collect();
        let (mut waits, mut figures) = (Vec::new(), BTreeMap::new());
        for judgement in judgements {
            gone.remove(&judgement.id);
            waits.extend(self.take(judgement, &mut figures, now.at));
        }
        waits.extend(self.take_figures(figures, now.at));
        for id in gone {
            self.said.remove(&id);
            self.awaited.remove(&id);
            self.queue.insert(id, None);
        }
        waits.into_iter().chain(desertion).min()
    }

    /// The next writes, few enough for one go; empty when all is written.
    pub(crate) fn batch(&mut self) -> Vec<Change> {
        let batch = std::iter::from_fn(|| self.queue.pop_first()).take(BATCH);
        let said = &self.said;
        let change = |(id, generation): (ResourceId, Option<i64>)| {
            let status = generation.and_then(|generation| Some((generation, said.get(&id)?.clone())));
            Change { id, status }
        };
        batch.map(change).collect()
    }

    /// Writes that failed: they come again in a later batch, unless there is something newer to say by then.
    pub(crate) fn failed(&mut self, changes: Vec<Change>) {
        for Change { id, status } in changes {
            self.queue.entry(id).or_insert(status.map(|(generation, _)| generation));
        }
    }

    fn take(
        &mut self,
        judgement: Judgement,
        figures: &mut BTreeMap<ResourceId, Alone>,
        now: Instant,
    ) -> Option<Instant> {
        let Judgement { id, generation, status, figures: news, motion } = judgement;
        let due = match status {
            Some(_) if motion == Motion::Moving => {
                Some(*self.awaited.entry(id.clone()).or_insert(now) + PATIENCE)
            }
            _ => None,
        };
        let due = due.filter(|due| now < *due);
        if due.is_none() {
            self.awaited.remove(&id);
        }
        let Some(mut status) = status.filter(|_| due.is_none()) else {
            // Nothing is said of a resource before its conditions are.
            let news = news.filter(|_| self.said.contains_key(&id));
            figures.extend(news.map(|news| (id, Alone { generation, news })));
            return due;
        };
        if let Some(News { gateway: _, counts }) = news {
            set_queue(&mut status, counts);
        }
        self.said.insert(id.clone(), status);
        self.queue.insert(id, Some(generation));
        None
    }

    /// Takes as many figures as may be written now; says when there may be more.
    fn take_figures(&mut self, mut figures: BTreeMap<ResourceId, Alone>, now: Instant) -> Option<Instant> {
        let waiting = figures.iter().map(|(id, Alone { news, .. })| (news.gateway.clone(), id.clone()));
        let (admitted, next) = self.pace.admit(waiting, now);
        for id in admitted {
            if let (Some(Alone { generation, news }), Some(status)) =
                (figures.remove(&id), self.said.get_mut(&id))
            {
                set_queue(status, news.counts);
                self.queue.insert(id, Some(generation));
            }
        }
        next
    }

    /// The gateways that have been without nodes for long, and when the next will have been.
    fn deserted(
        &mut self,
        observation: &Observation<'_>,
        now: Instant,
    ) -> (BTreeSet<ObjectKey>, Option<Instant>) {
        let without = |key: &ObjectKey| observation.nodes.get(key).is_some_and(|nodes| nodes.live.is_empty());
        self.without_nodes.retain(|key, _| without(key));
        for key in observation.nodes.keys().filter(|key| without(key)) {
            self.without_nodes.entry(key.clone()).or_insert(now);
        }
        let (long, short): (Vec<_>, Vec<_>) =
            self.without_nodes.iter().partition(|(_, since)| now >= **since + DESERTED);
        let next = short.into_iter().map(|(_, since)| *since + DESERTED).min();
        (long.into_iter().map(|(key, _)| key.clone()).collect(), next)
    }
}

fn set_queue(status: &mut ObjectStatus, counts: Option<QueueCounts>) {
    if let ObjectStatus::Domain(status) = status {
        status.queue = counts;
    }
}
