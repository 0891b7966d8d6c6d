//! Opening the index: looked through before anything is written, so that what is damaged or missing stays as it was. Blocking file I/O.

use std::{fs, io, path::Path};

use super::in_use;
use crate::{
    embedded::{
        Options,
        database::{DatabaseError, Identity, Index, caught},
        log::segments,
    },
    record::RecordError,
    store::StoreError,
};

/// The file, in the queue's folder.
const FILE: &str = "index.redb";

/// What to do about an index that is missing or damaged. It cannot be made anew: the log says only what came after the last checkpoint.
const CURE: &str = "nothing was changed. Put a copy of the whole folder back, or an index.redb that is as new as the log. If there is none, \
    keep this folder elsewhere and start with an empty one: its log/ and content/ have the mail that is not delivered";

/// Opens the index and counts the start, or makes one in a folder that has no log.
pub(super) fn open(folder: &Path, log: &Path, options: Options) -> Result<(Index, Identity), StoreError> {
    let cannot = |error: io::Error| refused(folder, &DatabaseError::Redb(Box::new(redb::Error::Io(error))));
    let path = folder.join(FILE);
    let has_log = has_segments(log).map_err(cannot)?;
    let known = match len(&path).map_err(cannot)? {
        // An empty file is a start that was cut off, or what is left of a lost index.
        None | Some(0) => None,
        Some(_) => caught(|| Index::check(&path)).map_err(|error| refused(folder, &error))?,
    };
    if known.is_none() && has_log {
        return Err(StoreError::Refused(format!(
            "the queue in {} has a log but no index: {FILE} is missing or empty; {CURE}",
            folder.display()
        )));
    }
    if len(&path).map_err(cannot)?.is_none() {
        segments::create(&path).map_err(cannot)?; // for its permissions; an empty file is a new database
    }
    caught(|| begin(&path, known, options)).map_err(|error| refused(folder, &error))
}

fn begin(path: &Path, known: Option<Identity>, options: Options) -> Result<(Index, Identity), DatabaseError> {
    let index = Index::open(path)?;
    let identity = match known {
        Some(known) => Identity { epoch: known.epoch.saturating_add(1), ..known },
        None => Identity { salt: rand::random(), epoch: 1, segment_size: options.segment_size },
    };
    index.set_identity(&identity)?;
    Ok((index, identity))
}

/// Why a folder is not opened, from what is wrong with its index.
pub(super) fn refused(folder: &Path, error: &DatabaseError) -> StoreError {
    let folder_shown = folder.display();
    StoreError::Refused(match error {
        DatabaseError::Locked => return in_use(folder),
        DatabaseError::Record(error @ RecordError::Version { .. }) => format!(
            "the queue in {folder_shown} was written by a newer version of Posthouse; start that one again, which alone can deliver what is \
             queued here: {error}"
        ),
        error if error.is_of_the_machine() => {
            format!("the queue in {folder_shown} cannot be opened: {error}")
        }
        error => format!("the index of the queue in {folder_shown} is damaged ({FILE}: {error}); {CURE}"),
    })
}

/// The length of a file; `None`: it is not there.
fn len(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether there is a log, of whatever store.
fn has_segments(log: &Path) -> io::Result<bool> {
    let files = match fs::read_dir(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        files => files?,
    };
    for file in files {
        if Path::new(&file?.file_name()).extension().is_some_and(|ending| ending == "seg") {
            return Ok(true);
        }
    }
    Ok(false)
}
