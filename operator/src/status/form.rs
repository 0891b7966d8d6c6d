//! The form of a status in a file: the object as a cluster has it, in YAML whose leaves are JSON, one condition a line. So people and every YAML
//! reader can read it, and ten thousand of them are read in moments: what stands below is all that is needed. Pure.
//!
//! Of the spec only what a table shows is there: the whole of it is in the manifests.

use std::fmt::Write as _;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use posthouse_compiler::ObjectKey;
use posthouse_crds::{API_VERSION, Kind, status::ObjectStatus};
use serde_json::{Map, Value, json};

use super::{generations::Sighting, observation::ResourceId};

/// The annotation with the hash of the spec that the generation stands for.
const SPEC_HASH: &str = "posthouse.dev/spec-hash";

/// What a file says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Written {
    pub(super) id: ResourceId,
    pub(super) status: ObjectStatus,
    /// Absent where the spec could never be read.
    pub(super) sighting: Option<Sighting>,
}

/// The object of a status.
pub(super) fn object(
    (kind, key): &ResourceId,
    generation: i64,
    status: &ObjectStatus,
    sighting: Option<&Sighting>,
) -> Value {
    let mut object = json!({
        "apiVersion": API_VERSION,
        "kind": kind.name(),
        "metadata": {"namespace": key.namespace, "name": key.name, "generation": generation},
        "status": status,
    });
    if let (Some(sighting), Some(fields)) = (sighting, object.as_object_mut()) {
        let Sighting { generation: _, spec_hash, shown, since } = sighting;
        fields.insert("spec".to_owned(), serde_json::from_str(shown).unwrap_or_default());
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("annotations".to_owned(), json!({SPEC_HASH: spec_hash}));
            metadata.insert("creationTimestamp".to_owned(), json!(Time(*since)));
        }
    }
    object
}

/// What an object says; none if it is no object of ours.
pub(super) fn written(object: &Value) -> Option<Written> {
    let text = |path| object.pointer(path).and_then(Value::as_str);
    let kind = text("/kind")?.parse::<Kind>().ok()?;
    let key = ObjectKey::new(text("/metadata/namespace")?, text("/metadata/name")?);
    let status = ObjectStatus::read(kind, object.get("status")?.clone()).ok()?;
    let metadata = object.get("metadata")?;
    let sighting = || {
        Some(Sighting {
            generation: metadata.get("generation")?.as_i64()?,
            spec_hash: metadata.get("annotations")?.get(SPEC_HASH)?.as_str()?.parse().ok()?,
            shown: object.get("spec")?.to_string().into(),
            since: text("/metadata/creationTimestamp")?.parse().ok()?,
        })
    };
    let sighting = sighting();
    Some(Written { id: (kind, key), status, sighting })
}

/// The text of an object: each field on a line, as JSON; those of the status below it, and each item of a list there.
pub(super) fn render(object: &Value) -> String {
    let mut text = String::new();
    let fields = object.as_object().into_iter().flatten();
    for (name, value) in fields {
        match value.as_object().filter(|status| name == "status" && !status.is_empty()) {
            Some(status) => {
                let _ = writeln!(text, "{name}:"); // text takes everything
                render_fields(status, &mut text);
            }
            None => {
                let _ = writeln!(text, "{name}: {value}");
            }
        }
    }
    text
}

fn render_fields(fields: &Map<String, Value>, text: &mut String) {
    for (name, value) in fields {
        match value.as_array().filter(|items| !items.is_empty()) {
            Some(items) => {
                let _ = writeln!(text, "  {name}:");
                for item in items {
                    let _ = writeln!(text, "  - {item}");
                }
            }
            None => {
                let _ = writeln!(text, "  {name}: {value}");
            }
        }
    }
}

/// The object of a text; none if the text is not of this form.
pub(super) fn parse(text: &str) -> Option<Value> {
    let mut object = Map::new();
    let mut status = Map::new();
    let mut list: Option<(String, Vec<Value>)> = None;
    for line in text.lines() {
        if let Some(item) = line.strip_prefix("  - ") {
            list.as_mut()?.1.push(serde_json::from_str(item).ok()?);
            continue;
        }
        status.extend(list.take().map(|(name, items)| (name, Value::Array(items))));
        let (fields, line) = match line.strip_prefix("  ") {
            Some(line) => (&mut status, line),
            None => (&mut object, line),
        };
        match line.split_once(": ") {
            Some((name, value)) => {
                fields.insert(name.to_owned(), serde_json::from_str(value).ok()?);
            }
            None if line == "status:" => {}
            None => list = Some((line.strip_suffix(':')?.to_owned(), Vec::new())),
        }
    }
    status.extend(list.take().map(|(name, items)| (name, Value::Array(items))));
    object.entry("status").or_insert(Value::Object(status));
    Some(Value::Object(object))
}
