//! Which files are manifests, and their text. It reads the file system.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// The most octets of one file: several times what an API server takes in one object, and room for a List.
pub(super) const MAX_FILE: usize = 32 * 1024 * 1024;

/// The most files that are read: a folder with more is not one of manifests.
pub(super) const MAX_FILES: usize = 10_000;

/// The manifests under a path, in the order of their names: those in a folder (not in folders below, as with `kubectl -f`), or the file itself.
pub(super) fn manifests(path: &Path) -> io::Result<Vec<PathBuf>> {
    if fs::metadata(path)?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if file.file_name().is_some_and(is_manifest) && !file.is_dir() {
            files.push(file);
        }
        if files.len() > MAX_FILES {
            return Err(io::Error::other(format!("it has more than {MAX_FILES} manifests; split it")));
        }
    }
    files.sort();
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
