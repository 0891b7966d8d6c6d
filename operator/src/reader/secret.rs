//! Secrets as kubectl takes them: `data` in base64, `stringData` as it is, which wins. No error shows a value. Pure.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use serde_json::{Map, Value};

use super::document::Defect;

/// The fields of a Secret.
const KNOWN: [&str; 7] = ["apiVersion", "data", "immutable", "kind", "metadata", "stringData", "type"];

/// The Secret, `stringData` folded into `data` as the API server does it; or every field that is wrong.
pub(super) fn read(document: &Value) -> Result<Secret, Vec<Defect>> {
    let mut defects = Vec::new();
    for name in document.as_object().into_iter().flat_map(Map::keys) {
        if !KNOWN.contains(&name.as_str()) {
            let message = format!("there is no such field; the fields here are {}", KNOWN.join(", "));
            defects.push(Defect::new(name, "UnknownField", message));
        }
    }
    let mut data = entries(document, "data", &mut defects, |text| {
        let packed: String = text.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
        STANDARD.decode(packed).map_err(|_| "is not base64: encode it, or put it under stringData as it is")
    });
    data.extend(entries(document, "stringData", &mut defects, |text| Ok(text.as_bytes().to_vec())));
    let mut rest = document.clone();
    if let Some(fields) = rest.as_object_mut() {
        fields.remove("data");
        fields.remove("stringData");
    }
    match serde_json::from_value::<Secret>(rest) {
        Ok(secret) if defects.is_empty() => {
            Ok(Secret { data: Some(data.into_iter().collect()), string_data: None, ..secret })
        }
        Ok(_) => Err(defects),
        Err(error) => {
            defects.push(Defect::new("metadata", "InvalidValue", error.to_string()));
            Err(defects)
        }
    }
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
) -> Vec<(String, ByteString)> {
    let entries = match document.get(field) {
        None => return Vec::new(),
        Some(Value::Object(entries)) => entries,
        Some(_) => {
            defects.push(Defect::new(field, "InvalidValue", "is a block of keys and values: correct it"));
            return Vec::new();
        }
    };
    let mut decoded = Vec::new();
    for (key, value) in entries {
        let octets = match value {
            Value::String(text) => decode(text),
            _ => Err("is text: put it in quotes"),
        };
        match octets {
            Ok(octets) => decoded.push((key.clone(), ByteString(octets))),
            Err(message) => defects.push(Defect::new(format!("{field}.{key}"), "InvalidValue", message)),
        }
    }
    decoded
}
