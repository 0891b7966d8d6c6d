//! The examples of the API are the contract: each reads without a defect, and is written back as it was read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{fs, path::Path};

use posthouse_crds::{Kind, Object};
use serde::Deserialize;

#[test]
fn every_example_reads_without_a_defect_and_every_kind_has_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/api");
    let mut kinds = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        for document in serde_yaml::Deserializer::from_str(&fs::read_to_string(&path).unwrap()) {
            let document = serde_json::Value::deserialize(document).unwrap();
            if document["kind"] == "Secret" {
                continue;
            }
            let object = Object::read(document).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            kinds.push(object.kind());
        }
    }
    kinds.sort();
    assert_eq!(kinds, Kind::ALL);
}
