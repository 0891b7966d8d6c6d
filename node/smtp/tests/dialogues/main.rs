//! Plays the transcripts in `tests/dialogues` (of the repository) against both sides of the protocol, and keeps docs/rfc.md true.
//!
//! A transcript starts with comments that cite what it proves. Then, one per line:
//!
//! * `C: text`, `S: text`: a line that the client or the server says, with CRLF; `C- text`, `S- text`: the same without. Lines that follow each other
//!   are one write. Escapes: `\r`, `\n`, `\0`, `\\`, `\xHH`, and `\*{600,x}` for 600 times `x`. What the session under test says must be exactly
//!   this, unless the line ends with `\…`: then it may go on.
//! * `S~ 250`: a whole reply with this code, whatever its text and however many its lines.
//! * `E: text`: the next thing that the session told its driver.
//! * `! words`: a directive to the driver; see `server.rs` and `client.rs`.
//!
//! Each transcript is played several times, with what it sends cut in different pieces: nothing may depend on that (`! whole` says that this one
//! is about what arrives together).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

mod client;
mod map;
mod server;
mod transcript;

use std::{
    fs,
    path::{Path, PathBuf},
};

use transcript::{Cut, Transcript};

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The transcripts of one side: path from the root, and text.
fn transcripts(side: &str) -> Vec<(String, String)> {
    let folder = format!("tests/dialogues/{side}");
    let mut found: Vec<_> = fs::read_dir(root().join(&folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "smtp"))
        .map(|name| format!("{folder}/{name}"))
        .map(|path| (path.clone(), fs::read_to_string(root().join(path)).unwrap()))
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

fn play_all(side: &str, play: fn(&Transcript, Cut)) {
    for (path, text) in transcripts(side) {
        let transcript = Transcript::parse(&path, &text);
        let cuts = if transcript.is_whole() {
            vec![Cut::Whole]
        } else {
            vec![Cut::Whole, Cut::Pieces(1), Cut::Pieces(2), Cut::Pieces(7), Cut::Pieces(61)]
        };
        for cut in cuts {
            play(&transcript, cut);
        }
    }
}

#[test]
fn the_server_keeps_to_its_dialogues() {
    play_all("server", server::play);
}

#[test]
fn the_client_keeps_to_its_dialogues() {
    play_all("client", client::play);
}

#[test]
fn every_dialogue_cites_what_it_proves() {
    for (path, text) in transcripts("server").into_iter().chain(transcripts("client")) {
        assert!(text.starts_with("# RFC "), "{path} starts with a citation");
    }
}
