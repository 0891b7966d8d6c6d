//! `STATE/status`: one file for each resource, `KIND.NAMESPACE.NAME.yaml`. It does the file I/O of statuses, all of it.
//!
//! Files are replaced by rename and not synced: what is lost or damaged by a crash is judged and written anew.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use posthouse_config::SnapshotHash;
use posthouse_crds::status::ObjectStatus;
use serde_json::Value;

use super::{
    form::{self, Written},
    generations::{FileChange, Generations},
    keeper::Change,
    observation::ResourceId,
};
use crate::failure::Failure;

/// The longest name of a file, with room for what a file is called while it is written (Linux takes 255 octets).
const LONGEST_NAME: usize = 240;

/// What the name of a file ends with while it is written.
const NEW: &str = ".new";

/// The folder of the statuses of a run.
#[derive(Clone, Debug)]
pub(crate) struct StatusFolder {
    path: PathBuf,
}

impl StatusFolder {
    /// The folder in this state, and what the run before left in it.
    pub(crate) fn open(
        state: &Path,
    ) -> Result<(Self, Generations, BTreeMap<ResourceId, ObjectStatus>), Failure> {
        let path = folder(state);
        let failed = |doing| {
            let path = path.clone();
            move |source| Failure::State { doing, path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed("be made"))?;
        let (mut generations, mut statuses) = (Generations::default(), BTreeMap::new());
        for file in files(&path).map_err(failed("be read"))? {
            let Some(read) = read(&file) else { continue };
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let written = read.as_ref().ok().and_then(form::written);
            if let Some(Written { id, status, sighting }) = written.filter(|one| file_name(&one.id) == name) {
                generations.0.extend(sighting.map(|sighting| (id.clone(), sighting)));
                statuses.insert(id, status);
                continue;
            }
            tracing::warn!("{}: is damaged; it is written anew", file.display());
            remove(&file).map_err(failed("be mended"))?;
        }
        Ok((Self { path }, generations, statuses))
    }

    /// Writes and removes files; gives back what could not be done, and why the first could not. It blocks.
    pub(crate) fn write(&self, changes: Vec<FileChange>) -> (Vec<Change>, Option<Failure>) {
        let (mut failed, mut why) = (Vec::new(), None);
        for FileChange { change, sighting } in changes {
            let file = self.path.join(file_name(&change.id));
            let done = match &change.status {
                Some((generation, status)) => {
                    let object = form::object(&change.id, *generation, status, sighting.as_ref());
                    replace(&file, &form::render(&object))
                }
                None => remove(&file),
            };
            if let Err(source) = done {
                failed.push(change);
                why.get_or_insert(Failure::State { doing: "be written", path: file, source });
            }
        }
        (failed, why)
    }
}

/// Where the statuses of a state lie.
pub(super) fn folder(state: &Path) -> PathBuf {
    state.join("status")
}

/// The files of the statuses in a folder, in order. What a crash left half written is passed over.
pub(super) fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "yaml") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// A status, or why it cannot be read; nothing where it went meanwhile.
pub(super) fn read(file: &Path) -> Option<Result<Value, String>> {
    match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(error.to_string())),
        Ok(octets) => {
            let text = std::str::from_utf8(&octets).ok();
            Some(text.and_then(form::parse).ok_or_else(|| "is damaged".to_owned()))
        }
    }
}

/// The name of a resource's file. One that is no name of a file, or too long for one, is known by its hash.
fn file_name((kind, key): &ResourceId) -> String {
    let is_label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let name = format!("{kind}.{}.{}.yaml", key.namespace, key.name);
    let is_plain = key.namespace.chars().all(is_label) && key.name.chars().all(|c| is_label(c) || c == '.');
    if is_plain && name.len() <= LONGEST_NAME {
        return name;
    }
    format!("{kind}.{}.yaml", SnapshotHash::of(key.to_string().as_bytes()))
}

fn replace(file: &Path, text: &str) -> io::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(NEW);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&beside)?.write_all(text.as_bytes())?;
    fs::rename(&beside, file)
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
