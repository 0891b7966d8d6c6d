//! Any text as a manifest. The first two octets say which part of it an edit put in.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use posthouse_operator::laws;

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some(([at, length], text)) = input.split_first_chunk().map(|(edit, text)| (*edit, text)) else {
        return Corpus::Reject;
    };
    let Ok(text) = std::str::from_utf8(text) else { return Corpus::Reject };
    let boundary = |place: usize| text.floor_char_boundary(place);
    let start = text.len() * usize::from(at) / 256;
    let cut = boundary(start)..boundary(start + usize::from(length));
    if let Err(law) = laws::broken(text, cut) {
        panic!("{law}");
    }
    Corpus::Keep
});
