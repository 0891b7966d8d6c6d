//! The program `posthouse-operator`: what it does is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    posthouse_operator::main()
}
