//! Manifests in, objects and findings out: what the API server is in a cluster, this is for a folder. It takes what an API server would take and
//! refuses what it would refuse; a refused change takes nothing away. It reads files, and those only that changed.

mod document;
mod file;
mod folder;
pub mod laws;
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

use self::{document::SECRET, file::ManifestFile, folder::Stamp};
use crate::finding::Finding;

/// Reads a folder of manifests, again and again. What did not change it does not read again.
#[derive(Debug)]
pub(crate) struct Reader {
    path: PathBuf,
    /// In the order of their names.
    files: Vec<(PathBuf, ManifestFile)>,
    /// What the files say, each object as the first file has it; absent where it has to be put together anew.
    documents: Option<Documents>,
}

/// Objects by what they are called.
pub(crate) type Documents = BTreeMap<Arc<Identity>, Document>;

/// What a folder says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// The objects, each identity once.
    pub(crate) documents: Documents,
    /// Resources that are described, but so that nothing of them can be used, and of which nothing is known from before.
    pub(crate) refused: BTreeSet<(Kind, ObjectKey)>,
    /// Secrets of which the same is true.
    pub(crate) refused_secrets: BTreeSet<ObjectKey>,
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
        Self { path: path.into(), files: Vec::new(), documents: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there may be something that the last reading does not have.
    pub(crate) fn has_changed(&self) -> bool {
        let Ok(found) = folder::manifests(&self.path) else { return true };
        let is_same = |((path, stamp), (known, file)): (&(PathBuf, Stamp), &(PathBuf, ManifestFile))| {
            path == known && file.is_as_of(stamp)
        };
        found.len() != self.files.len() || !found.iter().zip(&self.files).all(is_same)
    }

    /// Reads what changed. An object whose description is refused now is as it is in what is `held`: as an API server would have it.
    pub(crate) fn read(&mut self, held: &Reading) -> Result<Reading, ReaderError> {
        let now = SystemTime::now();
        let failed = |source| ReaderError { path: self.path.clone(), source };
        let found = folder::manifests(&self.path).map_err(failed)?;
        let mut documents = self.documents.take();
        let mut before = std::mem::take(&mut self.files).into_iter().peekable();
        let mut changed = Vec::new();
        for (path, stamp) in found {
            while let Some((_, gone)) = before.next_if(|(known, _)| *known < path) {
                forget(&mut documents, &gone);
            }
            let known = before.next_if(|(known, _)| *known == path).map(|(_, file)| file);
            if known.as_ref().is_some_and(|file| file.is_as_of(&stamp)) {
                self.files.extend(known.map(|file| (path, file)));
                continue;
            }
            if let Some(file) = &known {
                forget(&mut documents, file);
            }
            changed.push(self.files.len());
            let file = ManifestFile::read(&path, stamp, now, known);
            self.files.push((path, file));
        }
        before.for_each(|(_, gone)| forget(&mut documents, &gone));
        let changed = changed.into_iter().filter_map(|place| self.files.get(place));
        for (_, file) in changed {
            learn(&mut documents, file);
        }
        let mut reading = Reading::default();
        let files = self.files.iter().map(|(_, file)| file);
        for file in files.clone() {
            reading.findings.extend(file.outcome.findings.iter().cloned());
        }
        if let Some(documents) = documents {
            reading.documents.clone_from(&documents);
            self.documents = Some(documents);
        } else {
            let of_all = files.clone().flat_map(|file| &file.outcome.documents);
            of_all.for_each(|document| reading.add(document.clone()));
            if !reading.findings.iter().any(|finding| finding.reason == DUPLICATE) {
                self.documents = Some(reading.documents.clone());
            }
        }
        reading.keep_unchangeable(held);
        reading.keep_last_good(files, held);
        reading.findings.sort();
        Ok(reading)
    }
}

/// An object that is described twice.
const DUPLICATE: &str = "DuplicateObject";

/// Takes out what a file said.
fn forget(documents: &mut Option<Documents>, file: &ManifestFile) {
    for document in &file.outcome.documents {
        documents.as_mut().map(|documents| documents.remove(&document.identity));
    }
}

/// Puts in what a file says. An object that is there already needs a look at all of them, in their order.
fn learn(documents: &mut Option<Documents>, file: &ManifestFile) {
    for document in &file.outcome.documents {
        let identity = Arc::clone(&document.identity);
        if documents.as_mut().is_some_and(|documents| documents.insert(identity, document.clone()).is_some())
        {
            *documents = None;
        }
    }
}

/// What two readings have of each object that is in both. They go side by side, and most of their names are one and the same.
fn pairs<'a>(
    now: &'a Documents,
    before: &'a Documents,
) -> impl Iterator<Item = (&'a Document, Option<&'a Document>)> {
    let mut before = before.values().peekable();
    now.values().map(move |document| {
        let is_same = |other: &&Document| {
            Arc::ptr_eq(&other.identity, &document.identity) || other.identity == document.identity
        };
        if let Some(found) = before.next_if(is_same) {
            return (document, Some(found));
        }
        while before.next_if(|other| other.identity < document.identity).is_some() {}
        (document, before.next_if(is_same))
    })
}

impl Reading {
    /// The objects that were there before, and are not now.
    pub(crate) fn lost(&self, before: &Self) -> BTreeSet<Arc<Identity>> {
        let lost = pairs(&before.documents, &self.documents).filter(|(_, now)| now.is_none());
        lost.map(|(document, _)| Arc::clone(&document.identity)).collect()
    }

    /// What the compiler takes.
    pub(crate) fn resources(&self) -> Resources {
        let mut resources = Resources {
            refused: self.refused.clone(),
            refused_secrets: self.refused_secrets.clone(),
            ..Resources::default()
        };
        for document in self.documents.values() {
            match &document.item {
                Item::Ours(object) => resources.add((**object).clone()),
                Item::Secret(secret) => resources.secrets.push(Arc::clone(secret)),
                Item::Namespace(namespace) => resources.namespaces.push(Arc::clone(namespace)),
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
                    reason: DUPLICATE.to_owned(),
                    message: format!("it is described in {first} already, and that holds: remove one"),
                    place: Some(document.place(None)),
                });
            }
        }
    }

    /// An object whose change an API server would refuse stays as it was.
    fn keep_unchangeable(&mut self, held: &Self) {
        let changed = pairs(&self.documents, &held.documents).filter_map(|(document, before)| {
            let before = before?;
            let refused = document.refused_changes(before);
            (!refused.is_empty()).then(|| (before.clone(), refused))
        });
        let changed: Vec<_> = changed.collect();
        for (before, refused) in changed {
            self.findings.extend(refused);
            self.documents.insert(Arc::clone(&before.identity), before);
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
                } else if identity.kind == SECRET {
                    self.refused_secrets.insert(identity.key.clone());
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
