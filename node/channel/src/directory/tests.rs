//! What a directory of snapshots promises.

use super::*;

fn directory() -> (tempfile::TempDir, Directory) {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::create(folder.path().join("config")).unwrap();
    (folder, directory)
}

fn names(directory: &Directory) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_published_is_read() {
    let (_folder, directory) = directory();
    let hash = directory.publish(b"{}").unwrap();
    assert_eq!(directory.read_current().unwrap(), Some((hash, b"{}".to_vec())));
    assert_eq!(directory.current().unwrap(), Some(SnapshotHash::of(b"{}")));
}

#[test]
fn an_empty_directory_holds_nothing_and_is_no_error() {
    let (folder, directory) = directory();
    assert_eq!(directory.read_current().unwrap(), None);
    assert_eq!(Directory::new(folder.path().join("absent")).read_current().unwrap(), None);
}

#[test]
fn the_last_two_snapshots_stay() {
    let (_folder, directory) = directory();
    let hashes: Vec<_> =
        ["1", "2", "3"].iter().map(|text| directory.publish(text.as_bytes()).unwrap()).collect();
    let mut expected = vec![format!("{}.json", hashes[1]), format!("{}.json", hashes[2]), POINTER.to_owned()];
    expected.sort();
    assert_eq!(names(&directory), expected);
    assert!(matches!(directory.read(hashes[0]), Err(DirectoryError::Missing { .. })));
}

#[test]
fn publishing_the_same_again_keeps_the_one_before() {
    let (_folder, directory) = directory();
    let first = directory.publish(b"1").unwrap();
    directory.publish(b"2").unwrap();
    directory.publish(b"2").unwrap();
    assert_eq!(directory.read(first).unwrap(), b"1");
}

#[test]
fn a_damaged_snapshot_is_not_read_and_is_mended_by_publishing_it_again() {
    let (_folder, directory) = directory();
    let hash = directory.publish(b"whole").unwrap();
    fs::write(directory.path().join(format!("{hash}.json")), b"half").unwrap();
    assert!(matches!(directory.read_current(), Err(DirectoryError::DamagedSnapshot { .. })));
    directory.publish(b"whole").unwrap();
    assert_eq!(directory.read(hash).unwrap(), b"whole");
}

#[test]
fn a_damaged_pointer_is_an_error_and_is_mended_by_publishing() {
    let (_folder, directory) = directory();
    for damaged in ["not a hash", ""] {
        fs::write(directory.path().join(POINTER), damaged).unwrap();
        assert!(matches!(directory.current(), Err(DirectoryError::DamagedPointer { .. })));
    }
    let hash = directory.publish(b"1").unwrap();
    assert_eq!(directory.current().unwrap(), Some(hash));
}

#[test]
fn what_a_crash_left_half_written_is_collected() {
    let (_folder, directory) = directory();
    let left = format!("{}.new", SnapshotHash::of(b"never finished"));
    fs::write(directory.path().join(&left), b"nev").unwrap();
    directory.publish(b"1").unwrap();
    assert!(!names(&directory).contains(&left));
}

#[test]
fn files_of_others_are_left_alone() {
    let (_folder, directory) = directory();
    fs::write(directory.path().join("notes.json"), b"mine").unwrap();
    for text in ["1", "2", "3"] {
        directory.publish(text.as_bytes()).unwrap();
    }
    assert!(names(&directory).contains(&"notes.json".to_owned()));
}

#[test]
fn a_reader_beside_a_busy_writer_always_finds_a_whole_snapshot() {
    let (_folder, directory) = directory();
    directory.publish(b"0").unwrap();
    let reader = directory.clone();
    let writer = std::thread::spawn(move || {
        for number in 1..100 {
            directory.publish(number.to_string().as_bytes()).unwrap();
        }
    });
    while !writer.is_finished() {
        let (hash, octets) = reader.read_current().unwrap().unwrap();
        assert_eq!(hash, SnapshotHash::of(&octets));
    }
    writer.join().unwrap();
}
