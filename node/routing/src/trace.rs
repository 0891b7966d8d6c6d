//! The path of a decision: collected for people, and not at all in the node. No I/O.

use crate::step::Step;

/// Who wants to know how a decision came about.
pub trait Trace {
    /// Whether steps are wanted: what only the path needs is not computed otherwise.
    const WANTED: bool;

    /// Takes a step; `step` is called only if it is wanted.
    fn step(&mut self, step: impl FnOnce() -> Step);
}

/// Nobody wants to know: costs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTrace;

impl Trace for NoTrace {
    const WANTED: bool = false;

    fn step(&mut self, _step: impl FnOnce() -> Step) {}
}

impl Trace for Vec<Step> {
    const WANTED: bool = true;

    fn step(&mut self, step: impl FnOnce() -> Step) {
        self.push(step());
    }
}
