//! The names of the kinds as kubectl takes and prints them: they are what the definitions say. Pure.

use posthouse_crds::{GROUP, Kind};
use serde_json::Value;

/// The names of a kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    definition: &'static Value,
}

impl Names {
    pub(super) fn of(kind: Kind) -> Self {
        Self { definition: kind.definition() }
    }

    fn text(self, name: &str) -> &'static str {
        let text = self.definition.pointer("/spec/names").and_then(|names| names.get(name));
        text.and_then(Value::as_str).unwrap_or_default()
    }

    fn texts(self, name: &str) -> impl Iterator<Item = &'static str> {
        let texts = self.definition.pointer("/spec/names").and_then(|names| names.get(name));
        texts.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    pub(super) fn plural(self) -> &'static str {
        self.text("plural")
    }

    /// As kubectl names an object in a list of several kinds: `maildomain.posthouse.dev/example-com`.
    pub(super) fn qualified(self, name: &str) -> String {
        format!("{}.{GROUP}/{name}", self.text("singular"))
    }

    fn is(self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        let text = text.strip_suffix(&format!(".{GROUP}")).unwrap_or(&text);
        let names = [self.plural(), self.text("singular")];
        names.into_iter().chain(self.texts("shortNames")).chain(self.texts("categories")).any(|n| n == text)
    }
}

/// The kinds that a text means: by plural, singular or short name, or all of a category; several with commas between.
pub(super) fn meant(text: &str) -> Result<Vec<Kind>, &str> {
    let mut meant = Vec::new();
    for part in text.split(',') {
        let kinds: Vec<_> = Kind::ALL.into_iter().filter(|kind| Names::of(*kind).is(part)).collect();
        if kinds.is_empty() {
            return Err(part);
        }
        for kind in kinds {
            if !meant.contains(&kind) {
                meant.push(kind);
            }
        }
    }
    Ok(meant)
}
