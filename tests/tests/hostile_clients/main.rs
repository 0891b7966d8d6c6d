//! Clients that break off, talk nonsense, flood, or do not keep to TLS, against a real gateway: what each is told, that its session ends, that others
//! are served meanwhile, and that nothing of it gets into the queue but what was acknowledged. Clients that are merely slow: `node/tests/slow_clients.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

mod breaking_off;
mod floods;
mod handshakes;
mod house;
mod order;
