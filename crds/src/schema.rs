//! A raw document held against the schema of its kind: unknown fields, nulls, wrong types, values outside an enum, missing fields, bounds.
//!
//! The API server does this in a cluster; whoever reads files does it with this. It walks the very schema that the custom resource
//! definition has, so there is one truth. A pattern is checked by the parser of the type that it stands for. Pure.

mod admission;
mod rules;

use std::{cell::RefCell, collections::HashMap, fmt};

use regex::Regex;
use serde_json::{Map, Value};

pub(crate) use self::rules::Rules;
use crate::{definition, duration, size};

/// Where a document differs from its schema, and how.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Defect {
    /// The field: `spec.listeners[0].port`.
    pub path: String,
    /// What is wrong with it, and the cure.
    pub message: String,
    /// Whether the schema has no such field: the most frequent defect, which readers report as such.
    pub unknown: bool,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Every defect of a document under this schema, in the order of the document: what keeps it from being an object of its type.
#[must_use]
pub fn defects(schema: &Value, document: &Value) -> Vec<Defect> {
    look(schema, document, Depth::Type)
}

/// What an API server refuses besides: texts that have not the form they should, and entries that stand twice.
pub(crate) fn breaches(schema: &Value, document: &Value) -> Vec<Defect> {
    look(schema, document, Depth::Admission)
}

/// How closely a document is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// Whether it is an object of its type.
    Type,
    /// Whether an API server would let it in.
    Admission,
}

