//! What is done to every schema: nothing nullable, no unsigned formats but their bounds, every list with a type, bounds for what other
//! people's types leave open. Pure.

use serde_json::{Map, Value, json};

/// The bounds of other people's types (labels, affinity, tolerations): ours have bounds of their own, which a test sees to.
const FOREIGN_TEXT: u64 = 1024;
const FOREIGN_LIST: u64 = 64;
const MAP: u64 = 64;
const MAP_TEXT: u64 = 4096;

/// Tidies a schema and everything in it.
pub(super) fn tidy(schema: &mut Value) {
    let Some(node) = schema.as_object_mut() else { return };
    for name in ["nullable", "title", "$schema"] {
        node.remove(name);
    }
    bound_number(node);
    if let Some(values) = node.get_mut("enum").and_then(Value::as_array_mut) {
        values.retain(|value| !value.is_null());
    }
    if node.get("default").is_some_and(Value::is_null) {
        node.remove("default");
    }
    let of_type = node.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    match of_type.as_str() {
        "array" => {
            node.entry("x-kubernetes-list-type").or_insert_with(|| json!("atomic"));
            node.entry("maxItems").or_insert_with(|| json!(FOREIGN_LIST));
        }
        "string" if node.get("format").and_then(Value::as_str) == Some("date-time") => {
            node.entry("maxLength").or_insert_with(|| json!(64));
        }
        "object" if node.contains_key("additionalProperties") => {
            node.entry("maxProperties").or_insert_with(|| json!(MAP));
            if let Some(values) = node.get_mut("additionalProperties").and_then(Value::as_object_mut)
                && (values.get("type") == Some(&json!("string"))
                    || values.contains_key("x-kubernetes-int-or-string"))
            {
                values.entry("maxLength").or_insert_with(|| json!(MAP_TEXT));
            }
        }
        _ => {}
    }
    for child in
        node.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut)
    {
        tidy(child);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(child) = node.get_mut(name) {
            tidy(child);
        }
    }
}

/// An unsigned format is none that the API server knows, and it holds nobody to `int32`: bounds say the same.
fn bound_number(node: &mut Map<String, Value>) {
    if node.get("format").and_then(Value::as_str) == Some("int32") {
        node.entry("minimum").or_insert_with(|| json!(i32::MIN));
        node.entry("maximum").or_insert_with(|| json!(i32::MAX));
    }
    let most: u64 = match node.get("format").and_then(Value::as_str) {
        Some("uint8") => u8::MAX.into(),
        Some("uint16") => u16::MAX.into(),
        Some("uint32") => u32::MAX.into(),
        Some("uint64" | "uint") => i64::MAX.unsigned_abs(),
        _ => return,
    };
    node.remove("format");
    node.entry("minimum").or_insert_with(|| json!(0));
    node.entry("maximum").or_insert_with(|| json!(most));
}

/// Bounds every text below a schema that is made of other people's types.
pub(super) fn bound_foreign(schema: &mut Value) {
    let Some(node) = schema.as_object_mut() else { return };
    let is_text =
        node.get("type") == Some(&json!("string")) || node.contains_key("x-kubernetes-int-or-string");
    if is_text && !node.contains_key("enum") {
        node.entry("maxLength").or_insert_with(|| json!(FOREIGN_TEXT));
    }
    for child in
        node.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut)
    {
        bound_foreign(child);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(child) = node.get_mut(name) {
            bound_foreign(child);
        }
    }
}

/// The status: conditions as Kubernetes has them everywhere, and a first value, so that whoever waits for one sees it at once.
pub(super) fn status(status: &mut Value) {
    let Some(node) = status.as_object_mut() else { return };
    if let Some(properties) = node.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("conditions".to_owned(), conditions());
    }
    let pending = |name: &str| {
        json!({
            "type": name, "status": "Unknown", "reason": "Pending", "message": "Waiting for the operator",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        })
    };
    let first: Vec<Value> = ["Accepted", "ResolvedRefs", "Programmed", "Ready"].map(pending).into();
    node.insert("default".to_owned(), json!({"conditions": first}));
}

/// `metav1.Condition`, with its bounds.
fn conditions() -> Value {
    json!({
        "description": "Accepted, ResolvedRefs, Programmed, Ready and what else is worth saying.",
        "type": "array", "maxItems": 16, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {"type": "string", "maxLength": 316, "pattern":
                    "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                "lastTransitionTime": {"type": "string", "format": "date-time", "maxLength": 64},
                "reason": {"type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
                "message": {"type": "string", "maxLength": 32768},
            },
        },
    })
}
