//! Small mistakes, made at random in a document: a field gone, empty, of another type, out of bounds, misspelt, doubled, not in quotes. Pure.

use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Value, json};

/// What YAML 1.1 makes something of where it is not in quotes.
const PLAIN: &[&str] = &[
    "yes",
    "no",
    "on",
    "y",
    "N",
    "~",
    "null",
    "0777",
    "0o17",
    "0x1F",
    "0b11",
    "1_000",
    "1e3",
    ".5",
    "+7",
    "12:30",
    "2026-01-01",
    ".inf",
    ".nan",
    "007",
    "09",
    "1.0",
    "=",
    "-0",
];

/// Takes the quotes off again where [`mutate`] wants none.
pub(crate) fn plain(text: &str) -> String {
    PLAIN.iter().fold(text.to_owned(), |text, plain| text.replace(&format!("\"plain({plain})\""), plain))
}

/// Makes one mistake somewhere below; says which.
pub(crate) fn mutate(value: &mut Value, random: &mut StdRng) -> String {
    let paths = paths(value, "");
    let path = paths.choose(random).unwrap().clone();
    let node = value.pointer_mut(&path).unwrap();
    match random.random_range(0..8) {
        0 => remove(value, &path),
        1 => {
            let other = [
                json!(true),
                json!(7),
                json!(-1),
                json!("text"),
                json!(""),
                json!([]),
                json!({}),
                json!(["text"]),
            ];
            *node = other.choose(random).unwrap().clone();
            format!("{path} = {node}")
        }
        2 => match node {
            Value::Object(fields) => {
                fields.insert("unheardOf".to_owned(), json!("x"));
                format!("{path}/unheardOf")
            }
            _ => remove(value, &path),
        },
        3 => match node {
            Value::Array(items) if !items.is_empty() => {
                let first = items[0].clone();
                items.push(first);
                format!("{path} with its first entry twice")
            }
            Value::Number(number) => {
                let other = [json!(0), json!(70_000), json!(5_000_000_000_u64), json!(1.5)];
                let was = number.to_string();
                *node = other.choose(random).unwrap().clone();
                format!("{path} = {node} instead of {was}")
            }
            _ => remove(value, &path),
        },
        4 => match node {
            Value::String(text) => {
                let other = [
                    format!("{text} {text}"),
                    text.repeat(100),
                    format!("*{text}"),
                    text.to_uppercase(),
                    format!("{text}*"),
                    "\u{fc}".to_owned(),
                ];
                *node = json!(other.choose(random).unwrap());
                format!("{path} = {node}")
            }
            Value::Array(items) => {
                items.clear();
                format!("{path} emptied")
            }
            _ => remove(value, &path),
        },
        5 => {
            *node = Value::Null;
            format!("{path} = null")
        }
        6 => {
            let plain = PLAIN.choose(random).unwrap();
            *node = json!(format!("plain({plain})"));
            format!("{path} = {plain}, not in quotes")
        }
        _ => match node {
            Value::Object(fields) if !fields.is_empty() => {
                let name = fields.keys().nth(random.random_range(0..fields.len())).unwrap().clone();
                let moved = fields.remove(&name).unwrap();
                fields.insert(format!("{name}s"), moved);
                format!("{path}/{name} renamed {name}s")
            }
            _ => remove(value, &path),
        },
    }
}

/// Makes one mistake anywhere in an object but where it tells its kind and its name.
pub(crate) fn mutate_but_kind(document: &mut Value, random: &mut StdRng) -> String {
    let fields = document.as_object_mut().unwrap();
    let kept: Vec<_> =
        ["apiVersion", "kind"].into_iter().filter_map(|name| fields.remove_entry(name)).collect();
    let (name, namespace) = (fields["metadata"]["name"].take(), fields["metadata"]["namespace"].take());
    fields["metadata"].as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let said = mutate(document, random);
    if let Some(fields) = document.as_object_mut() {
        fields.extend(kept);
        if let Some(metadata) = fields.entry("metadata").or_insert(json!({})).as_object_mut() {
            metadata.insert("name".to_owned(), name);
            metadata.insert("namespace".to_owned(), namespace);
        }
    }
    said
}

fn remove(value: &mut Value, path: &str) -> String {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", ""));
    match value.pointer_mut(parent) {
        Some(Value::Object(fields)) if !name.is_empty() => drop(fields.remove(name)),
        Some(Value::Array(items)) => drop(items.remove(name.parse::<usize>().unwrap())),
        _ => *value = json!({}),
    }
    format!("{path} removed")
}

/// The text of a document in which something is named by an anchor, and stands once more in another place by its alias, or is merged into it;
/// says which.
pub(crate) fn with_anchor(document: &Value, random: &mut StdRng) -> (String, String) {
    let paths = paths(document, "");
    let named = random.random_range(0..paths.len());
    let below = format!("{}/", paths[named]);
    let behind: Vec<_> = paths[named + 1..].iter().filter(|path| !path.starts_with(&below)).collect();
    let is_block = |path: &str| document.pointer(path).is_some_and(Value::is_object);
    let alias = match behind.choose(random) {
        Some(path) if is_block(path) && random.random_range(0..2) == 0 => Alias::Merged(path),
        Some(path) => Alias::Instead(path),
        None => Alias::Nowhere,
    };
    let mut text = String::new();
    write(document, "", &paths[named], alias, &mut text);
    (text, format!("{alias:?} of {}", paths[named]))
}

/// Where an alias stands.
#[derive(Clone, Copy, Debug)]
enum Alias<'a> {
    Nowhere,
    Instead(&'a str),
    Merged(&'a str),
}

fn write(value: &Value, path: &str, named: &str, alias: Alias<'_>, text: &mut String) {
    if matches!(alias, Alias::Instead(place) if place == path) {
        text.push_str("*a ");
        return;
    }
    if path == named {
        text.push_str("&a ");
    }
    match value {
        Value::Object(fields) => {
            text.push('{');
            let mut separator = "";
            if matches!(alias, Alias::Merged(place) if place == path) {
                text.push_str("<<: *a ");
                separator = ", ";
            }
            for (name, child) in fields {
                text.push_str(separator);
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push_str(": ");
                write(child, &format!("{path}/{name}"), named, alias, text);
                separator = ", ";
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (place, child) in items.iter().enumerate() {
                text.push_str(if place == 0 { "" } else { ", " });
                write(child, &format!("{path}/{place}"), named, alias, text);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

/// The pointers of everything below.
fn paths(value: &Value, path: &str) -> Vec<String> {
    let mut found = vec![path.to_owned()];
    match value {
        Value::Object(fields) => {
            for (name, child) in fields {
                found.extend(paths(child, &format!("{path}/{name}")));
            }
        }
        Value::Array(items) => {
            for (place, child) in items.iter().enumerate() {
                found.extend(paths(child, &format!("{path}/{place}")));
            }
        }
        _ => {}
    }
    found
}
