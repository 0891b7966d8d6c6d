//! The index on disk: a redb database with what the log said up to a position. Blocking file I/O.
//!
//! It is written in checkpoints and read at a start; no operation waits for it. Rows are records ([`crate::record`]), one per message with
//! its entries and one per small thing; `meta` has what there is once.

mod trial;

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    path::Path,
};

use posthouse_model::{MessageId, QueueName, Timestamp};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{
    effect::{Count, Location, MessageRow, Position},
    state::Small,
};
use crate::{
    entry::LaneId,
    hold::{HoldReason, QueueMode},
    jobs::{FactKind, Job},
    record::{self, RecordError},
};

const MESSAGES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("messages");
const SMALL: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("small");
const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");

/// The key of what identifies the store.
const IDENTITY: &str = "identity";

/// The key of what there is once.
const SUMMARY: &str = "summary";

/// Memory that the database may use as its cache: it is written in bulk and read once.
const CACHE: usize = 8 << 20;

/// What went wrong with the database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    #[error("{0}")]
    Redb(#[from] Box<redb::Error>),
    #[error("{0}")]
    Record(#[from] RecordError),
    /// What it has cannot be trusted.
    #[error("{0}")]
    Damaged(String),
    #[error("another process has it open")]
    Locked,
}

impl DatabaseError {
    /// Whether the machine could not read or write it: that says nothing about what it has.
    pub(crate) fn is_of_the_machine(&self) -> bool {
        let Self::Redb(error) = self else { return false };
        let odd = [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof];
        matches!(&**error, redb::Error::Io(error) if !odd.contains(&error.kind()))
    }

    /// Whether the disk is full.
    pub(crate) fn is_full(&self) -> bool {
        let Self::Redb(error) = self else { return false };
        matches!(&**error, redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull)
    }
}

/// Does what reads a database that may be damaged: redb answers some damage with a panic, which is an error here like any other.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T, DatabaseError>) -> Result<T, DatabaseError> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        Err(DatabaseError::Damaged(format!("reading it broke off: {said}")))
    })
}

/// Any of redb's errors as ours.
fn redb_error(error: impl Into<redb::Error>) -> DatabaseError {
    DatabaseError::Redb(Box::new(error.into()))
}

/// What identifies the store, and how often it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) salt: u64,
    pub(crate) epoch: u32,
    pub(crate) segment_size: u32,
}

/// What there is once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// The index has everything up to here.
    pub(crate) position: Position,
    pub(crate) count: Count,
    pub(crate) hold_sequence: u64,
    pub(crate) token_ceiling: u64,
}

/// The row of a small thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SmallRow {
    /// A queue: its mode, and the releases that may still free something, by reason.
    Queue { name: QueueName, mode: QueueMode, releases: Vec<(HoldReason, Vec<(u64, Timestamp)>)> },
    /// A lane that is backed off.
    Lane { id: LaneId, until: Timestamp },
    /// A fact.
    Fact { kind: FactKind, key: String, value: String, until: Timestamp },
    /// A job.
    Job(Job),
    /// A tombstone.
    Tombstone { id: [u8; 16], until: Timestamp },
    /// A release that happened.
    Release { id: [u8; 16], at: Timestamp },
    /// The generation whose modes were told last.
    Told(u64),
}

/// The database.
#[derive(Debug)]
pub(crate) struct Index {
    database: Database,
}

impl Index {
    /// Opens the database, or makes one.
    pub(crate) fn open(path: &Path) -> Result<Self, DatabaseError> {
        let database =
            Database::builder().set_cache_size(CACHE).create(path).map_err(|error| match error {
                redb::DatabaseError::DatabaseAlreadyOpen => DatabaseError::Locked,
                error => redb_error(error),
            })?;
        Ok(Self { database })
    }

    /// Looks through a whole database without changing anything of it, as redb itself reads on over most damage; answers what identifies
    /// the store.
    pub(crate) fn check(path: &Path) -> Result<Option<Identity>, DatabaseError> {
        let trial = trial::Trial::of(path).map_err(redb::Error::Io).map_err(redb_error)?;
        let opened = Database::builder().set_cache_size(CACHE).create_with_backend(trial);
        let mut index = Self { database: opened.map_err(redb_error)? };
        let whole = index.database.check_integrity().map_err(redb_error)?;
        if !whole {
            return Err(DatabaseError::Damaged("its pages do not match their checksums".to_owned()));
        }
        index.identity()
    }

    /// What identifies the store; `None`: it is new.
    pub(crate) fn identity(&self) -> Result<Option<Identity>, DatabaseError> {
        self.read_meta(IDENTITY)
    }

    /// Writes what identifies the store.
    pub(crate) fn set_identity(&self, identity: &Identity) -> Result<(), DatabaseError> {
        let write = self.begin()?;
        write.set(IDENTITY, identity)?;
        write.commit()
    }

