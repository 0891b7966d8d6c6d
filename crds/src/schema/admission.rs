//! What an API server does with a document before it stores it, but for names and namespaces: nulls go, the schema is held against it, then the
//! rules; and what it does with a change of what it has. Pure.

use serde_json::{Map, Value};

use super::{Defect, breaches};
use crate::{Kind, Object, ReadError, kind::known};

impl Object {
    /// The object of a raw document as an API server would take it, or everything for which it would not.
    pub fn admit(mut document: Value) -> Result<Self, ReadError> {
        let kind = known(&document)?;
        prune_nulls(kind.schema(), &mut document);
        let defects = kind.breaches(&document);
        if defects.is_empty() { Self::typed(kind, document) } else { Err(ReadError::Defects(defects)) }
    }

    /// Why an API server that has `before` would not take this object, which is right by itself, in its place: some fields are for ever.
    #[must_use]
    pub fn refused_changes(&self, before: &Self) -> Vec<Defect> {
        let kind = self.kind();
        if kind != before.kind() || !kind.has_transitions() {
            return Vec::new();
        }
        kind.rules().broken_transitions(kind.schema(), &self.value(), &before.value())
    }
}

impl Kind {
    /// Why an API server would refuse a raw document: its [`defects`](Self::defects), forms, doubles, and if there are none of these, rules.
    fn breaches(self, document: &Value) -> Vec<Defect> {
        let breaches = breaches(self.schema(), document);
        if breaches.is_empty() { self.rules().broken(self.schema(), document) } else { breaches }
    }
}

/// Takes away the fields that are null: nothing of ours may be null, and an API server takes one for a field that is absent. An entry of a list
/// stays, to be refused. (`PruneNonNullableNullsWithoutDefaults` and `Default` in k8s.io/apiextensions-apiserver.)
pub(super) fn prune_nulls(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let additional = schema.get("additionalProperties").filter(|schema| schema.is_object());
            let of =
                |name: &str| properties.and_then(|all: &Map<String, Value>| all.get(name)).or(additional);
            fields.retain(|name, value| !(value.is_null() && of(name).is_some()));
            for (name, value) in fields {
                if let Some(schema) = of(name) {
                    prune_nulls(schema, value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    prune_nulls(schema, item);
                }
            }
        }
        _ => {}
    }
}
