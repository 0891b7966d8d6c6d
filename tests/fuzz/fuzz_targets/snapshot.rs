//! Any octets as what a node reads: a pointer, a snapshot, an index and its pieces behind their seals.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};

#[path = "../laws/snapshot.rs"]
mod laws;

fuzz_target!(|input: &[u8]| -> Corpus {
    match laws::broken(input) {
        None => Corpus::Reject,
        Some(Ok(())) => Corpus::Keep,
        Some(Err(law)) => panic!("{law}"),
    }
});
