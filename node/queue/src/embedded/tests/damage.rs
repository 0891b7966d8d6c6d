//! What is damaged or of a newer version: kept, reported, and in nobody's way.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::{
    super::{EmbeddedStore, compaction, database::Index, effect::Position, log},
    NEXT, NODE, NOW, SMALL, first_segment, id, lease, lease_all, letter, open, open_as, run, settlement,
    three,
};
use crate::{Content, Counts, Outcome, Settled, Settlement, Store};
use posthouse_model::Incarnation;

/// Five letters in the log and in no checkpoint; `spoil` has the octets of the first segment and where letter `number` lies in them.
fn five_and_spoilt(number: u64, spoil: impl FnOnce(&mut [u8], usize)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), SMALL);
    for number in 0..5 {
        run(store.enqueue(NODE, letter(number, format!("letter {number}").as_bytes()), &[], NOW)).unwrap();
    }
    store.crash();
    spoil_file(&first_segment(folder.path()), |octets| {
        let text = format!("letter {number}");
        let place = octets.windows(8).position(|octets| octets == text.as_bytes()).unwrap();
        spoil(octets, place);
    });
    folder
}

fn spoil_file(path: &Path, spoil: impl FnOnce(&mut [u8])) {
    let mut octets = fs::read(path).unwrap();
    spoil(&mut octets);
    fs::write(path, octets).unwrap();
}

/// What was kept of the log: names, modes and octets.
fn kept(folder: &Path) -> Vec<(String, u32, Vec<u8>)> {
    let Ok(files) = fs::read_dir(folder.join("damaged")) else { return Vec::new() };
    let kept = |file: fs::DirEntry| {
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        (file.file_name().into_string().unwrap(), mode, fs::read(file.path()).unwrap())
    };
    files.map(|file| kept(file.unwrap())).collect()
}

fn contains(octets: &[u8], text: &str) -> bool {
    octets.windows(text.len()).any(|octets| octets == text.as_bytes())
}

#[test]
fn damage_in_the_middle_costs_only_what_was_there_and_is_kept_once() {
    let folder = five_and_spoilt(2, |octets, place| octets[place] = b'L');
    let mut found = Vec::new();
    for round in 0..3 {
        let store = open_as(Incarnation([round + 9; 16]), folder.path(), SMALL);
        assert_eq!(run(store.counts(None)).unwrap().incoming, 4, "start {round}");
        assert!(run(store.accounting()).unwrap().balances());
        if round == 0 {
            store.crash();
        } else {
            drop(store);
        }
        let kept = kept(folder.path());
        let [(name, mode, octets)] = kept.as_slice() else { panic!("{} files", kept.len()) };
        assert!(name.starts_with("0000000001-"), "{name}");
        assert_eq!(*mode, 0o600);
        assert!(
            contains(octets, "Letter 2") && !contains(octets, "letter 1") && !contains(octets, "letter 3")
        );
        if round == 0 {
            found = kept;
        } else {
            assert!(found == kept, "start {round}");
        }
    }
}

#[test]
fn the_last_frame_is_kept_when_it_is_damaged_and_the_log_goes_on_there() {
    let folder = five_and_spoilt(4, |octets, place| octets[place] = b'L');
    let store = open_as(NEXT, folder.path(), SMALL);
    assert_eq!(run(store.counts(None)).unwrap().incoming, 4);
    let kept = kept(folder.path());
    assert!(kept.len() == 1 && contains(&kept[0].2, "Letter 4"));
    run(store.enqueue(NEXT, letter(9, b"after"), &[], NOW)).unwrap();
    store.crash();
    let store = EmbeddedStore::open_with(folder.path(), SMALL).unwrap();
    assert_eq!(run(store.counts(None)).unwrap().incoming, 5);
}

