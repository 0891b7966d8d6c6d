//! The examples compile: those of the API with warnings only, the quickstart with none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{fs, path::Path};

use posthouse_compiler::{Compilation, Context, ObjectKey, Reason, Resources, Severity, compile};
use posthouse_config::RelayAuthentication;
use posthouse_crds::Object;
use serde::Deserialize;
use serde_json::Value;

fn compiled(folder: &str) -> Compilation {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(folder);
    let mut resources = Resources::default();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        for document in serde_yaml::Deserializer::from_str(&fs::read_to_string(path).unwrap()) {
            let document = Value::deserialize(document).unwrap();
            if document["kind"] == "Secret" {
                resources.secrets.push(serde_json::from_value(document).unwrap());
            } else {
                resources.add(Object::read(document).unwrap());
            }
        }
    }
    compile(&resources, &Context::default())
}

#[test]
fn the_examples_of_the_api_compile_with_warnings_only() {
    let compilation = compiled("api");
    let errors: Vec<_> = compilation.verdicts.iter().filter(|v| v.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    assert!(compilation.verdicts.iter().all(|verdict| verdict.reason == Reason::NotSupportedYet));
    assert!(!compilation.is_refused());

    let snapshot = &compilation.snapshots[&ObjectKey::new("mail", "edge")];
    let bound: Vec<_> =
        snapshot.gateway.listeners.iter().filter(|l| l.closed.is_none()).map(|l| &*l.name).collect();
    assert_eq!(bound, ["smtp", "submission", "submissions"], "Odmr and Pop3 are not built");
    let required: Vec<_> = snapshot
        .gateway
        .listeners
        .iter()
        .filter_map(|listener| Some((&*listener.name, listener.tls.as_ref()?.required)))
        .collect();
    assert_eq!(required, [("smtp", false), ("submission", true), ("submissions", false)]);
    assert_eq!(snapshot.certificates.len(), 1);
    let control = snapshot.gateway.relay_control.as_ref().unwrap();
    assert_eq!((control.authentication, control.networks.len()), (RelayAuthentication::Required, 1));
    let rule = &snapshot.rules[0];
    assert!(rule.unsupported.is_empty() && rule.tls.verified && rule.credentials.is_some(), "{rule:?}");
}

#[test]
fn the_quickstart_compiles_without_a_word() {
    let compilation = compiled("quickstart");
    assert_eq!(compilation.verdicts, []);
    let snapshot = &compilation.snapshots[&ObjectKey::new("mail", "edge")];
    assert_eq!((snapshot.domains.len(), snapshot.rules.len()), (2, 1));
    assert_eq!(snapshot.gateway.listeners[0].bind_port, 10_025);
}

#[test]
fn the_recipes_for_providers_compile_without_a_word() {
    let compilation = compiled("providers");
    assert_eq!(compilation.verdicts, []);
    let snapshot = &compilation.snapshots[&ObjectKey::new("mail", "office")];
    assert_eq!(snapshot.rules.len(), 3);
    assert!(snapshot.rules.iter().all(|rule| rule.credentials.is_some() && rule.tls.verified));
}
