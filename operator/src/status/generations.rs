//! What an API server would know of an object and a file does not tell: its generation, and since when it is there. A generation is counted:
//! one more whenever the spec says something else. Pure; it is kept in the files of the statuses.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use posthouse_config::SnapshotHash;
use serde_json::Value;

use super::{
    column,
    condition::whole_seconds,
    keeper::Change,
    observation::{Observed, ResourceId},
};

/// The generations of all resources.
#[derive(Debug, Default)]
pub(crate) struct Generations(pub(super) BTreeMap<ResourceId, Sighting>);

/// What is remembered of a resource.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sighting {
    pub(super) generation: i64,
    /// Of the spec that this generation stands for.
    pub(super) spec_hash: SnapshotHash,
    /// Of the spec what tables show, as JSON: there are as many of these as resources.
    pub(super) shown: Box<str>,
    /// When a run first saw it.
    pub(super) since: Timestamp,
}

/// A change with what a file says besides the status.
#[derive(Clone, Debug)]
pub(crate) struct FileChange {
    pub(super) change: Change,
    pub(super) sighting: Option<Sighting>,
}

impl Generations {
    /// Gives a resource the generation that its spec has.
    pub(crate) fn count(&mut self, resource: &mut Observed, spec: &Value, now: Timestamp) {
        let id = (resource.kind, resource.key.clone());
        let spec_hash = hash(spec);
        let before = self.0.get(&id);
        resource.generation = match before {
            Some(before) if before.spec_hash == spec_hash => before.generation,
            Some(before) => before.generation + 1,
            None => 1,
        };
        if before.is_none_or(|before| before.generation != resource.generation) {
            let since = before.map_or_else(|| whole_seconds(now), |before| before.since);
            let shown = column::shown(resource.kind, spec).to_string().into();
            self.0.insert(id, Sighting { generation: resource.generation, spec_hash, shown, since });
        }
    }

    /// What the files of these resources are to say; those that are gone are forgotten.
    pub(crate) fn files(&mut self, batch: Vec<Change>) -> Vec<FileChange> {
        let with_sighting = |change: Change| {
            let sighting = self.0.get(&change.id).cloned();
            if change.status.is_none() {
                self.0.remove(&change.id);
            }
            FileChange { change, sighting }
        };
        batch.into_iter().map(with_sighting).collect()
    }
}

/// The hash of a spec, whatever the order of its fields.
fn hash(spec: &Value) -> SnapshotHash {
    let mut text = String::new();
    canonical(spec, &mut text);
    SnapshotHash::of(text.as_bytes())
}

fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<_> = fields.iter().collect();
            names.sort_by_key(|(name, _)| *name);
            text.push('{');
            for (name, value) in names {
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                canonical(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}