#[test]
fn much_damage_in_a_segment_is_kept_in_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), SMALL);
    for number in 0..60 {
        run(store.enqueue(NODE, letter(number, format!("letter {number:02}").as_bytes()), &[], NOW)).unwrap();
    }
    store.crash();
    spoil_file(&first_segment(folder.path()), |octets| {
        for number in (1..59).step_by(2) {
            let text = format!("letter {number:02}");
            let place = octets.windows(9).position(|octets| octets == text.as_bytes()).unwrap();
            octets[place] = b'L';
        }
    });
    let store = open(folder.path(), SMALL);
    assert_eq!(run(store.counts(None)).unwrap().incoming, 31);
    let kept = kept(folder.path());
    assert!(kept.len() == 1 && contains(&kept[0].2, "Letter 01") && contains(&kept[0].2, "Letter 57"));
}

#[test]
fn a_frame_of_a_newer_version_is_kept_and_what_follows_it_is_there() {
    for number in [4, 1] {
        let folder = five_and_spoilt(number, |_, _| {});
        let index = Index::open(&folder.path().join("index.redb")).unwrap();
        let salt = index.identity().unwrap().unwrap().salt;
        drop(index);
        let text = format!("letter {number}");
        spoil_file(&first_segment(folder.path()), |octets| {
            let place = octets.windows(8).position(|octets| octets == text.as_bytes()).unwrap();
            let frame = octets[..place].windows(4).rposition(|octets| octets == log::FRAME_MAGIC).unwrap();
            let len = u32::from_le_bytes(octets[frame + 4..frame + 8].try_into().unwrap()) as usize;
            let (head, payload) = octets[frame..].split_at_mut(log::FRAME_HEAD);
            payload[5] = 99; // the kind of its first effect, behind two lengths
            let position = Position { segment: 1, offset: u32::try_from(frame).unwrap() };
            let crc =
                log::crc(salt, position, head.first_chunk::<{ log::FRAME_HEAD }>().unwrap(), &payload[..len]);
            head[8..12].copy_from_slice(&crc.to_le_bytes());
        });
        let store = open_as(NEXT, folder.path(), SMALL);
        assert_eq!(run(store.counts(None)).unwrap().incoming, 4);
        store.crash();
        let kept = kept(folder.path());
        assert!(kept.len() == 1 && contains(&kept[0].2, &text));
        assert!(contains(&fs::read(first_segment(folder.path())).unwrap(), &text), "it was not written over");
    }
}

#[test]
fn a_log_of_a_newer_version_is_refused_and_one_whose_head_is_damaged_is_not() {
    let folder = tempfile::tempdir().unwrap();
    three(folder.path());
    let path = first_segment(folder.path());
    let whole = fs::read(&path).unwrap();
    spoil_file(&path, |octets| {
        octets[8] += 1;
        log::seal_segment_head(octets.first_chunk_mut().unwrap());
    });
    let newer = fs::read(&path).unwrap();
    let refused = EmbeddedStore::open_with(folder.path(), SMALL).unwrap_err().to_string();
    assert!(refused.contains("format 2") && refused.contains("start the newer version again"), "{refused}");
    assert!(fs::read(&path).unwrap() == newer, "nothing was changed");
    for place in [0, 8, 12, 16, 24] {
        fs::write(&path, &whole).unwrap();
        spoil_file(&path, |octets| octets[place] ^= 2);
        let store = EmbeddedStore::open_with(folder.path(), SMALL).unwrap();
        assert_eq!(run(store.counts(None)).unwrap().deferred, 1, "octet {place}");
        store.crash();
        fs::write(&path, &whole).unwrap();
    }
}

/// Adds to the format number of the first row of a table in the index.
fn newer_row<K: redb::Key + 'static>(folder: &Path, table: &str, by: i8) {
    let database = redb::Database::create(folder.join("index.redb")).unwrap();
    let write = database.begin_write().unwrap();
    {
        let mut table = write.open_table(redb::TableDefinition::<K, &[u8]>::new(table)).unwrap();
        let (key, mut row) = {
            let (key, row) = table.pop_first().unwrap().unwrap();
            (K::as_bytes(&key.value()).as_ref().to_vec(), row.value().to_vec())
        };
        row[0] = row[0].checked_add_signed(by).unwrap();
        table.insert(K::from_bytes(&key), row.as_slice()).unwrap();
    }
    write.commit().unwrap();
}

