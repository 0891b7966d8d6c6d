//! Any octets as the content of a message.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};

#[path = "../laws/smtp.rs"]
mod laws;

fuzz_target!(|input: &[u8]| -> Corpus {
    match laws::broken("header", input) {
        None => Corpus::Reject,
        Some(Ok(())) => Corpus::Keep,
        Some(Err(law)) => panic!("{law}"),
    }
});
