//! Folders of manifests for tests: a gateway on loopback and where its mail goes. It writes files.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use tempfile::TempDir;

use crate::pki::{Identity, indented};

/// The gateway that the other manifests attach to: loopback may relay, retries are quick, limits are wide.
pub const GATEWAY: &str = "\
apiVersion: posthouse.dev/v1alpha1
kind: MailGateway
metadata: {name: edge, namespace: mail}
spec:
  hostname: gateway.test
  listeners:
    - {name: smtp, port: 25, protocol: Smtp}
  queue:
    reserve: 1Mi
    retry: {intervals: [1s], expireAfter: 1h}
  relayControl: {networks: [127.0.0.0/8]}
  limits: {messageSize: 60Mi, recipientsPerMessage: 1000}
";

/// [`GATEWAY`] with these listeners, and with more lines in its spec.
#[must_use]
pub fn gateway(listeners: &[&str], more: &[&str]) -> String {
    let listeners: String = listeners.iter().flat_map(|listener| ["    - ", listener, "\n"]).collect();
    let more: String = more.iter().flat_map(|line| ["  ", line, "\n"]).collect();
    GATEWAY.replace("    - {name: smtp, port: 25, protocol: Smtp}\n", &listeners) + &more
}

/// An entry of `hosts`.
#[must_use]
pub fn host(address: SocketAddr) -> String {
    format!("{{host: \"{}\", port: {}}}", address.ip(), address.port())
}

/// A folder of manifests that goes with its scope.
#[derive(Debug)]
pub struct Manifests(TempDir);

impl Manifests {
    /// A folder that has [`GATEWAY`].
    pub fn new() -> Result<Self> {
        let manifests = Self(tempfile::Builder::new().prefix("posthouse-manifests-").tempdir()?);
        manifests.write("gateway.yaml", GATEWAY)?;
        Ok(manifests)
    }

    /// A folder whose gateway sends everything to one next hop.
    pub fn relay_to(next_hop: SocketAddr) -> Result<Self> {
        let manifests = Self::new()?;
        manifests.relay("all", "{always: true}", next_hop)?;
        Ok(manifests)
    }

    /// Adds a relay rule; `matching` is its `match` block.
    pub fn relay(&self, name: &str, matching: &str, next_hop: SocketAddr) -> Result<()> {
        self.rule(name, matching, &format!("relay: {{hosts: [{}]}}", host(next_hop)))
    }

    /// Adds a rule for all mail to this next hop, with more in its `relay` block, such as `tls: {mode: StartTls}`.
    pub fn relay_with(&self, next_hop: SocketAddr, more: &str) -> Result<()> {
        self.rule("all", "{always: true}", &format!("relay: {{hosts: [{}], {more}}}", host(next_hop)))
    }

    /// Adds a rule that leads where `action` says: its `relay` or `direct` block.
    pub fn rule(&self, name: &str, matching: &str, action: &str) -> Result<()> {
        self.write(
            &format!("rule-{name}.yaml"),
            &format!(
                "apiVersion: posthouse.dev/v1alpha1\nkind: RelayRule\nmetadata: {{name: {name}, namespace: mail}}\nspec:\n  \
                 gatewayRef: {{name: edge}}\n  match: {matching}\n  {action}\n"
            ),
        )
    }

    /// Adds a Secret of these keys and values.
    pub fn secret(&self, name: &str, values: &[(&str, &str)]) -> Result<()> {
        let mut text = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: mail}}\nstringData:\n"
        );
        for (key, value) in values {
            let _ = write!(text, "  {key}: |-\n{}", indented(value));
        }
        self.write(&format!("secret-{name}.yaml"), &text)
    }

    /// Adds a Secret with a certificate, or changes it.
    pub fn certificate(&self, name: &str, identity: &Identity) -> Result<()> {
        self.write(&format!("secret-{name}.yaml"), &identity.secret(name))
    }

    /// Adds a domain with these users, delivered by LMTP.
    pub fn domain(&self, domain: &str, users: &[&str], lmtp: SocketAddr) -> Result<()> {
        let name = domain.replace('.', "-");
        let users = users.iter().map(|user| format!("{{name: {user}}}")).collect::<Vec<_>>().join(", ");
        let (host, port) = (lmtp.ip(), lmtp.port());
        self.write(
            &format!("domain-{name}.yaml"),
            &format!(
                "apiVersion: posthouse.dev/v1alpha1\nkind: MailDomain\nmetadata: {{name: {name}, namespace: mail}}\nspec:\n  \
                 gatewayRef: {{name: edge}}\n  domain: {domain}\n  role: Member\n  \
                 recipients: {{policy: Listed, users: [{users}]}}\n  localDelivery: {{lmtp: {{host: {host}, port: {port}}}}}\n"
            ),
        )
    }

    /// Writes a file as an editor does: whole, by rename.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        // Not `.yaml`: a reader of the folder must not take the draft for a manifest.
        let draft = self.path().join(format!(".{name}.draft"));
        std::fs::write(&draft, text)?;
        Ok(std::fs::rename(draft, self.path().join(name))?)
    }

    /// Where they are.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}
