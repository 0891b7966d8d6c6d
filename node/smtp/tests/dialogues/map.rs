//! docs/rfc.md maps RFC section → file → dialogue or test. This keeps it true: what it names exists, and every
//! dialogue is named, under each RFC that it cites.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use crate::{root, transcripts};

/// A row of the map.
struct Row {
    /// The RFCs of its first column.
    rfcs: BTreeSet<u32>,
    /// What its third (file) and fourth (proof) column name, in backquotes.
    named: Vec<String>,
}

fn rows(map: &str) -> Vec<Row> {
    let rows = map
        .lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("|-") && !line.starts_with("| RFC"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        assert_eq!(cells.len(), 4, "four columns: {row}");
        let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        assert!(!quoted(cells[2]).is_empty() && !quoted(cells[3]).is_empty(), "a file and a proof: {row}");
        Row { rfcs: rfcs(cells[0]), named: [quoted(cells[2]), quoted(cells[3])].concat() }
    })
    .collect()
}

/// The numbers of RFCs in a text: what stands for itself, unlike a section.
fn rfcs(text: &str) -> BTreeSet<u32> {
    text.split([' ', ',', ':', ';']).filter_map(|word| word.parse().ok()).collect()
}

fn map() -> Vec<Row> {
    rows(&fs::read_to_string(root().join("docs/rfc.md")).unwrap())
}

#[test]
fn what_the_map_names_exists() {
    for name in map().into_iter().flat_map(|row| row.named) {
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
fn every_dialogue_is_on_the_map_under_what_it_cites() {
    let mut under: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for Row { rfcs, named } in map() {
        for name in named {
            under.entry(name).or_default().extend(&rfcs);
        }
    }
    for (path, text) in transcripts("server").into_iter().chain(transcripts("client")) {
        let found = under.get(&path).unwrap_or_else(|| panic!("{path} is on the map"));
        // Up to the colon, the first line says what the dialogue proves.
        let cited = rfcs(text.split(": ").next().unwrap());
        assert!(
            !cited.is_empty() && cited.is_subset(found),
            "{path} cites {cited:?}, the map has it under {found:?}"
        );
    }
}
