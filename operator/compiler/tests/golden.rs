//! Manifests in, verdicts and snapshots out, as files: `tests/golden/NAME.in.yaml` → `NAME.out.yaml`. `UPDATE_GOLDEN=1` writes what comes out;
//! read it before you commit it.
//!
//! The first lines of an input may say `# environment: Cluster`, `# after: NAME.in.yaml` where what that compiles to is in force before, and
//! `# refused Secret: NAMESPACE/NAME` where that is there and its form is refused, and `# now: SECONDS` for a time
//! that is not 1970, and `# admitted` where the schema would refuse what the compiler must also stand (an older definition may still be in a cluster).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use posthouse_compiler::{Compilation, Context, Environment, ObjectKey, Reason, Resources, compile};
use posthouse_config::Snapshot;
use posthouse_crds::Object;
use posthouse_model::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn inputs() -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(".in.yaml"));
    paths.sort();
    paths
}

fn read(text: &str) -> (Resources, Context) {
    let header = text.lines().take_while(|line| line.starts_with('#')).collect::<Vec<_>>();
    let admitted = header.contains(&"# admitted");
    let environment =
        if header.contains(&"# environment: Cluster") { Environment::Cluster } else { Environment::Local };
    let mut resources = Resources::default();
    for document in serde_yaml::Deserializer::from_str(text) {
        let document = Value::deserialize(document).unwrap();
        match document["kind"].as_str().unwrap() {
            "Secret" => resources.secrets.push(serde_json::from_value(document).unwrap()),
            "Namespace" => resources.namespaces.push(serde_json::from_value(document).unwrap()),
            _ if admitted => resources.add(Object::read_admitted(document).unwrap()),
            _ => resources.add(Object::read(document).unwrap()),
        }
    }
    for key in header.iter().filter_map(|line| line.strip_prefix("# refused Secret: ")) {
        let (namespace, name) = key.split_once('/').unwrap();
        resources.refused_secrets.insert(ObjectKey::new(namespace, name));
    }
    let mut context = Context { environment, ..Context::default() };
    if let Some(seconds) = header.iter().find_map(|line| line.strip_prefix("# now: ")) {
        context.now = Timestamp(seconds.parse::<u64>().unwrap() * 1000);
    }
    if let Some(before) = header.iter().find_map(|line| line.strip_prefix("# after: ")) {
        let (resources, earlier) = read(&fs::read_to_string(folder().join(before)).unwrap());
        follow(&mut context, compile(&resources, &earlier));
    }
    (resources, context)
}

/// What a compilation leaves to the next one.
fn follow(context: &mut Context, before: Compilation) {
    context.claims = before.claims;
    context.previous = before.snapshots;
}

fn written(compilation: &Compilation) -> String {
    let verdicts: Vec<_> = compilation
        .verdicts
        .iter()
        .map(|verdict| {
            let field = verdict.field.as_ref().map(|field| format!(" {field}")).unwrap_or_default();
            json!({
                "at": format!("{} {}{field}", verdict.kind, verdict.key),
                "is": format!("{} {}: {}={}", verdict.severity, verdict.reason, verdict.condition, verdict.status),
                "message": verdict.message,
            })
        })
        .collect();
    let snapshots: serde_json::Map<_, _> = compilation
        .snapshots
        .iter()
        .map(|(key, snapshot)| (key.to_string(), serde_json::to_value(snapshot.redacted()).unwrap()))
        .collect();
    let mut written = json!({ "snapshots": snapshots, "verdicts": verdicts });
    let standing: serde_json::Map<_, _> = compilation
        .standing
        .iter()
        .map(|((kind, key), standing)| (format!("{kind} {key}"), format!("{standing:?}").into()))
        .collect();
    if !standing.is_empty() {
        written["standing"] = standing.into();
    }
    serde_yaml::to_string(&in_order(written)).unwrap()
}

/// Fields by name: whether a JSON object keeps the order of its making depends on what else is built in the same run.
fn in_order(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let sorted: std::collections::BTreeMap<_, _> =
                fields.into_iter().map(|(name, value)| (name, in_order(value))).collect();
            Value::Object(sorted.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(in_order).collect()),
        other => other,
    }
}

#[test]
fn every_input_compiles_to_its_output() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut different = Vec::new();
    for path in inputs() {
        let (resources, context) = read(&fs::read_to_string(&path).unwrap());
        let found = written(&compile(&resources, &context));
        let golden = PathBuf::from(path.to_string_lossy().replace(".in.yaml", ".out.yaml"));
        if update {
            fs::write(&golden, &found).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != found {
            different.push(format!("{} should be\n{found}", golden.display()));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn every_reason_is_in_some_output() {
    let mut seen = BTreeSet::new();
    for path in inputs() {
        let (resources, context) = read(&fs::read_to_string(&path).unwrap());
        seen.extend(compile(&resources, &context).verdicts.into_iter().map(|verdict| verdict.reason));
    }
    let unseen: Vec<_> = Reason::ALL.iter().filter(|reason| !seen.contains(reason)).collect();
    assert!(unseen.is_empty(), "no golden file has {unseen:?}");
}

#[test]
fn the_order_of_the_input_does_not_matter() {
    for path in inputs() {
        let (mut resources, context) = read(&fs::read_to_string(&path).unwrap());
        let forwards = written(&compile(&resources, &context));
        resources.gateways.reverse();
        resources.domains.reverse();
        resources.recipients.reverse();
        resources.relay_rules.reverse();
        resources.users.reverse();
        assert_eq!(forwards, written(&compile(&resources, &context)), "{}", path.display());
    }
}

#[test]
fn every_snapshot_is_one_that_a_node_reads() {
    for path in inputs() {
        let (resources, context) = read(&fs::read_to_string(&path).unwrap());
        for snapshot in compile(&resources, &context).snapshots.values() {
            let decoded = Snapshot::decode(&snapshot.encode().unwrap()).unwrap();
            assert_eq!(decoded, **snapshot, "{}", path.display());
        }
    }
}

#[test]
fn what_is_compiled_again_after_itself_comes_out_the_same() {
    for path in inputs() {
        let (resources, mut context) = read(&fs::read_to_string(&path).unwrap());
        let first = compile(&resources, &context);
        follow(&mut context, first.clone());
        let second = compile(&resources, &context);
        assert_eq!(
            (&first.snapshots, &first.claims, &first.standing),
            (&second.snapshots, &second.claims, &second.standing),
            "{}",
            path.display()
        );
    }
}
