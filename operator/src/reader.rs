//! Manifests in, objects and findings out: what the API server is in a cluster, this is for a folder. It reads files, and remembers what it
//! last read well, so that a file that is broken for a moment takes nothing away.

mod document;
mod folder;
mod metadata;
mod node;
mod scalar;
mod secret;
mod yaml;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use posthouse_compiler::{Resources, Severity};

pub(crate) use document::{Document, Identity, Item};
pub(crate) use folder::is_manifest;

use self::document::Outcome;
use crate::finding::{Finding, Place};

/// Reads a folder of manifests, again and again.
#[derive(Debug)]
pub(crate) struct Reader {
    path: PathBuf,
    /// The last good documents of each file.
    remembered: BTreeMap<PathBuf, Vec<Document>>,
}

/// What a folder says.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The objects, each identity once.
    pub(crate) documents: BTreeMap<Identity, Document>,
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
        Self { path: path.into(), remembered: BTreeMap::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads everything anew. An object whose description is broken now is as it was when it was last good.
    pub(crate) fn read(&mut self) -> Result<Reading, ReaderError> {
        let failed = |source| ReaderError { path: self.path.clone(), source };
        let files = folder::manifests(&self.path).map_err(failed)?;
        let mut reading = Reading::default();
        let mut remembered = BTreeMap::new();
        for file in files {
            let mut outcome = read_file(&file);
            let before = self.remembered.remove(&file).unwrap_or_default();
            keep_last_good(&mut outcome, before);
            reading.findings.append(&mut outcome.findings);
            remembered.insert(file, outcome.documents.clone());
            outcome.documents.into_iter().for_each(|document| reading.add(document));
        }
        self.remembered = remembered;
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
                Item::Secret(secret) => resources.secrets.push(Arc::clone(secret)),
                Item::Namespace(namespace) => resources.namespaces.push(Arc::clone(namespace)),
            }
        }
        resources
    }

    fn add(&mut self, document: Document) {
        if let Some(first) = self.documents.get(&document.identity) {
            self.findings.push(Finding {
                resource: Some(document.identity.clone()),
                severity: Severity::Error,
                field: None,
                reason: "DuplicateObject".to_owned(),
                message: format!(
                    "it is described in {} already, and that holds: remove one",
                    first.place(None)
                ),
                place: Some(document.place(None)),
            });
            return;
        }
        self.documents.insert(document.identity.clone(), document);
    }
}

fn read_file(path: &Path) -> Outcome {
    let name: Arc<str> = path.file_name().unwrap_or(OsStr::new("?")).to_string_lossy().into();
    let mut outcome = Outcome::default();
    let refuse = |outcome: &mut Outcome, line, reason: &str, message| {
        outcome.has_nameless = true;
        outcome.findings.push(Finding {
            resource: None,
            severity: Severity::Error,
            field: None,
            reason: reason.to_owned(),
            message,
            place: Some(Place { file: Arc::clone(&name), line }),
        });
    };
    match folder::text(path) {
        Err(message) => refuse(&mut outcome, None, "Unreadable", message),
        Ok(text) => {
            for read in yaml::documents(&text) {
                match read {
                    Ok(node) => document::read(&name, node, &mut outcome),
                    Err(error) => refuse(&mut outcome, Some(error.line), "InvalidYaml", error.message),
                }
            }
        }
    }
    outcome
}

/// Where a document is broken, the last good one of its object stays; where it does not tell its object, all that the file had and has not now.
fn keep_last_good(outcome: &mut Outcome, before: Vec<Document>) {
    let now: BTreeSet<_> = outcome.documents.iter().map(|document| document.identity.clone()).collect();
    let kept = before.into_iter().filter(|document| {
        let identity = &document.identity;
        !now.contains(identity) && (outcome.has_nameless || outcome.refused.contains(identity))
    });
    let kept: Vec<_> = kept.collect();
    outcome.documents.extend(kept);
}

#[cfg(test)]
mod tests;
