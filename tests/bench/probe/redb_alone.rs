//! Candidate (a): everything in redb, each step a durable transaction. It writes one file.

use std::path::Path;

use anyhow::Result;
use posthouse_tests::process::bytes_written;
use redb::{Database, Durability, TableDefinition};

use crate::{Candidate, Id};

const CONTENTS: TableDefinition<'_, &Id, &[u8]> = TableDefinition::new("contents");
const ENTRIES: TableDefinition<'_, &Id, &[u8]> = TableDefinition::new("entries");
const DUE: TableDefinition<'_, (u32, &Id), ()> = TableDefinition::new("due");

/// The one lane of the probe.
const LANE: u32 = 1;

pub(crate) struct RedbAlone {
    database: Database,
    durability: Durability,
}

impl RedbAlone {
    pub(crate) fn create(file: &Path) -> Result<Self> {
        Ok(Self { database: Database::create(file)?, durability: Durability::Immediate })
    }
}

impl Candidate for RedbAlone {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn batches(&self) -> [usize; 3] {
        [1, 20, 60]
    }

    fn step(&mut self, settle: &[Id], enqueue: &[Id], content: &[u8], record: &[u8]) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(self.durability)?;
        {
            let mut contents = transaction.open_table(CONTENTS)?;
            let mut entries = transaction.open_table(ENTRIES)?;
            let mut due = transaction.open_table(DUE)?;
            for id in settle {
                contents.remove(id)?;
                entries.remove(id)?;
                due.remove((LANE, id))?;
            }
            for id in enqueue {
                contents.insert(id, content)?;
                entries.insert(id, record)?;
                due.insert((LANE, id), ())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn durable(&mut self, durable: bool) -> Result<()> {
        self.durability = if durable { Durability::Immediate } else { Durability::None };
        if durable {
            // An empty durable transaction takes the others with it.
            self.database.begin_write()?.commit()?;
        }
        Ok(())
    }

    fn bytes_written(&mut self) -> Result<u64> {
        bytes_written("self")
    }
}
