//! What routing promises, said in sentences. Numbers in brackets are rows of the feature list that `docs/api.md` refers to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

mod explain;
mod fixtures;
mod forwarding;
mod groups;
mod naive;
mod postmaster;
mod recipients;
mod relay_control;
mod reroute;
mod rules;
mod size;
