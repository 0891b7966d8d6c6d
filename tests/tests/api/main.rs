//! The API as a real kube-apiserver has it: what applies, what is refused and with which words, what cannot be changed later.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

mod agreement;
mod mutation;
mod sizes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use posthouse_tests::api_server::{ApiServer, text};
use posthouse_tests::binaries::{product, workspace};
use serde_json::Value;

/// A server, and what `kubectl` said to the definitions.
type Api = Arc<(ApiServer, String)>;

/// One server for the tests that run at one time: each uses objects of its own, and the last one ends it.
fn api() -> Api {
    static API: Mutex<Weak<(ApiServer, String)>> = Mutex::new(Weak::new());
    let mut shared = API.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let api = Arc::new(ApiServer::with_definitions().unwrap());
        *shared = Arc::downgrade(&api);
        api
    })
}

fn manifests(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn the_definitions_apply_without_a_warning() {
    let api = api();
    let said = &api.1;
    assert_eq!(said.matches("serverside-applied").count(), 8, "{said}");
    assert!(!said.contains("Warning"), "{said}");
}

#[test]
fn the_examples_apply_and_a_second_time_changes_nothing() {
    let shared = api();
    let api = &shared.0;
    let folder = workspace().join("examples/api");
    let apply = || api.must(&["apply", "--server-side", "-f", folder.to_str().unwrap()]).unwrap();
    let names = [
        "etrnschedule/backup-isp",
        "maildomain/example-com",
        "mailgateway/edge",
        "mailrecipients/example-com-1",
    ]
    .into_iter()
    .chain(["mailschedule/hourly", "mailuser/customer1", "pop3account/isp-box", "relayrule/customer-a"]);
    let mut ask = vec!["get", "-n", "mail", "-o", "json", "--show-managed-fields"];
    ask.extend(names);
    let objects = || serde_json::from_str::<Value>(&api.must(&ask).unwrap()).unwrap();
    let but_versions = |mut objects: Value| {
        for object in objects["items"].as_array_mut().unwrap() {
            object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        }
        objects
    };
    apply();
    let first = objects();
    assert_eq!(first["items"].as_array().unwrap().len(), 8);
    // The second write may store the first status, which was only shown before; nobody can see a difference, and then nothing is written.
    apply();
    let second = objects();
    assert_eq!(but_versions(second.clone()), but_versions(first));
    apply();
    assert_eq!(objects(), second);
    let differs = api.kubectl(&["diff", "-f", folder.to_str().unwrap()]).unwrap();
    assert_eq!(differs.status.code(), Some(0), "{}", text(&differs));
}

#[test]
fn the_quickstart_applies() {
    let shared = api();
    let api = &shared.0;
    for file in manifests(&workspace().join("examples/quickstart")) {
        if file.extension().is_some_and(|ending| ending == "yaml") {
            // Not beside the other examples, which have some of its names.
            let manifest =
                fs::read_to_string(&file).unwrap().replace("namespace: mail", "namespace: customer-a");
            let said = api
                .kubectl_with(
                    &["apply", "--server-side", "--validate=strict", "-f", "-"],
                    manifest.as_bytes(),
                )
                .unwrap();
            assert!(
                said.status.success() && !text(&said).contains("Warning"),
                "{}: {}",
                file.display(),
                text(&said)
            );
        }
    }
}

/// The reader is held to the same files by a test of its own: their first line tells what is stored.
#[test]
fn a_secret_is_stored_with_what_its_data_and_string_data_say() {
    let shared = api();
    let api = &shared.0;
    let mut complaints = Vec::new();
    for file in manifests(&workspace().join("tests/secrets")) {
        let manifest = fs::read_to_string(&file).unwrap();
        let told: Value =
            serde_json::from_str(manifest.lines().next().unwrap().trim_start_matches("# ")).unwrap();
        let created = api.kubectl(&["create", "--validate=strict", "-f", file.to_str().unwrap()]).unwrap();
        let name = format!("secret/{}", file.file_stem().unwrap().to_str().unwrap());
        let stored = api.kubectl(&["get", &name, "-n", "mail", "-o", "json"]).unwrap();
        let stored: Value = serde_json::from_slice(&stored.stdout).unwrap_or_default();
        let data = stored.get("data").cloned().unwrap_or_else(|| serde_json::json!({}));
        if !created.status.success() || data != told {
            complaints.push(format!("{}: {data} is stored, not {told}: {}", file.display(), text(&created)));
        }
        let _ = api.kubectl(&["delete", &name, "-n", "mail"]);
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn a_resource_has_a_status_from_the_first_sight_and_columns_for_people() {
    let shared = api();
    let api = &shared.0;
    let manifest = "apiVersion: posthouse.dev/v1alpha1\nkind: MailSchedule\nmetadata: {name: seen, namespace: mail}\nspec: {triggers: [{every: 10m}]}\n";
    let applied = api.kubectl_with(&["apply", "--server-side", "-f", "-"], manifest.as_bytes()).unwrap();
    assert!(applied.status.success(), "{}", text(&applied));
    let seen = api.must(&["get", "mailschedule", "seen", "-n", "mail", "-o", "json"]).unwrap();
    let seen: Value = serde_json::from_str(&seen).unwrap();
    let conditions = seen["status"]["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 4);
    assert!(conditions.iter().all(|one| one["status"] == "Unknown" && one["reason"] == "Pending"));
    let listed = api.must(&["get", "ms", "seen", "-n", "mail"]).unwrap();
    assert!(listed.starts_with("NAME") && listed.contains("READY") && listed.contains("Pending"), "{listed}");
}

#[test]
fn what_is_bad_is_refused_with_the_cure() {
    let shared = api();
    let api = &shared.0;
    let mut complaints = Vec::new();
    for file in manifests(&workspace().join("tests/refused")) {
        let manifest = fs::read_to_string(&file).unwrap();
        let expected = manifest.lines().next().unwrap().trim_start_matches("# ");
        let create = ["create", "--validate=strict", "--dry-run=server", "-f", file.to_str().unwrap()];
        let said = api.kubectl(&create).unwrap();
        if said.status.success() || !text(&said).contains(expected) {
            complaints.push(format!("{}: expected {expected:?}, was told {}", file.display(), text(&said)));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn what_the_server_refuses_the_reader_refuses_and_names_the_line() {
    for file in manifests(&workspace().join("tests/refused")) {
        let mut validate = Command::new(product("posthouse-operator").unwrap());
        let said = validate.args(["validate", "-f"]).arg(&file).output().unwrap();
        assert_eq!(said.status.code(), Some(1), "{}: {}", file.display(), text(&said));
        let about = text(&said);
        let field = about.contains("InvalidValue") || about.contains("UnknownField");
        assert!(field && about.contains(".yaml:"), "{}: {about}", file.display());
    }
}

/// Merged by field, the two ways would be there at once, and neither owner could say how it should be.
#[test]
fn of_two_owners_of_one_choice_the_last_has_all_of_it() {
    let shared = api();
    let api = &shared.0;
    let apply = |owner: &str, delivery: &str| {
        let manifest = format!(
            "apiVersion: posthouse.dev/v1alpha1\nkind: MailDomain\nmetadata: {{name: chosen, namespace: mail}}\n\
             spec: {{gatewayRef: {{name: edge}}, domain: chosen.example, localDelivery: {delivery}}}\n"
        );
        let owner = format!("--field-manager={owner}");
        let apply = ["apply", "--server-side", "--force-conflicts", &owner, "-f", "-"];
        let said = api.kubectl_with(&apply, manifest.as_bytes()).unwrap();
        assert!(said.status.success(), "{}", text(&said));
    };
    apply("one", "{lmtp: {host: dovecot, port: 24}}");
    apply("other", "{maildrop: {}}");
    let chosen =
        api.must(&["get", "md", "chosen", "-n", "mail", "-o", "jsonpath={.spec.localDelivery}"]).unwrap();
    assert_eq!(chosen, r#"{"maildrop":{}}"#);
}

#[test]
fn what_must_not_change_cannot_be_changed() {
    let shared = api();
    let api = &shared.0;
    let folder = workspace().join("examples/api");
    // Under names of its own: other tests use the examples too.
    let copy = |file: &str, name: &str| {
        let manifest = fs::read_to_string(folder.join(file)).unwrap();
        let from = manifest.lines().find(|line| line.starts_with("metadata:")).unwrap().to_owned();
        let manifest = manifest.replace(&from, &format!("metadata: {{name: {name}, namespace: mail}}"));
        let made = api.kubectl_with(&["apply", "--server-side", "-f", "-"], manifest.as_bytes()).unwrap();
        assert!(made.status.success(), "{}", text(&made));
    };
    for (file, kind, change, cure) in [
        ("mail-domain.yaml", "maildomain", r#"{"spec": {"domain": "other.example"}}"#, "renamedFrom"),
        ("mail-domain.yaml", "maildomain", r#"{"spec": {"gatewayRef": {"name": "other"}}}"#, "make it anew"),
        ("mail-user.yaml", "mailuser", r#"{"spec": {"login": "other"}}"#, "make a new MailUser"),
        ("mail-gateway.yaml", "mailgateway", r#"{"spec": {"queue": {"id": "other"}}}"#, "make a new gateway"),
        ("mail-gateway.yaml", "mailgateway", r#"{"spec": {"queue": null}}"#, "make a new gateway"),
        (
            "mail-gateway.yaml",
            "mailgateway",
            r#"{"spec": {"controllerName": "other.example/operator"}}"#,
            "for another operator",
        ),
        ("relay-rule.yaml", "relayrule", r#"{"spec": {"gatewayRef": {"name": "other"}}}"#, "make it anew"),
        (
            "pop3-account.yaml",
            "pop3account",
            r#"{"spec": {"gatewayRef": {"name": "other"}}}"#,
            "make it anew",
        ),
        (
            "etrn-schedule.yaml",
            "etrnschedule",
            r#"{"spec": {"gatewayRef": {"name": "other"}}}"#,
            "make it anew",
        ),
    ] {
        copy(file, "unchanging");
        let patched = api
            .kubectl(&["patch", kind, "unchanging", "-n", "mail", "--type", "merge", "-p", change])
            .unwrap();
        assert!(
            !patched.status.success() && text(&patched).contains(cure),
            "{kind} {change}: {}",
            text(&patched)
        );
    }
    let named = r#"{"spec": {"description": "other words"}}"#;
    api.must(&["patch", "maildomain", "unchanging", "-n", "mail", "--type", "merge", "-p", named]).unwrap();
}
