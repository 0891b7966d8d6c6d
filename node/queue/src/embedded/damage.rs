//! What of the log cannot be read is kept in files of its own, `damaged/SEGMENT-OFFSET-CHECKSUM`, before the log is written on or a
//! segment is taken out of use, so that a person can see what there was. Blocking file I/O.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _},
    path::{Path, PathBuf},
};

use super::log::{
    scan::{Unread, Why},
    segments::{Segments, create, sync_folder},
};

/// Where it is kept, in the store's folder.
const FOLDER: &str = "damaged";

/// Files that one segment may leave: with more places than this, everything from the first to the last is one file.
const PLACES: usize = 16;

/// Keeps what cannot be read and says so, once for each; answers whether there is any. Where it cannot be kept, the log goes on all the
/// same: a queue that does not start helps nobody.
pub(crate) fn keep(folder: &Path, segments: &Segments, unread: Vec<Unread>) -> bool {
    let places = few(unread);
    for place in &places {
        match copy(&folder.join(FOLDER), segments, place) {
            Ok(Kept::Before) => {}
            Ok(Kept::Nothing) => report(place, "nowhere: there are only zeros", None),
            Ok(Kept::In(path)) => report(place, &path.display().to_string(), None),
            Err(error) => report(place, "nowhere", Some(&error)),
        }
    }
    !places.is_empty()
}

/// At most [`PLACES`] of a segment.
fn few(unread: Vec<Unread>) -> Vec<Unread> {
    let mut by_segment: BTreeMap<u32, Vec<Unread>> = BTreeMap::new();
    for place in unread {
        by_segment.entry(place.segment).or_default().push(place);
    }
    let one = |places: Vec<Unread>| match (places.first(), places.last()) {
        (Some(first), Some(last)) if places.len() > PLACES => vec![Unread { to: last.to, ..*first }],
        _ => places,
    };
    by_segment.into_values().flat_map(one).collect()
}

enum Kept {
    /// In this file.
    In(PathBuf),
    /// At an earlier start, which also said so.
    Before,
    /// Nothing was ever written there, or nothing is left of it.
    Nothing,
}

fn copy(folder: &Path, segments: &Segments, place: &Unread) -> io::Result<Kept> {
    let file = segments.file(place.segment).ok_or(io::ErrorKind::NotFound)?;
    let mut octets = vec![0; place.to.saturating_sub(place.from) as usize];
    let mut filled = 0;
    while let Some(rest) = octets.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, u64::from(place.from) + filled as u64)? {
            0 => break,
            more => filled += more,
        }
    }
    let written = octets.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
    octets.truncate(written);
    if octets.is_empty() {
        return Ok(Kept::Nothing);
    }
    let Unread { segment, from, .. } = place;
    let path = folder.join(format!("{segment:010}-{from:010}-{:08x}", crc32fast::hash(&octets)));
    if path.exists() {
        return Ok(Kept::Before);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // Under another name until it is whole: a crash leaves no half of it that looks kept.
    let making = folder.join("new");
    let made = create(&making).and_then(|mut file| {
        file.write_all(&octets)?;
        file.sync_all()?;
        fs::rename(&making, &path)?;
        sync_folder(folder)
    });
    if made.is_err() {
        let _ = fs::remove_file(&making); // what it took is room for the log
    }
    made.map(|()| Kept::In(path))
}

fn report(place: &Unread, kept: &str, error: Option<&io::Error>) {
    let Unread { segment, from: offset, to, why } = *place;
    let octets = to.saturating_sub(offset);
    let error = error.map(tracing::field::display);
    match why {
        Why::Damaged => tracing::error!(
            segment,
            offset,
            octets,
            kept,
            error,
            "the queue's log is damaged here: what was written there is not in the queue any more; the rest is"
        ),
        Why::Newer => tracing::error!(
            segment,
            offset,
            octets,
            kept,
            error,
            "a newer version wrote this into the queue's log: what it says is not in the queue; the rest is"
        ),
        Why::Tail => tracing::warn!(
            segment,
            offset,
            octets,
            kept,
            error,
            "the queue's log ends in the middle of a write, as after a power failure: it goes on from there"
        ),
    }
}
