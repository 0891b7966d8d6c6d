//! Opening a store: the index is loaded, the log behind it replayed, what a crash left half done brought to an end. Blocking file I/O.

mod index;

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::Path,
    sync::PoisonError,
    time::{SystemTime, UNIX_EPOCH},
};

use posthouse_model::{MessageId, Timestamp};

use super::{
    Options,
    content::ContentFiles,
    core::{Inner, Shared, Spare},
    damage,
    database::{DatabaseError, Index, SmallRow, Summary, caught},
    effect::{Position, Stored},
    log::{
        Blobs, SEGMENT_HEAD,
        scan::{self, Scanned},
        segments::{Segments, sync_folder},
    },
    state::{JobSlot, State},
};
use crate::{hold::ReleaseId, record::RecordError, store::StoreError};

/// What opening gives: what is shared, the index, the file that the log goes on in, and the lock on the folder.
pub(crate) struct Opened {
    pub(crate) shared: Shared,
    pub(crate) index: Index,
    pub(crate) current: std::sync::Arc<File>,
    pub(crate) lock: File,
}

/// Opens the store in a folder, which is made if it is not there. [`StoreError::Unavailable`]: another process has it; what else is wrong is
/// [`StoreError::Refused`], and nothing of it is lost.
pub(crate) fn open(folder: &Path, options: Options) -> Result<Opened, StoreError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        StoreError::Refused(format!("the queue in {} {what}: {error}", folder.display()))
    };
    let io = |error: io::Error| failed("cannot be opened", &error);

    make_private(folder).map_err(io)?;
    let lock = lock(folder)?;
    let (log, content) = (folder.join("log"), folder.join("content"));
    // First of all: without its index, a log must stay as it is.
    let (index, identity) = index::open(folder, &log, options)?;
    for made in [&log, &content] {
        make_private(made).map_err(io)?;
    }
    let segments = Segments::open(&log, identity.salt, identity.segment_size, options.quota).map_err(io)?;

    let mut state = State::default();
    let mut unreadable = Unreadable::default();
    let summary = caught(|| load(&index, &mut state, &mut unreadable))
        .map_err(|error| index::refused(folder, &error))?;
    unreadable.report();
    let scanned = replay(&segments, summary.position, &mut state)
        .map_err(|error| failed("cannot be replayed", &error))?;
    // Before the log goes on: it may go on there.
    let damaged = damage::keep(folder, &segments, scanned.unread);
    let (end, current) = continue_log(&segments, scanned.end).map_err(io)?;
    let spare = match segments.make_spare() {
        Ok(()) => Spare::Ready,
        Err(error) => {
            tracing::warn!(%error, "no room for another segment of the queue's log");
            Spare::Missing
        }
    };
    let files = ContentFiles::open(&content);
    let wanted = state.messages.iter().filter(|(_, m)| matches!(m.content, Stored::File { .. }));
    files.keep(&wanted.map(|(_, m)| m.id).chain(unreadable.ids).collect()).map_err(io)?;
    sync_folder(folder).map_err(io)?;

    let mut inner = Inner {
        state,
        failed: None,
        end,
        durable: end,
        spare,
        pieces: Vec::new(),
        unwritten: 0,
        after_write: Vec::new(),
        after_sync: Vec::new(),
        unlink: Vec::new(),
        since_checkpoint: scanned.octets,
        checkpoint: summary.position,
        kept: (unreadable.rows > 0).then_some(end.segment),
        stopping: false,
        epoch: identity.epoch,
        salt: identity.salt,
        segment_size: identity.segment_size,
    };
    inner.state.unlink.clear(); // `keep` has removed those files
    start_over(&mut inner)?;
    let shared = Shared::new(inner, segments, files, folder.to_owned());
    if damaged {
        // With a checkpoint behind it, it is not found again.
        shared.chores.lock().unwrap_or_else(PoisonError::into_inner).checkpoint = true;
    }
    super::housekeeper::take_reserve(&shared);
    Ok(Opened { shared, index, current, lock })
}

fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join("lock");
    let open = || {
        use std::os::unix::fs::OpenOptionsExt as _;
        File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)
    };
    let file = open()
        .map_err(|error| StoreError::Refused(format!("{} cannot be opened: {error}", path.display())))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(in_use(folder)),
        Err(error) => Err(StoreError::Refused(format!("{} cannot be locked: {error}", path.display()))),
    }
}

/// The one thing that passes by itself.
fn in_use(folder: &Path) -> StoreError {
    StoreError::Unavailable(format!(
        "the queue in {} is in use by another process; a folder holds the queue of one running node",
        folder.display()
    ))
}