#[test]
fn rows_of_a_newer_version_and_the_log_that_they_name_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), SMALL);
    let content = vec![b'x'; 40_000];
    run(store.enqueue(NODE, letter(0, b"letter 0"), &[], NOW)).unwrap();
    run(store.activate(&[id(0)], NOW)).unwrap();
    drop(store);
    newer_row::<&[u8]>(folder.path(), "messages", 1);

    let store = open_as(NEXT, folder.path(), SMALL);
    assert_eq!(run(store.counts(None)).unwrap(), Counts::default());
    run(async {
        for number in 1..100 {
            store.enqueue(NEXT, letter(number, &content), &[], NOW).await.unwrap();
            store.activate(&[id(number)], NOW).await.unwrap();
            let leased = store.lease_entry(NEXT, id(number).entry(0), NOW).await.unwrap().unwrap();
            let settlement = Settlement { who: NEXT, ..settlement(&leased, Outcome::Relayed) };
            assert_eq!(store.settle(&settlement, NOW).await.unwrap(), Settled::Done);
        }
    });
    let checkpoint = |store: &EmbeddedStore| store.shared.lock_anyway().checkpoint.segment;
    assert!(store.shared.segments.numbers().len() > 2);
    drop(store);
    // The last checkpoint is in the last segment: all before it could be taken out of use.
    let store = open_as(Incarnation([9; 16]), folder.path(), SMALL);
    assert!(checkpoint(&store) > 2);
    compaction::run(&store.shared).unwrap();
    drop(store);
    newer_row::<&[u8]>(folder.path(), "messages", -1);

    let who = Incarnation([10; 16]);
    let store = open_as(who, folder.path(), SMALL);
    let leased = run(lease(&store, who, 10));
    assert_eq!(leased.len(), 1);
    assert_eq!(leased[0].content, Content::Inline("letter 0".into()));
}

#[test]
fn an_index_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    three(folder.path());
    newer_row::<&str>(folder.path(), "meta", 1);
    let refused = EmbeddedStore::open_with(folder.path(), SMALL).unwrap_err().to_string();
    assert!(refused.contains("newer version of Posthouse") && refused.contains("format 2"), "{refused}");
    newer_row::<&str>(folder.path(), "meta", -1);
    drop(EmbeddedStore::open_with(folder.path(), SMALL).unwrap());
}

#[test]
fn a_record_that_cannot_be_read_is_held_for_quarantine_and_can_be_deleted() {
    held_for_quarantine(|octets| {
        let place = octets.windows(16).position(|octets| octets == b"user@example.org").unwrap();
        octets[place] ^= 1;
    });
}

#[test]
fn a_record_of_a_newer_version_is_held_for_quarantine_and_can_be_deleted() {
    held_for_quarantine(|octets| {
        // The body of an entry starts with its format, four octets of checksum and the length of the queue's name.
        let head = |octets: &[u8]| octets[0] == 1 && octets[5] == 11 && octets.ends_with(b"example.org");
        let place = octets.windows(17).position(head).unwrap();
        octets[place] += 1;
    });
}

fn held_for_quarantine(spoil: impl FnOnce(&mut [u8])) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), SMALL);
    run(store.enqueue(NODE, letter(1, b"letter"), &[], NOW)).unwrap();
    run(store.activate(&[id(1)], NOW)).unwrap();
    drop(store);
    spoil_file(&first_segment(folder.path()), spoil);
    let store = open(folder.path(), SMALL);
    run(async {
        assert!(lease_all(&store).await.is_empty());
        let held = store.counts(None).await.unwrap();
        assert_eq!(held, Counts { held: 1, ..Counts::default() });
        let leased = store.lease_entry(NODE, id(1).entry(0), NOW).await.unwrap().unwrap();
        let settled = store.settle(&settlement(&leased, Outcome::Deleted), NOW).await.unwrap();
        assert_eq!(settled, Settled::Done);
        let accounting = store.accounting().await.unwrap();
        assert!(accounting.balances() && accounting.deleted == 1, "{accounting:?}");
    });
}
