//! Whether the node is ready for mail: a snapshot is in force, the store takes writes, the listeners are open, nobody asked it to end. No I/O.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::node::Node;

/// The parts of readiness that nothing else knows.
#[derive(Default)]
pub struct Readiness {
    listening: AtomicBool,
    draining: AtomicBool,
}

impl Readiness {
    /// The listeners are open.
    pub fn set_listening(&self) {
        self.listening.store(true, Ordering::Relaxed);
    }

    /// The node is ending.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// What is missing, in words; `None`: it is ready.
    pub fn why_not(&self, node: &Node) -> Option<&'static str> {
        if self.draining.load(Ordering::Relaxed) {
            Some("it is ending")
        } else if node.policy().is_none() {
            Some("it has no configuration yet")
        } else if !node.presence.is_writable() {
            Some("the store does not take writes")
        } else if !self.listening.load(Ordering::Relaxed) {
            Some("its listeners are not open yet")
        } else {
            None
        }
    }
}
