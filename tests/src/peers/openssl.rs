//! What the `openssl` command and testssl.sh say of a server's TLS.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::binaries;
use crate::process::Child;

/// Runs `openssl s_client` against `server` with more arguments, such as `-starttls smtp`, says `input` under TLS, and ends. Its status is 0 where
/// a handshake was made, whatever the certificate, unless `-verify_return_error` is among the arguments.
pub fn s_client(server: SocketAddr, arguments: &[&str], input: &str) -> Result<Output> {
    let mut command = Command::new(binaries::system("openssl", "openssl")?);
    command.args(["s_client", "-connect", &server.to_string(), "-name", "openssl.test", "-crlf", "-ign_eof"]);
    let mut child = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // A client whose handshake failed does not read: that its input is closed then is no error of ours.
    let _ = child.stdin.take().context("it has an input")?.write_all(input.as_bytes());
    Ok(child.wait_with_output()?)
}

/// A finding of testssl.sh.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Finding {
    /// What was looked at: `TLS1_1`, `heartbleed`, `cipherlist_NULL` …
    pub id: String,
    /// `OK`, `INFO`, `LOW`, `MEDIUM`, `HIGH`, `CRITICAL`, `WARN`.
    pub severity: String,
    /// In words.
    pub finding: String,
}

/// What testssl.sh finds with these checks (`--protocols`, `--vulnerable` …), with no name server asked. `folder` takes its files.
pub fn testssl(server: SocketAddr, checks: &[&str], folder: &Path, bound: Duration) -> Result<Vec<Finding>> {
    let file = folder.join("findings.json");
    let mut command = Command::new(binaries::system("testssl", "testssl.sh")?);
    command.args([
        "--quiet",
        "--warnings",
        "off",
        "--color",
        "0",
        "--nodns",
        "none",
        "--openssl-timeout",
        "10",
    ]);
    command.args(checks).arg("--jsonfile").arg(&file).arg(server.to_string()).current_dir(folder);
    let mut child = Child::start_group("testssl", command, folder)?;
    child.wait(bound)?;
    let text = std::fs::read_to_string(file).with_context(|| child.log_tail())?;
    let findings: Vec<Finding> = serde_json::from_str(&text)?;
    ensure!(!findings.iter().any(|finding| finding.severity == "FATAL"), "{findings:?}");
    Ok(findings)
}
