//! The files of the log: made, found, read, taken out of use. Blocking file I/O.
//!
//! Beside the segments in use there is one spare file, made before it is needed: as long as it is there, the log can go on, so a full
//! disk is known before anything is accepted and never in the middle of a write.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{SEGMENT_HEAD, SegmentHead, read_segment_head, segment_head};
use crate::embedded::effect::Location;

/// The folder of the log.
#[derive(Debug)]
pub(crate) struct Segments {
    folder: PathBuf,
    salt: u64,
    size: u32,
    /// For tests: octets that the log may take on disk.
    quota: Option<u64>,
    files: Mutex<BTreeMap<u32, Arc<File>>>,
}

impl Segments {
    /// The segments in a folder, which is there.
    pub(crate) fn open(folder: &Path, salt: u64, size: u32, quota: Option<u64>) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        for file in fs::read_dir(folder)? {
            let file = file?;
            let name = file.file_name();
            let number =
                name.to_str().and_then(|name| name.strip_suffix(".seg")).and_then(|n| n.parse().ok());
            if let Some(number) = number {
                let file = OpenOptions::new().read(true).write(true).open(file.path())?;
                files.insert(number, Arc::new(file));
            }
        }
        Ok(Self { folder: folder.to_owned(), salt, size, quota, files: Mutex::new(files) })
    }

    /// Octets of one segment.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// The store's salt.
    pub(crate) fn salt(&self) -> u64 {
        self.salt
    }

    /// The numbers of the segments that there are.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.files().keys().copied().collect()
    }

    /// A segment's file.
    pub(crate) fn file(&self, segment: u32) -> Option<Arc<File>> {
        self.files().get(&segment).cloned()
    }

    /// What the head of a segment says.
    pub(crate) fn head(&self, segment: u32) -> io::Result<SegmentHead> {
        let mut head = [0; SEGMENT_HEAD as usize];
        let file = self.file(segment).ok_or(io::ErrorKind::NotFound)?;
        match file.read_exact_at(&mut head, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(SegmentHead::Damaged),
            Err(error) => Err(error),
            Ok(()) => Ok(read_segment_head(&head, segment, self.salt)),
        }
    }

    /// What lies at a location.
    pub(crate) fn read(&self, location: Location) -> io::Result<Vec<u8>> {
        let file = self.file(location.segment).ok_or(io::ErrorKind::NotFound)?;
        let mut octets = vec![0; location.len as usize];
        file.read_exact_at(&mut octets, u64::from(location.offset))?;
        Ok(octets)
    }

    /// Makes the spare file, if there is none. `StorageFull`: there is no room for one.
    pub(crate) fn make_spare(&self) -> io::Result<()> {
        let spare = self.spare();
        if spare.metadata().is_ok_and(|found| found.len() == u64::from(self.size)) {
            return Ok(());
        }
        let taken = (self.files().len() as u64 + 1) * u64::from(self.size);
        if self.quota.is_some_and(|quota| taken > quota) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        // Under another name until its blocks are there: a crash never leaves a spare that is none.
        let making = self.folder.join("spare.new");
        let made = allocate(&making, self.size).and_then(|()| fs::rename(&making, &spare));
        if made.is_err() {
            let _ = fs::remove_file(&making); // what it took is room for somebody
        }
        made
    }

    /// Takes the spare file as this segment, ready to be written and durable as a name.
    pub(crate) fn take_spare(&self, segment: u32) -> io::Result<Arc<File>> {
        let spare = self.spare();
        let file = OpenOptions::new().read(true).write(true).open(&spare)?;
        file.write_all_at(&segment_head(segment, self.salt), 0)?;
        file.sync_all()?;
        fs::rename(&spare, self.path(segment))?;
        sync_folder(&self.folder)?;
        let file = Arc::new(file);
        self.files().insert(segment, file.clone());
        Ok(file)
    }

    /// Takes a segment out of use: it becomes the spare if there is none and nobody reads it, and is removed otherwise.
    pub(crate) fn retire(&self, segment: u32) -> io::Result<()> {
        let Some(file) = self.files().remove(&segment) else { return Ok(()) };
        // A reader that still has the file must not see it written again under its hands.
        let reusable = Arc::into_inner(file)
            .is_some_and(|file| file.metadata().is_ok_and(|found| found.len() == u64::from(self.size)));
        if reusable && !self.spare().exists() {
            fs::rename(self.path(segment), self.spare())
        } else {
            fs::remove_file(self.path(segment))
        }
    }

    fn files(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, Arc<File>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner) // a map of handles is whole after any panic
    }

    fn path(&self, segment: u32) -> PathBuf {
        self.folder.join(format!("{segment:010}.seg"))
    }

    fn spare(&self) -> PathBuf {
        self.folder.join("spare")
    }
}

/// Makes names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A new file for its owner alone.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Makes a file of this size whose blocks are there.
pub(crate) fn allocate(path: &Path, size: u32) -> io::Result<()> {
    let file = create(path)?;
    match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, u64::from(size)) {
        Ok(()) => {}
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            let zeros = vec![0; 64 * 1024];
            let mut offset = 0;
            while offset < u64::from(size) {
                let part = zeros.len().min(usize::try_from(u64::from(size) - offset).unwrap_or(usize::MAX));
                file.write_all_at(zeros.get(..part).unwrap_or_default(), offset)?;
                offset += part as u64;
            }
        }
        Err(error) => return Err(error.into()),
    }
    file.sync_all()
}
