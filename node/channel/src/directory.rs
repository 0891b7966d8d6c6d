//! A folder as the channel: pieces are files named by their hash, the pointer, the totals and each report a file of its own.
//!
//! A reader sees the old pointer or the new one, never a half of either, whatever is killed when: files are complete and synced before a rename
//! makes them visible. It does blocking file I/O, of small files only.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use posthouse_config::{CHUNK_LENGTH, ChunkName, POINTER_LENGTH, Pointer, Publication};

use crate::{
    channel::{ChannelError, Moved},
    report::{REPORT_LENGTH, Report},
    totals::{TOTALS_LENGTH, Totals, give_way},
};

/// The name of the pointer file.
pub const POINTER: &str = "current";

/// The folder of the pieces.
const CHUNKS: &str = "chunks";

/// The folder of the reports.
pub(crate) const NODES: &str = "nodes";

/// The name of the file with what waits in the queues.
const TOTALS: &str = "totals";

/// The most octets of a sealed piece: what is sealed, with room for what sealing adds.
const SEALED_LENGTH: usize = CHUNK_LENGTH + (1 << 10);

/// A folder with the snapshots of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The directory at `path`, as a reader sees it; it need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The directory at `path`, made if it is absent, readable by its owner only.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, ChannelError> {
        let directory = Self::new(path);
        for folder in [directory.path.join(CHUNKS), directory.path.join(NODES)] {
            make_folder(&folder)?;
        }
        Ok(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the pointer names; nothing where nothing was published yet.
    pub fn pointer(&self) -> Result<Option<Pointer>, ChannelError> {
        let path = self.path.join(POINTER);
        let Some(text) = read_bounded(&path, POINTER_LENGTH)? else { return Ok(None) };
        let damaged = |why: serde_json::Error| ChannelError::Damaged {
            what: format!("the pointer {}", path.display()),
            why: why.to_string(),
        };
        Pointer::decode(&text).map(Some).map_err(damaged)
    }

    /// See [`Channel::fetch`](crate::Channel::fetch).
    pub fn fetch(&self, names: &[ChunkName]) -> Result<HashMap<ChunkName, Vec<u8>>, ChannelError> {
        let mut found = HashMap::with_capacity(names.len());
        for name in names {
            if let Some(octets) = read_bounded(&self.chunk(*name), SEALED_LENGTH)? {
                found.insert(*name, octets);
            }
        }
        Ok(found)
    }

    /// See [`Channel::publish`](crate::Channel::publish). One process at a time publishes: whoever holds the state folder.
    pub fn publish(&self, publication: &Publication) -> Result<Moved, ChannelError> {
        let pointer = &publication.pointer;
        match self.pointer() {
            Ok(Some(current)) if current != *pointer && current.epoch >= pointer.epoch => {
                return Ok(Moved::Outdated(current.epoch));
            }
            Ok(_) | Err(ChannelError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        make_folder(&self.path.join(CHUNKS))?;
        for (name, sealed) in &publication.fresh {
            write(&self.chunk(*name), sealed)?;
        }
        sync(&self.path.join(CHUNKS))?;
        let text = pointer.encode().map_err(|error| ChannelError::Damaged {
            what: "the pointer".to_owned(),
            why: error.to_string(),
        })?;
        write(&self.path.join(POINTER), text.as_bytes())?;
        sync(&self.path)?;
        Ok(Moved::Forward)
    }

    /// See [`Channel::names`](crate::Channel::names).
    pub fn names(&self) -> Result<HashSet<ChunkName>, ChannelError> {
        let paths = files(&self.path.join(CHUNKS))?;
        let name = |path: &PathBuf| path.file_name()?.to_str()?.parse().ok();
        Ok(paths.iter().filter_map(name).collect())
    }

    /// See [`Channel::collect`](crate::Channel::collect).
    pub fn collect(&self, pointer: &Pointer, keep: &HashSet<ChunkName>) -> Result<(), ChannelError> {
        if self.pointer()? != Some(*pointer) {
            return Ok(());
        }
        for path in files(&self.path.join(CHUNKS))? {
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            if name.is_none_or(|name| !keep.contains(&name)) {
                remove(&path)?; // what has no such name was left half written
            }
        }
        Ok(())
    }

    /// See [`Channel::report`](crate::Channel::report).
    pub fn report(&self, report: &Report) -> Result<(), ChannelError> {
        make_folder(&self.path.join(NODES))?;
        let path = self.report_file(&report.uid);
        let text =
            serde_json::to_vec(report).map_err(|source| failed("write", &path)(io::Error::other(source)))?;
        replace(&path, &text, false) // it is of this run: nothing that has to outlive the machine
    }

    /// See [`Channel::has_report`](crate::Channel::has_report).
    pub fn has_report(&self, uid: &str) -> Result<bool, ChannelError> {
        let path = self.report_file(uid);
        path.try_exists().map_err(failed("look for", &path))
    }

    /// See [`Channel::reports`](crate::Channel::reports).
    pub fn reports(&self) -> Result<Vec<Report>, ChannelError> {
        let mut reports = Vec::new();
        for path in files(&self.path.join(NODES))? {
            if path.extension().is_some_and(|extension| extension == "json")
                && let Some(text) = read_bounded(&path, REPORT_LENGTH)?
            {
                reports.extend(serde_json::from_slice::<Report>(&text).ok());
            }
        }
        Ok(reports)
    }

    /// See [`Channel::forget`](crate::Channel::forget).
    pub fn forget(&self, uids: &[String]) -> Result<(), ChannelError> {
        uids.iter().try_for_each(|uid| remove(&self.report_file(uid)))
    }

    /// See [`Channel::totals`](crate::Channel::totals).
    pub fn totals(&self) -> Result<Option<Totals>, ChannelError> {
        match read_bounded(&self.path.join(TOTALS), TOTALS_LENGTH) {
            Err(ChannelError::Damaged { .. }) => Ok(None),
            read => Ok(read?.and_then(|octets| Totals::decode(&octets))),
        }
    }

    /// See [`Channel::replace_totals`](crate::Channel::replace_totals). One process at a time has the queue, and so counts it.
    pub fn replace_totals(&self, totals: &Totals) -> Result<bool, ChannelError> {
        if self.totals()?.is_some_and(|there| !give_way(there.at, totals.at)) {
            return Ok(false);
        }
        let path = self.path.join(TOTALS);
        let octets = totals.encode().map_err(failed("write", &path))?;
        replace(&path, &octets, false)?; // what a crash takes away is counted again
        Ok(true)
    }

    fn chunk(&self, name: ChunkName) -> PathBuf {
        self.path.join(CHUNKS).join(name.to_string())
    }

    /// A run's name is made by us, but it is a file's name here.
    fn report_file(&self, uid: &str) -> PathBuf {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let plain: String = uid.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
        self.path.join(NODES).join(format!("{plain}.json"))
    }
}

/// Makes a folder and those above it, readable by the owner only.
pub(crate) fn make_folder(path: &Path) -> Result<(), ChannelError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("make the folder", path))
}

