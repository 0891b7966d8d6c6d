//! The store in Redis and in Valkey, held to the contract: the suite, random operations beside the model, and SIGKILL of the server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{process::ExitCode, sync::Arc};

use libtest_mimic::Arguments;

#[allow(dead_code)] // what only another store's target uses
mod contract;
mod server;

use contract::{
    crash, property, sentences,
    world::{Fixture, MakeFixture},
};
use server::{Flavor, Servers};

fn main() -> ExitCode {
    let mut trials = Vec::new();
    for (name, flavor) in [("redis", Flavor::Redis), ("valkey", Flavor::Valkey)] {
        let servers = Servers::new(flavor);
        let lender = servers.clone();
        let make: MakeFixture = Arc::new(move || Box::new(lender.lend()) as Box<dyn Fixture>);
        trials.extend(sentences::trials(name, &make));
        trials.extend(property::trials(name, &make));
        trials.push(crash::of_a_server(name, move || servers.lend()));
    }
    // The servers end with the last trial that could borrow them.
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
