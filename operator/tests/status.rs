//! `status`: what it prints of a state folder, and how it exits.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::{fs, path::Path, process::Command};

use serde_json::Value;

/// Two domains and a rule, as a run writes them.
fn state() -> tempfile::TempDir {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("status");
    fs::create_dir(&folder).unwrap();
    for (kind, namespace, name, spec) in [
        ("MailDomain", "mail", "example-com", r#"{"domain":"example.com","gatewayRef":{"name":"edge"}}"#),
        ("MailDomain", "other", "example-org", r#"{"domain":"example.org","gatewayRef":{"name":"edge"}}"#),
        ("RelayRule", "mail", "out", r#"{"gatewayRef":{"name":"edge"},"order":7}"#),
    ] {
        let text = format!(
            r#"apiVersion: "posthouse.dev/v1alpha1"
kind: "{kind}"
metadata: {{"generation":1,"name":"{name}","namespace":"{namespace}"}}
spec: {spec}
status:
  conditions:
  - {{"lastTransitionTime":"2026-03-01T12:00:00Z","message":"it waits","observedGeneration":1,"reason":"Pending","status":"Unknown","type":"Ready"}}
"#
        );
        fs::write(folder.join(format!("{kind}.{namespace}.{name}.yaml")), text).unwrap();
    }
    state
}

struct Answer {
    code: Option<i32>,
    output: String,
    errors: String,
}

fn ask(state: &Path, more: &[&str]) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_posthouse-operator"));
    let output = command.args(["status", "--state"]).arg(state).args(more).output().unwrap();
    let text = |octets| String::from_utf8(octets).unwrap();
    Answer { code: output.status.code(), output: text(output.stdout), errors: text(output.stderr) }
}

#[test]
fn without_a_kind_every_kind_that_there_is_has_its_table() {
    let state = state();
    let answer = ask(state.path(), &[]);
    assert_eq!(answer.code, Some(0), "{}", answer.errors);
    assert_eq!(
        answer.output,
        "NAMESPACE   NAME                                   DOMAIN        GATEWAY   HELD   DEFERRED   READY     REASON    AGE\n\
         mail        maildomain.posthouse.dev/example-com   example.com   edge                        Unknown   Pending\n\
         other       maildomain.posthouse.dev/example-org   example.org   edge                        Unknown   Pending\n\
         \n\
         NAMESPACE   NAME                          GATEWAY   TIER   ORDER   HOST   READY     REASON    AGE\n\
         mail        relayrule.posthouse.dev/out   edge             7              Unknown   Pending\n"
    );
    assert_eq!(answer.output, ask(state.path(), &["-A"]).output);
    assert_eq!(answer.errors, "no run uses this state: this is what was last known\n");
}

#[test]
fn a_kind_a_namespace_and_a_name_narrow_it() {
    let state = state();
    assert_eq!(
        ask(state.path(), &["md", "-n", "other", "-o", "wide"]).output,
        "NAME          DOMAIN        GATEWAY   HELD   DEFERRED   READY     REASON    AGE   MESSAGE\n\
         example-org   example.org   edge                        Unknown   Pending         it waits\n"
    );
    let by_slash = ask(state.path(), &["rr/out"]);
    assert_eq!(by_slash.output, ask(state.path(), &["relayrules", "out"]).output);
    assert_eq!(by_slash.output.lines().count(), 2);
    let none = ask(state.path(), &["mgw", "-n", "mail"]);
    assert_eq!((none.code, none.output.as_str()), (Some(0), ""));
    assert!(
        none.errors.ends_with("there are no resources of this kind in namespace mail\n"),
        "{}",
        none.errors
    );
}

#[test]
fn objects_come_as_a_list_and_the_one_that_is_named_alone() {
    let state = state();
    let list: Value = serde_json::from_str(&ask(state.path(), &["md", "-o", "json"]).output).unwrap();
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&"List".into(), 2));
    let one: Value =
        serde_json::from_str(&ask(state.path(), &["md", "example-com", "-o", "json"]).output).unwrap();
    assert_eq!(one, list["items"][0]);
    let yaml = ask(state.path(), &["md", "example-com", "-o", "yaml"]).output;
    assert!(yaml.starts_with("apiVersion: posthouse.dev/v1alpha1\nkind: MailDomain\n"), "{yaml}");
    assert!(yaml.contains("\n    reason: Pending\n"), "{yaml}");
}

#[test]
fn what_is_not_there_ends_with_2_and_the_cure() {
    let state = state();
    for (more, cure) in [
        (&["pods"][..], "there is no kind pods; there is mailgateways, maildomains"),
        (&["md", "nobody"], "there is no MailDomain nobody"),
        (&["md", "example-org", "-n", "mail"], "there is no MailDomain mail/example-org"),
    ] {
        let answer = ask(state.path(), more);
        assert_eq!((answer.code, answer.output.as_str()), (Some(2), ""));
        assert!(answer.errors.contains(cure), "{}", answer.errors);
    }
    let answer = ask(&state.path().join("elsewhere"), &[]);
    assert_eq!(answer.code, Some(2));
    assert!(answer.errors.contains("name the state folder of a local run with --state"), "{}", answer.errors);
}

#[test]
fn a_run_that_lives_and_a_file_that_is_damaged_are_told_apart() {
    let state = state();
    let lock = fs::File::create(state.path().join("lock")).unwrap();
    lock.try_lock().unwrap();
    fs::write(state.path().join("lock"), std::process::id().to_string()).unwrap();
    fs::write(state.path().join("status/RelayRule.mail.out.yaml"), "kind: [").unwrap();
    let answer = ask(state.path(), &[]);
    assert_eq!(answer.code, Some(0));
    assert!(!answer.output.contains("relayrule"), "{}", answer.output);
    assert!(answer.errors.ends_with("RelayRule.mail.out.yaml: is damaged; the next run writes it anew\n"));
    assert_eq!(answer.errors.lines().count(), 1, "{}", answer.errors);
    drop(lock);
    assert!(ask(state.path(), &[]).errors.starts_with("no run uses this state"));
}
