//! The benchmark of the whole: smtp-source → gateway → smtp-sink, beside a tuned Postfix that carries the same load.
//!
//! Per repetition each pattern (20 and 100 sessions, one and many messages per session) is run on each system in turn, so that a noisy
//! machine is noisy for all; the results are medians, and the ratios to Postfix are medians of the ratios within a repetition. *Intake* is the rate at which
//! smtp-source got its 250s; *end to end* counts until smtp-sink has them all. Both sides are durable: Postfix syncs a file per
//! message, Redis and Valkey run with `appendfsync always` and AOF rewrite on.
//!
//! With `--tls` both ways are encrypted: STARTTLS at intake, and verified TLS to the next hop. smtp-source and smtp-sink know no TLS, so a client and
//! a sink of ours take their places, for all systems alike.
//!
//! It writes `target/bench/relay.json` or `relay-tls.json` and prints a table. Postfix wants root.

mod system;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use posthouse_tests::binaries::target_folder;
use posthouse_tests::peers::Load;
use posthouse_tests::spread::Spread;
use serde_json::json;
use system::System;

/// More than any run takes on a machine that is worth a measurement.
const BOUND: Duration = Duration::from_mins(10);

/// Compares the gateway with Postfix, under load.
#[derive(Parser)]
struct Arguments {
    /// Messages per run.
    #[arg(long, default_value_t = 8000)]
    messages: usize,
    /// Octets of a message's text.
    #[arg(long, default_value_t = 4096)]
    size: usize,
    /// Repetitions.
    #[arg(long, default_value_t = 5)]
    reps: usize,
    /// Encrypted on both ways.
    #[arg(long)]
    tls: bool,
    /// Only these: postfix, redis, valkey, embedded.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Cargo passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy)]
struct Sample {
    intake: f64,
    end_to_end: f64,
}

/// (system, sessions, many messages per session)
type Case = (&'static str, usize, bool);

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let bench = target_folder()?.join("bench");
    fs::create_dir_all(&bench)?;
    let mut samples: BTreeMap<Case, Vec<Sample>> = BTreeMap::new();
    for rep in 1..=arguments.reps {
        for sessions in [20, 100] {
            for keep in [false, true] {
                for name in ["postfix", "redis", "valkey", "embedded"] {
                    if !arguments.only.is_empty() && !arguments.only.iter().any(|only| only == name) {
                        continue;
                    }
                    eprintln!("repetition {rep}: {name}, {sessions} sessions, {}", pattern(keep));
                    // A new system for each run: none inherits another run's caches, logs or backlog.
                    let mut system = System::start(name, arguments.tls)?;
                    let sample = run(&mut system, sessions, keep, &arguments)?;
                    samples.entry((name, sessions, keep)).or_default().push(sample);
                }
            }
        }
    }
    print(&samples)?;
    let file = bench.join(if arguments.tls { "relay-tls.json" } else { "relay.json" });
    fs::write(&file, serde_json::to_vec_pretty(&report(&samples, &arguments))?)?;
    eprintln!("written: {}", file.display());
    Ok(())
}

fn run(system: &mut System, sessions: usize, keep: bool, arguments: &Arguments) -> Result<Sample> {
    let load = |messages| Load {
        sessions: sessions.min(messages),
        messages,
        size: arguments.size,
        keep,
        from: "a@src.test".to_owned(),
        to: "b@dst.test".to_owned(),
    };
    // A short load first: processes are forked and pages are touched before the clock runs.
    let warm = 200.min(arguments.messages);
    system.send(&load(warm), BOUND)?;
    system.until_arrived(warm, BOUND)?;

    let begin = Instant::now();
    let intake = system.send(&load(arguments.messages), BOUND)?;
    let wanted = warm + arguments.messages;
    system.until_arrived(wanted, BOUND)?;
    let end_to_end = begin.elapsed();
    let arrived = system.arrived()?;
    ensure!(arrived == wanted, "{} delivered {arrived} of {wanted} messages", system.name);
    #[allow(clippy::cast_precision_loss, reason = "a count of messages")]
    let rate = |time: Duration| arguments.messages as f64 / time.as_secs_f64();
    Ok(Sample { intake: rate(intake), end_to_end: rate(end_to_end) })
}

fn print(samples: &BTreeMap<Case, Vec<Sample>>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| system | sessions | messages per session | intake msg/s | end to end msg/s | intake ÷ Postfix | end to end ÷ Postfix |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for (case, own) in samples {
        let (name, sessions, keep) = case;
        let ratio = |value: fn(&Sample) -> f64| {
            ratios(samples, *case, value).map_or("–".to_owned(), |ratio| format!("{:.2}", ratio.median))
        };
        let intake = Spread::of(own.iter().map(|sample| sample.intake));
        let end = Spread::of(own.iter().map(|sample| sample.end_to_end));
        writeln!(
            out,
            "| {name} | {sessions} | {} | {intake} | {end} | {} | {} |",
            pattern(*keep),
            ratio(|sample| sample.intake),
            ratio(|sample| sample.end_to_end)
        )?;
    }
    Ok(())
}

fn report(samples: &BTreeMap<Case, Vec<Sample>>, arguments: &Arguments) -> serde_json::Value {
    let results = samples.iter().map(|(case, own)| {
        let (name, sessions, keep) = case;
        json!({
            "system": name,
            "sessions": sessions,
            "messages_per_session": pattern(*keep),
            "intake_per_second": Spread::of(own.iter().map(|sample| sample.intake)).json(),
            "end_to_end_per_second": Spread::of(own.iter().map(|sample| sample.end_to_end)).json(),
            "intake_to_postfix": ratios(samples, *case, |sample| sample.intake).map(|ratio| ratio.json()),
            "end_to_end_to_postfix": ratios(samples, *case, |sample| sample.end_to_end).map(|ratio| ratio.json()),
        })
    });
    json!({
        "benchmark": "relay",
        "tls": arguments.tls,
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "messages": arguments.messages,
        "text_octets": arguments.size,
        "repetitions": arguments.reps,
        "results": results.collect::<Vec<_>>(),
    })
}

fn pattern(keep: bool) -> &'static str {
    if keep { "many" } else { "one" }
}

/// This case's values over Postfix's of the same repetition.
fn ratios(samples: &BTreeMap<Case, Vec<Sample>>, case: Case, value: fn(&Sample) -> f64) -> Option<Spread> {
    let postfix = samples.get(&("postfix", case.1, case.2))?;
    let own = samples.get(&case)?;
    Some(Spread::of(own.iter().zip(postfix).map(|(own, postfix)| value(own) / value(postfix))))
}
