//! The operator: compiles manifests and keeps mail nodes supplied. This file only parses the command line and says the exit code:
//! 0 good, 1 something refused, 2 usage or I/O. It is a library so that fuzzing reaches the reader; nothing else is meant to use it.

mod compile;
mod crds;
mod explain;
mod failure;
mod finding;
mod local;
mod logging;
mod manifests;
mod reader;
mod status;
mod validate;

use std::process::ExitCode;

#[doc(hidden)]
pub use reader::laws;

use clap::{Parser, Subcommand};

/// Describes mail gateways by manifests, and runs them.
#[derive(Debug, Parser)]
#[command(name = "posthouse-operator", version)]
struct Cli {
    /// How logs are written to standard error
    #[arg(long, value_enum, default_value = "text", global = true)]
    log_format: logging::Format,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the gateways of a folder of manifests on this machine, and follow its edits
    Local(local::LocalArgs),
    /// Say what is wrong in a folder of manifests
    Validate(validate::ValidateArgs),
    /// Print the snapshot that a gateway's nodes would get
    Compile(compile::CompileArgs),
    /// Say where a message would go, by which rule, and why not elsewhere
    Explain(explain::ExplainArgs),
    /// Show what a local run says of its resources, as `kubectl get` would
    Status(status::StatusArgs),
    /// Print the custom resource definitions, for `kubectl apply --server-side -f -`
    Crds,
}

/// How a command ended that did what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All is good.
    Good,
    /// Something was refused.
    Refused,
}

/// Runs the program as its command line says.
pub fn main() -> ExitCode {
    let Cli { log_format, verb } = Cli::parse(); // a wrong command line ends here, with 2
    logging::start(log_format);
    let ending = match verb {
        Verb::Local(args) => local::run(args, log_format),
        Verb::Validate(args) => validate::run(&args),
        Verb::Compile(args) => compile::run(&args),
        Verb::Explain(args) => explain::run(&args),
        Verb::Status(args) => status::run(&args),
        Verb::Crds => crds::run(),
    };
    match ending {
        Ok(Ending::Good) => ExitCode::SUCCESS,
        Ok(Ending::Refused) => ExitCode::from(1),
        Err(failure) => {
            logging::say_failure(&failure, log_format);
            ExitCode::from(2)
        }
    }
}