    /// What there is once; `None`: no checkpoint was taken yet.
    pub(crate) fn summary(&self) -> Result<Option<Summary>, DatabaseError> {
        self.read_meta(SUMMARY)
    }

    fn read_meta<T: for<'de> Deserialize<'de>>(&self, key: &str) -> Result<Option<T>, DatabaseError> {
        let read = self.database.begin_read().map_err(redb_error)?;
        let table = match read.open_table(META) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table.map_err(redb_error)?,
        };
        let Some(row) = table.get(key).map_err(redb_error)? else { return Ok(None) };
        Ok(Some(record::decode(row.value())?))
    }

    /// Gives every message to `each`; what cannot be read, as its key and the reason.
    pub(crate) fn messages(
        &self,
        mut each: impl FnMut(Result<MessageRow<Location>, (Vec<u8>, RecordError)>),
    ) -> Result<(), DatabaseError> {
        self.each_row(MESSAGES, |key, row| each(record::decode(row).map_err(|error| (key.to_vec(), error))))
    }

    /// Gives every small thing to `each`; what cannot be read, as its key and the reason.
    pub(crate) fn small(
        &self,
        mut each: impl FnMut(Result<SmallRow, (Vec<u8>, RecordError)>),
    ) -> Result<(), DatabaseError> {
        self.each_row(SMALL, |key, row| each(record::decode(row).map_err(|error| (key.to_vec(), error))))
    }

    fn each_row(
        &self,
        table: TableDefinition<'static, &'static [u8], &'static [u8]>,
        mut each: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), DatabaseError> {
        let read = self.database.begin_read().map_err(redb_error)?;
        let table = match read.open_table(table) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
            table => table.map_err(redb_error)?,
        };
        for row in table.iter().map_err(redb_error)? {
            let (key, row) = row.map_err(redb_error)?;
            each(key.value(), row.value());
        }
        Ok(())
    }

    /// Begins a checkpoint.
    pub(crate) fn begin(&self) -> Result<Checkpoint, DatabaseError> {
        Ok(Checkpoint { write: self.database.begin_write().map_err(redb_error)? })
    }
}

/// A checkpoint in the making: nothing of it is there until its commit.
pub(crate) struct Checkpoint {
    write: WriteTransaction,
}

impl Checkpoint {
    /// Writes messages anew, or removes their rows.
    pub(crate) fn messages(
        &self,
        rows: &[(MessageId, Option<MessageRow<Location>>)],
    ) -> Result<(), DatabaseError> {
        let mut table = self.write.open_table(MESSAGES).map_err(redb_error)?;
        for (id, row) in rows {
            let key = id.to_bytes();
            match row {
                Some(row) => {
                    table.insert(key.as_slice(), record::encode(row)?.as_slice()).map_err(redb_error)?;
                }
                None => {
                    table.remove(key.as_slice()).map_err(redb_error)?;
                }
            }
        }
        Ok(())
    }

    /// Writes small things anew, or removes their rows.
    pub(crate) fn small(&self, rows: &[(Small, Option<SmallRow>)]) -> Result<(), DatabaseError> {
        let mut table = self.write.open_table(SMALL).map_err(redb_error)?;
        for (small, row) in rows {
            let key = key(small);
            match row {
                Some(row) => {
                    table.insert(key.as_slice(), record::encode(row)?.as_slice()).map_err(redb_error)?;
                }
                None => {
                    table.remove(key.as_slice()).map_err(redb_error)?;
                }
            }
        }
        Ok(())
    }

    fn set<T: Serialize>(&self, key: &str, value: &T) -> Result<(), DatabaseError> {
        let mut table = self.write.open_table(META).map_err(redb_error)?;
        table.insert(key, record::encode(value)?.as_slice()).map_err(redb_error)?;
        Ok(())
    }

    /// Writes what there is once.
    pub(crate) fn summary(&self, summary: &Summary) -> Result<(), DatabaseError> {
        self.set(SUMMARY, summary)
    }

    /// Makes the checkpoint durable.
    pub(crate) fn commit(self) -> Result<(), DatabaseError> {
        self.write.commit().map_err(redb_error)
    }
}

/// The key of a small thing: one octet for the kind, then what names it.
fn key(small: &Small) -> Vec<u8> {
    let (kind, name): (u8, &[u8]) = match small {
        Small::Queue(name) => (1, name.as_str().as_bytes()),
        Small::Lane(id) => (2, &id.0),
        Small::Fact(kind, key) => (10 + kind.number(), key.as_bytes()),
        Small::Job(key) => (3, key.as_bytes()),
        Small::Tombstone(id) => (4, &id.to_bytes()),
        Small::Release(id) => (5, id),
        Small::Told => (6, &[]),
    };
    [&[kind], name].concat()
}
