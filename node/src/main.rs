//! The mail node: takes mail in, queues it durably, sends it on.
fn main() {}
