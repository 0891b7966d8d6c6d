//! The embedded store, held to the contract: the suite, random operations beside the model, and SIGKILL of the process that has it open.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{path::Path, process::ExitCode, sync::Arc};

use async_trait::async_trait;
use libtest_mimic::Arguments;
use posthouse_queue::{Store, embedded::EmbeddedStore};
use tempfile::TempDir;

#[allow(dead_code)] // what only another store's target uses
mod contract;

use contract::{
    crash, property, sentences,
    world::{Fixture, MakeFixture},
};

/// A store in a temporary folder.
#[derive(Default)]
struct InFolder {
    folder: Option<TempDir>,
}

fn open(folder: &Path) -> Arc<dyn Store> {
    Arc::new(EmbeddedStore::open(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())))
}

#[async_trait]
impl Fixture for InFolder {
    async fn fresh(&mut self) -> Arc<dyn Store> {
        let folder = tempfile::Builder::new().prefix("posthouse-queue-").tempdir().unwrap();
        let store = open(folder.path());
        self.folder = Some(folder);
        store
    }

    async fn restart(&mut self, ended: Arc<dyn Store>) -> Arc<dyn Store> {
        drop(ended);
        open(self.folder.as_ref().unwrap().path())
    }
}

fn main() -> ExitCode {
    if let Some(child) = crash::Child::from_env() {
        return child.run(open);
    }
    let make: MakeFixture = Arc::new(|| Box::new(InFolder::default()) as Box<dyn Fixture>);
    let mut trials = sentences::trials("embedded", &make);
    trials.extend(property::trials("embedded", &make));
    trials.push(crash::of_a_process("embedded", open));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
