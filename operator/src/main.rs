//! The operator: compiles manifests and keeps mail nodes supplied.
fn main() {}
