//! What holds of every text whatsoever, for those who try many: it is read without a panic, an edit is followed to the same result as a first
//! reading, and every line that is told is one of the text. Pure.

use std::{sync::Arc, time::Duration};

use super::{document::Item, file::ManifestFile};

/// The longest that a text of a few kilobytes may take, on a machine that does much else and with every check that a build can have.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which law a text breaks, if it breaks one. `cut` are the octets that were not there before the edit by which the text came to be.
pub fn broken(text: &str, cut: std::ops::Range<usize>) -> Result<(), String> {
    let began = std::time::Instant::now();
    let name: Arc<str> = "fuzzed.yaml".into();
    let fresh = ManifestFile::of_text(Arc::clone(&name), None, text, Vec::new());
    let before = [text.get(..cut.start), text.get(cut.end..)];
    let before: String = before.into_iter().flatten().collect();
    let edited = ManifestFile::of_text(Arc::clone(&name), None, &before, Vec::new());
    let followed = ManifestFile::of_text(name, None, text, edited.parts);
    let (one, other) = (told(&fresh), told(&followed));
    if one != other {
        return Err(format!("read at first it is {one:#?}, after an edit of {before:?} it is {other:#?}"));
    }
    let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count();
    for finding in &fresh.outcome.findings {
        let line = finding.place.as_ref().and_then(|place| place.line).unwrap_or_default();
        if line > lines + 1 {
            return Err(format!("line {line} of {lines}: {finding}"));
        }
    }
    for document in &fresh.outcome.documents {
        if let Item::Ours(object) = &document.item
            && let [refused, ..] = object.refused_changes(object).as_slice()
        {
            return Err(format!("{}: no change, and refused as one: {refused}", document.identity));
        }
    }
    let took = began.elapsed();
    if took > PATIENCE { Err(format!("it took {took:?}")) } else { Ok(()) }
}

/// All that a file says, as texts.
fn told(file: &ManifestFile) -> Vec<String> {
    let documents = file.outcome.documents.iter().map(|document| {
        let place = document.place(Some("spec"));
        match &document.item {
            Item::Ours(object) => format!("{place} {object:?}"),
            Item::Secret(secret) => format!("{place} {secret:?}"),
            Item::Namespace(namespace) => format!("{place} {namespace:?}"),
        }
    });
    let refused = file.outcome.refused.iter().map(|identity| format!("refused: {identity}"));
    documents.chain(file.outcome.findings.iter().map(ToString::to_string)).chain(refused).collect()
}