/// Replaces a file as one step that survives a crash.
fn write(file: &Path, octets: &[u8]) -> Result<(), ChannelError> {
    replace(file, octets, true)
}

/// Replaces a file as one step: write beside it, sync if it is to survive a crash, rename.
pub(crate) fn replace(file: &Path, octets: &[u8], survives: bool) -> Result<(), ChannelError> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut handle = options.open(&beside).map_err(failed("write", &beside))?;
    handle.write_all(octets).map_err(failed("write", &beside))?;
    if survives {
        handle.sync_all().map_err(failed("write", &beside))?; // a rename may reach the disk before what it names
    }
    fs::rename(&beside, file).map_err(failed("rename to", file))
}

fn sync(folder: &Path) -> Result<(), ChannelError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))
}

/// The files of a folder; none where there is no folder.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, ChannelError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed("read", folder)(source)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed("read", folder)));
    paths.collect()
}

fn remove(path: &Path) -> Result<(), ChannelError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The octets of a file, at most `limit`; nothing where there is no file.
pub(crate) fn read_bounded(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, ChannelError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("open", path)(source)),
    };
    let mut octets = Vec::new();
    let readable = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(readable).read_to_end(&mut octets).map_err(failed("read", path))?;
    if octets.len() > limit {
        let why = format!("it has more than {limit} octets");
        return Err(ChannelError::Damaged { what: path.display().to_string(), why });
    }
    Ok(Some(octets))
}

pub(crate) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ChannelError + use<> {
    let path = path.to_owned();
    move |source| ChannelError::Io { doing, path, source }
}
