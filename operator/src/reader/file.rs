//! One file of manifests, and what is remembered of it: as long as it looks the same it is not read, and a document that reads the same is not
//! parsed. It reads the file system.

use std::{collections::HashMap, ffi::OsStr, path::Path, sync::Arc, time::SystemTime};

use posthouse_compiler::Severity;
use posthouse_config::SnapshotHash as Hash;

use super::{
    document::{self, Outcome},
    folder::{self, Stamp},
    yaml::{Cost, Part, Parts},
};
use crate::finding::{Finding, Place};

/// A file as it was read.
#[derive(Debug)]
pub(super) struct ManifestFile {
    pub(super) name: Arc<str>,
    /// Absent where the file may have changed and look the same.
    stamp: Option<Stamp>,
    pub(super) parts: Vec<Known>,
    /// All that its documents say.
    pub(super) outcome: Outcome,
}

/// A part of a file (see [`Parts`]) as it was read.
#[derive(Clone, Debug)]
pub(super) struct Known {
    hash: Hash,
    is_followed: bool,
    cost: Cost,
    outcome: Arc<Outcome>,
}

impl ManifestFile {
    /// Whether the file is as it was, to judge by its looks.
    pub(super) fn is_as_of(&self, stamp: &Stamp) -> bool {
        self.stamp.as_ref() == Some(stamp)
    }

    /// Reads a file that had this stamp before it was opened, with what is known of it from before.
    pub(super) fn read(path: &Path, stamp: Stamp, now: SystemTime, before: Option<Self>) -> Self {
        let name: Arc<str> = path.file_name().unwrap_or(OsStr::new("?")).to_string_lossy().into();
        let stamp = stamp.is_settled(now).then_some(stamp);
        match folder::text(path) {
            Ok(text) => {
                Self::of_text(name, stamp, &text, before.map(|before| before.parts).unwrap_or_default())
            }
            // It may be readable again without a change of the file itself.
            Err(message) => Self {
                name: Arc::clone(&name),
                stamp: None,
                parts: Vec::new(),
                outcome: unreadable(name, message),
            },
        }
    }

    /// Reads a text, with what is known of the parts of the one before.
    pub(super) fn of_text(name: Arc<str>, stamp: Option<Stamp>, text: &str, before: Vec<Known>) -> Self {
        let before: HashMap<(Hash, bool), Known> =
            before.into_iter().map(|known| ((known.hash, known.is_followed), known)).collect();
        let mut parts = Parts::of(text);
        let mut known = Vec::new();
        let mut outcome = Outcome::default();
        loop {
            let line = parts.line();
            let guess = parts.guess().filter(|_| !before.is_empty());
            let part = match guess.and_then(|(text, is_followed)| {
                Some((text, before.get(&(Hash::of(text.as_bytes()), is_followed))?))
            }) {
                Some((text, part)) => {
                    parts.skip(text, part.cost);
                    part.clone()
                }
                None => match parts.read() {
                    Some(part) => known_of(&name, part),
                    None => break,
                },
            };
            outcome.extend_with(&part.outcome, line);
            known.push(part);
        }
        Self { name, stamp, parts: known, outcome }
    }
}

fn known_of(name: &Arc<str>, part: Part<'_>) -> Known {
    let Part { text, is_followed, documents, cost } = part;
    let mut outcome = Outcome::default();
    for read in documents {
        match read {
            Ok(node) => document::read(name, node, &mut outcome),
            Err(error) => document::refuse(name, error, &mut outcome),
        }
    }
    Known { hash: Hash::of(text.as_bytes()), is_followed, cost, outcome: Arc::new(outcome) }
}

fn unreadable(file: Arc<str>, message: String) -> Outcome {
    let finding = Finding {
        resource: None,
        severity: Severity::Error,
        field: None,
        reason: "Unreadable".to_owned(),
        message,
        place: Some(Place { file, line: None }),
    };
    Outcome { findings: vec![finding], has_nameless: true, ..Outcome::default() }
}
