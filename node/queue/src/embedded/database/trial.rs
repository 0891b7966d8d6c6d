//! A database file that can be opened, repaired and looked through while nothing of it changes: what is written stays in memory. Reads a file.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;

/// Octets that are kept together once one of them was written.
const BLOCK: usize = 4096;

/// A file as it is, with what was written since over it. A repair writes little: it does not move rows.
#[derive(Debug)]
pub(super) struct Trial {
    file: File,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    len: u64,
    /// So many octets of the file still count: it may have been made shorter, and longer again.
    kept: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Trial {
    /// Over this file, which nobody else writes.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file, written: Mutex::new(Written { len, kept: len, blocks: BTreeMap::new() }) })
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner) // it is thrown away whatever it has
    }

    /// The file's octets, and zeros where it has none.
    fn original(&self, kept: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = usize::try_from(kept.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let (there, behind) = out.split_at_mut(there);
        behind.fill(0);
        self.file.read_exact_at(there, offset)
    }
}

/// Where an octet is: its block, and its place there.
fn place(offset: u64) -> (u64, usize) {
    (offset / BLOCK as u64, usize::try_from(offset % BLOCK as u64).unwrap_or_default())
}

impl StorageBackend for Trial {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        let end = offset.saturating_add(out.len() as u64);
        if end > written.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.original(written.kept, offset, out)?;
        for (block, octets) in written.blocks.range(place(offset).0..=place(end).0) {
            let start = block * BLOCK as u64;
            let skipped = usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX);
            let before = usize::try_from(start.saturating_sub(offset)).unwrap_or(usize::MAX);
            for (to, from) in out.iter_mut().skip(before).zip(octets.iter().skip(skipped)) {
                *to = *from;
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut written = self.written();
        let Written { len: now, kept, blocks } = &mut *written;
        (*now, *kept) = (len, len.min(*kept));
        let (last, places) = place(len);
        let _ = blocks.split_off(&len.div_ceil(BLOCK as u64));
        if let Some(octets) = blocks.get_mut(&last) {
            octets.iter_mut().skip(places).for_each(|octet| *octet = 0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written();
        let Written { len, kept, blocks } = &mut *written;
        *len = offset.saturating_add(data.len() as u64).max(*len);
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let (number, from) = place(at);
            let (part, behind) = rest.split_at(rest.len().min(BLOCK - from));
            let block = match blocks.entry(number) {
                Entry::Occupied(block) => block.into_mut(),
                Entry::Vacant(missing) => {
                    let mut octets = vec![0; BLOCK];
                    self.original(*kept, number * BLOCK as u64, &mut octets)?;
                    missing.insert(octets)
                }
            };
            for (to, from) in block.iter_mut().skip(from).zip(part) {
                *to = *from;
            }
            at = at.saturating_add(part.len() as u64);
            rest = behind;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_the_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut expected: Vec<u8> = (0..20_000u32).map(|number| number.to_le_bytes()[0]).collect();
        std::fs::write(&path, &expected).unwrap();
        let before = expected.clone();
        let trial = Trial::of(&path).unwrap();
        for (offset, len) in [(0, 1), (4_090, 10), (8_192, 4_096), (100, 9_000), (19_990, 5_000)] {
            let octets = vec![7; len];
            trial.write(offset as u64, &octets).unwrap();
            expected.resize(expected.len().max(offset + len), 0);
            expected[offset..offset + len].copy_from_slice(&octets);
        }
        for (shorter, longer) in [(21_000, 30_000), (5_000, 12_000)] {
            trial.set_len(shorter as u64).unwrap();
            trial.set_len(longer as u64).unwrap();
            expected.resize(shorter, 0);
            expected.resize(longer, 0);
        }
        let len = usize::try_from(trial.len().unwrap()).unwrap();
        assert_eq!(len, expected.len());
        for (offset, len) in [(0, len), (4_095, 2), (4_096, 4_096), (4_999, 7_001), (11_999, 1)] {
            let mut found = vec![1; len];
            trial.read(offset as u64, &mut found).unwrap();
            assert!(found == expected[offset..offset + len], "{len} octets at {offset}");
        }
        assert!(trial.read(11_999, &mut [0; 2]).is_err());
        assert!(std::fs::read(&path).unwrap() == before);
    }
}
