//! Samples into medians, a table and JSON. It writes one file and standard output.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use crate::{CONTENT, OLD_CONTENT_IN_MEMORY, RECORD, Sample};

/// One combination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Case {
    pub(crate) store: &'static str,
    /// Entries that were there before.
    pub(crate) entries: usize,
    /// Nothing is settled.
    pub(crate) stay: bool,
    /// Messages per step.
    pub(crate) batch: usize,
}

impl Case {
    fn load(&self) -> &'static str {
        if self.stay { "stay" } else { "pass" }
    }
}

#[derive(Default)]
pub(crate) struct Results(BTreeMap<Case, Vec<Sample>>);

struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Results {
    pub(crate) fn add(&mut self, case: Case, sample: Sample) {
        self.0.entry(case).or_default().push(sample);
    }

    /// A table for the decision's text.
    pub(crate) fn print(&self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "| store | entries before | load | batch | messages/s, median (min-max) | bytes written per message |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|")?;
        for (case, samples) in &self.0 {
            let rate = spread(samples, |sample| sample.per_second);
            let bytes = spread(samples, |sample| sample.bytes_per_message);
            writeln!(
                out,
                "| {} | {} | {} | {} | {:.0} ({:.0}-{:.0}) | {:.0} ({:.0}-{:.0}) |",
                case.store,
                case.entries,
                case.load(),
                case.batch,
                rate.median,
                rate.min,
                rate.max,
                bytes.median,
                bytes.min,
                bytes.max
            )?;
        }
        Ok(())
    }

    pub(crate) fn write(&self, file: &Path, reps: usize) -> Result<()> {
        let results: Vec<_> = self
            .0
            .iter()
            .map(|(case, samples)| {
                json!({
                    "store": case.store,
                    "entries_before": case.entries,
                    "load": case.load(),
                    "batch": case.batch,
                    "messages_per_second": spread(samples, |sample| sample.per_second).json(),
                    "bytes_written_per_message": spread(samples, |sample| sample.bytes_per_message).json(),
                })
            })
            .collect();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let report = json!({
            "benchmark": "probe",
            "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            "kernel": kernel.trim(),
            "repetitions": reps,
            "content_octets": CONTENT,
            "content_octets_of_entries_before_in_memory": OLD_CONTENT_IN_MEMORY,
            "record_octets": RECORD,
            "results": results,
        });
        std::fs::write(file, serde_json::to_vec_pretty(&report)?)?;
        eprintln!("written: {}", file.display());
        Ok(())
    }
}

impl Spread {
    fn json(&self) -> serde_json::Value {
        json!({"median": self.median.round(), "min": self.min.round(), "max": self.max.round()})
    }
}

fn spread(samples: &[Sample], value: impl Fn(&Sample) -> f64) -> Spread {
    let mut values: Vec<f64> = samples.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    Spread { median: at(values.len() / 2), min: at(0), max: at(values.len().saturating_sub(1)) }
}
