//! A real kube-apiserver with its etcd, alone: no kubelet, no controllers. What it accepts, refuses, defaults and shows is what a cluster does.
//!
//! It starts processes on loopback and asks them through `kubectl`.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::process::{Child, free_address};
use crate::{binaries, wait};

/// Longer than a start takes on a machine that compiles at the same time.
const STARTED: Duration = Duration::from_mins(2);

/// Known to this server alone, which goes with the test.
const TOKEN: &str = "of-a-test";

/// A running API server. It ends with its scope.
#[derive(Debug)]
pub struct ApiServer {
    // In the order in which they end: the server before its store, both before the folder.
    server: Child,
    _etcd: Child,
    kubeconfig: PathBuf,
    _folder: TempDir,
}

impl ApiServer {
    /// Starts one and waits until it is ready.
    pub fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("posthouse-api-").tempdir()?;
        let path = folder.path();
        let (clients, peers) = (format!("http://{}", free_address()?), format!("http://{}", free_address()?));
        let mut etcd = Command::new(binaries::cluster("etcd")?);
        etcd.arg("--data-dir").arg(path.join("etcd")).arg("--unsafe-no-fsync");
        etcd.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        etcd.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        etcd.arg("--initial-cluster").arg(format!("default={peers}"));
        let etcd = Child::start("etcd", etcd, path)?;

        let key = path.join("service-accounts.key");
        let made = Command::new(binaries::system("openssl", "openssl")?)
            .args(["genrsa", "-out"])
            .arg(&key)
            .arg("2048")
            .output()?;
        ensure!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
        let tokens = path.join("tokens.csv");
        std::fs::write(&tokens, format!("{TOKEN},admin,admin,\"system:masters\"\n"))?;
        let address = free_address()?;
        let mut server = Command::new(binaries::cluster("kube-apiserver")?);
        server.args(["--etcd-servers", &clients]);
        server.args(["--bind-address", "127.0.0.1", "--secure-port", &address.port().to_string()]);
        // It must not be loopback, and nobody connects to it (RFC 5737).
        server.args(["--advertise-address", "192.0.2.1", "--endpoint-reconciler-type", "none"]);
        server.arg("--cert-dir").arg(path.join("certificates")).arg("--token-auth-file").arg(&tokens);
        server
            .arg("--service-account-key-file")
            .arg(&key)
            .arg("--service-account-signing-key-file")
            .arg(&key);
        server.args(["--service-account-issuer", "https://kubernetes.default.svc"]);
        server.args(["--service-cluster-ip-range", "10.96.0.0/16", "--authorization-mode", "RBAC"]);
        // Nobody makes service accounts here.
        server.args(["--disable-admission-plugins", "ServiceAccount"]);
        let server = Child::start("kube-apiserver", server, path)?;

        let kubeconfig = path.join("kubeconfig");
        std::fs::write(
            &kubeconfig,
            format!(
                "apiVersion: v1\nkind: Config\ncurrent-context: test\ncontexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n\
                 clusters: [{{name: test, cluster: {{server: \"https://{address}\", insecure-skip-tls-verify: true}}}}]\n\
                 users: [{{name: test, user: {{token: {TOKEN}}}}}]\n"
            ),
        )?;
        let mut started = Self { server, _etcd: etcd, kubeconfig, _folder: folder };
        started.until_ready()?;
        Ok(started)
    }

    /// Starts one with the product's definitions, the namespaces of the examples, and what `kubectl` said to the definitions.
    pub fn with_definitions() -> Result<(Self, String)> {
        let api = Self::start()?;
        let definitions = Command::new(binaries::product("posthouse-operator")?).arg("crds").output()?;
        let applied = api.kubectl_with(&["apply", "--server-side", "-f", "-"], &definitions.stdout)?;
        ensure!(applied.status.success(), "the definitions: {}", text(&applied));
        for namespace in ["mail", "customer-a"] {
            api.must(&["create", "namespace", namespace])?;
        }
        api.must(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"])?;
        Ok((api, text(&applied)))
    }

    /// Runs `kubectl`.
    pub fn kubectl<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Output> {
        self.kubectl_with(arguments, &[])
    }

    /// Runs `kubectl` with something to read.
    pub fn kubectl_with<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Result<Output> {
        let mut child = Command::new(binaries::cluster("kubectl")?)
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.kubeconfig.parent().unwrap_or(Path::new("/nonexistent"))) // its cache goes with the test
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("a pipe")?.write_all(input)?;
        Ok(child.wait_with_output()?)
    }

    /// Runs `kubectl`, which has to succeed; what it wrote.
    pub fn must<S: AsRef<OsStr> + std::fmt::Debug>(&self, arguments: &[S]) -> Result<String> {
        let output = self.kubectl(arguments)?;
        ensure!(output.status.success(), "kubectl {arguments:?}: {}", text(&output));
        Ok(String::from_utf8(output.stdout)?)
    }

    fn until_ready(&mut self) -> Result<()> {
        let kubeconfig = self.kubeconfig.clone();
        let kubectl = binaries::cluster("kubectl")?;
        self.server.until("the API server to be ready", STARTED, || {
            let mut ask = Command::new(&kubectl);
            ask.args(["get", "--raw", "/readyz"]).env("KUBECONFIG", &kubeconfig);
            Ok(ask.output()?.status.success().then_some(()))
        })?;
        wait::until("the default namespace", STARTED, || {
            Ok(self.kubectl(&["get", "namespace", "default"])?.status.success().then_some(()))
        })
    }
}

/// All that a program wrote.
#[must_use]
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
