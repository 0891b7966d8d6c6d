//! Facts of the node itself: its configuration, its listeners, its end.

use std::fmt::Display;

use tracing::{error, info, warn};

/// The node takes mail.
pub struct Ready<'a> {
    /// Its gateway, `namespace/name`.
    pub gateway: &'a str,
}

impl Ready<'_> {
    /// Says it.
    pub fn emit(&self) {
        info!(event = "ready", gateway = self.gateway);
    }
}

/// A snapshot is in force.
pub struct SnapshotApplied<'a> {
    /// Its hash.
    pub hash: &'a dyn Display,
    /// Its place in the order of publications.
    pub epoch: &'a dyn Display,
}

impl SnapshotApplied<'_> {
    /// Says it.
    pub fn emit(&self) {
        info!(event = "snapshot_applied", snapshot = %self.hash, publication = %self.epoch);
    }
}

/// A snapshot was refused; the one in force stays, where there is one.
pub struct SnapshotRefused<'a> {
    /// Its place in the order of publications.
    pub epoch: &'a dyn Display,
    /// The resource that is to blame, where one is.
    pub resource: Option<&'a str>,
    /// Why.
    pub reason: &'a str,
    /// None is in force.
    pub is_cold: bool,
}

impl SnapshotRefused<'_> {
    /// Says it.
    pub fn emit(&self) {
        error!(
            event = "snapshot_refused", publication = %self.epoch, resource = self.resource, reason = self.reason, effect = effect(self.is_cold)
        );
    }
}

/// What a node does that gets no other snapshot.
fn effect(is_cold: bool) -> &'static str {
    if is_cold {
        "the node has no configuration and takes no mail"
    } else {
        "the node goes on with what it has"
    }
}

/// There is no snapshot yet.
pub struct ConfigurationAwaited;

impl ConfigurationAwaited {
    /// Says it.
    pub fn emit(&self) {
        info!(
            event = "configuration_awaited",
            effect = "nothing is published for this gateway: the node waits for the operator to publish, and takes no mail"
        );
    }
}

/// A file among the keys holds none.
pub struct KeyPassedOver<'a> {
    /// Which, and what is wrong with it.
    pub reason: &'a str,
}

impl KeyPassedOver<'_> {
    /// Says it.
    pub fn emit(&self) {
        warn!(event = "key_passed_over", reason = self.reason, effect = "the node goes by the other keys");
    }
}

/// It cannot be looked for another snapshot; the one in force stays, where there is one.
pub struct ConfigurationAway<'a> {
    /// Why.
    pub error: &'a dyn Display,
    /// None is in force.
    pub is_cold: bool,
}

impl ConfigurationAway<'_> {
    /// Says it.
    pub fn emit(&self) {
        warn!(event = "configuration_away", error = %self.error, effect = effect(self.is_cold));
    }
}

/// The system's trusted roots are not what they should be.
pub struct SystemRoots<'a> {
    /// How many can be used.
    pub usable: usize,
    /// What is wrong.
    pub reason: &'a str,
}

impl SystemRoots<'_> {
    /// Says it.
    pub fn emit(&self) {
        warn!(
            event = "system_roots",
            usable = self.usable,
            reason = self.reason,
            effect = "certificates of next hops are verified by those that can be used, or by none"
        );
    }
}

/// The node is asked to end.
pub struct Draining {
    /// Why.
    pub why: &'static str,
}

impl Draining {
    /// Says it.
    pub fn emit(&self) {
        info!(event = "draining", reason = self.why);
    }
}

/// A listener is open.
pub struct Listening<'a> {
    /// Its name.
    pub listener: &'a str,
    /// Where.
    pub address: &'a dyn Display,
}

impl Listening<'_> {
    /// Says it.
    pub fn emit(&self) {
        info!(event = "listening", listener = self.listener, address = %self.address);
    }
}

/// The process may open too few files for the connections it is meant to serve.
pub struct FewFiles {
    /// How many it may open.
    pub files: u64,
    /// Connections that it serves at one time.
    pub places: usize,
    /// Connections that it would serve.
    pub wanted: usize,
}

impl FewFiles {
    /// Says it.
    pub fn emit(&self) {
        warn!(
            event = "few_files",
            files = self.files,
            connections = self.places,
            wanted = self.wanted,
            effect = "more connections at one time are told to come later; raise the hard limit of open files (ulimit -Hn)"
        );
    }
}
