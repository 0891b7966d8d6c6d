//! Small mistakes, made at random in a document: a field gone, of another type, out of bounds, misspelt, doubled. Pure.

use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Value, json};

/// Makes one mistake somewhere below; says which.
pub(crate) fn mutate(value: &mut Value, random: &mut StdRng) -> String {
    let paths = paths(value, "");
    let path = paths.choose(random).unwrap().clone();
    let node = value.pointer_mut(&path).unwrap();
    match random.random_range(0..6) {
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

fn remove(value: &mut Value, path: &str) -> String {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", ""));
    match value.pointer_mut(parent) {
        Some(Value::Object(fields)) if !name.is_empty() => drop(fields.remove(name)),
        Some(Value::Array(items)) => drop(items.remove(name.parse::<usize>().unwrap())),
        _ => *value = json!({}),
    }
    format!("{path} removed")
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
