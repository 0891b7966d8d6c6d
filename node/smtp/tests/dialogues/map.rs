//! docs/rfc.md maps RFC section → file → dialogue or test. This keeps it true: what it names exists, and every dialogue is named.

use std::{collections::BTreeSet, fs};

use crate::{root, transcripts};

/// The words in backquotes of a table row, in its third (file) and fourth (proof) column.
fn named(map: &str) -> Vec<String> {
    let rows = map
        .lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("|-") && !line.starts_with("| RFC"));
    rows.flat_map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        assert_eq!(cells.len(), 4, "four columns: {row}");
        let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        assert!(!quoted(cells[2]).is_empty() && !quoted(cells[3]).is_empty(), "a file and a proof: {row}");
        [quoted(cells[2]), quoted(cells[3])].concat()
    })
    .collect()
}

#[test]
fn what_the_map_names_exists() {
    let map = fs::read_to_string(root().join("docs/rfc.md")).unwrap();
    for name in named(&map) {
        match name.split_once("::") {
            Some((file, test)) => {
                let text =
                    fs::read_to_string(root().join(file)).unwrap_or_else(|_| panic!("{file} is named"));
                assert!(text.contains(&format!("fn {test}(")), "{name} is named");
            }
            None => assert!(root().join(&name).is_file(), "{name} is named"),
        }
    }
}

#[test]
fn every_dialogue_is_on_the_map() {
    let map = fs::read_to_string(root().join("docs/rfc.md")).unwrap();
    let named: BTreeSet<String> = named(&map).into_iter().collect();
    for (path, _) in transcripts("server").into_iter().chain(transcripts("client")) {
        assert!(named.contains(&path), "{path} is on the map");
    }
}
