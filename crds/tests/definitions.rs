//! The definitions that are applied to a cluster: generated from the types, and within the conventions of api.md (Shapes).
//!
//! `UPDATE_CRDS=1` writes the files below `crds/yaml`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{fs, path::Path};

use posthouse_crds::{Kind, definition};
use serde_json::Value;

/// The largest object that is applied by `kubectl apply` without server-side apply keeps its text in an annotation of at most 256 KiB.
const MOST_OCTETS: usize = 200 * 1024;

#[test]
fn the_files_are_what_the_types_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    let update = std::env::var_os("UPDATE_CRDS").is_some();
    for kind in Kind::ALL {
        let path = folder.join(definition::file_name(kind));
        let text = format!(
            "# Generated from the types in crds/src: UPDATE_CRDS=1 cargo test -p posthouse-crds --test definitions\n---\n{}",
            serde_yaml::to_string(kind.definition()).unwrap()
        );
        if update {
            fs::write(&path, &text).unwrap();
        }
        let file = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            file == text,
            "{} is not what the types say: run UPDATE_CRDS=1 cargo test -p posthouse-crds --test definitions",
            path.display()
        );
        assert!(
            update || definition::yaml(kind) == text,
            "{kind} is kept in another file than it is printed from"
        );
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), Kind::ALL.len(), "a file that belongs to no kind");
}

#[test]
fn no_definition_is_too_large_to_apply() {
    for kind in Kind::ALL {
        let octets = kind.definition().to_string().len();
        assert!(octets < MOST_OCTETS, "{kind} has {octets} octets");
    }
}

#[test]
fn every_definition_has_a_status_a_category_and_columns() {
    for kind in Kind::ALL {
        let definition = kind.definition();
        let version = &definition["spec"]["versions"][0];
        assert!(version["subresources"]["status"].is_object(), "{kind} has no status subresource");
        assert_eq!(definition["spec"]["names"]["categories"], serde_json::json!(["posthouse"]), "{kind}");
        assert_eq!(definition["spec"]["names"]["shortNames"].as_array().unwrap().len(), 1, "{kind}");
        assert_eq!(definition["spec"]["scope"], "Namespaced", "{kind}");
        assert!(version["additionalPrinterColumns"].as_array().unwrap().len() >= 4, "{kind}");
        let first = &kind.schema()["properties"]["status"]["default"]["conditions"];
        assert!(first.as_array().unwrap().iter().all(|one| one["status"] == "Unknown"), "{kind}");
        let echo = &kind.schema()["properties"]["status"]["properties"]["lastHandledRequest"];
        assert_eq!(echo["type"], "string", "{kind}");
        assert_eq!(kind.schema()["properties"]["spec"]["properties"]["suspend"]["type"], "boolean", "{kind}");
    }
}

#[test]
fn a_status_has_the_figures_that_people_ask_for() {
    let fields = |kind: Kind, path: &str| {
        let block =
            kind.schema().pointer(&format!("/properties/status/properties/{path}/properties")).unwrap();
        block.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(fields(Kind::MailGateway, "nodes"), ["desired", "programmed", "ready"]);
    let attached = ["domains", "etrnSchedules", "pop3Accounts", "relayRules", "users"];
    assert_eq!(fields(Kind::MailGateway, "attached"), attached);
    assert_eq!(fields(Kind::MailDomain, "queue"), ["deferred", "held", "oldestTime"]);
    for kind in [Kind::Pop3Account, Kind::EtrnSchedule] {
        assert_eq!(fields(kind, "lastRun"), ["bytes", "discarded", "messages", "result", "time"], "{kind}");
        let next = &kind.schema()["properties"]["status"]["properties"]["nextRun"];
        assert_eq!(next["format"], "date-time", "{kind}");
    }
}

#[test]
fn every_schema_keeps_to_the_conventions() {
    let mut complaints = Vec::new();
    for kind in Kind::ALL {
        walk(kind.schema(), kind.name(), &mut complaints);
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Two owners that each apply a way of their own would otherwise get both, which no rule lets pass. Lists are atomic where they hold such blocks;
/// what is a way of the whole spec cannot be.
#[test]
fn a_block_that_says_one_thing_in_one_of_several_ways_has_one_owner() {
    for (kind, path) in [
        (Kind::MailGateway, "connectivity"),
        (Kind::MailGateway, "allowedRoutes/properties/namespaces"),
        (Kind::MailDomain, "localDelivery"),
        (Kind::MailDomain, "unknownRecipients"),
        (Kind::Pop3Account, "sorting/properties/otherwise"),
    ] {
        let block = kind.schema().pointer(&format!("/properties/spec/properties/{path}")).unwrap();
        assert_eq!(block["x-kubernetes-map-type"], "atomic", "{kind} {path}");
        assert!(block["x-kubernetes-validations"].is_array(), "{kind} {path}");
    }
    for (kind, path) in [
        (Kind::MailGateway, "allowedRoutes/properties/grants"),
        (Kind::MailGateway, "egress/properties/allowedHosts"),
        (Kind::MailSchedule, "triggers"),
    ] {
        let list = kind.schema().pointer(&format!("/properties/spec/properties/{path}")).unwrap();
        assert_eq!(list["x-kubernetes-list-type"], "atomic", "{kind} {path}");
    }
}

/// YAML 1.1 reads these as booleans.
const BOOLEANS: [&str; 8] = ["y", "n", "yes", "no", "on", "off", "true", "false"];

fn walk(schema: &Value, path: &str, complaints: &mut Vec<String>) {
    let mut complain = |what: &str| complaints.push(format!("{path}: {what}"));
    for name in ["nullable", "oneOf", "anyOf", "allOf", "not", "$ref", "title"] {
        if schema.get(name).is_some() {
            complain(&format!("{name} is used"));
        }
    }
    if schema["format"].as_str().is_some_and(|format| format.starts_with("uint")) {
        complain("an unsigned format");
    }
    for value in schema["enum"].as_array().into_iter().flatten() {
        match value.as_str() {
            None => complain("an enum with something else than text"),
            Some(text) if BOOLEANS.contains(&text.to_ascii_lowercase().as_str()) && path.contains("spec") => {
                complain(&format!("{text} is a boolean in YAML 1.1"));
            }
            Some(_) => {}
        }
    }
    match schema["type"].as_str() {
        Some("string") if schema.get("enum").is_none() && schema.get("maxLength").is_none() => {
            complain("a text without a bound");
        }
        Some("array") => {
            if schema.get("maxItems").is_none() {
                complain("a list without a bound");
            }
            if schema.get("x-kubernetes-list-type").is_none() {
                complain("a list without a type");
            }
        }
        Some("object")
            if schema.get("additionalProperties").is_some() && schema.get("maxProperties").is_none() =>
        {
            complain("a map without a bound");
        }
        None if schema["x-kubernetes-int-or-string"] != true => complain("a field without a type"),
        _ => {}
    }
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        if rule["message"].as_str().is_none_or(|message| message.len() < 20) {
            complain("a rule without a message that says what to do");
        }
    }
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        if path.contains('.') || name != "metadata" {
            walk(child, &format!("{path}.{name}"), complaints);
        }
    }
    for (name, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(child) = schema.get(name).filter(|child| child.is_object()) {
            walk(child, &format!("{path}{mark}"), complaints);
        }
    }
}
