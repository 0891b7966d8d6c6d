//! The statuses of a local run, from its documents to its files. What blocks is in [`Batch::write`] and [`LocalStatuses::open`].

use std::{collections::HashMap, mem, path::Path, sync::Arc, time::Instant};

use k8s_openapi::jiff::Timestamp;
use posthouse_crds::Object;

use super::{
    files::StatusFolder,
    generations::{FileChange, Generations},
    keeper::{Change, Moment, Statuses},
    observation::{self, Observation, Observed},
};
use crate::{failure::Failure, finding::Finding};

/// All statuses of a run, and where they lie.
#[derive(Debug)]
pub(crate) struct LocalStatuses {
    statuses: Statuses,
    generations: Generations,
    folder: StatusFolder,
    /// The objects of the last reading by their addresses, held so that no other gets the address of one.
    seen: HashMap<usize, (Arc<Object>, Observed)>,
}

/// Files to be written or removed, few enough for one go.
#[derive(Debug)]
pub(crate) struct Batch {
    folder: StatusFolder,
    changes: Vec<FileChange>,
}

/// What could not be written, and why the first of it could not.
#[derive(Debug)]
pub(crate) struct Unwritten {
    changes: Vec<Change>,
    pub(crate) why: Failure,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { wall: Timestamp::now(), at: Instant::now() }
    }
}

impl LocalStatuses {
    /// Goes on from what the run before left in this state.
    pub(crate) fn open(state: &Path) -> Result<Self, Failure> {
        let (folder, generations, written) = StatusFolder::open(state)?;
        Ok(Self { statuses: Statuses::new(written), generations, folder, seen: HashMap::new() })
    }

    /// The resources of a reading, each with its generation; also those that `findings` refuse and that were never read. `since` is left to the
    /// caller. To be called when there is a new reading. An object that was in the last one is not looked at again.
    pub(crate) fn resources<'a>(
        &mut self,
        objects: impl IntoIterator<Item = &'a Arc<Object>>,
        findings: &[Finding],
        now: Moment,
    ) -> Vec<Observed> {
        let before = mem::take(&mut self.seen);
        let mut resources = Vec::with_capacity(before.len());
        for object in objects {
            let address = Arc::as_ptr(object).addr();
            let resource = if let Some((_, resource)) = before.get(&address) {
                resource.clone()
            } else {
                let (mut resource, spec) = observation::observe(object);
                self.generations.count(&mut resource, &spec, now.wall);
                resource
            };
            self.seen.insert(address, (Arc::clone(object), resource.clone()));
            resources.push(resource);
        }
        observation::attach_parts(&mut resources);
        let unread = observation::unread(findings, &resources);
        resources.extend(unread);
        resources
    }

    /// Takes in how things are; says when to look again if nothing happens until then.
    pub(crate) fn observe(&mut self, observation: &Observation<'_>, now: Moment) -> Option<Instant> {
        self.statuses.observe(observation, now)
    }

    /// What is to be written next, if anything is. One batch at a time: the next is asked for when this one is written.
    pub(crate) fn batch(&mut self) -> Option<Batch> {
        let changes = self.generations.files(self.statuses.batch());
        (!changes.is_empty()).then(|| Batch { folder: self.folder.clone(), changes })
    }

    /// What could not be written comes again in a later batch: to be asked for at a tick, not at once.
    pub(crate) fn put_back(&mut self, unwritten: Unwritten) {
        self.statuses.failed(unwritten.changes);
    }
}

impl Batch {
    /// How many files it writes; those that it removes do not count.
    #[cfg(test)]
    pub(super) fn writes(&self) -> usize {
        self.changes.iter().filter(|one| one.change.status.is_some()).count()
    }

    /// Writes and removes the files. It blocks.
    pub(crate) fn write(self) -> Result<(), Unwritten> {
        let (changes, why) = self.folder.write(self.changes);
        why.map_or(Ok(()), |why| Err(Unwritten { changes, why }))
    }
}
