//! The house keeps its shape: which crate may depend on which, that every crate takes the workspace's lints, and what a source file owes its reader.
//!
//! It asks Cargo for the dependency trees that are really built (the lock file also lists what nothing builds) and reads the source tree.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use posthouse_tests::binaries::workspace;

/// Whom each crate may depend on, among our own. An arrow that is not here is a decision to be taken, not an oversight to be filled in.
const ARROWS: &[(&str, &[&str])] = &[
    ("posthouse-model", &[]),
    ("posthouse-crds", &[]),
    ("posthouse-config", &["model"]),
    ("posthouse-sasl", &["model"]),
    ("posthouse-smtp", &["model", "sasl"]),
    ("posthouse-dns", &["model"]),
    ("posthouse-queue", &["model"]),
    ("posthouse-routing", &["config", "model"]),
    ("posthouse-channel", &["config", "model"]),
    ("posthouse-compiler", &["config", "crds", "model"]),
    ("posthouse-operator", &["channel", "compiler", "config", "crds", "model", "routing"]),
    ("posthouse-node", &["channel", "config", "dns", "model", "queue", "routing", "sasl", "smtp"]),
    ("posthouse-tests", &[]),
];

const RUNTIME: &[&str] = &["tokio", "async-std", "smol", "hyper", "mio"];
const CLIENTS: &[&str] = &["redis", "kube-client", "reqwest", "hyper", "redb", "hickory-resolver"];
const TLS: &[&str] = &["rustls"];
const KUBERNETES: &[&str] = &["kube", "kube-core", "kube-client", "kube-runtime", "k8s-openapi"];

/// What a crate must not reach by any way, and why it is worth a test.
const NEVER: &[(&str, &[&[&str]], &str)] = &[
    ("posthouse-model", &[RUNTIME, CLIENTS, TLS, KUBERNETES], "the vocabulary does no I/O"),
    ("posthouse-config", &[RUNTIME, CLIENTS, TLS, KUBERNETES], "the snapshot is a document"),
    ("posthouse-routing", &[RUNTIME, CLIENTS, TLS, KUBERNETES], "a decision is a pure function"),
    ("posthouse-sasl", &[RUNTIME, CLIENTS, TLS, KUBERNETES], "sans-IO: challenges in, responses out"),
    ("posthouse-smtp", &[RUNTIME, CLIENTS, TLS, KUBERNETES], "sans-IO: octets in, events and octets out"),
    // It looks into certificates by rustls, as the node that shows them does, and connects to nothing.
    ("posthouse-compiler", &[RUNTIME, CLIENTS], "the compiler is a pure function"),
    ("posthouse-crds", &[RUNTIME, CLIENTS, TLS], "types, and nothing that connects"),
    ("posthouse-dns", &[KUBERNETES], "it asks name servers, not the cluster"),
    ("posthouse-queue", &[KUBERNETES], "the queue knows no cluster"),
    ("posthouse-channel", &[KUBERNETES], "nodes use it, and they know no cluster"),
    ("posthouse-node", &[KUBERNETES], "a node has no Kubernetes token and no use for one"),
];

/// Files over 500 lines, each with the reason why it is not split.
const LONG_FILES: &[(&str, &str)] = &[];

const LONG: usize = 500;

#[test]
fn arrows_point_as_drawn() {
    let drawn: BTreeMap<&str, BTreeSet<String>> = ARROWS
        .iter()
        .map(|(name, to)| (*name, to.iter().map(|short| format!("posthouse-{short}")).collect()))
        .collect();
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let allowed = drawn.get(name).unwrap_or_else(|| panic!("{name} is new: draw its arrows in ARROWS"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            let is_normal = dependency["kind"].is_null();
            if is_normal && to.starts_with("posthouse-") {
                assert!(allowed.contains(to), "{name} → {to} is no arrow of the house");
            }
        }
    }
}

#[test]
fn nothing_reaches_what_it_must_never_reach() {
    for (name, forbidden, reason) in NEVER {
        let built = tree(name);
        for bad in forbidden.iter().flat_map(|group| group.iter()) {
            assert!(!built.contains(*bad), "{name} must not reach {bad}: {reason}");
        }
    }
}

