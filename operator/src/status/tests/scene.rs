//! A small world for the tests: manifests as text, compiled; nodes as one says they are.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use posthouse_compiler::{Compilation, Context, ObjectKey, Resources, compile};
use posthouse_crds::{Kind, Object, status::ObjectStatus};

use super::super::{
    keeper::{Change, Moment, Statuses},
    observation::{Counted, LiveNode, Nodes, Observation, Observed, ResourceId, observed},
};
use crate::finding::Finding;

/// One resource of each kind; the nodes run four of them.
pub(super) const ALL: &str = include_str!("all.yaml");

pub(super) struct Scene {
    pub(super) resources: Vec<Observed>,
    pub(super) compilation: Compilation,
    pub(super) findings: Vec<Finding>,
    pub(super) nodes: BTreeMap<ObjectKey, Nodes>,
    pub(super) counted: BTreeMap<ObjectKey, Counted>,
    pub(super) statuses: Statuses,
    pub(super) now: Moment,
    /// What was written last of each.
    pub(super) written: BTreeMap<ResourceId, ObjectStatus>,
}

pub(super) fn objects(manifests: &str) -> Vec<Object> {
    let documents = manifests.split("\n---\n").map(|text| serde_saphyr::from_str(text).unwrap());
    documents.map(|document| Object::read(document).unwrap()).collect()
}

pub(super) fn edge() -> ObjectKey {
    ObjectKey::new("mail", "edge")
}

pub(super) fn node(applied: Option<u64>) -> LiveNode {
    LiveNode { is_ready: applied.is_some(), applied, refused: None }
}

impl Scene {
    /// These manifests, published as 1 to a gateway whose one node is just starting.
    pub(super) fn of(manifests: &str) -> Self {
        let live = [("edge-0".to_owned(), node(None))].into();
        let nodes = Nodes { desired: 1, published: Some(1), live, ..Nodes::default() };
        let mut scene = Self {
            resources: Vec::new(),
            compilation: compile(&Resources::default(), &Context::default()),
            findings: Vec::new(),
            nodes: [(edge(), nodes)].into(),
            counted: BTreeMap::new(),
            statuses: Statuses::default(),
            now: Moment { wall: "2026-03-01T12:00:00Z".parse().unwrap(), at: Instant::now() },
            written: BTreeMap::new(),
        };
        scene.read(manifests, 1, 1);
        scene
    }

    /// New manifests, all of this generation, which are in the snapshot of this sequence.
    pub(super) fn read(&mut self, manifests: &str, generation: i64, since: u64) {
        let objects = objects(manifests);
        self.resources = observed(&objects)
            .into_iter()
            .map(|(one, _)| Observed { generation, since: Some(since), ..one })
            .collect();
        let mut resources = Resources::default();
        for object in objects {
            resources.add(object);
        }
        let previous = self.compilation.snapshots.iter();
        let previous =
            previous.map(|(key, snapshot)| (key.clone(), std::sync::Arc::clone(snapshot))).collect();
        self.compilation = compile(&resources, &Context { previous, ..Context::default() });
        self.gateway().published = Some(since);
    }

    pub(super) fn gateway(&mut self) -> &mut Nodes {
        self.nodes.get_mut(&edge()).unwrap()
    }

    pub(super) fn node(&mut self) -> &mut LiveNode {
        self.gateway().live.get_mut("edge-0").unwrap()
    }

    pub(super) fn applies(&mut self, sequence: u64) -> &mut Self {
        *self.node() = node(Some(sequence));
        self
    }

    pub(super) fn after(&mut self, time: Duration) -> &mut Self {
        self.now = Moment { wall: self.now.wall + time, at: self.now.at + time };
        self
    }

    /// Looks, and writes all that there is to write.
    pub(super) fn look(&mut self) -> (Vec<Change>, Option<Instant>) {
        let observation = Observation {
            resources: &self.resources,
            compilation: &self.compilation,
            findings: &self.findings,
            nodes: &self.nodes,
            counted: &self.counted,
        };
        let again = self.statuses.observe(&observation, self.now);
        let mut changes = Vec::new();
        loop {
            let batch = self.statuses.batch();
            if batch.is_empty() {
                break;
            }
            changes.extend(batch);
        }
        for Change { id, status } in &changes {
            match status {
                Some((_, status)) => self.written.insert(id.clone(), status.clone()),
                None => self.written.remove(id),
            };
        }
        (changes, again)
    }

    /// Looks until there is nothing to be waited for.
    pub(super) fn settle(&mut self) -> usize {
        let (changes, again) = self.look();
        let more = again.map_or(0, |again| {
            let wait = again - self.now.at;
            self.after(wait).settle()
        });
        changes.len() + more
    }

    pub(super) fn status(&self, kind: Kind, name: &str) -> &ObjectStatus {
        &self.written[&(kind, ObjectKey::new("mail", name))]
    }

    /// The conditions of a resource: `Accepted=True Accepted, …`.
    pub(super) fn conditions(&self, kind: Kind, name: &str) -> String {
        let mut text = String::new();
        for one in self.status(kind, name).conditions() {
            let comma = if text.is_empty() { "" } else { ", " };
            write!(text, "{comma}{}={} {}", one.type_, one.status, one.reason).unwrap();
        }
        text
    }

    pub(super) fn message(&self, kind: Kind, name: &str, condition: &str) -> &str {
        let conditions = self.status(kind, name).conditions();
        &conditions.iter().find(|one| one.type_ == condition).unwrap().message
    }
}