fn look(schema: &Value, document: &Value, depth: Depth) -> Vec<Defect> {
    let mut found = Vec::new();
    let mut ours = document.clone();
    if let Some(fields) = ours.as_object_mut() {
        // The API server knows these by itself; a definition does not repeat them.
        fields.retain(|name, _| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
    }
    walk(schema, &ours, depth, &mut String::new(), &mut found);
    found
}

/// The paths of the fields that the schema does not have.
#[must_use]
pub fn unknown_fields(schema: &Value, document: &Value) -> Vec<String> {
    defects(schema, document).into_iter().filter(|defect| defect.unknown).map(|defect| defect.path).collect()
}

fn walk(schema: &Value, value: &Value, depth: Depth, path: &mut String, found: &mut Vec<Defect>) {
    let mut report = |path: &str, message: String| {
        found.push(Defect { path: path.to_owned(), message, unknown: false });
    };
    if value.is_null() {
        report(path, "is empty: give it a value, or leave it out".to_owned());
        return;
    }
    if let Some(problem) = wrong_type(schema, value) {
        report(path, problem);
        return;
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let allowed: Vec<_> = allowed.iter().filter_map(Value::as_str).collect();
        report(path, format!("{value} is not one of {}", allowed.join(", ")));
        return;
    }
    if let Some(problem) = unparsable(schema, value, depth).or_else(|| out_of_bounds(schema, value)) {
        report(path, problem);
    }
    match value {
        Value::Object(fields) => walk_object(schema, fields, depth, path, found),
        Value::Array(items) => {
            if depth == Depth::Admission {
                found.extend(doubles(schema, items, path));
            }
            let Some(item_schema) = schema.get("items") else { return };
            for (place, item) in items.iter().enumerate() {
                descend(path, &format!("[{place}]"), |path| walk(item_schema, item, depth, path, found));
            }
        }
        _ => {}
    }
}

fn walk_object(
    schema: &Value,
    fields: &Map<String, Value>,
    depth: Depth,
    path: &mut String,
    found: &mut Vec<Defect>,
) {
    let properties = schema.get("properties").and_then(Value::as_object);
    let additional = schema.get("additionalProperties");
    let open = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    for (name, value) in fields {
        let segment = if path.is_empty() { name.clone() } else { format!(".{name}") };
        descend(path, &segment, |path| match (properties.and_then(|all| all.get(name)), additional) {
            (Some(property), _) => walk(property, value, depth, path, found),
            (None, Some(Value::Object(_))) => {
                walk(additional.unwrap_or(&Value::Null), value, depth, path, found);
            }
            (None, Some(Value::Bool(true))) => {}
            _ if open => {}
            _ => found.push(Defect {
                path: path.clone(),
                message: unknown_field_message(name, properties),
                unknown: true,
            }),
        });
    }
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    for name in required.filter_map(Value::as_str).filter(|name| !fields.contains_key(*name)) {
        let segment = if path.is_empty() { name.to_owned() } else { format!(".{name}") };
        descend(path, &segment, |path| {
            found.push(Defect { path: path.clone(), message: "is required".to_owned(), unknown: false });
        });
    }
}

fn unknown_field_message(name: &str, properties: Option<&Map<String, Value>>) -> String {
    let near = properties.into_iter().flat_map(Map::keys).min_by_key(|known| edits(known, name));
    if let Some(near) = near.filter(|known| edits(known, name) <= NEAR) {
        return format!("there is no such field; did you mean {near}?");
    }
    let mut known: Vec<_> = properties.into_iter().flat_map(Map::keys).map(String::as_str).collect();
    known.sort_unstable();
    if known.is_empty() {
        "there is no such field; the block is empty".to_owned()
    } else {
        format!("there is no such field; the fields here are {}", known.join(", "))
    }
}

/// So many letters apart, two names are likely meant to be one.
const NEAR: usize = 2;

/// How many letters must be put in, taken out or changed to make one name of the other; case does not count.
fn edits(one: &str, other: &str) -> usize {
    let other = other.to_ascii_lowercase();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.to_ascii_lowercase().bytes().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        let mut next = vec![left];
        for (above, candidate) in row.iter().skip(1).zip(other.bytes()) {
            left = (above + 1).min(left + 1).min(diagonal + usize::from(letter != candidate));
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

fn wrong_type(schema: &Value, value: &Value) -> Option<String> {
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        let fits = value.is_string() || value.is_i64() || value.is_u64();
        return (!fits).then(|| format!("{} is neither a whole number nor text", shown(value)));
    }
    let (fits, wanted) = match schema.get("type").and_then(Value::as_str)? {
        "object" => (value.is_object(), "a block of fields"),
        "array" => (value.is_array(), "a list"),
        "string" => (value.is_string(), "text (put it in quotes)"),
        "integer" => (value.is_i64() || value.is_u64(), "a whole number"),
        "number" => (value.is_number(), "a number"),
        "boolean" => (value.is_boolean(), "true or false"),
        _ => (true, ""),
    };
    (!fits).then(|| format!("{} is not {wanted}", shown(value)))
}

#[allow(clippy::cast_precision_loss)] // bounds are far below 2^52
fn out_of_bounds(schema: &Value, value: &Value) -> Option<String> {
    let bound = |name| schema.get(name).and_then(Value::as_f64);
    let (figure, least, most, what) = match value {
        Value::String(text) => {
            (text.chars().count() as f64, bound("minLength"), bound("maxLength"), "characters")
        }
        Value::Array(items) => (items.len() as f64, bound("minItems"), bound("maxItems"), "entries"),
        Value::Number(number) => (number.as_f64()?, bound("minimum"), bound("maximum"), ""),
        _ => return None,
    };
    let space = if what.is_empty() { "" } else { " " };
    if let Some(least) = least.filter(|least| figure < *least) {
        return Some(format!("{figure}{space}{what} is too few: at least {least}"));
    }
    most.filter(|most| figure > *most)
        .map(|most| format!("{figure}{space}{what} is too many: at most {most}"))
}

/// The patterns of this crate each belong to a type: its parser says what is wrong better than a pattern does.
fn unparsable(schema: &Value, value: &Value, depth: Depth) -> Option<String> {
    let (pattern, text) = (schema.get("pattern")?.as_str()?, value.as_str()?);
    match pattern {
        duration::PATTERN => text.parse::<duration::Duration>().err().map(|error| error.to_string()),
        size::PATTERN => text.parse::<size::Size>().err().map(|error| error.to_string()),
        _ if depth == Depth::Type || has_form(pattern, text) => None,
        _ => Some(format!("{} is not {}", shown(value), definition::form(pattern))),
    }
}

fn has_form(pattern: &str, text: &str) -> bool {
    thread_local! {
        // As many as the schemas have; making one costs far more than asking it.
        static FORMS: RefCell<HashMap<String, Option<Regex>>> = RefCell::default();
    }
    FORMS.with_borrow_mut(|forms| {
        let form = forms.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).ok());
        form.as_ref().is_none_or(|form| form.is_match(text)) // a test sees to it that every pattern is one
    })
}

/// Entries of a list that stand twice where each may stand once.
fn doubles(schema: &Value, items: &[Value], path: &str) -> Vec<Defect> {
    let keys: Vec<&str> = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => Vec::new(),
        Some("map") => {
            let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
            keys.into_iter().flatten().filter_map(Value::as_str).collect()
        }
        _ => return Vec::new(),
    };
    let mut seen = std::collections::HashSet::new();
    let mut found = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let name = if keys.is_empty() {
            item.to_string()
        } else {
            keys.iter().map(|key| item.get(key).map(Value::to_string).unwrap_or_default()).collect()
        };
        if !seen.insert(name.clone()) {
            let message = format!("{name} stands twice: remove one");
            found.push(Defect { path: format!("{path}[{place}]"), message, unknown: false });
        }
    }
    found
}

/// Enough of a value to recognise it.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "a block of fields".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        other => other.to_string().chars().take(60).collect(),
    }
}

fn descend(path: &mut String, segment: &str, visit: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push_str(segment);
    visit(path);
    path.truncate(length);
}

#[cfg(test)]
mod tests;
