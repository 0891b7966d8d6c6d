//! How long 10,000 domains with 100,000 recipients take to compile: `cargo bench -p posthouse-compiler`. It prints medians of five.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use posthouse_compiler::{Context, compile};

#[path = "../tests/large/resources.rs"]
mod resources;

/// How often each is measured.
const ROUNDS: usize = 5;

fn main() {
    let large = resources::large();
    let mut context = Context::default();
    let first = compile(&large, &context);
    let recipients = resources::RECIPIENTS;
    println!("{} domains, {recipients} recipients, medians of {ROUNDS}:", large.domains.len());
    println!("  from nothing            {:>8.1?}", median(|| compile(&large, &context)));
    let snapshot = first.snapshots.values().next().unwrap().clone();
    println!("  its encoding and hash   {:>8.1?}", median(|| snapshot.encode_and_hash().unwrap()));
    context.claims = first.claims;
    context.previous = first.snapshots;
    println!("  after itself            {:>8.1?}", median(|| compile(&large, &context)));
    let mut wrong = large;
    wrong.domains[0].spec.local_delivery = None;
    println!("  with one domain refused {:>8.1?}", median(|| compile(&wrong, &context)));
    for domain in &mut wrong.domains {
        domain.spec.local_delivery = None;
    }
    println!("  with all domains refused{:>8.1?}", median(|| compile(&wrong, &context)));
}

fn median<T>(mut measured: impl FnMut() -> T) -> Duration {
    let mut took = [Duration::ZERO; ROUNDS];
    for took in &mut took {
        let begun = Instant::now();
        let outcome = black_box(measured());
        *took = begun.elapsed();
        drop(outcome);
    }
    took.sort();
    took[ROUNDS / 2]
}
