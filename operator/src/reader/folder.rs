//! Which files are manifests, and their text. It reads the file system.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, open, stat, statat};

/// The most octets of one file: several times what an API server takes in one object, and room for a List.
pub(super) const MAX_FILE: usize = 32 * 1024 * 1024;

/// The most files that are read: several times what one gateway is made for, one domain to a file.
pub(super) const MAX_FILES: usize = 50_000;

/// Enough of a file to see that it changed. What a link leads to is meant, not the link: a mounted `ConfigMap` is made of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    place: (u64, u64),
    modified: (i64, i64),
    changed: (i64, i64),
    size: i64,
}

/// So much older than the moment of reading must a stamp be to say that nothing came after: clocks of file systems tick in steps, some of whole
/// seconds, and within one step a file may be written twice. (As `git` does it with its index.)
const STEP: Duration = Duration::from_secs(2);

impl Stamp {
    fn of(stat: &Stat) -> Self {
        #[allow(clippy::useless_conversion, clippy::cast_possible_wrap)]
        // their types differ from system to system
        Self {
            place: (stat.st_dev.into(), stat.st_ino.into()),
            modified: (stat.st_mtime.into(), stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime.into(), stat.st_ctime_nsec as i64),
            size: stat.st_size.into(),
        }
    }

    /// Whether a file that is read from now on and has this stamp later was not written meanwhile.
    pub(super) fn is_settled(&self, now: SystemTime) -> bool {
        let settled =
            now.checked_sub(STEP).and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        let settled = i64::try_from(settled.as_secs()).unwrap_or(i64::MAX);
        self.modified.0 < settled && self.changed.0 < settled
    }
}

/// The manifests under a path, in the order of their names: those in a folder (not in folders below, as with `kubectl -f`), or the file itself.
pub(super) fn manifests(path: &Path) -> io::Result<Vec<(PathBuf, Stamp)>> {
    let stat = stat(path)?;
    if FileType::from_raw_mode(stat.st_mode).is_file() {
        return Ok(vec![(path.to_owned(), Stamp::of(&stat))]);
    }
    let folder = open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut files = Vec::new();
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if entry.file_type().is_dir() || !is_manifest(name) {
            continue;
        }
        // What was taken away meanwhile, or is a link to nothing, is no manifest.
        let Ok(stat) = statat(&folder, entry.file_name(), AtFlags::empty()) else { continue };
        if !FileType::from_raw_mode(stat.st_mode).is_dir() {
            files.push((path.join(name), Stamp::of(&stat)));
        }
        if files.len() > MAX_FILES {
            return Err(io::Error::other(format!("it has more than {MAX_FILES} manifests; split it")));
        }
    }
    files.sort_unstable_by(|(one, _), (other, _)| one.as_os_str().cmp(other.as_os_str()));
    Ok(files)
}

/// Whether a file of this name is a manifest: hidden files and what editors leave beside a file are none.
pub(crate) fn is_manifest(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let has_ending = [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending));
    has_ending && !name.starts_with(['.', '#', '~'])
}

/// The text of a manifest.
pub(super) fn text(file: &Path) -> Result<String, String> {
    let mut octets = Vec::new();
    let limit = u64::try_from(MAX_FILE).unwrap_or(u64::MAX).saturating_add(1);
    File::open(file)
        .and_then(|file| file.take(limit).read_to_end(&mut octets))
        .map_err(|error| format!("it cannot be read: {error}"))?;
    if octets.len() > MAX_FILE {
        return Err(format!("it has more than {MAX_FILE} octets: split it"));
    }
    String::from_utf8(octets).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..place).unwrap_or_default();
        let line = before.split(|octet| *octet == b'\n').count();
        format!("it is not UTF-8 (line {line}): save it as UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_trusted_once_it_is_older_than_the_steps_of_clocks() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.yaml"), "a").unwrap();
        let (_, stamp) = manifests(folder.path()).unwrap().remove(0);
        let now = SystemTime::now();
        assert!(!stamp.is_settled(now) && stamp.is_settled(now + 2 * STEP));
    }

    #[test]
    fn what_editors_leave_is_no_manifest() {
        for name in ["a.yaml", "b.yml", "c.json", "a.b.yaml"] {
            assert!(is_manifest(OsStr::new(name)), "{name}");
        }
        for name in [
            ".a.yaml",
            "..data",
            "#a.yaml#",
            ".#a.yaml",
            "a.yaml~",
            "a.yaml.swp",
            ".a.yaml.swp",
            "4913",
            "run.sh",
        ] {
            assert!(!is_manifest(OsStr::new(name)), "{name}");
        }
    }
}
