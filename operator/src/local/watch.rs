//! Edits of the manifests: a hint that something may have changed, within milliseconds where the system tells, within seconds where it does not.
//! It watches the file system.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use tokio::sync::mpsc;

use crate::reader::is_manifest;

/// Watches one folder (or one file) of manifests.
#[derive(Debug)]
pub(super) struct Watch {
    path: PathBuf,
    hints: mpsc::Sender<()>,
    watcher: Option<RecommendedWatcher>,
    /// The folder that is watched: another one may come to lie under its name.
    watched: Option<(u64, u64)>,
    stamp: Stamp,
}

/// Enough of a folder to see that it changed.
type Stamp = Vec<(OsString, u64, i64, i64, u64)>;

impl Watch {
    /// Starts watching; each hint stands for any number of changes.
    pub(super) fn start(path: &Path) -> (Self, mpsc::Receiver<()>) {
        let (hints, received) = mpsc::channel(1);
        let mut watch =
            Self { path: path.to_owned(), hints, watcher: None, watched: None, stamp: stamp(path) };
        watch.arm();
        (watch, received)
    }

    /// Looks by itself, now and then: whether something changed without a hint. Not every file system tells of changes.
    pub(super) fn has_changed(&mut self) -> bool {
        if self.watched.is_none() || self.watched != identity(self.folder()) {
            self.arm();
        }
        let stamp = stamp(&self.path);
        std::mem::replace(&mut self.stamp, stamp) != self.stamp
    }

    /// What is seen now is what was read now.
    pub(super) fn mark(&mut self) {
        self.stamp = stamp(&self.path);
    }

    fn arm(&mut self) {
        let hints = self.hints.clone();
        let folder = self.folder().to_owned();
        let made = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| is_worth_a_look(&event)) {
                // Full means that a hint waits already.
                let _ = hints.try_send(());
            }
        });
        let watched = identity(&folder);
        let armed = made.and_then(|mut watcher| {
            watcher.watch(&folder, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        match armed {
            Ok(watcher) => (self.watcher, self.watched) = (Some(watcher), watched),
            Err(error) => {
                if self.watcher.take().is_some() || self.watched.is_none() {
                    tracing::debug!(
                        "{}: changes are looked for only now and then: {error}",
                        folder.display()
                    );
                }
                self.watched = None;
            }
        }
    }

    /// A single file is watched by its folder: editors replace the file itself.
    fn folder(&self) -> &Path {
        if self.path.is_file() {
            self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
        } else {
            &self.path
        }
    }
}

/// Our own reading is no change; what is no manifest may still be a link that manifests lie behind (a mounted `ConfigMap`).
fn is_worth_a_look(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => event.paths.is_empty() || event.paths.iter().any(|path| is_relevant(path)),
    }
}

fn is_relevant(path: &Path) -> bool {
    path.file_name().is_none_or(|name| is_manifest(name) || name.as_encoded_bytes().starts_with(b".."))
        || path.extension().is_none()
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

fn stamp(path: &Path) -> Stamp {
    let of_file = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        let name = path.file_name().unwrap_or_default().to_owned();
        Some((name, metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len()))
    };
    let mut stamp: Stamp = match fs::read_dir(path) {
        Ok(entries) => entries
            .flatten()
            .filter(|entry| is_manifest(&entry.file_name()))
            .filter_map(|entry| of_file(&entry.path()))
            .collect(),
        Err(_) => of_file(path).into_iter().collect(),
    };
    stamp.sort();
    stamp
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_edit_in_any_manner_is_a_hint() {
        let folder = tempfile::tempdir().unwrap();
        let (watch, mut hints) = Watch::start(folder.path());
        fs::write(folder.path().join("a.yaml"), "a").unwrap();
        hints.recv().await.unwrap();
        fs::write(folder.path().join(".a.yaml.new"), "b").unwrap();
        fs::rename(folder.path().join(".a.yaml.new"), folder.path().join("a.yaml")).unwrap();
        hints.recv().await.unwrap();
        drop(watch);
    }

    #[tokio::test]
    async fn reading_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.yaml"), "a").unwrap();
        let (mut watch, mut hints) = Watch::start(folder.path());
        fs::read(folder.path().join("a.yaml")).unwrap();
        assert!(!watch.has_changed());
        // A change that is told afterwards is the first that is told.
        fs::write(folder.path().join("b.yaml"), "b").unwrap();
        hints.recv().await.unwrap();
        assert!(watch.has_changed() && !watch.has_changed());
    }

    #[tokio::test]
    async fn a_folder_that_is_made_anew_is_watched_anew() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("manifests");
        fs::create_dir(&folder).unwrap();
        let (mut watch, mut hints) = Watch::start(&folder);
        fs::rename(&folder, parent.path().join("old")).unwrap();
        fs::create_dir(&folder).unwrap();
        while hints.try_recv().is_ok() {}
        let _ = watch.has_changed();
        fs::write(folder.join("a.yaml"), "a").unwrap();
        hints.recv().await.unwrap();
    }
}
