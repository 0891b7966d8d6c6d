//! `compile`: the snapshot that a gateway's nodes would get. It reads files and writes standard output; findings go to standard error.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{Args, ValueEnum};

use crate::{Ending, failure::Failure, manifests};

/// The command line of `compile`.
#[derive(Debug, Args)]
pub(crate) struct CompileArgs {
    /// A folder of manifests, or one file
    #[arg(short, long, value_name = "DIR")]
    filename: PathBuf,
    /// Which gateway, where there are several
    #[arg(long, value_name = "NAMESPACE/NAME")]
    gateway: Option<String>,
    /// How to print it
    #[arg(short, long, value_enum, default_value = "json")]
    output: Output,
}

/// A snapshot has one form for people and programs alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Json,
}

/// Prints the snapshot in its canonical encoding, without its secrets, and a line end; refused if anything in the manifests is.
pub(crate) fn run(args: &CompileArgs) -> Result<Ending, Failure> {
    let CompileArgs { filename, gateway, output: Output::Json } = args;
    let judged = manifests::judge_folder(filename)?;
    for finding in &judged.findings {
        eprintln!("{finding}");
    }
    let Some((key, snapshot)) = judged.gateway(gateway.as_deref())? else {
        eprintln!("there is no gateway that compiles: correct what is refused, or add a MailGateway");
        return Ok(Ending::Refused);
    };
    let encoded = snapshot
        .redacted()
        .encode()
        .map_err(|source| Failure::Encoding { gateway: key.to_string(), source })?;
    let mut output = io::stdout().lock();
    output.write_all(&encoded).and_then(|()| output.write_all(b"\n")).map_err(Failure::Output)?;
    Ok(if judged.is_refused() { Ending::Refused } else { Ending::Good })
}
