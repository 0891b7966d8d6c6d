//! Resources in, snapshot and verdicts out. Pure, no I/O.
