//! A local run as a test sees it: `local.json`. It reads files.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// What `local.json` says: absent until everything is ready, replaced by rename whenever it changes.
#[derive(Clone, Debug, Deserialize)]
pub struct LocalRun {
    /// The nodes, in a stable order.
    pub nodes: Vec<Node>,
}

/// One node of a local run.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// `namespace/name` of its gateway.
    pub gateway: String,
    /// Its name.
    pub node: String,
    /// Its process id.
    pub pid: u32,
    /// Where `/metrics`, `/livez` and `/readyz` are.
    pub metrics: SocketAddr,
    /// Its mail listeners.
    pub listeners: Vec<Listener>,
}

/// One listener of a node.
#[derive(Clone, Debug, Deserialize)]
pub struct Listener {
    /// Its name in the manifest.
    pub name: String,
    /// `Smtp`, `Submission` …
    pub protocol: String,
    /// The address that is really bound.
    pub address: SocketAddr,
}

impl LocalRun {
    /// Reads the file.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is not what a local run writes", file.display()))
    }

    /// The address of the first listener that speaks `protocol`.
    pub fn listener(&self, protocol: &str) -> Result<SocketAddr> {
        let mut listeners = self.nodes.iter().flat_map(|node| &node.listeners);
        let found = listeners.find(|listener| listener.protocol == protocol);
        Ok(found.with_context(|| format!("no {protocol} listener"))?.address)
    }

    /// The address of the listener of this name.
    pub fn named(&self, name: &str) -> Result<SocketAddr> {
        let mut listeners = self.nodes.iter().flat_map(|node| &node.listeners);
        let found = listeners.find(|listener| listener.name == name);
        Ok(found.with_context(|| format!("no listener {name}"))?.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_form_is_understood() {
        let text = r#"{"nodes": [{"gateway": "mail/edge", "node": "edge-0", "pid": 7, "metrics": "127.0.0.1:9",
            "listeners": [{"name": "smtp", "protocol": "Smtp", "address": "127.0.0.1:10025"}]}]}"#;
        let run: LocalRun = serde_json::from_str(text).unwrap();
        assert_eq!(run.listener("Smtp").unwrap().port(), 10025);
        assert!(run.listener("Pop3").is_err());
        assert_eq!(run.named("smtp").unwrap().port(), 10025);
    }
}