/// Rows of the index that cannot be read. They stay there, for the version that can.
#[derive(Default)]
struct Unreadable {
    ids: HashSet<MessageId>,
    rows: u64,
    first: Option<RecordError>,
}

impl Unreadable {
    fn note(&mut self, id: Option<MessageId>, error: RecordError) {
        self.ids.extend(id);
        self.rows += 1;
        self.first.get_or_insert(error);
    }

    /// Says so, in one line: after a newer version there may be as many as there are messages.
    fn report(&self) {
        let Some(error) = &self.first else { return };
        let messages = self.ids.len();
        let example = self.ids.iter().next().map(tracing::field::display);
        tracing::error!(
            rows = self.rows,
            messages,
            example,
            %error,
            "rows of the queue's index cannot be read; they and the log that they may name are left alone, and what they queue is not \
             delivered; if a newer version wrote them, start that one again"
        );
    }
}

/// Loads what the index has.
fn load(index: &Index, state: &mut State, unreadable: &mut Unreadable) -> Result<Summary, DatabaseError> {
    let summary = index.summary()?.unwrap_or_default();
    state.count = summary.count;
    state.hold_sequence = summary.hold_sequence;
    state.token_ceiling = summary.token_ceiling;
    // Releases before what they release: an entry counts by them when it is put there.
    index.small(|row| match row {
        Ok(row) => add_small(state, row),
        Err((_, error)) => unreadable.note(None, error),
    })?;
    index.messages(|row| match row {
        Ok(row) => {
            state.add_message(&row);
            if let Some((number, _)) = state.message(row.id.into())
                && let Some(message) = state.messages.at_mut(number)
            {
                message.indexed = true;
            }
        }
        Err((key, error)) => {
            unreadable.note(key.try_into().ok().map(MessageId::from_bytes), error);
        }
    })?;
    state.dirty.clear();
    state.dirty_small.clear();
    Ok(summary)
}

fn add_small(state: &mut State, row: SmallRow) {
    match row {
        SmallRow::Queue { name, mode, releases } => {
            let number = state.queue_number(&name);
            if let Some(queue) = state.queues.at_mut(number) {
                queue.mode = mode;
                for (reason, releases) in releases {
                    queue.of_mut(reason).releases = releases;
                }
            }
        }
        SmallRow::Lane { id, until } => {
            let number = state.lane_number(id);
            if let Some(lane) = state.lanes.at_mut(number) {
                lane.until = Some(until);
            }
            state.list_lane(number);
        }
        SmallRow::Fact { kind, key, value, until } => {
            state.facts.insert((kind, key), (value, until));
        }
        SmallRow::Job(job) => {
            state.jobs.insert(job.key.clone(), JobSlot { job, lease: None });
        }
        SmallRow::Tombstone { id, until } => {
            state.tombstones.insert(MessageId::from_bytes(id), until);
        }
        SmallRow::Release { id, at } => {
            state.releases.insert(ReleaseId(id), at);
        }
        SmallRow::Told(generation) => state.told = generation,
    }
}

fn replay(segments: &Segments, from: Position, state: &mut State) -> Result<Scanned, scan::ScanError> {
    scan::scan(segments, from, |effects, blobs| {
        for effect in &effects {
            state.apply(effect, blobs);
        }
    })
}

/// Where the log goes on: behind its last whole frame, or in a first segment.
fn continue_log(segments: &Segments, end: Position) -> io::Result<(Position, std::sync::Arc<File>)> {
    for later in segments.numbers().into_iter().filter(|number| *number > end.segment) {
        segments.retire(later)?; // begun by a batch that was never confirmed
    }
    // What was replayed may be in memory only: nothing may build on it before it is on disk.
    for number in segments.numbers() {
        if let Some(file) = segments.file(number) {
            file.sync_data()?;
        }
    }
    if let Some(file) = segments.file(end.segment) {
        return Ok((Position { offset: end.offset.max(SEGMENT_HEAD), ..end }, file));
    }
    segments.make_spare()?;
    let segment = end.segment.saturating_add(1);
    Ok((Position { segment, offset: SEGMENT_HEAD }, segments.take_spare(segment)?))
}

/// Nobody of the run before is left, but what they had stays theirs until it is reaped. Tokens start above all that were given.
fn start_over(inner: &mut Inner) -> Result<(), StoreError> {
    inner.state.bury_all(now());
    inner.state.token = inner.state.token_ceiling;
    inner.commit(Vec::new(), &Blobs::default(), false)
}

/// The clock of this machine.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
