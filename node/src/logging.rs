//! Where log lines go: standard error, one line per event, as text or JSON. `RUST_LOG` narrows or widens them.

use std::env;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// What speaks for itself in the words of others: we say of a failed question what it means for the mail. Who names one of them gets it.
const SILENT: [&str; 3] = ["hickory_net", "hickory_proto", "hickory_resolver"];

/// Starts logging; called once.
pub fn start(format: Format) {
    let filter = filter(&env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default());
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Fails only if logging was started before, which nobody does.
    let _ = match format {
        Format::Text => lines.with_ansi(false).try_init(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    };
}

fn filter(wanted: &str) -> EnvFilter {
    let wanted = if wanted.is_empty() { "info" } else { wanted };
    let filter = EnvFilter::try_new(wanted).unwrap_or_else(|_| EnvFilter::new("info"));
    let silent = SILENT.iter().filter(|target| !wanted.contains(*target));
    silent.filter_map(|target| format!("{target}=off").parse().ok()).fold(filter, EnvFilter::add_directive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resolvers_library_is_silent_unless_it_is_named() {
        for (wanted, silent) in [("", 3), ("debug", 3), ("info,hickory_net=debug", 2)] {
            assert_eq!(filter(wanted).to_string().matches("=off").count(), silent, "{wanted}");
        }
    }
}