#[test]
fn the_operator_speaks_no_mail_and_holds_no_queue() {
    let built = tree("posthouse-operator");
    for bad in ["posthouse-smtp", "posthouse-pop3", "posthouse-sasl", "posthouse-queue", "posthouse-dns"] {
        assert!(!built.contains(bad), "the operator must not reach {bad}");
    }
}

#[test]
fn the_node_does_not_know_the_resources() {
    let built = tree("posthouse-node");
    for bad in ["posthouse-crds", "posthouse-compiler"] {
        assert!(!built.contains(bad), "the node must not reach {bad}");
    }
}

#[test]
fn one_cryptography_and_one_calendar() {
    for name in ["posthouse-operator", "posthouse-node"] {
        let built = tree(name);
        for bad in ["ring", "openssl", "openssl-sys", "native-tls"] {
            assert!(!built.contains(bad), "{name} builds {bad}");
        }
    }
    // kube-cel brings one to the operator, for the times in CEL; our own code has jiff.
    assert!(!tree("posthouse-node").contains("chrono"), "posthouse-node builds chrono");
    for package in packages() {
        let uses = package["dependencies"].as_array().unwrap().iter().any(|one| one["name"] == "chrono");
        assert!(!uses, "{} depends on chrono", package["name"]);
    }
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    for package in packages() {
        let manifest = std::fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{} has lints of its own", package["name"]);
    }
}

#[test]
fn every_module_says_its_duty_first() {
    for (path, text) in files(&["rs"]) {
        assert!(text.starts_with("//!"), "{} does not open with `//!`", path.display());
    }
}

#[test]
fn a_file_is_short_or_has_a_reason() {
    let reasons: BTreeMap<&str, &str> = LONG_FILES.iter().copied().collect();
    let mut long = BTreeSet::new();
    for (path, text) in files(&["rs"]) {
        let lines = text.lines().count();
        if lines > LONG {
            let name = path.to_str().unwrap().to_owned();
            assert!(
                reasons.contains_key(name.as_str()),
                "{name} has {lines} lines: split it by meaning, or say in LONG_FILES why not"
            );
            long.insert(name);
        }
    }
    for name in reasons.keys() {
        assert!(long.contains(*name), "{name} is not long any more: take it from LONG_FILES");
    }
}

#[test]
fn no_file_names_the_machine_it_was_written_on() {
    // Taken apart, so that this file does not name them either.
    let places =
        [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/tmp/", "target")];
    let inside_a_path =
        |before: Option<char>| before.is_some_and(|c| c.is_alphanumeric() || "._-*}$".contains(c));
    for (path, text) in files(&["rs", "toml", "md", "yaml", "lua", "sh", "smtp", "json", ""]) {
        for place in places {
            for (at, _) in text.match_indices(place) {
                let before = text[..at].chars().next_back();
                assert!(inside_a_path(before), "{} names {place}", path.display());
            }
        }
    }
}

/// The names of all packages that a normal build of `name` builds, with those of its features that it has in this workspace.
fn tree(name: &str) -> BTreeSet<String> {
    let output =
        cargo(&["tree", "-p", name, "-e", "normal", "--prefix", "none", "--format", "{p}", "--offline"]);
    output.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn packages() -> Vec<serde_json::Value> {
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1", "--offline"]);
    let metadata: serde_json::Value = serde_json::from_str(&output).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).current_dir(workspace()).output().unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every text file of the tree with one of these extensions, by its path from the root.
fn files(extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let root = workspace();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if ![".git", "target"].contains(&name) {
                    folders.push(path);
                }
            } else if extensions.contains(&extension(&path)) {
                // What is no text has nothing to say.
                if let Ok(text) = std::fs::read_to_string(&path) {
                    found.push((path.strip_prefix(&root).unwrap().to_path_buf(), text));
                }
            }
        }
    }
    found
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|extension| extension.to_str()).unwrap_or_default()
}
