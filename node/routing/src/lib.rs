//! Snapshot, envelope and client in; decision with its reasons out. Pure, no I/O.
