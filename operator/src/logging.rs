//! Where log lines go: standard error, one line per event, as text or JSON. `RUST_LOG` narrows or widens them.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use crate::{failure::Failure, finding::Finding};

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

impl Format {
    /// As the command line spells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Starts logging; called once.
pub(crate) fn start(format: Format) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Fails only if logging was started before, which nobody does.
    let _ = match format {
        Format::Text => lines.with_ansi(false).try_init(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    };
}

/// The last line of a command that failed.
pub(crate) fn say_failure(failure: &Failure, format: Format) {
    match format {
        Format::Text => eprintln!("error: {failure}"),
        Format::Json => tracing::error!("{failure}"),
    }
}

/// A finding of a run that goes on.
pub(crate) fn say_finding(finding: &Finding, format: Format) {
    let is_error = finding.is_error();
    if format == Format::Text {
        // The line says by itself all that the fields would.
        if is_error {
            tracing::error!("{finding}");
        } else {
            tracing::warn!("{finding}");
        }
        return;
    }
    let Finding { resource, severity: _, field, reason, message, place } = finding;
    let (resource, place) =
        (resource.as_ref().map(ToString::to_string), place.as_ref().map(ToString::to_string));
    if is_error {
        tracing::error!(resource, field, reason, place, "{message}");
    } else {
        tracing::warn!(resource, field, reason, place, "{message}");
    }
}

/// A finding that holds no more.
pub(crate) fn say_resolved(finding: &Finding, format: Format) {
    let Finding { resource, severity: _, field, reason, message: _, place } = finding;
    let (resource, place) =
        (resource.as_ref().map(ToString::to_string), place.as_ref().map(ToString::to_string));
    match format {
        Format::Text => {
            let what = resource.or(place).unwrap_or_default();
            let field = field.as_ref().map(|field| format!(" {field}")).unwrap_or_default();
            tracing::info!("Resolved {what}{field}: {reason}");
        }
        Format::Json => tracing::info!(resource, field, reason, place, "resolved"),
    }
}
