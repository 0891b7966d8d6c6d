//! The program `posthouse-operator`: what it does is in the library beside it.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// What one edit among ten thousand domains makes and drops comes from several threads: this one gives it back, the system's keeps a heap for
/// each thread (a third more memory, measured).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    posthouse_operator::main()
}
