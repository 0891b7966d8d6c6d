//! What is said of each resource: its conditions, and the few figures that people ask for.
//!
//! `observation` is what is known, `judge` makes the statuses of it, `keeper` keeps what was said and tells what is to be written: all pure, for
//! files and for an API server alike. `files` is the one that reads and writes, with `generations` counting what an API server would count;
//! `local` is all of it for a local run, and `verb` prints what lies there.

mod column;
mod condition;
mod figures;
mod files;
mod form;
mod generations;
mod judge;
pub(crate) mod keeper;
mod kinds;
pub(crate) mod local;
pub(crate) mod observation;
mod pace;
mod programmed;
mod remark;
mod table;
mod verb;

pub(crate) use verb::{StatusArgs, run};

#[cfg(test)]
mod tests;
