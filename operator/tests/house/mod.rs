//! A house for `local`: the operator's program beside a node that is a shell script, manifests and a state.

#![allow(dead_code, reason = "each test uses what it needs")]

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use posthouse_channel::{Channel, Directory, KeyFolder, Look, read_once};
use posthouse_tests::{
    local::{LocalRun, Node},
    process::Child,
    wait::SOON,
};

/// Reads what it is told, until it is to drain or the operator is gone; is ready when it has its listeners. What it heard goes to `heard`.
pub(crate) const NODE: &str = r#"#!/bin/sh
ready=
while IFS= read -r line; do
    printf '%s %s\n' "$$" "$line" >>"$(dirname "$0")/heard"
    case $line in
    *'"type":"drain"'*) exit 0 ;;
    *'"type":"look"'*) printf '{"type":"seen"}\n' >&0 ;;
    *'"type":"listeners"'*) [ "$ready" ] || printf '{"type":"ready"}\n' >&0; ready=1 ;;
    esac
done
"#;

pub(crate) const GATEWAY: &str = "apiVersion: posthouse.dev/v1alpha1
kind: MailGateway
metadata: {name: edge, namespace: mail}
spec:
  hostname: mail.example.com
  listeners:
    - {name: smtp, port: 25, protocol: Smtp}
";

pub(crate) const DOMAIN: &str = "apiVersion: posthouse.dev/v1alpha1
kind: MailDomain
metadata: {name: example-com, namespace: mail}
spec:
  gatewayRef: {name: edge}
  domain: example.com
  recipients: {users: [{name: alice}]}
  localDelivery: {lmtp: {host: 127.0.0.1, port: 24}}
";

/// A folder with the operator's program beside a node of ours, manifests and a state.
pub(crate) struct House {
    pub(crate) folder: tempfile::TempDir,
}

impl House {
    pub(crate) fn new(node: &str) -> Self {
        let house = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["bin", "manifests"] {
            fs::create_dir(house.path(folder)).unwrap();
        }
        // No symbolic link: the node is looked for beside the program, links followed. A copy only where it must be: a process that another test
        // starts at this moment has it open for writing as well, and then it cannot be run.
        let (built, operator) =
            (env!("CARGO_BIN_EXE_posthouse-operator"), house.path("bin/posthouse-operator"));
        fs::hard_link(built, &operator).or_else(|_| fs::copy(built, &operator).map(drop)).unwrap();
        let program = house.path("bin/posthouse-node");
        fs::write(&program, node).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        house.write("gateway.yaml", GATEWAY);
        house
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path("manifests").join(name), text).unwrap();
    }

    pub(crate) fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(self.path("bin/posthouse-operator"));
        command.arg("local").arg("-f").arg(self.path("manifests")).arg("--state").arg(self.path("state"));
        command.args(more);
        command
    }

    pub(crate) fn start(&self) -> Child {
        Child::start("operator", self.command(&["--ephemeral-ports"]), self.folder.path()).unwrap()
    }

    pub(crate) fn start_ready(&self) -> Child {
        let mut operator = self.start();
        let file = self.local_json();
        operator.until("local.json", SOON, || Ok(file.exists().then_some(()))).unwrap();
        operator
    }

    pub(crate) fn local_json(&self) -> PathBuf {
        self.path("state/local.json")
    }

    pub(crate) fn node(&self) -> Node {
        LocalRun::read(&self.local_json()).unwrap().nodes.remove(0)
    }

    /// The snapshot that holds; empty where none does.
    pub(crate) fn published(&self) -> String {
        let folder = self.path("state/gateways/mail.edge");
        let channel = Channel::Directory(Directory::new(folder.join("config")));
        let keys = KeyFolder::new(folder.join("keys"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        match runtime.block_on(read_once(&channel, &keys)).unwrap() {
            Look::New(assembled) => String::from_utf8(assembled.snapshot.encode().unwrap()).unwrap(),
            Look::Nothing | Look::Same => String::new(),
            Look::Refused(refused) => panic!("{refused:?}"),
        }
    }

    pub(crate) fn until_published(&self, operator: &mut Child, is_it: impl Fn(&str) -> bool) {
        operator.until("the publication", SOON, || Ok(is_it(&self.published()).then_some(()))).unwrap();
    }

    /// Waits until the log says so.
    pub(crate) fn until_logged(&self, operator: &mut Child, text: &str) {
        let log = self.path("operator.log");
        operator.until(text, SOON, || Ok(fs::read_to_string(&log)?.contains(text).then_some(()))).unwrap();
    }

    pub(crate) fn heard(&self) -> String {
        fs::read_to_string(self.path("bin/heard")).unwrap_or_default()
    }

    /// Runs to its end; its exit code and what it wrote.
    pub(crate) fn run(&self, more: &[&str]) -> (Option<i32>, String) {
        let output = self.command(more).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}
