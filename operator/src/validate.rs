//! `validate`: what is wrong in a folder of manifests. It reads files and writes standard output.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{Args, ValueEnum};

use crate::{Ending, failure::Failure, manifests};

/// The command line of `validate`.
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// A folder of manifests, or one file
    #[arg(short, long, value_name = "DIR")]
    filename: PathBuf,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Prints every finding; refused if one of them refuses something.
pub(crate) fn run(args: &ValidateArgs) -> Result<Ending, Failure> {
    let judged = manifests::judge_folder(&args.filename)?;
    let mut output = io::stdout().lock();
    let written = match args.output {
        Output::Text => judged.findings.iter().try_for_each(|finding| writeln!(output, "{finding}")),
        Output::Json => serde_json::to_writer_pretty(&mut output, &judged.findings)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(output)),
    };
    written.map_err(Failure::Output)?;
    Ok(if judged.is_refused() { Ending::Refused } else { Ending::Good })
}
