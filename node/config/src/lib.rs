//! The snapshot document: one gateway's compiled configuration, its encoding and hash. Pure, no I/O.
