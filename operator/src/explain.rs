//! `explain`: where a message would go, by which rule, and why not elsewhere. The nodes route by the same function. It reads files and
//! writes standard output; findings go to standard error.

use std::{
    io::{self, Write as _},
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
};

use clap::Args;
use posthouse_model::{ForwardPath, ReversePath, Timestamp};
use posthouse_routing::{Client, Decision, Explanation, Router, Source};
use serde::Serialize;

use crate::{Ending, failure::Failure, manifests, validate::Output};

/// The command line of `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A folder of manifests, or one file
    #[arg(short, long, value_name = "DIR")]
    filename: PathBuf,
    /// The envelope sender; <> is the null reverse-path
    #[arg(long, value_name = "ADDRESS")]
    from: String,
    /// The recipient
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// The client's address; without it, a client of which nothing is known
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// Which gateway, where there are several
    #[arg(long, value_name = "NAMESPACE/NAME")]
    gateway: Option<String>,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Serialize)]
struct Answer<'a> {
    gateway: String,
    #[serde(flatten)]
    explanation: &'a Explanation,
}

/// Prints the decision and its path; refused if the gateway would refuse the recipient.
pub(crate) fn run(args: &ExplainArgs) -> Result<Ending, Failure> {
    let sender: ReversePath = path("--from", &args.from)?;
    let recipient: ForwardPath = path("--to", &args.to)?;
    let judged = manifests::judge_folder(&args.filename)?;
    for finding in judged.findings.iter().filter(|finding| finding.is_error()) {
        eprintln!("{finding}");
    }
    let Some((key, snapshot)) = judged.gateway(args.gateway.as_deref())? else {
        eprintln!("there is no gateway that compiles: correct what is refused, or add a MailGateway");
        return Ok(Ending::Refused);
    };
    let router = Router::new(Arc::clone(snapshot));
    let client = args.client.map_or_else(Client::unknown, Client::at);
    // Manifests alone tell of nothing that was retired.
    let now = Timestamp::default();
    let explanation = router.explain(&sender, &recipient, Source::Client(&client), now);
    let mut output = io::stdout().lock();
    let written = match args.output {
        // At once: a reader that has seen enough (`head`) is then no failure.
        Output::Text => output.write_all(format!("gateway {key}: {explanation}\n").as_bytes()),
        Output::Json => {
            let answer = Answer { gateway: key.to_string(), explanation: &explanation };
            serde_json::to_writer_pretty(&mut output, &answer)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(output))
        }
    };
    written.map_err(Failure::Output)?;
    Ok(match explanation.decision {
        Decision::Accepted(_) => Ending::Good,
        Decision::Refused(_) => Ending::Refused,
    })
}

/// A path as a person writes it, with or without its angle brackets.
fn path<P: std::str::FromStr<Err: std::fmt::Display>>(
    option: &'static str,
    text: &str,
) -> Result<P, Failure> {
    let bracketed = if text.starts_with('<') { text.to_owned() } else { format!("<{text}>") };
    let failed = |why: P::Err| Failure::Address { option, text: text.to_owned(), why: why.to_string() };
    bracketed.parse().map_err(failed)
}
