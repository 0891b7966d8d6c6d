//! Any text as a manifest.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use posthouse_operator::laws;

fuzz_target!(|input: &[u8]| -> Corpus {
    match laws::of_input(input) {
        None => Corpus::Reject,
        Some(Ok(())) => Corpus::Keep,
        Some(Err(law)) => panic!("{law}"),
    }
});
