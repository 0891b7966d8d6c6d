//! The probe behind decision 0001: what one durable step costs in each candidate for the queue's store.
//!
//! A step settles the messages of the step before and enqueues a batch of new ones, and returns when all of it is on disk; that is what a
//! node does to its store at full load. Stores: redb alone; an append-only log with a redb index written behind; Redis and Valkey with
//! `appendfsync always` and AOF rewrite on. Each empty, and with a million entries in it. Two loads: `pass` (each message is
//! settled by the next step) and `stay` (the far end is dead: nothing is settled). All combinations are interleaved within a repetition.
//!
//! It writes `target/bench/probe.json` and prints a table.

mod log;
mod redb_alone;
mod report;
mod server;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use posthouse_tests::binaries::target_folder;
use posthouse_tests::store::Flavor;
use rand::RngCore as _;

use crate::report::{Case, Results};

/// Octets of a measured message's content.
const CONTENT: usize = 4096;

/// Octets of the content of what is there before, in a store that holds it in memory: small, so that a million of them fit where the test runs.
/// The stores on disk are filled with contents of the measured size.
const OLD_CONTENT_IN_MEMORY: usize = 64;

/// Octets of an entry's record: recipients, route, times, counters.
const RECORD: usize = 160;

/// Messages in one step while filling and draining, which is not measured.
const BULK: usize = 1000;

/// A message's id: ordered by time, as the product's are.
type Id = [u8; 16];

/// What a candidate must do.
trait Candidate {
    fn name(&self) -> &'static str;
    /// The batches to measure: one writer alone, and groups as they form at twenty and at many sessions.
    fn batches(&self) -> [usize; 3];
    /// Settles, then enqueues, atomically; returns when all is on disk (if durable).
    fn step(&mut self, settle: &[Id], enqueue: &[Id], content: &[u8], record: &[u8]) -> Result<()>;
    /// Waits until what is written behind is written.
    fn flush(&mut self) -> Result<()>;
    /// Octets of the contents it is filled with.
    fn old_content(&self) -> usize {
        CONTENT
    }
    /// Durability off while filling and draining; turning it on again flushes.
    fn durable(&mut self, durable: bool) -> Result<()>;
    /// Bytes that were sent to storage for it so far.
    fn bytes_written(&mut self) -> Result<u64>;
}

/// Measures durable writes of the candidates for the queue's store.
#[derive(Parser)]
struct Arguments {
    /// Entries in the full stores.
    #[arg(long, default_value_t = 1_000_000)]
    fill: usize,
    /// Repetitions; the results are medians of them.
    #[arg(long, default_value_t = 5)]
    reps: usize,
    /// Seconds per measurement.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// The most messages in one measurement.
    #[arg(long, default_value_t = 40_000)]
    messages: usize,
    /// Only these: redb, log, redis, valkey.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Cargo passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

struct Subject {
    candidate: Box<dyn Candidate>,
    /// Entries that were there before.
    entries: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let bench = target_folder()?.join("bench");
    fs::create_dir_all(&bench)?;
    // On the disk of the build, which is a real one; the temporary folder may be memory.
    let folder = tempfile::Builder::new().prefix("probe-").tempdir_in(&bench)?;
    let mut ids = Ids::default();
    let mut subjects = subjects(&arguments, folder.path(), &mut ids)?;
    let mut content = vec![0; CONTENT];
    rand::rng().fill_bytes(&mut content);

    let mut results = Results::default();
    for rep in 1..=arguments.reps {
        eprintln!("repetition {rep} of {}", arguments.reps);
        for subject in &mut subjects {
            for batch in subject.candidate.batches() {
                for stay in [false, true] {
                    let case =
                        Case { store: subject.candidate.name(), entries: subject.entries, batch, stay };
                    let sample =
                        measure(subject.candidate.as_mut(), batch, stay, &arguments, &content, &mut ids)?;
                    results.add(case, sample);
                }
            }
        }
    }
    results.print()?;
    results.write(&bench.join("probe.json"), arguments.reps)
}

fn subjects(arguments: &Arguments, folder: &Path, ids: &mut Ids) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for entries in [0, arguments.fill] {
        let wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
        let mut candidates: Vec<Box<dyn Candidate>> = Vec::new();
        if wanted("redb") {
            candidates
                .push(Box::new(redb_alone::RedbAlone::create(&folder.join(format!("redb-{entries}")))?));
        }
        if wanted("log") {
            candidates.push(Box::new(log::Log::create(&folder.join(format!("log-{entries}")))?));
        }
        for flavor in Flavor::ALL {
            if wanted(flavor.name()) {
                candidates.push(Box::new(server::Scripted::start(flavor, folder.to_path_buf())?));
            }
        }
        for mut candidate in candidates {
            fill(candidate.as_mut(), entries, ids)?;
            subjects.push(Subject { candidate, entries });
        }
        if arguments.fill == 0 {
            break;
        }
    }
    Ok(subjects)
}

fn fill(candidate: &mut dyn Candidate, entries: usize, ids: &mut Ids) -> Result<()> {
    let begin = Instant::now();
    let content = vec![b'o'; candidate.old_content()];
    candidate.durable(false)?;
    for done in (0..entries).step_by(BULK) {
        let batch = ids.take(BULK.min(entries - done));
        candidate.step(&[], &batch, &content, &[b'r'; RECORD])?;
    }
    candidate.durable(true)?;
    eprintln!("{} holds {entries} entries ({:.1} s)", candidate.name(), begin.elapsed().as_secs_f64());
    Ok(())
}

/// What one measurement gave.
#[derive(Clone, Copy)]
struct Sample {
    per_second: f64,
    bytes_per_message: f64,
}

fn measure(
    candidate: &mut dyn Candidate,
    batch: usize,
    stay: bool,
    arguments: &Arguments,
    content: &[u8],
    ids: &mut Ids,
) -> Result<Sample> {
    let written = candidate.bytes_written()?;
    let begin = Instant::now();
    let limit = Duration::from_secs_f64(arguments.seconds);
    let mut queued: Vec<Id> = Vec::new();
    let mut messages = 0;
    while begin.elapsed() < limit && messages < arguments.messages {
        let new = ids.take(batch);
        let settle = if stay { Vec::new() } else { std::mem::take(&mut queued) };
        candidate.step(&settle, &new, content, &[b'r'; RECORD])?;
        messages += new.len();
        queued.extend(new);
    }
    // What is written behind belongs to the price: it is waited for within the measured time.
    candidate.flush()?;
    let seconds = begin.elapsed().as_secs_f64();
    let bytes = candidate.bytes_written()?.saturating_sub(written);

    candidate.durable(false)?;
    for settle in queued.chunks(BULK) {
        candidate.step(settle, &[], content, &[])?;
    }
    candidate.durable(true)?;
    #[allow(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    let sample =
        Sample { per_second: messages as f64 / seconds, bytes_per_message: bytes as f64 / messages as f64 };
    Ok(sample)
}

/// Ids as nodes make them: time first, then a random part.
#[derive(Default)]
struct Ids(u64);

impl Ids {
    fn take(&mut self, count: usize) -> Vec<Id> {
        let mut random = rand::rng();
        let ids = std::iter::repeat_with(|| {
            self.0 += 1;
            (u128::from(self.0) << 64 | u128::from(random.next_u64())).to_be_bytes()
        });
        ids.take(count).collect()
    }
}
