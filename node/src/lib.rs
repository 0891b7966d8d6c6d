//! The mail node as a library, for its binary and its tests: takes mail in ([`intake`]), queues it durably, sends it on ([`delivery`]). It
//! knows no Kubernetes: its input is a snapshot, its sockets come from the operator.

pub mod activator;
pub mod admin;
pub mod budget;
pub mod configuration;
pub mod date;
pub mod delivery;
pub mod events;
pub mod files;
pub mod health;
pub mod here;
pub mod intake;
pub mod listeners;
pub mod logging;
pub mod metrics;
pub mod names;
pub mod node;
pub mod own_hops;
pub mod policy;
pub mod presence;
pub mod queue_modes;
pub mod readiness;
pub mod received;
pub mod refused_logins;
pub mod run;
pub mod stores;
pub mod tls;
pub mod totals;
pub mod wire;
