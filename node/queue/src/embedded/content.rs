//! Content in files of its own: each chunk goes straight to disk as it comes, and no copy is kept in memory. Blocking file I/O.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use posthouse_model::{MessageId, Timestamp};

use super::log::segments::{create, sync_folder};
use crate::{CHUNK_SIZE, ORPHAN_CHUNK_LIFE_MS, message::MessageMeta, store::StoreError};

/// The highest index of a chunk: 64 GiB of content, far beyond any limit on message size.
const MAX_CHUNK_INDEX: u32 = 1 << 20;

/// The folder of content files.
#[derive(Debug)]
pub(crate) struct ContentFiles {
    folder: PathBuf,
    sets: Mutex<HashMap<MessageId, Arc<Mutex<ChunkSet>>>>,
}

/// The chunks of a message that is not enqueued.
#[derive(Debug)]
struct ChunkSet {
    file: File,
    lengths: BTreeMap<u32, u32>,
    /// The checksum of the chunks up to the next one that was not seen; lost when a chunk comes out of order.
    crc: Option<(u32, crc32fast::Hasher)>,
    written_at: Timestamp,
}

impl ContentFiles {
    /// The content files in a folder, which is there.
    pub(crate) fn open(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), sets: Mutex::default() }
    }

    /// Removes the files of all but these messages: chunks that were never enqueued, content whose message is gone.
    pub(crate) fn keep(&self, wanted: &HashSet<MessageId>) -> io::Result<()> {
        for file in fs::read_dir(&self.folder)? {
            let file = file?;
            let id = file.file_name().to_str().and_then(|name| name.parse().ok());
            if id.is_some_and(|id: MessageId| !wanted.contains(&id)) {
                fs::remove_file(file.path())?;
            }
        }
        Ok(())
    }

    /// Stores a chunk.
    pub(crate) fn put(
        &self,
        id: MessageId,
        index: u32,
        data: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if data.is_empty() || data.len() > CHUNK_SIZE || index > MAX_CHUNK_INDEX {
            return Err(StoreError::Refused(format!("no chunk {index} of {} octets", data.len())));
        }
        let set = self.set(id, now)?;
        let mut set = lock(&set);
        set.file.write_all_at(data, u64::from(index) * CHUNK_SIZE as u64).map_err(|e| unwritten(&e))?;
        let known = set.lengths.insert(index, u32::try_from(data.len()).unwrap_or(u32::MAX)).is_some();
        set.crc = match set.crc.take() {
            Some((next, mut crc)) if next == index && !known => {
                crc.update(data);
                Some((next + 1, crc))
            }
            Some((next, crc)) if index > next => Some((next, crc)),
            _ => None, // an earlier chunk was written again: read all of it at the end
        };
        set.written_at = set.written_at.max(now);
        Ok(())
    }

    /// Makes sure that the chunks of a message are what its envelope says, and on disk under their name.
    pub(crate) fn seal(&self, id: MessageId, meta: &MessageMeta, chunks: u32) -> Result<(), StoreError> {
        let wrong =
            || StoreError::Refused("the chunks do not match the message's length or checksum".to_owned());
        let set = lock(&self.sets).get(&id).cloned().ok_or_else(wrong)?;
        let mut set = lock(&set);
        let length: u64 = set.lengths.values().map(|length| u64::from(*length)).sum();
        let whole = set.lengths.len() == chunks as usize
            && length == meta.size
            && (0..).zip(&set.lengths).all(|(place, (index, length))| {
                place == *index && (*length as usize == CHUNK_SIZE || place + 1 == chunks)
            });
        if !whole {
            return Err(wrong());
        }
        set.file.set_len(meta.size).map_err(|e| unwritten(&e))?;
        let crc = match set.crc.take() {
            Some((next, crc)) if next == chunks => {
                set.crc = Some((next, crc.clone()));
                crc.finalize()
            }
            _ => checksum(&set.file).map_err(|e| unwritten(&e))?,
        };
        if crc != meta.crc32 {
            return Err(wrong());
        }
        set.file.sync_all().and_then(|()| sync_folder(&self.folder)).map_err(|e| unwritten(&e))
    }

    /// A message was enqueued: its file is no longer a set of chunks.
    pub(crate) fn enqueued(&self, id: MessageId) {
        lock(&self.sets).remove(&id);
    }

    /// Drops the chunks of a message that is not enqueued.
    pub(crate) fn drop_chunks(&self, id: MessageId) -> io::Result<()> {
        // Under the lock, so that no new set of the same name comes between.
        let mut sets = lock(&self.sets);
        if sets.remove(&id).is_some() { self.remove(id) } else { Ok(()) }
    }

    /// Drops the chunks that nobody enqueued in their time.
    pub(crate) fn prune(&self, now: Timestamp) -> io::Result<()> {
        let over: Vec<MessageId> = lock(&self.sets)
            .iter()
            .filter(|(_, set)| {
                // Whoever holds the lock writes to it right now.
                set.try_lock().is_ok_and(|set| now.0 >= set.written_at.0.saturating_add(ORPHAN_CHUNK_LIFE_MS))
            })
            .map(|(id, _)| *id)
            .collect();
        over.into_iter().try_for_each(|id| self.drop_chunks(id))
    }

    /// Removes a content file.
    pub(crate) fn remove(&self, id: MessageId) -> io::Result<()> {
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// One chunk of a content file; `None` if the file or the chunk is not there.
    pub(crate) fn chunk(&self, id: MessageId, index: u32) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.path(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut data = vec![0; CHUNK_SIZE];
        let length = read_full(&file, &mut data, u64::from(index) * CHUNK_SIZE as u64)?;
        data.truncate(length);
        Ok((length > 0).then_some(data))
    }

    fn set(&self, id: MessageId, now: Timestamp) -> Result<Arc<Mutex<ChunkSet>>, StoreError> {
        let mut sets = lock(&self.sets);
        if let Some(set) = sets.get(&id) {
            return Ok(set.clone());
        }
        let file = create(&self.path(id)).map_err(|e| unwritten(&e))?;
        let crc = Some((0, crc32fast::Hasher::new()));
        let set = Arc::new(Mutex::new(ChunkSet { file, lengths: BTreeMap::new(), crc, written_at: now }));
        sets.insert(id, set.clone());
        Ok(set)
    }

    fn path(&self, id: MessageId) -> PathBuf {
        self.folder.join(id.to_string())
    }
}

fn checksum(file: &File) -> io::Result<u32> {
    let mut crc = crc32fast::Hasher::new();
    let mut window = vec![0; CHUNK_SIZE];
    let mut offset = 0;
    loop {
        let length = read_full(file, &mut window, offset)?;
        crc.update(window.get(..length).unwrap_or_default());
        offset += length as u64;
        if length < window.len() {
            return Ok(crc.finalize());
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What a failed write of content means to who asked.
fn unwritten(error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StoreError::Full(format!("content cannot be written: {error}"))
        }
        _ => StoreError::Unavailable(format!("content cannot be written: {error}")),
    }
}

/// Sets are whole after any panic: each is changed by single assignments after its write.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
