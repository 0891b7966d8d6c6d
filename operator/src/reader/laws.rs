//! What holds of every text whatsoever, for those who try many: it is read without a panic, an edit is followed to the same result as a first
//! reading, and every line that is told is one of the text. Pure.

use std::{sync::Arc, time::Duration};

use super::{document::Item, file::ManifestFile};

/// The longest that a text of a few kilobytes may take, on a machine that does much else and with every check that a build can have.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which law an input of the fuzzer breaks, if it breaks one: a text as a manifest, its first two octets say which part of it an edit put in. Nothing
/// if it is no text.
#[must_use]
pub fn of_input(input: &[u8]) -> Option<Result<(), String>> {
    let ([at, length], text) = input.split_first_chunk()?;
    let text = std::str::from_utf8(text).ok()?;
    let start = text.len() * usize::from(*at) / 256;
    let boundary = |place: usize| text.floor_char_boundary(place);
    Some(broken(text, boundary(start)..boundary(start + usize::from(*length))))
}

/// Which law a text breaks, if it breaks one. `cut` are the octets that were not there before the edit by which the text came to be.
fn broken(text: &str, cut: std::ops::Range<usize>) -> Result<(), String> {
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

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn what_fuzzing_begins_with_and_what_it_found_once_breaks_no_law() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/seeds/manifests");
        for file in fs::read_dir(folder).unwrap() {
            let file = file.unwrap().path();
            let held = super::of_input(&fs::read(&file).unwrap());
            held.expect("a text").unwrap_or_else(|law| panic!("{}: {law}", file.display()));
        }
    }

    /// Far from what fuzzing does (`tests/fuzz/run`), but in every build. `POSTHOUSE_TEXTS` says how many (300).
    #[test]
    fn mutilated_manifests_break_no_law() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let folders = ["examples/api", "tests/refused", "tests/fuzz/seeds/manifests"];
        let files = folders.iter().flat_map(|folder| fs::read_dir(format!("{root}/{folder}")).unwrap());
        let mut texts: Vec<_> = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
        texts.sort();
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below.max(1)
        };
        let pieces = [
            "\n---\n", "---", "\n%", "...\n", "&a ", "*a", "<<: ", "[", "}", "\"", "'", "|\n", "\t", "\r",
            "\u{feff}", "null", ": ", "- ",
        ];
        let count = std::env::var("POSTHOUSE_TEXTS").map_or(300, |count| count.parse::<usize>().unwrap());
        for _ in 0..count {
            let (one, other) = (&texts[random(texts.len())], &texts[random(texts.len())]);
            let mut text = format!("{one}---\n{other}");
            for _ in 0..random(6) {
                let at = text.floor_char_boundary(random(text.len()));
                let end = text.floor_char_boundary(at + random(12));
                text.replace_range(at..end, pieces[random(pieces.len())]);
            }
            let start = text.floor_char_boundary(random(text.len()));
            let end = text.floor_char_boundary(start + random(400));
            super::broken(&text, start..end).unwrap_or_else(|law| panic!("{law}\n{text}"));
        }
    }
}
