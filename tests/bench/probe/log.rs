//! Candidate (b): an append-only log that is synced once per step, and a redb index that a thread writes behind, in checkpoints.
//!
//! What was enqueued and settled within one checkpoint never reaches the index. It writes segment files and one index file.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use posthouse_tests::process::bytes_written;
use redb::{Database, TableDefinition};

use crate::{Candidate, Id};

const ENTRIES: TableDefinition<'_, &Id, &[u8]> = TableDefinition::new("entries");
const DUE: TableDefinition<'_, (u32, &Id), ()> = TableDefinition::new("due");
const LANE: u32 = 1;

const SEGMENT: u64 = 64 * 1024 * 1024;
/// A checkpoint is taken at this many changes or after this time, whichever is first.
const CHANGES: usize = 8192;
const INTERVAL: Duration = Duration::from_millis(500);
/// Checkpoints that may wait for the index before the log waits, too.
const BACKLOG: usize = 2;

/// What the index is to know of an entry: its record with its place in the log, or that it is gone.
type Changes = HashMap<Id, Option<Vec<u8>>>;

pub(crate) struct Log {
    folder: PathBuf,
    segment: File,
    number: u32,
    length: u64,
    buffer: Vec<u8>,
    changes: Changes,
    last: Instant,
    behind: Option<(SyncSender<Work>, JoinHandle<Result<()>>)>,
    durable: bool,
}

enum Work {
    Checkpoint(Changes),
    Flush(SyncSender<()>),
}

impl Log {
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let index = Database::create(folder.join("index"))?;
        let (sender, work) = sync_channel(BACKLOG);
        let writer = thread::spawn(move || {
            for work in work {
                match work {
                    Work::Checkpoint(changes) => checkpoint(&index, changes)?,
                    // The asker may have given up; then nobody waits.
                    Work::Flush(done) => drop(done.send(())),
                }
            }
            Ok(())
        });
        Ok(Self {
            folder: folder.to_path_buf(),
            segment: File::create(folder.join("0.log"))?,
            number: 0,
            length: 0,
            buffer: Vec::new(),
            changes: Changes::new(),
            last: Instant::now(),
            behind: Some((sender, writer)),
            durable: true,
        })
    }

    fn send(&mut self, work: Work) -> Result<()> {
        let (sender, _) = self.behind.as_ref().context("the index is open")?;
        if sender.send(work).is_err() {
            let (_, writer) = self.behind.take().context("the index is open")?;
            return writer.join().map_err(|_| anyhow::anyhow!("the index's thread panicked"))?;
        }
        Ok(())
    }

    fn rotate(&mut self) -> Result<()> {
        self.number += 1;
        self.length = 0;
        self.segment = File::create(self.folder.join(format!("{}.log", self.number)))?;
        File::open(&self.folder)?.sync_all()?;
        Ok(())
    }
}

impl Candidate for Log {
    fn name(&self) -> &'static str {
        "log"
    }

    fn batches(&self) -> [usize; 3] {
        [1, 20, 60]
    }

    fn step(&mut self, settle: &[Id], enqueue: &[Id], content: &[u8], record: &[u8]) -> Result<()> {
        self.buffer.clear();
        for id in settle {
            self.buffer.extend_from_slice(id);
            self.buffer.extend_from_slice(&[0; 16]);
            // An entry that the index has not seen yet need not be taken from it.
            if self.changes.remove(id).is_none() {
                self.changes.insert(*id, None);
            }
        }
        for id in enqueue {
            let place = self.length + self.buffer.len() as u64;
            self.buffer.extend_from_slice(id);
            self.buffer.extend_from_slice(&[1; 16]);
            self.buffer.extend_from_slice(record);
            self.buffer.extend_from_slice(content);
            let known = [&self.number.to_be_bytes()[..], &place.to_be_bytes(), record].concat();
            self.changes.insert(*id, Some(known));
        }
        self.segment.write_all(&self.buffer)?;
        if self.durable {
            self.segment.sync_data()?;
        }
        self.length += self.buffer.len() as u64;
        if self.length >= SEGMENT {
            self.rotate()?;
        }
        if self.changes.len() >= CHANGES || self.last.elapsed() >= INTERVAL {
            self.last = Instant::now();
            let changes = std::mem::take(&mut self.changes);
            self.send(Work::Checkpoint(changes))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.segment.sync_data()?;
        let changes = std::mem::take(&mut self.changes);
        self.send(Work::Checkpoint(changes))?;
        let (sender, done) = sync_channel(1);
        self.send(Work::Flush(sender))?;
        done.recv().context("the index's thread is gone")
    }

    fn durable(&mut self, durable: bool) -> Result<()> {
        self.durable = durable;
        if durable {
            self.flush()?;
            // Segments in which nothing is alive go, as compaction would have them go: here everything measured is settled by now.
            self.rotate()?;
        }
        Ok(())
    }

    fn bytes_written(&mut self) -> Result<u64> {
        bytes_written("self")
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some((sender, writer)) = self.behind.take() {
            drop(sender);
            drop(writer.join());
        }
    }
}

fn checkpoint(index: &Database, changes: Changes) -> Result<()> {
    let mut changes: Vec<(Id, Option<Vec<u8>>)> = changes.into_iter().collect();
    changes.sort_unstable_by_key(|(id, _)| *id);
    let transaction = index.begin_write()?;
    {
        let mut entries = transaction.open_table(ENTRIES)?;
        let mut due = transaction.open_table(DUE)?;
        for (id, record) in &changes {
            if let Some(record) = record {
                entries.insert(id, record.as_slice())?;
                due.insert((LANE, id), ())?;
            } else {
                entries.remove(id)?;
                due.remove((LANE, id))?;
            }
        }
    }
    transaction.commit()?;
    Ok(())
}
