//! Any facts of a report to a sender.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};

#[path = "../laws/dsn.rs"]
mod laws;

fuzz_target!(|input: &[u8]| -> Corpus {
    match laws::broken(input) {
        None => Corpus::Reject,
        Some(Ok(())) => Corpus::Keep,
        Some(Err(law)) => panic!("{law}"),
    }
});
