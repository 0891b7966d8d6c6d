//! The plain model, held to the same sentences as the stores that are compared with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{process::ExitCode, sync::Arc};

use async_trait::async_trait;
use libtest_mimic::Arguments;
use posthouse_queue::Store;

#[allow(dead_code)] // what only another store's target uses
mod contract;

use contract::{
    model::Model,
    property, sentences,
    world::{Fixture, MakeFixture},
};

/// The model keeps everything in memory, so it has nothing to lose.
struct InMemory;

#[async_trait]
impl Fixture for InMemory {
    async fn fresh(&mut self) -> Arc<dyn Store> {
        Arc::new(Model::new())
    }

    async fn restart(&mut self, ended: Arc<dyn Store>) -> Arc<dyn Store> {
        ended
    }
}

fn main() -> ExitCode {
    let make: MakeFixture = Arc::new(|| Box::new(InMemory));
    let mut trials = sentences::trials("model", &make);
    trials.extend(property::trials("model", &make));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
