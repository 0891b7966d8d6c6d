//! Manifests in, objects and findings out: what the API server is in a cluster, this is for a folder. It takes what an API server would take and
//! refuses what it would refuse; a refused change takes nothing away. It reads files, and those only that changed.

mod document;
mod file;
mod folder;
mod lines;
mod metadata;
mod node;
mod scalar;
mod secret;
mod yaml;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use posthouse_compiler::{ObjectKey, Resources, Severity};
use posthouse_crds::Kind;

pub(crate) use document::{Document, Identity, Item};
pub(crate) use folder::is_manifest;

use self::file::ManifestFile;
use crate::finding::Finding;

/// Reads a folder of manifests, again and again. What did not change it does not read again.
#[derive(Debug)]
pub(crate) struct Reader {
    path: PathBuf,
    files: BTreeMap<PathBuf, ManifestFile>,
}

/// What a folder says.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The objects, each identity once.
    pub(crate) documents: BTreeMap<Arc<Identity>, Document>,
    /// Resources that are described, but so that nothing of them can be used, and of which nothing is known from before.
    pub(crate) refused: BTreeSet<(Kind, ObjectKey)>,
    /// What is wrong with the files, or worth knowing.
    pub(crate) findings: Vec<Finding>,
}

/// Why nothing at all can be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot be read: {source}; name a folder of manifests with -f", path.display())]
pub(crate) struct ReaderError {
    path: PathBuf,
    source: io::Error,
}

impl Reader {
    /// A reader of the manifests under this path: a folder, or one file.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), files: BTreeMap::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there may be something that the last reading does not have.
    pub(crate) fn has_changed(&self) -> bool {
        let Ok(found) = folder::manifests(&self.path) else { return true };
        found.len() != self.files.len()
            || found
                .iter()
                .any(|(path, stamp)| !self.files.get(path).is_some_and(|file| file.is_as_of(stamp)))
    }

    /// Reads what changed. An object whose description is refused now is as it is in what is `held`: as an API server would have it.
    pub(crate) fn read(&mut self, held: &Reading) -> Result<Reading, ReaderError> {
        let now = SystemTime::now();
        let failed = |source| ReaderError { path: self.path.clone(), source };
        let found = folder::manifests(&self.path).map_err(failed)?;
        let mut files = BTreeMap::new();
        for (path, stamp) in found {
            let before = self.files.remove(&path);
            let file = match before {
                Some(file) if file.is_as_of(&stamp) => file,
                before => ManifestFile::read(&path, stamp, now, before),
            };
            files.insert(path, file);
        }
        self.files = files;
        let mut reading = Reading::default();
        for file in self.files.values() {
            reading.findings.extend(file.outcome.findings.iter().cloned());
            file.outcome.documents.iter().for_each(|document| reading.add(document.clone()));
        }
        reading.keep_unchangeable(held);
        reading.keep_last_good(self.files.values(), held);
        reading.findings.sort();
        Ok(reading)
    }
}

impl Reading {
    /// What the compiler takes.
    pub(crate) fn resources(&self) -> Resources {
        let mut resources = Resources::default();
        for document in self.documents.values() {
            match &document.item {
                Item::Ours(object) => resources.add((**object).clone()),
                Item::Secret(secret) => resources.secrets.push((**secret).clone()),
                Item::Namespace(namespace) => resources.namespaces.push((**namespace).clone()),
            }
        }
        resources
    }

    fn add(&mut self, document: Document) {
        match self.documents.entry(Arc::clone(&document.identity)) {
            Entry::Vacant(entry) => {
                entry.insert(document);
            }
            Entry::Occupied(first) => {
                let first = first.get().place(None);
                self.findings.push(Finding {
                    resource: Some((*document.identity).clone()),
                    severity: Severity::Error,
                    field: None,
                    reason: "DuplicateObject".to_owned(),
                    message: format!("it is described in {first} already, and that holds: remove one"),
                    place: Some(document.place(None)),
                });
            }
        }
    }

    /// An object whose change an API server would refuse stays as it was.
    fn keep_unchangeable(&mut self, held: &Self) {
        for (identity, document) in &mut self.documents {
            let Some(before) = held.documents.get(identity) else { continue };
            let refused = document.refused_changes(before);
            if !refused.is_empty() {
                self.findings.extend(refused);
                *document = before.clone();
            }
        }
    }

    /// Where a document is broken, the last good one of its object stays; where it does not tell its object, all that the file had and has not now.
    fn keep_last_good<'a>(&mut self, files: impl Iterator<Item = &'a ManifestFile>, held: &Self) {
        for file in files {
            for identity in &file.outcome.refused {
                if self.documents.contains_key(identity) {
                    continue;
                }
                if let Some(before) = held.documents.get(identity) {
                    self.documents.insert(Arc::clone(identity), before.clone());
                } else if let Ok(kind) = identity.kind.parse() {
                    self.refused.insert((kind, identity.key.clone()));
                }
            }
            if file.outcome.has_nameless {
                for (identity, before) in held.documents.iter().filter(|(_, before)| before.file == file.name)
                {
                    self.documents.entry(Arc::clone(identity)).or_insert_with(|| before.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
