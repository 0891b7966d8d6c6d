//! Puts what types cannot say into a schema, field by field. Pure.

use serde_json::{Value, json};

use super::tidy;

/// What is said of one field. A path names fields with dots, and the entries of a list with `[]`: `spec.listeners[].name`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refinement {
    pub(super) path: &'static str,
    pub(super) what: What,
}

/// What can be said of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// A list whose entries are told apart by these fields; several owners may each have their entries.
    MapBy(&'static [&'static str]),
    /// A list of plain values, each once.
    Set,
    /// A block that says one thing in one of several ways: whoever applies it owns all of it, so that no two owners' ways come together.
    Atomic,
    /// A text of at most so many characters.
    Text(u32),
    /// A text of at most so many characters that has this form (RE2).
    Form(u32, &'static str),
    /// Made of other people's types.
    Foreign,
    /// A rule in CEL, and what to do where it does not hold.
    Rule(&'static str, &'static str),
}

/// Applies refinements; a path that leads nowhere is a mistake in the table, which a test finds.
pub(super) fn refine(schema: &mut Value, refinements: &[Refinement]) {
    for Refinement { path, what } in refinements {
        if let Some(node) = find(schema, path) {
            apply(node, *what);
        }
    }
}

/// The schema of the field at a path.
pub(super) fn find<'s>(schema: &'s mut Value, path: &str) -> Option<&'s mut Value> {
    let mut node = schema;
    for segment in path.split('.') {
        let (name, in_list) = segment.strip_suffix("[]").map_or((segment, false), |name| (name, true));
        node = node.get_mut("properties")?.get_mut(name)?;
        if in_list {
            node = node.get_mut("items")?;
        }
    }
    Some(node)
}

fn apply(schema: &mut Value, what: What) {
    if matches!(what, What::Foreign) {
        tidy::bound_foreign(schema);
    }
    let Some(node) = schema.as_object_mut() else { return };
    let mut put = |name: &str, value: Value| {
        node.insert(name.to_owned(), value);
    };
    match what {
        What::MapBy(keys) => {
            put("x-kubernetes-list-type", json!("map"));
            put("x-kubernetes-list-map-keys", json!(keys));
        }
        What::Set => put("x-kubernetes-list-type", json!("set")),
        What::Atomic => put("x-kubernetes-map-type", json!("atomic")),
        What::Text(most) => put("maxLength", json!(most)),
        What::Form(most, pattern) => {
            put("maxLength", json!(most));
            put("pattern", json!(pattern));
        }
        What::Foreign => {}
        What::Rule(rule, message) => {
            let rules = node.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
            if let Some(rules) = rules.as_array_mut() {
                rules.push(json!({"rule": rule, "message": message}));
            }
        }
    }
}
