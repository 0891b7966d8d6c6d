//! What an unquoted scalar means to kubectl, which still reads YAML 1.1: `yes` is true and `0777` is octal. Pure.

use serde_json::{Number, Value};

/// The value of a plain scalar, as the YAML library of kubectl resolves it. Times of day and addresses stay text.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) {
        return Value::String(text.to_owned());
    }
    let plain = text.replace('_', "");
    integer(&plain).or_else(|| float(&plain)).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

/// Whether kubectl makes a number of an unquoted scalar that JSON does not have: it refuses the document then.
pub(super) fn is_no_number_of_json(text: &str) -> bool {
    let infinite = text.strip_prefix(['-', '+']).unwrap_or(text);
    matches!(infinite, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

/// The value of a scalar with a tag of the core schema, or nothing where the text does not fit it.
pub(super) fn tagged(kind: &str, text: &str) -> Option<Value> {
    match (kind, resolve(text)) {
        ("str", _) => Some(Value::String(text.to_owned())),
        ("null", Value::Null) => Some(Value::Null),
        ("bool", value @ Value::Bool(_)) | ("int" | "float", value @ Value::Number(_)) => Some(value),
        _ => None,
    }
}

fn integer(text: &str) -> Option<Number> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match digits.get(..2) {
        Some("0x" | "0X") => (digits.get(2..)?, 16),
        Some("0o" | "0O") => (digits.get(2..)?, 8),
        Some("0b" | "0B") => (digits.get(2..)?, 2),
        _ if digits.len() > 1 && digits.starts_with('0') => (digits, 8),
        _ => (digits, 10),
    };
    if !digits.starts_with(|first: char| first.is_digit(radix)) {
        return None; // the library would take a second sign
    }
    if is_negative {
        i64::from_str_radix(&format!("-{digits}"), radix).ok().map(Number::from)
    } else {
        u64::from_str_radix(digits, radix).ok().map(Number::from)
    }
}

/// The largest whole number that a float holds exactly, and all below it.
const EXACT: f64 = 9_007_199_254_740_992.0;

fn float(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_float = unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && unsigned.contains(|digit: char| digit.is_ascii_digit())
        && unsigned.bytes().all(|octet| octet.is_ascii_digit() || b".eE+-".contains(&octet));
    let value: f64 = is_float.then(|| text.parse().ok())??;
    #[allow(clippy::cast_possible_truncation)] // whole, and within what both hold exactly
    if value.fract() == 0.0 && value.abs() < EXACT {
        return Some(Number::from(value as i64)); // as JSON writes it
    }
    Number::from_f64(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn booleans_are_those_of_yaml_1_1() {
        for text in ["y", "yes", "Yes", "on", "ON", "true"] {
            assert_eq!(resolve(text), json!(true), "{text}");
        }
        for text in ["n", "no", "NO", "off", "Off", "False"] {
            assert_eq!(resolve(text), json!(false), "{text}");
        }
        assert_eq!(resolve("yES"), json!("yES"));
    }

    #[test]
    fn numbers_are_those_of_kubectl() {
        for (text, value) in [
            ("10", json!(10)),
            ("-3", json!(-3)),
            ("+3", json!(3)),
            ("1_000", json!(1000)),
            ("0777", json!(511)),
            ("0o17", json!(15)),
            ("0x1F", json!(31)),
            ("0b101", json!(5)),
            ("0899", json!(899)),
            ("1e3", json!(1000)),
            ("0.5", json!(0.5)),
            (".5", json!(0.5)),
            ("18446744073709551615", json!(u64::MAX)),
        ] {
            assert_eq!(resolve(text), value, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_number_is_text() {
        for text in [
            "12:00",
            "10.0.0.53:53",
            "203.0.113.0/24",
            "2026-01-01",
            "5m",
            "1.2.3",
            "--1",
            "-",
            ".",
            "0x",
            "1e",
            ".inf",
            "-.INF",
            ".nan",
            "+e1",
        ] {
            assert_eq!(resolve(text), json!(text));
        }
    }

    #[test]
    fn a_tag_overrules_the_look() {
        assert_eq!(tagged("str", "yes"), Some(json!("yes")));
        assert_eq!(tagged("int", "7"), Some(json!(7)));
        assert_eq!(tagged("int", "seven"), None);
    }
}
