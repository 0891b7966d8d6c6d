//! The benchmark of an edit: from the rename of one manifest to the acknowledgement of the last of three nodes, with ten thousand domains loaded;
//! and what the operator and a node weigh then.
//!
//! The nodes' reports are read where the operator reads them, in the Redis of the queue. Each layout of the manifests is a new gateway: a file
//! for each domain, or a hundred domains a file. It writes `target/bench/propagation.json` and prints a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use posthouse_channel::{Channel, News, RedisChannel};
use posthouse_tests::binaries::target_folder;
use posthouse_tests::gateway::{Gateway, Options};
use posthouse_tests::manifests::Manifests;
use posthouse_tests::spread::Spread;
use posthouse_tests::store::{Flavor, Server};
use serde_json::json;
use tokio::time::timeout;

/// The queue of the gateway in the manifests.
const QUEUE: &str = "mail.edge";

/// How long an acknowledgement may take before the benchmark gives up.
const LONGEST: Duration = Duration::from_mins(1);

/// Measures how soon an edit is in force everywhere.
#[derive(Parser)]
struct Arguments {
    /// Domains.
    #[arg(long, default_value_t = 10_000)]
    domains: usize,
    /// Recipients of each.
    #[arg(long, default_value_t = 10)]
    recipients: usize,
    /// Edits in each layout.
    #[arg(long, default_value_t = 200)]
    edits: usize,
    /// Repetitions: each is a new gateway.
    #[arg(long, default_value_t = 3)]
    reps: usize,
    /// Nodes.
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// Domains in one file, for each layout.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100])]
    per_file: Vec<usize>,
    /// Between two edits, in milliseconds: what an edit leaves to be done is done by then, or not.
    #[arg(long, default_value_t = 300)]
    pause: u64,
    /// Cargo passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What one run came to.
struct Outcome {
    ready_s: f64,
    /// Milliseconds, in order.
    edits: Vec<f64>,
    /// MiB: the operator's high water, a node's own memory with and without the domains.
    operator: f64,
    node: f64,
    node_empty: f64,
}

impl Outcome {
    /// The value below which so many of a hundred edits lie.
    fn percentile(&self, percent: usize) -> f64 {
        let place = (percent * self.edits.len()).div_ceil(100);
        self.edits.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let bench = target_folder()?.join("bench");
    fs::create_dir_all(&bench)?;
    let node_empty = empty_node(&arguments)?;
    let mut outcomes: BTreeMap<usize, Vec<Outcome>> = BTreeMap::new();
    for rep in 1..=arguments.reps {
        for per_file in &arguments.per_file {
            eprintln!(
                "repetition {rep}: {} domains, {per_file} a file, {} edits",
                arguments.domains, arguments.edits
            );
            outcomes.entry(*per_file).or_default().push(run(*per_file, node_empty, &arguments).await?);
        }
    }
    print(&outcomes)?;
    let results = outcomes.iter().map(|(per_file, own)| {
        let of = |value: fn(&Outcome) -> f64| Spread::of(own.iter().map(value)).json();
        json!({
            "domains_per_file": per_file,
            "ready_s": of(|one| one.ready_s),
            "p50_ms": of(|one| one.percentile(50)),
            "p90_ms": of(|one| one.percentile(90)),
            "p99_ms": of(|one| one.percentile(99)),
            "longest_ms": of(|one| one.percentile(100)),
            "operator_high_water_mib": of(|one| one.operator),
            "node_growth_mib": of(|one| one.node - one.node_empty),
        })
    });
    let report = json!({
        "benchmark": "propagation",
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "domains": arguments.domains,
        "recipients": arguments.domains * arguments.recipients,
        "nodes": arguments.nodes,
        "edits": arguments.edits,
        "repetitions": arguments.reps,
        "results": results.collect::<Vec<_>>(),
    });
    let file = bench.join("propagation.json");
    fs::write(&file, serde_json::to_vec_pretty(&report)?)?;
    eprintln!("written: {}", file.display());
    Ok(())
}

/// What a node weighs that serves no domain.
fn empty_node(arguments: &Arguments) -> Result<f64> {
    let server = Server::start(Flavor::Redis)?;
    let manifests = Manifests::new()?;
    let gateway = start(&manifests, &server, arguments)?;
    std::thread::sleep(Duration::from_secs(2));
    memory(gateway.run()?.nodes.first().context("there is a node")?.pid, "VmRSS")
}

fn start(manifests: &Manifests, server: &Server, arguments: &Arguments) -> Result<Gateway> {
    let options = Options { redis: Some(server.url()), nodes: arguments.nodes, ..Options::default() };
    Gateway::start_with(manifests.path(), options)
}

async fn run(per_file: usize, node_empty: f64, arguments: &Arguments) -> Result<Outcome> {
    let server = Server::start(Flavor::Redis)?;
    let manifests = Manifests::new()?;
    let files = arguments.domains.div_ceil(per_file);
    let write = |file: usize, edit: usize| {
        let range = file * per_file..((file + 1) * per_file).min(arguments.domains);
        let edited = range.start + edit % range.len();
        let text = range.map(|number| domain(number, arguments, if number == edited { edit } else { 0 }));
        manifests.write(&format!("domains-{file:05}.yaml"), &text.collect::<Vec<_>>().join("---\n"))
    };
    (0..files).try_for_each(|file| write(file, 0))?;
    let began = Instant::now();
    let mut gateway = start(&manifests, &server, arguments)?;
    let ready_s = began.elapsed().as_secs_f64();
    let channel = Channel::Redis(RedisChannel::new(&server.url(), QUEUE)?);
    let mut news = News::of_reports(&channel);
    let mut last = acknowledged(&channel, &mut news, arguments.nodes, 0).await?;
    let mut edits = Vec::with_capacity(arguments.edits);
    for edit in 1..=arguments.edits {
        tokio::time::sleep(Duration::from_millis(arguments.pause)).await;
        let began = Instant::now();
        write(edit * 7919 % files, edit)?;
        last = timeout(LONGEST, acknowledged(&channel, &mut news, arguments.nodes, last)).await??;
        edits.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    edits.sort_by(f64::total_cmp);
    let node = memory(gateway.run()?.nodes.first().context("there is a node")?.pid, "VmRSS")?;
    let operator = memory(gateway.operator().pid(), "VmHWM")?;
    Ok(Outcome { ready_s, edits, operator, node, node_empty })
}

/// Waits until every node runs a later publication than this; which one.
async fn acknowledged(channel: &Channel, news: &mut News, nodes: usize, after: u64) -> Result<u64> {
    loop {
        let reports = channel.reports().await?;
        ensure!(reports.iter().all(|report| report.refused.is_none()), "a node refused: {reports:?}");
        let sequences =
            reports.iter().map(|report| report.applied.map_or(0, |applied| applied.epoch.sequence));
        let least = sequences.min().unwrap_or(0);
        if reports.len() == nodes && least > after {
            return Ok(least);
        }
        news.next().await;
    }
}

/// A domain's manifest, somewhat different for each edit.
fn domain(number: usize, arguments: &Arguments, edit: usize) -> String {
    let mut users = String::new();
    for user in 0..arguments.recipients {
        let _ = write!(users, "{}{{name: user{number}x{user}}}", if user == 0 { "" } else { ", " });
    }
    format!(
        "apiVersion: posthouse.dev/v1alpha1\nkind: MailDomain\nmetadata: {{name: d{number:05}, namespace: mail}}\nspec:\n  \
         gatewayRef: {{name: edge}}\n  domain: d{number:05}.example\n  description: edit {edit}\n  \
         recipients: {{users: [{users}], aliases: [{{name: info{edit}, deliverTo: [user{number}x0]}}]}}\n  \
         localDelivery: {{lmtp: {{host: 127.0.0.1, port: 24}}}}\n"
    )
}

/// A line of `/proc/PID/status`, in MiB.
fn memory(pid: u32, line: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    let kib: f64 = found.and_then(|text| text.split_whitespace().next()).context("no such line")?.parse()?;
    Ok(kib / 1024.0)
}

fn print(outcomes: &BTreeMap<usize, Vec<Outcome>>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| domains a file | ready s | p50 ms | p90 ms | p99 ms | longest ms | operator MiB | node grows by MiB |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|")?;
    for (per_file, own) in outcomes {
        let of = |value: fn(&Outcome) -> f64| format!("{:.1}", Spread::of(own.iter().map(value)));
        writeln!(
            out,
            "| {per_file} | {} | {} | {} | {} | {} | {} | {} |",
            of(|one| one.ready_s),
            of(|one| one.percentile(50)),
            of(|one| one.percentile(90)),
            of(|one| one.percentile(99)),
            of(|one| one.percentile(100)),
            of(|one| one.operator),
            of(|one| one.node - one.node_empty),
        )?;
    }
    Ok(())
}
