//! Secrets as kubectl takes them: `data` in base64, `stringData` as it is, which wins. No error shows a value. Pure.

use std::collections::BTreeMap;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig},
};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use serde_json::Value;

use super::document::Defect;

/// As Go reads it: with its padding, and whatever the last bits are.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// The fields of a Secret.
const KNOWN: [&str; 7] = ["apiVersion", "data", "immutable", "kind", "metadata", "stringData", "type"];

/// The most octets of all values together (`MaxSecretSize`).
const MAX_SIZE: usize = 1024 * 1024;

/// The longest key.
const MAX_KEY: usize = 253;

/// What a Secret of a type that Kubernetes knows must have: the type, its keys, and how many of them. (`ValidateSecret` in k8s.io/kubernetes.)
const TYPES: [(&str, &[&str], usize); 5] = [
    ("kubernetes.io/tls", &["tls.crt", "tls.key"], 2),
    ("kubernetes.io/basic-auth", &["username", "password"], 1),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"], 1),
    ("kubernetes.io/dockercfg", &[".dockercfg"], 1),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"], 1),
];

/// The Secret, `stringData` folded into `data` as the API server does it; or every field that is wrong.
pub(super) fn read(document: &Value) -> Result<Secret, Vec<Defect>> {
    let mut defects = Vec::new();
    for (name, value) in document.as_object().into_iter().flatten() {
        match name.as_str() {
            name if !KNOWN.contains(&name) => {
                let message = format!("there is no such field; the fields here are {}", KNOWN.join(", "));
                defects.push(Defect::new(name, "UnknownField", message));
            }
            "type" if !(value.is_string() || value.is_null()) => {
                defects.push(Defect::new(name, "InvalidValue", "is text: put it in quotes"));
            }
            "immutable" if !(value.is_boolean() || value.is_null()) => {
                defects.push(Defect::new(name, "InvalidValue", "is true or false"));
            }
            _ => {}
        }
    }
    let mut data: BTreeMap<_, _> = entries(document, "data", &mut defects, |text| {
        let packed: String = text.chars().filter(|letter| !matches!(letter, '\r' | '\n')).collect();
        BASE64.decode(packed).map_err(|_| "is not base64: encode it, or put it under stringData as it is")
    });
    data.extend(entries(document, "stringData", &mut defects, |text| Ok(text.as_bytes().to_vec())));
    if data.values().map(|value| value.0.len()).sum::<usize>() > MAX_SIZE {
        let message = format!("the values have more than {MAX_SIZE} octets in all: make several Secrets");
        defects.push(Defect::new("data", "InvalidValue", message));
    }
    let of_type = document.get("type").and_then(Value::as_str).unwrap_or_default();
    if let Some((_, keys, least)) = TYPES.iter().find(|(name, ..)| *name == of_type)
        && keys.iter().filter(|key| data.contains_key(**key)).count() < *least
    {
        let of_them = if keys.len() > *least { " or " } else { " and " };
        let message = format!("a Secret of type {of_type} has the keys {}: add them", keys.join(of_them));
        defects.push(Defect::new("data", "InvalidValue", message));
    }
    if !defects.is_empty() {
        return Err(defects);
    }
    let mut rest = document.clone();
    if let Some(fields) = rest.as_object_mut() {
        fields.remove("data");
        fields.remove("stringData");
    }
    let secret: Secret = serde_json::from_value(rest)
        .map_err(|error| vec![Defect::new("metadata", "InvalidValue", error.to_string())])?;
    Ok(Secret { data: Some(data), string_data: None, ..secret })
}

/// Why an API server that has `before` would not take this Secret in its place.
pub(super) fn refused_changes(now: &Secret, before: &Secret) -> Vec<posthouse_crds::Defect> {
    let refused = |path: &str, message: &str| posthouse_crds::Defect {
        path: path.to_owned(),
        message: message.to_owned(),
        unknown: false,
    };
    let type_of = |secret: &Secret| secret.type_.clone().unwrap_or_else(|| "Opaque".to_owned());
    let mut found = Vec::new();
    if type_of(now) != type_of(before) {
        found
            .push(refused("type", "is immutable: make a new Secret under another name, and delete this one"));
    }
    if before.immutable == Some(true) {
        if now.immutable != Some(true) {
            found.push(refused("immutable", "cannot be taken back: make a new Secret, and delete this one"));
        }
        if now.data != before.data {
            found.push(refused("data", "the Secret is immutable: make a new one, and delete this one"));
        }
    }
    found
}

fn entries(
    document: &Value,
    field: &str,
    defects: &mut Vec<Defect>,
    decode: impl Fn(&str) -> Result<Vec<u8>, &'static str>,
) -> BTreeMap<String, ByteString> {
    let entries = match document.get(field) {
        None | Some(Value::Null) => return BTreeMap::new(),
        Some(Value::Object(entries)) => entries,
        Some(_) => {
            defects.push(Defect::new(field, "InvalidValue", "is a block of keys and values: correct it"));
            return BTreeMap::new();
        }
    };
    let mut decoded = BTreeMap::new();
    for (key, value) in entries {
        let octets = match value {
            _ if !is_key(key) => {
                Err("is no key: letters, digits, `-`, `_` and `.`, up to 253 of them, not `..` at the front")
            }
            Value::String(text) => decode(text),
            Value::Null => Ok(Vec::new()),
            _ => Err("is text: put it in quotes"),
        };
        match octets {
            Ok(octets) => drop(decoded.insert(key.clone(), ByteString(octets))),
            Err(message) => defects.push(Defect::new(format!("{field}.{key}"), "InvalidValue", message)),
        }
    }
    decoded
}

fn is_key(key: &str) -> bool {
    (1..=MAX_KEY).contains(&key.len())
        && key.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet))
        && key != "."
        && !key.starts_with("..")
}
