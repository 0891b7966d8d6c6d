//! What every object owes its metadata: a name that the API server would take, labels that are text, no field it does not know. Pure.

use serde_json::Value;

use super::{
    document::Defect,
    node::{Content, Node},
};

/// The fields of `ObjectMeta`.
const KNOWN: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The longest name (RFC 1123 §2.1: a host name may have 255 characters; Kubernetes takes 253).
const MAX_NAME: usize = 253;

/// The longest label (RFC 1035 §2.3.4), and so the longest name of a namespace.
const MAX_LABEL: usize = 63;

/// A value as it is once the API server has read its metadata: texts of labels and annotations that are null are empty ones.
pub(super) fn normal(mut document: Value) -> Value {
    for name in ["labels", "annotations"] {
        let texts = document.get_mut("metadata").and_then(|metadata| metadata.get_mut(name));
        for text in texts.and_then(Value::as_object_mut).into_iter().flat_map(|texts| texts.values_mut()) {
            if text.is_null() {
                *text = Value::String(String::new());
            }
        }
    }
    document
}

/// What is wrong with the metadata of an object.
pub(super) fn defects(node: &Node) -> Vec<Defect> {
    let is_namespace = node.text("kind") == Some("Namespace"); // whose name is a label
    let Some(metadata) = node.field("metadata").map(|field| &field.value) else {
        return vec![Defect::new(
            "metadata",
            "MissingField",
            "every object has metadata with a name: add it",
        )];
    };
    let Content::Block(fields) = &metadata.content else {
        return vec![Defect::new("metadata", "InvalidValue", "metadata is a block of fields: correct it")];
    };
    let mut defects = Vec::new();
    if metadata.field("name").is_none_or(|name| name.value.is_null()) {
        defects.push(Defect::new("metadata.name", "MissingField", "every object has a name: add it"));
    }
    for field in fields {
        let path = format!("metadata.{}", field.name);
        match (field.name.as_str(), &field.value.content) {
            (_, Content::Scalar(Value::Null)) if KNOWN.contains(&field.name.as_str()) => {} // absent
            (name, _) if !KNOWN.contains(&name) => {
                let message = format!("there is no such field; the fields here are {}", KNOWN.join(", "));
                defects.push(Defect::new(path, "UnknownField", message));
            }
            ("name", Content::Scalar(Value::String(name)))
                if is_subdomain(name) && (!is_namespace || is_label(name)) => {}
            ("namespace", Content::Scalar(Value::String(name))) if is_label(name) => {}
            ("name" | "namespace", Content::Scalar(Value::String(name))) => {
                defects.push(Defect::new(path, "InvalidName", bad_name(name)));
            }
            ("name" | "namespace", _) => {
                defects.push(Defect::new(path, "InvalidValue", "is text: put it in quotes"));
            }
            (kind @ ("labels" | "annotations"), Content::Block(entries)) => {
                for entry in entries {
                    let text = match &entry.value.content {
                        Content::Scalar(Value::String(text)) => Some(text.as_str()),
                        Content::Scalar(Value::Null) => Some(""),
                        _ => None,
                    };
                    let problem = match text {
                        None => "is text: put it in quotes",
                        _ if !is_qualified(&entry.name) => {
                            "is no name for it: letters, digits, `-`, `_` and `.`, up to 63 of them, perhaps behind a domain and `/`"
                        }
                        Some(text) if kind == "labels" && !(text.is_empty() || is_qualified_part(text)) => {
                            "is no value of a label: letters, digits, `-`, `_` and `.`, up to 63 of them"
                        }
                        Some(_) => continue,
                    };
                    let path = format!("{path}.{}", entry.name);
                    defects.push(Defect::new(path, "InvalidValue", problem));
                }
            }
            ("labels" | "annotations", _) => {
                defects.push(Defect::new(path, "InvalidValue", "is a block of names and texts: correct it"));
            }
            _ => {}
        }
    }
    defects
}

/// `example.com/name`, or a name alone.
fn is_qualified(name: &str) -> bool {
    match name.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_qualified_part(name),
        None => is_qualified_part(name),
    }
}

fn is_qualified_part(name: &str) -> bool {
    let is_end = |octet: Option<u8>| octet.is_some_and(|octet| octet.is_ascii_alphanumeric());
    name.len() <= MAX_LABEL
        && is_end(name.bytes().next())
        && is_end(name.bytes().last())
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet))
}

fn bad_name(name: &str) -> String {
    format!(
        "{name:?} is no name: lower-case letters, digits and `-`, beginning and ending with a letter or a digit"
    )
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= MAX_NAME && name.split('.').all(is_label_of_any_length)
}

fn is_label(name: &str) -> bool {
    name.len() <= MAX_LABEL && is_label_of_any_length(name)
}

fn is_label_of_any_length(name: &str) -> bool {
    let is_alphanumeric = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit();
    name.bytes().all(|octet| is_alphanumeric(octet) || octet == b'-')
        && name.bytes().next().is_some_and(is_alphanumeric)
        && name.bytes().last().is_some_and(is_alphanumeric)
}
