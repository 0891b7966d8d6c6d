//! The benchmark of a dead next hop: how soon a letter to a live one arrives while tens of thousands wait for a dead one, beside how soon it
//! arrives when nothing waits.
//!
//! Per repetition and store a new gateway: letters with an empty queue, then the load for the dead hop (which answers 421, and whose lane is
//! backed off for longer than the run), then letters again. The time runs from the 250 to the letter's arrival; of each run the median and
//! the longest count. It writes `target/bench/lanes.json` and prints a table.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use posthouse_tests::binaries::target_folder;
use posthouse_tests::gateway::{Gateway, Options};
use posthouse_tests::manifests::{GATEWAY, Manifests};
use posthouse_tests::peers::Load;
use posthouse_tests::sink::{Moment, Policy, Protocol, Sink, accept_all};
use posthouse_tests::smtp::Client;
use posthouse_tests::spread::Spread;
use posthouse_tests::store::{Flavor, Server};
use posthouse_tests::wait;
use serde_json::json;

/// Compares deliveries beside a dead next hop with deliveries when nothing waits.
#[derive(Parser)]
struct Arguments {
    /// Messages that wait for the dead hop.
    #[arg(long, default_value_t = 50_000)]
    messages: usize,
    /// Letters to the live hop, each time.
    #[arg(long, default_value_t = 50)]
    letters: usize,
    /// Repetitions.
    #[arg(long, default_value_t = 5)]
    reps: usize,
    /// Only these: redis, valkey, embedded.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Cargo passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Milliseconds to arrival in one run: the first letter's, the median, the longest.
#[derive(Clone, Copy)]
struct Arrivals {
    first: f64,
    median: f64,
    longest: f64,
}

#[derive(Clone, Copy)]
struct Sample {
    alone: Arrivals,
    beside: Arrivals,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let bench = target_folder()?.join("bench");
    fs::create_dir_all(&bench)?;
    let mut samples: BTreeMap<&str, Vec<Sample>> = BTreeMap::new();
    for rep in 1..=arguments.reps {
        for name in ["embedded", "redis", "valkey"] {
            if arguments.only.is_empty() || arguments.only.iter().any(|only| only == name) {
                eprintln!("repetition {rep}: {name}, {} messages for a dead next hop", arguments.messages);
                samples.entry(name).or_default().push(run(name, &arguments)?);
            }
        }
    }
    print(&samples)?;
    let file = bench.join("lanes.json");
    let results = samples.iter().map(|(name, own)| {
        let of = |value: fn(&Sample) -> f64| Spread::of(own.iter().map(value)).json();
        json!({
            "system": name,
            "alone_ms": {"first": of(|s| s.alone.first), "median": of(|s| s.alone.median), "longest": of(|s| s.alone.longest)},
            "beside_ms": {"first": of(|s| s.beside.first), "median": of(|s| s.beside.median), "longest": of(|s| s.beside.longest)},
            "beside_to_alone": of(|s| s.beside.median / s.alone.median),
        })
    });
    let report = json!({
        "benchmark": "lanes",
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "messages": arguments.messages,
        "letters": arguments.letters,
        "repetitions": arguments.reps,
        "results": results.collect::<Vec<_>>(),
    });
    fs::write(&file, serde_json::to_vec_pretty(&report)?)?;
    eprintln!("written: {}", file.display());
    Ok(())
}

fn run(name: &str, arguments: &Arguments) -> Result<Sample> {
    let flavor = Flavor::ALL.into_iter().find(|flavor| flavor.name() == name);
    let server = flavor.map(Server::start).transpose()?;
    let busy: Policy =
        Arc::new(|moment| matches!(moment, Moment::Connect).then(|| "421 4.3.2 not today".to_owned()));
    let dead = Sink::start(Protocol::Smtp, busy)?;
    let alive = Sink::start(Protocol::Smtp, accept_all())?;
    let manifests = Manifests::new()?;
    manifests.write("gateway.yaml", &GATEWAY.replace("intervals: [1s]", "intervals: [1h]"))?;
    manifests.relay("dead", "{recipients: [\"*@dead.test\"]}", dead.address())?;
    manifests.relay("alive", "{recipients: [\"*@alive.test\"]}", alive.address())?;
    let options = Options { redis: server.as_ref().map(Server::url), ..Options::default() };
    let gateway = Gateway::start_with(manifests.path(), options)?;
    let alone = arrivals(&gateway, &alive, arguments.letters)?;
    let folder = tempfile::tempdir()?;
    let load = Load {
        sessions: 20,
        messages: arguments.messages,
        size: 512,
        keep: true,
        from: "a@src.test".into(),
        to: "b@dead.test".into(),
    };
    load.run(gateway.smtp()?, folder.path(), Duration::from_mins(10))?;
    wait::until("the first attempts to end", Duration::from_mins(1), || {
        Ok((gateway.counts()?.active == 0).then_some(()))
    })?;
    ensure!(gateway.counts()?.queued() == arguments.messages as u64, "not everything waits for the dead hop");
    let beside = arrivals(&gateway, &alive, arguments.letters)?;
    Ok(Sample { alone, beside })
}

fn arrivals(gateway: &Gateway, alive: &Sink, letters: usize) -> Result<Arrivals> {
    let mut client = Client::connect(gateway.smtp()?)?;
    client.command("EHLO client.test")?;
    let mut times = Vec::new();
    for _ in 0..letters {
        let reply = client.send("a@src.test", &["b@alive.test"], b"Subject: x\r\n\r\nhi\r\n")?;
        ensure!(reply.code == 250, "{reply:?}");
        let accepted = Instant::now();
        alive.letter(Duration::from_secs(30))?;
        times.push(accepted.elapsed().as_secs_f64() * 1000.0);
    }
    let first = *times.first().context("at least one letter")?;
    let Spread { median, max: longest, .. } = Spread::of(times.into_iter());
    Ok(Arrivals { first, median, longest })
}

fn print(samples: &BTreeMap<&str, Vec<Sample>>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| system | nothing waits: median ms | dead hop: first ms | dead hop: median ms | dead hop: longest ms | ratio of medians |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|")?;
    for (name, own) in samples {
        let of = |value: fn(&Sample) -> f64| format!("{:.2}", Spread::of(own.iter().map(value)));
        writeln!(
            out,
            "| {name} | {} | {} | {} | {} | {} |",
            of(|s| s.alone.median),
            of(|s| s.beside.first),
            of(|s| s.beside.median),
            of(|s| s.beside.longest),
            of(|s| s.beside.median / s.alone.median)
        )?;
    }
    Ok(())
}
