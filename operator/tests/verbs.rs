//! The verbs that ask: what they print, and how they exit.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::{fs, path::Path, process::Command};

const MANIFESTS: &str = "apiVersion: posthouse.dev/v1alpha1
kind: MailGateway
metadata: {name: edge, namespace: mail}
spec:
  hostname: mail.example.com
  listeners:
    - {name: smtp, port: 25, protocol: Smtp}
---
apiVersion: posthouse.dev/v1alpha1
kind: MailDomain
metadata: {name: example-com, namespace: mail}
spec:
  gatewayRef: {name: edge}
  domain: example.com
  recipients:
    policy: Listed
    users: [{name: alice}]
  localDelivery: {lmtp: {host: 127.0.0.1, port: 24}}
";

struct Answer {
    code: Option<i32>,
    output: String,
    errors: String,
}

fn ask(verb: &str, manifests: &str, more: &[&str]) -> Answer {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("all.yaml"), manifests).unwrap();
    ask_of(verb, folder.path(), more)
}

fn ask_of(verb: &str, folder: &Path, more: &[&str]) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_posthouse-operator"));
    let output = command.arg(verb).arg("-f").arg(folder).args(more).output().unwrap();
    let text = |octets| String::from_utf8(octets).unwrap();
    Answer { code: output.status.code(), output: text(output.stdout), errors: text(output.stderr) }
}

#[test]
fn validate_is_silent_about_what_is_good() {
    let answer = ask("validate", MANIFESTS, &[]);
    assert_eq!((answer.code, answer.output.as_str()), (Some(0), ""), "{}", answer.errors);
}

#[test]
fn validate_warns_with_exit_0_and_refuses_with_exit_1() {
    let footer = MANIFESTS
        .replace("  domain: example.com\n", "  domain: example.com\n  footer: {text: x, scope: All}\n");
    let answer = ask("validate", &footer, &[]);
    assert_eq!(answer.code, Some(0));
    assert!(answer.output.starts_with("Warning MailDomain mail/example-com spec.footer: NotSupportedYet: "));
    assert!(answer.output.ends_with("(all.yaml:15)\n"), "{}", answer.output);

    let answer =
        ask("validate", &MANIFESTS.replace("gatewayRef: {name: edge}", "gatewayRef: {name: egde}"), &[]);
    assert_eq!(answer.code, Some(1));
    assert!(
        answer.output.contains("Error MailDomain mail/example-com spec.gatewayRef: GatewayNotFound: "),
        "{}",
        answer.output
    );
    let as_json = ask("validate", "a: [", &["-o", "json"]);
    assert_eq!(as_json.code, Some(1));
    let findings: serde_json::Value = serde_json::from_str(&as_json.output).unwrap();
    assert_eq!(findings[0]["reason"], "InvalidYaml");
    assert_eq!(findings[0]["severity"], "Error");
    assert_eq!(findings[0]["file"], "all.yaml");
    let as_json = ask("validate", &MANIFESTS.replace("name: edge}", "name: egde}"), &["-o", "json"]);
    let findings: serde_json::Value = serde_json::from_str(&as_json.output).unwrap();
    let about = findings.as_array().unwrap().iter().find(|one| one["kind"] == "MailDomain").unwrap();
    for name in ["namespace", "name", "file", "line", "severity", "reason", "field", "message"] {
        assert!(about.get(name).is_some(), "{name} in {about}");
    }
}

#[test]
fn compile_prints_the_snapshot_of_the_gateway_that_is_meant() {
    let answer = ask("compile", MANIFESTS, &[]);
    assert_eq!(answer.code, Some(0), "{}", answer.errors);
    let snapshot = answer.output.strip_suffix('\n').unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(snapshot).unwrap()["gateway"]["origin"],
        "mail/edge"
    );

    let (gateway, _) = MANIFESTS.split_once("---").unwrap();
    let two = format!("{MANIFESTS}---\n{}", gateway.replace("name: edge", "name: core"));
    let answer = ask("compile", &two, &[]);
    assert_eq!(answer.code, Some(2));
    assert!(
        answer.errors.contains("mail/core, mail/edge; say which one with --gateway"),
        "{}",
        answer.errors
    );
    assert_eq!(ask("compile", &two, &["--gateway", "mail/core"]).code, Some(0));
}

#[test]
fn explain_says_where_mail_goes_and_exits_1_where_it_is_refused() {
    let answer = ask("explain", MANIFESTS, &["--from", "a@example.net", "--to", "alice@example.com"]);
    assert_eq!(answer.code, Some(0), "{}", answer.errors);
    assert!(
        answer.output.contains("MailDomain mail/example-com")
            && answer.output.contains("127.0.0.1:24 (LMTP)")
    );

    let answer = ask("explain", MANIFESTS, &["--from", "<>", "--to", "<bob@example.com>", "-o", "json"]);
    assert_eq!(answer.code, Some(1));
    let explanation: serde_json::Value = serde_json::from_str(&answer.output).unwrap();
    assert_eq!((&explanation["gateway"], &explanation["sender"]), (&"mail/edge".into(), &"<>".into()));

    let answer = ask("explain", MANIFESTS, &["--from", "nobody", "--to", "alice@example.com"]);
    assert_eq!(answer.code, Some(2));
    assert!(answer.errors.starts_with("error: --from nobody: "), "{}", answer.errors);
}

#[test]
fn usage_and_a_folder_that_is_not_there_are_exit_2() {
    let answer = ask_of("validate", Path::new("/nowhere/at/all"), &[]);
    assert_eq!(answer.code, Some(2));
    assert!(answer.errors.starts_with("error: /nowhere/at/all: cannot be read"), "{}", answer.errors);
    assert_eq!(ask("validate", MANIFESTS, &["--no-such-option"]).code, Some(2));
}
