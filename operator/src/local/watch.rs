//! Edits of the manifests: a hint that something may have changed, within milliseconds where the system tells, within seconds where it does not
//! (the run looks by itself, too). It watches the file system.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind, RenameMode},
};
use tokio::sync::mpsc;

use crate::reader::is_manifest;

/// How many hints may wait. One that finds no room says nothing that those before it do not: look.
const HINTS: usize = 256;

/// Something may have changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hint {
    /// This file is whole: it came by a rename, or whoever wrote it has closed it.
    Whole(OsString),
    /// This file is being written, or is gone and may come back.
    Unfinished(OsString),
}

/// Watches one folder (or one file) of manifests.
#[derive(Debug)]
pub(super) struct Watch {
    path: PathBuf,
    hints: mpsc::Sender<Hint>,
    watcher: Option<RecommendedWatcher>,
    /// The folder that is watched: another one may come to lie under its name.
    watched: Option<(u64, u64)>,
}

impl Watch {
    /// Starts watching; each hint stands for any number of changes.
    pub(super) fn start(path: &Path) -> (Self, mpsc::Receiver<Hint>) {
        let (hints, received) = mpsc::channel(HINTS);
        let mut watch = Self { path: path.to_owned(), hints, watcher: None, watched: None };
        watch.arm();
        (watch, received)
    }

    /// Watches the folder that lies under the name now, if it is another one.
    pub(super) fn keep_up(&mut self) {
        if self.watched.is_none() || self.watched != identity(self.folder()) {
            self.arm();
        }
    }

    fn arm(&mut self) {
        let hints = self.hints.clone();
        let folder = self.folder().to_owned();
        let made = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let hint = event.map_or_else(|_| Some(Hint::Whole(OsString::new())), |event| hint(&event));
            // Full means that hints wait already.
            hint.map(|hint| hints.try_send(hint));
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

/// What an event says, if it is worth a look. Our own reading is no change.
fn hint(event: &Event) -> Option<Hint> {
    let Some(path) = event.paths.last() else { return Some(Hint::Whole(OsString::new())) };
    let is_of_manifest = path.file_name().is_some_and(is_manifest);
    let name = path.file_name().unwrap_or_default().to_owned();
    let hint = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        // Of a rename, the last path is the new name: what comes so is all there.
        | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both) | ModifyKind::Metadata(_)) => Hint::Whole(name),
        EventKind::Access(_) => return None,
        // The file from which another one was made by renaming it.
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) if !is_of_manifest => Hint::Whole(name),
        _ => Hint::Unfinished(name),
    };
    is_relevant(path).then_some(hint)
}

/// What is no manifest may still be a link that manifests lie behind (a mounted `ConfigMap`).
fn is_relevant(path: &Path) -> bool {
    path.file_name().is_none_or(|name| is_manifest(name) || name.as_encoded_bytes().starts_with(b".."))
        || path.extension().is_none()
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hints until one says that this file is whole.
    async fn until_whole(hints: &mut mpsc::Receiver<Hint>, name: &str) -> Vec<Hint> {
        let mut before = Vec::new();
        loop {
            match hints.recv().await.unwrap() {
                Hint::Whole(whole) if whole == name => return before,
                other => before.push(other),
            }
        }
    }

    #[tokio::test]
    async fn a_file_is_whole_when_it_is_closed_and_when_it_comes_by_a_rename() {
        let folder = tempfile::tempdir().unwrap();
        let (watch, mut hints) = Watch::start(folder.path());
        fs::write(folder.path().join("a.yaml"), "a").unwrap();
        let before = until_whole(&mut hints, "a.yaml").await;
        assert_eq!(before.first(), Some(&Hint::Unfinished("a.yaml".into())));
        for temporary in [".a.yaml.new", ".tmp4Zb1x"] {
            fs::write(folder.path().join(temporary), "b").unwrap();
            fs::rename(folder.path().join(temporary), folder.path().join("a.yaml")).unwrap();
            let before = until_whole(&mut hints, "a.yaml").await;
            assert!(!before.contains(&Hint::Unfinished("a.yaml".into())), "{before:?}");
        }
        drop(watch);
    }

    #[tokio::test]
    async fn reading_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.yaml"), "a").unwrap();
        let (_watch, mut hints) = Watch::start(folder.path());
        fs::read(folder.path().join("a.yaml")).unwrap();
        // A change that is told afterwards is the first that is told.
        fs::write(folder.path().join("b.yaml"), "b").unwrap();
        assert_eq!(hints.recv().await, Some(Hint::Unfinished("b.yaml".into())));
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
        watch.keep_up();
        fs::write(folder.join("a.yaml"), "a").unwrap();
        hints.recv().await.unwrap();
    }
}
