//! Any text as an address, or as a parameter of one.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};

#[path = "../laws/smtp.rs"]
mod laws;

fuzz_target!(|input: &[u8]| -> Corpus {
    match laws::broken("address", input) {
        None => Corpus::Reject,
        Some(Ok(())) => Corpus::Keep,
        Some(Err(law)) => panic!("{law}"),
    }
});
