//! What fuzzing begins with and what it found once, in every build (`tests/fuzz/run` is what fuzzes): the snapshot as a node meets it, what both
//! sides of SMTP may be told, and the reports that senders get.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

#[path = "../fuzz/laws/dsn.rs"]
mod dsn;
#[path = "../fuzz/laws/smtp.rs"]
mod smtp;
#[path = "../fuzz/laws/snapshot.rs"]
mod snapshot;

use std::fs;

use posthouse_tests::binaries::workspace;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// The targets of [`smtp`].
const SMTP: [&str; 4] = ["receiver", "sender", "address", "header"];

/// The seeds of a target, in the order of their names.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(workspace().join("tests/fuzz/seeds").join(target)).unwrap();
    let mut seeds: Vec<_> = files
        .map(|file| file.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read(path).unwrap()))
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty());
    seeds
}

#[test]
fn no_seed_breaks_a_law() {
    for target in SMTP {
        for (name, seed) in seeds(target) {
            smtp::broken(target, &seed).expect("a seed").unwrap_or_else(|law| panic!("{name}: {law}"));
        }
    }
    for (name, seed) in seeds("dsn") {
        dsn::broken(&seed).expect("facts").unwrap_or_else(|law| panic!("{name}: {law}"));
    }
    for (name, seed) in seeds("snapshot") {
        snapshot::broken(&seed).expect("a door").unwrap_or_else(|law| panic!("{name}: {law}"));
    }
}

/// Far from what fuzzing does. `POSTHOUSE_TEXTS` says how many (2000).
#[test]
fn mutilated_snapshots_break_no_law() {
    let seeds = seeds("snapshot");
    let mut random = StdRng::seed_from_u64(1);
    let pieces: [&[u8]; 12] =
        [b"null", b"0", b"-1", b"1e9", b"\"\"", b"{}", b"[]", b",", b"$0", b"\x1e", b"*", b"\xff"];
    let count = std::env::var("POSTHOUSE_TEXTS").map_or(2000, |count| count.parse::<usize>().unwrap());
    for _ in 0..count {
        let (name, seed) = &seeds[random.random_range(0..seeds.len())];
        let mut input = seed.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(1..=input.len());
            let end = (at + random.random_range(0..12)).min(input.len());
            let piece = pieces[random.random_range(0..pieces.len())];
            input.splice(at..end, piece.iter().copied());
        }
        if let Some(Err(law)) = snapshot::broken(&input) {
            panic!("{name}: {law}\n{}", String::from_utf8_lossy(&input));
        }
    }
}

/// The same for what SMTP may be told.
#[test]
fn mutilated_dialogues_break_no_law() {
    let mut random = StdRng::seed_from_u64(1);
    let pieces: [&[u8]; 12] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\x1e",
        b".",
        b"BDAT 3 LAST\r\n",
        b"250 ",
        b"-",
        b"\0",
        b"\xff",
        b" LAST",
        b"421 x\r\n",
    ];
    let count = std::env::var("POSTHOUSE_TEXTS").map_or(2000, |count| count.parse::<usize>().unwrap());
    for target in SMTP {
        let seeds = seeds(target);
        for _ in 0..count {
            let (name, seed) = &seeds[random.random_range(0..seeds.len())];
            let mut input = seed.clone();
            for _ in 0..random.random_range(1..5) {
                let at = random.random_range(0..=input.len());
                let end = (at + random.random_range(0..12)).min(input.len());
                let piece = pieces[random.random_range(0..pieces.len())];
                input.splice(at..end, piece.iter().copied());
            }
            if let Some(Err(law)) = smtp::broken(target, &input) {
                panic!("{target}, {name}: {law}\n{}", String::from_utf8_lossy(&input));
            }
        }
    }
}

/// The same for the facts of reports.
#[test]
fn mutilated_facts_break_no_law() {
    let seeds = seeds("dsn");
    let mut random = StdRng::seed_from_u64(1);
    let pieces: [&[u8]; 16] = [
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b"\r\n--posthouse-",
        b"\0",
        b"\xff",
        "\u{fc}".as_bytes(),
        "\u{2028}".as_bytes(),
        b"                    ",
        b"+0D+0A",
        b"+20",
        b"\\x{FC}",
        b": ",
        b"-",
        b"\n250-",
        &[b'x'; 990],
    ];
    let count = std::env::var("POSTHOUSE_TEXTS").map_or(2000, |count| count.parse::<usize>().unwrap());
    for _ in 0..count {
        let (name, seed) = &seeds[random.random_range(0..seeds.len())];
        let mut input = seed.clone();
        for _ in 0..random.random_range(1..5) {
            let at = random.random_range(0..=input.len());
            let end = (at + random.random_range(0..4)).min(input.len());
            let piece = pieces[random.random_range(0..pieces.len())];
            input.splice(at..end, piece.iter().copied());
        }
        if let Some(Err(law)) = dsn::broken(&input) {
            panic!("{name}: {law}\n--- from ---\n{}", String::from_utf8_lossy(&input));
        }
    }
}
