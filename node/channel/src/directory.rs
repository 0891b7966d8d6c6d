//! A directory as the road of snapshots: the operator writes `<sha256>.json`, then moves the pointer file `current` by rename; nodes read
//! it when they start and when they are told to look.
//!
//! A reader sees the old snapshot or the new one, never a half of either, whatever is killed when: files are complete and synced before a
//! rename makes them visible, and what is read is held against the hash that names it. It does blocking file I/O; async callers use a
//! blocking thread.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use posthouse_config::{ENCODED_LENGTH, ParseHashError, SnapshotHash};

/// The name of the pointer file: its content is the hash of the snapshot that holds, and a line end.
pub const POINTER: &str = "current";

/// Enough for a hash and a line end; a longer pointer is damaged.
const MAX_POINTER: usize = 128;

/// How often a reader follows a pointer that moves while it reads. Each round means that two snapshots were published meanwhile.
const ROUNDS: usize = 16;

/// A directory that holds the snapshots of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    path: PathBuf,
}

/// Why a snapshot could not be published or read.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The file system refused.
    #[error("{}: cannot {doing}: {source}", path.display())]
    Io {
        /// What was tried: `read`, `write` …
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The pointer names no snapshot.
    #[error("{}: the pointer is damaged: {source}; publish again", path.display())]
    DamagedPointer {
        /// The pointer file.
        path: PathBuf,
        /// What is wrong with its content.
        source: ParseHashError,
    },
    /// What lies under the snapshot's name has another hash.
    #[error("{}: the snapshot is damaged: its octets have the hash {found}; publish it again", path.display())]
    DamagedSnapshot {
        /// The snapshot's file.
        path: PathBuf,
        /// The hash of what is there.
        found: SnapshotHash,
    },
    /// The file is larger than a snapshot, or a pointer, can be.
    #[error("{}: it has more than {limit} octets", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What it may have.
        limit: usize,
    },
    /// The snapshot is not there: it was collected, or never published.
    #[error("{}: there is no such snapshot", path.display())]
    Missing {
        /// The snapshot's file.
        path: PathBuf,
    },
}

impl Directory {
    /// The directory at `path`, as a reader sees it; it need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The directory at `path`, made if it is absent, readable by its owner only.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, DirectoryError> {
        let directory = Self::new(path);
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&directory.path).map_err(failed("make the directory", &directory.path))?;
        Ok(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes `snapshot` the one that holds. It is on disk before the pointer names it; the one before it stays readable, older ones go.
    /// Publishing what holds already changes nothing.
    pub fn publish(&self, snapshot: &[u8]) -> Result<SnapshotHash, DirectoryError> {
        let hash = SnapshotHash::of(snapshot);
        let file = self.snapshot_file(hash);
        if snapshot.len() > ENCODED_LENGTH {
            return Err(DirectoryError::TooLarge { path: file, limit: ENCODED_LENGTH });
        }
        // A damaged pointer or snapshot is mended by writing both anew.
        let before = self.current().ok().flatten();
        if before == Some(hash) && self.read(hash).is_ok() {
            return Ok(hash);
        }
        self.replace(&file, snapshot)?;
        self.replace(&self.path.join(POINTER), format!("{hash}\n").as_bytes())?;
        self.collect(&[Some(hash), before]);
        Ok(hash)
    }

    /// The hash of the snapshot that holds; nothing where none was published yet.
    pub fn current(&self) -> Result<Option<SnapshotHash>, DirectoryError> {
        let path = self.path.join(POINTER);
        let Some(octets) = read_bounded(&path, MAX_POINTER)? else { return Ok(None) };
        let text = String::from_utf8_lossy(&octets);
        text.trim_end().parse().map(Some).map_err(|source| DirectoryError::DamagedPointer { path, source })
    }

    /// The octets of a snapshot, verified.
    pub fn read(&self, hash: SnapshotHash) -> Result<Vec<u8>, DirectoryError> {
        let path = self.snapshot_file(hash);
        let Some(octets) = read_bounded(&path, ENCODED_LENGTH)? else {
            return Err(DirectoryError::Missing { path });
        };
        let found = SnapshotHash::of(&octets);
        if found == hash { Ok(octets) } else { Err(DirectoryError::DamagedSnapshot { path, found }) }
    }

    /// The snapshot that holds, verified; nothing where none was published yet.
    pub fn read_current(&self) -> Result<Option<(SnapshotHash, Vec<u8>)>, DirectoryError> {
        let mut rounds = 0;
        loop {
            let Some(hash) = self.current()? else { return Ok(None) };
            match self.read(hash) {
                Ok(octets) => return Ok(Some((hash, octets))),
                // It was collected between the two reads: the pointer names another one by now.
                Err(DirectoryError::Missing { .. }) if rounds < ROUNDS && self.current()? != Some(hash) => {
                    rounds += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn snapshot_file(&self, hash: SnapshotHash) -> PathBuf {
        self.path.join(format!("{hash}.json"))
    }

    /// Replaces a file as one step that survives a crash: write beside it, sync, rename, sync the directory.
    fn replace(&self, file: &Path, octets: &[u8]) -> Result<(), DirectoryError> {
        let beside = file.with_extension("new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut handle = options.open(&beside).map_err(failed("write", &beside))?;
        handle.write_all(octets).and_then(|()| handle.sync_all()).map_err(failed("write", &beside))?;
        fs::rename(&beside, file).map_err(failed("rename to", file))?;
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(failed("sync", &self.path))
    }

    /// Removes all snapshots but these. What cannot be removed now is removed after the next publication.
    fn collect(&self, keep: &[Option<SnapshotHash>]) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let is_ours = path.extension().is_some_and(|extension| extension == "json" || extension == "new");
            let hash = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            if is_ours && hash.is_some() && !keep.contains(&hash) {
                let _ = fs::remove_file(&path);
            }
        }
    }
}

/// The octets of a file, at most `limit`; nothing where there is no file.
fn read_bounded(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, DirectoryError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("open", path)(source)),
    };
    let mut octets = Vec::new();
    let readable = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(readable).read_to_end(&mut octets).map_err(failed("read", path))?;
    if octets.len() > limit {
        return Err(DirectoryError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(Some(octets))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirectoryError + use<> {
    let path = path.to_owned();
    move |source| DirectoryError::Io { doing, path, source }
}

#[cfg(test)]
mod tests;
