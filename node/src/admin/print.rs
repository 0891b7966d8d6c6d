//! Answers as people read them: aligned lines, the important first. Writes text only.

use std::fmt::Write as _;

use super::{Answer, EntryView};

/// The text of an answer, with its final line end.
#[must_use]
pub fn text(answer: &Answer) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    match answer {
        Answer::Counts(counts) => {
            for (state, count) in [
                ("incoming", counts.incoming),
                ("due", counts.due),
                ("deferred", counts.deferred),
                ("held", counts.held),
                ("active", counts.active),
            ] {
                let _ = writeln!(text, "{state:<9} {count}");
            }
        }
        Answer::Entries { entries, more } => {
            for entry in entries {
                write_entry(&mut text, entry);
            }
            if entries.is_empty() {
                text.push_str("the queue has none\n");
            }
            if *more {
                text.push_str("there are more: raise --limit\n");
            }
        }
        Answer::Changed { changed, skipped } => {
            let _ = writeln!(text, "{changed} changed");
            for skipped in skipped {
                let _ = writeln!(text, "{} left alone: {}", skipped.id, skipped.reason);
            }
        }
        Answer::Failed { error, .. } => {
            let _ = writeln!(text, "{error}");
        }
    }
    text
}

fn write_entry(text: &mut String, entry: &EntryView) {
    let state = format!("{:?}", entry.state).to_lowercase();
    let _ = write!(text, "{} {state}", entry.id);
    if let Some(hold) = entry.hold {
        let _ = write!(text, " ({hold:?})");
    }
    let _ = writeln!(text, " {} octets, received {}, from {}", entry.size, entry.received, entry.from);
    for recipient in &entry.recipients {
        let _ = write!(text, "    to {}", recipient.address);
        if let Some(from) = &recipient.expanded_from {
            let _ = write!(text, " (named as {from})");
        }
        text.push('\n');
        if let Some(reply) = &recipient.last_reply {
            let _ = writeln!(text, "       {reply}");
        }
    }
    let _ = write!(text, "    queue {}, by {} ({})", entry.queue, entry.next_hop, entry.route);
    if entry.attempts > 0 {
        let s = if entry.attempts == 1 { "" } else { "s" };
        let _ = write!(text, ", {} attempt{s}", entry.attempts);
    }
    if let Some(next) = &entry.next_attempt {
        let _ = write!(text, ", next at {next}");
    }
    if let Some(expires) = &entry.expires {
        let _ = write!(text, ", given up at {expires}");
    }
    text.push('\n');
}
