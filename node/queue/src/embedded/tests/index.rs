//! An index that is missing or damaged: refused with the cure, and nothing of the folder changes.

use std::{collections::BTreeMap, fs, path::Path};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{super::EmbeddedStore, NODE, NOW, SMALL, id, letter, open, run, three};
use crate::{Counts, Store, StoreError};

/// Every file of a queue, with what it has.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for inner in ["", "log", "content"] {
        let Ok(entries) = fs::read_dir(folder.join(inner)) else { continue };
        for entry in entries.map(|entry| entry.unwrap()).filter(|entry| entry.path().is_file()) {
            let name = format!("{inner}/{}", entry.file_name().to_str().unwrap());
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    found
}

fn put(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (name, octets) in files {
        fs::write(folder.join(name.trim_start_matches('/')), octets).unwrap();
    }
}

/// Refused twice, with these words, and every file as it was.
fn refused(folder: &Path, words: &[&str]) {
    let before = files(folder);
    for _ in 0..2 {
        let error = EmbeddedStore::open_with(folder, SMALL).unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{error}");
        let text = error.to_string();
        for word in words.iter().chain(&[folder.to_str().unwrap(), "index.redb", "Put a copy"]) {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(files(folder) == before, "nothing is written, removed or made: {text}");
    }
}

#[test]
fn a_log_without_its_index_is_refused_however_often() {
    let folder = tempfile::tempdir().unwrap();
    three(folder.path());
    let index = folder.path().join("index.redb");
    let kept = fs::read(&index).unwrap();
    fs::remove_file(&index).unwrap();
    refused(folder.path(), &["has a log but no index"]);
    assert!(!index.exists());
    fs::write(&index, b"").unwrap(); // what a version before this one left there
    refused(folder.path(), &["has a log but no index"]);
    fs::remove_file(&index).unwrap();
    drop(redb::Database::create(&index).unwrap());
    refused(folder.path(), &["has a log but no index"]);
    fs::write(&index, kept).unwrap();
    let store = open(folder.path(), SMALL);
    assert_eq!(run(store.counts(None)).unwrap(), Counts { incoming: 1, deferred: 1, ..Counts::default() });
}

#[test]
fn a_first_start_that_was_cut_off_is_begun_again() {
    for begun in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("index.redb");
        if begun {
            drop(redb::Database::create(&index).unwrap());
        } else {
            fs::write(&index, b"").unwrap();
        }
        drop(open(folder.path(), SMALL));
        drop(open(folder.path(), SMALL));
    }
}

/// 200 messages in the index and ten behind it, in a folder that nobody has open.
fn many(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let store = open(folder, SMALL);
    let write = async |from: u64, to: u64, store: &EmbeddedStore| {
        for number in from..to {
            store.enqueue(NODE, letter(number, b"hello"), &[], NOW).await.unwrap();
            store.activate(&[id(number)], NOW).await.unwrap();
        }
    };
    run(write(0, 200, &store));
    drop(store);
    let store = open(folder, SMALL);
    run(write(200, 210, &store));
    store.crash();
    files(folder)
}

#[test]
fn a_damaged_index_is_refused_and_a_good_one_opens_again() {
    let folder = tempfile::tempdir().unwrap();
    let good = many(folder.path());
    let path = folder.path().join("index.redb");
    let whole = &good["/index.redb"];
    let spoilt = |spoil: &dyn Fn(&mut Vec<u8>)| {
        let mut octets = whole.clone();
        spoil(&mut octets);
        fs::write(&path, octets).unwrap();
        refused(folder.path(), &["is damaged"]);
    };
    spoilt(&|octets| octets[0] ^= 1);
    spoilt(&|octets| octets[..4096].fill(0));
    spoilt(&|octets| octets.truncate(octets.len() / 2));
    spoilt(&|octets| octets.truncate(100));
    spoilt(&|octets| octets[4096..].fill(0));
    spoilt(&|octets| *octets = b"not a database".repeat(1_000));
    for seed in 0..40 {
        spoilt(&|octets| {
            let mut random = StdRng::seed_from_u64(seed);
            for octet in octets.iter_mut().filter(|_| random.random_ratio(1, 100)) {
                *octet ^= 0x55;
            }
        });
    }
    fs::write(&path, whole).unwrap();
    assert_eq!(run(open(folder.path(), SMALL).counts(None)).unwrap().due, 210);
}

/// One octet may be one that nothing needs; then everything is there.
#[test]
fn one_damaged_octet_of_the_index_loses_nothing_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let good = many(folder.path());
    let path = folder.path().join("index.redb");
    let whole = &good["/index.redb"];
    let mut random = StdRng::seed_from_u64(1);
    let used = whole.iter().enumerate().filter(|(_, octet)| **octet != 0).map(|(place, _)| place);
    let places: Vec<usize> = (0..320).chain(used.filter(|place| *place >= 320)).collect();
    let mut refusals = 0;
    for round in 0..400 {
        let place = if round < 320 { round } else { places[random.random_range(..places.len())] };
        put(folder.path(), &good);
        let mut octets = whole.clone();
        octets[place] ^= 1 << random.random_range(0..8);
        fs::write(&path, octets).unwrap();
        match EmbeddedStore::open_with(folder.path(), SMALL) {
            Ok(store) => {
                assert_eq!(run(store.counts(None)).unwrap().due, 210, "octet {place}");
                store.crash();
            }
            Err(error) => {
                assert!(matches!(error, StoreError::Refused(_)), "octet {place}: {error}");
                refusals += 1;
            }
        }
    }
    assert!(refusals > 30, "{refusals}");
}
