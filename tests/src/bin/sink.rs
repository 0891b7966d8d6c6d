//! `posthouse-sink`: the far ends of the quickstart, and a client that sends it a letter. Network and standard output.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use posthouse_tests::local::LocalRun;
use posthouse_tests::sink::{Letter, Protocol, Sink, accept_all};
use posthouse_tests::smtp::Client;

/// Far ends for trying a gateway out, and a small client.
#[derive(Parser)]
#[command(name = "posthouse-sink")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Takes every letter and prints its envelope and its first Received field.
    Receive {
        /// Listen for SMTP here.
        #[arg(long)]
        smtp: Vec<SocketAddr>,
        /// Listen for LMTP here.
        #[arg(long)]
        lmtp: Vec<SocketAddr>,
        /// End with 0 after this many letters.
        #[arg(long)]
        once: Option<usize>,
    },
    /// Sends one letter and prints the last reply; exit 1 if it was refused.
    Send {
        /// The server, as an address.
        #[arg(long, required_unless_present = "local")]
        server: Option<SocketAddr>,
        /// The server is the first SMTP listener in this `local.json`.
        #[arg(long, conflicts_with = "server")]
        local: Option<std::path::PathBuf>,
        /// The reverse-path; empty for the null one.
        #[arg(long)]
        from: String,
        /// A forward-path; may be repeated.
        #[arg(long, required = true)]
        to: Vec<String>,
        /// The subject.
        #[arg(long, default_value = "hello")]
        subject: String,
    },
    /// Prints the address of the first SMTP listener in a `local.json`.
    Address {
        /// The file.
        #[arg(long)]
        local: std::path::PathBuf,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Receive { smtp, lmtp, once } => receive(&smtp, &lmtp, once),
        Command::Send { server, local, from, to, subject } => server
            .map_or_else(|| address(local.as_deref()), Ok)
            .and_then(|server| send(server, &from, &to, &subject)),
        Command::Address { local } => address(Some(&local)).and_then(|address| {
            writeln!(std::io::stdout(), "{address}")?;
            Ok(ExitCode::SUCCESS)
        }),
    };
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "posthouse-sink: {error:#}");
        ExitCode::from(2)
    })
}

fn receive(smtp: &[SocketAddr], lmtp: &[SocketAddr], once: Option<usize>) -> Result<ExitCode> {
    let wanted = smtp.iter().map(|address| (Protocol::Smtp, *address));
    let wanted = wanted.chain(lmtp.iter().map(|address| (Protocol::Lmtp, *address)));
    let mut sinks = Vec::new();
    for (protocol, address) in wanted {
        let sink = Sink::listen(protocol, address, accept_all())
            .with_context(|| format!("{address} for the {} sink", protocol.name()))?;
        say(&format!("listening: {} {}", protocol.name(), sink.address()))?;
        sinks.push(sink);
    }
    anyhow::ensure!(!sinks.is_empty(), "nothing to listen on: name --smtp or --lmtp addresses");
    let mut count = 0;
    loop {
        for sink in &sinks {
            // Each sink is looked at in turn; the wait is the rhythm at which a person reads.
            for letter in sink.letter(Duration::from_millis(20)).into_iter().chain(sink.arrived()) {
                count += 1;
                say(&describe(count, &letter))?;
            }
        }
        if once.is_some_and(|once| count >= once) {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn describe(count: usize, letter: &Letter) -> String {
    format!(
        "letter {count}: {} from <{}> to <{}>, {} octets\n    Subject: {}\n    Received: {}",
        letter.protocol.name(),
        letter.from,
        letter.to.join(">, <"),
        letter.content.len(),
        letter.header("Subject").unwrap_or_default(),
        letter.header("Received").unwrap_or_else(|| "(none)".to_owned()),
    )
}

fn send(server: SocketAddr, from: &str, to: &[String], subject: &str) -> Result<ExitCode> {
    let mut client = Client::connect(server)?;
    let hello = client.command("EHLO quickstart.test")?;
    anyhow::ensure!(hello.is_positive(), "EHLO: {hello}");
    let header_to = to.join(", ");
    let content = format!(
        "From: <{from}>\r\nTo: {header_to}\r\nSubject: {subject}\r\n\r\nA letter from the quickstart.\r\n"
    );
    let recipients: Vec<&str> = to.iter().map(String::as_str).collect();
    let reply = client.send(from, &recipients, content.as_bytes())?;
    let _ = client.command("QUIT");
    say(&reply.to_string())?;
    Ok(if reply.is_positive() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn address(local: Option<&std::path::Path>) -> Result<SocketAddr> {
    let file = local.context("which server?")?;
    LocalRun::read(file)?.listener("Smtp")
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
