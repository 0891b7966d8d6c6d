//! `posthouse-node`: the mail node. `run` takes mail in, queues it durably and sends it on; `queue` shows and changes what is queued.

use std::{io::Write as _, process::ExitCode};

use clap::{Parser, Subcommand};
use posthouse_node::{admin, logging, run};

/// Mail routing for Kubernetes: the mail node
#[derive(Parser)]
#[command(name = "posthouse-node", version)]
struct Cli {
    /// How logs are written to standard error
    #[arg(long, value_enum, default_value = "text", global = true)]
    log_format: logging::Format,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run a mail node; started by `posthouse-operator`, which hands it its sockets
    Run(run::RunArgs),
    /// Show and change what is queued
    Queue(admin::cli::QueueArgs),
}

fn main() -> ExitCode {
    let Cli { log_format, verb } = Cli::parse(); // exit 2 for a wrong call
    logging::start(log_format);
    let is_queue = matches!(verb, Verb::Queue(_));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(async {
            match verb {
                Verb::Run(args) => run::run(args).await,
                Verb::Queue(args) => admin::cli::run(args).await,
            }
        }),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) if is_queue => {
            // A person asked; a log line would hide the answer.
            let _ = writeln!(std::io::stderr().lock(), "error: {error:#}");
            ExitCode::from(2)
        }
        Err(error) => {
            tracing::error!(event = "failed", error = format!("{error:#}"));
            ExitCode::from(2)
        }
    }
}
