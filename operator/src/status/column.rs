//! The columns of a kind, as its definition has them, and the small part of `JSONPath` that they use: fields, places, and the one condition of
//! a type. (A library would bring all of `JSONPath` and a parser generator, and could not tell which part of a spec the columns read.) Pure.

use posthouse_crds::Kind;
use serde_json::{Map, Value};

/// A column of a table.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    path: Vec<Step>,
    /// A point in time, shown as how long ago it was.
    pub(super) is_date: bool,
    /// Only for `-o wide`.
    pub(super) is_wide: bool,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// `.name`
    Field(String),
    /// `[0]`
    Place(usize),
    /// `[?(@.type=="Ready")]`: the first item whose field has this text.
    Where(String, String),
}

/// The columns of a kind.
pub(super) fn columns(kind: Kind) -> Vec<Column> {
    let columns = kind.definition().pointer("/spec/versions/0/additionalPrinterColumns");
    let column = |one: &Value| {
        let text = |name| one.get(name).and_then(Value::as_str);
        Some(Column {
            name: text("name")?.to_owned(),
            path: steps(text("jsonPath")?)?,
            is_date: text("type") == Some("date"),
            is_wide: one.get("priority").and_then(Value::as_i64).is_some_and(|priority| priority > 0),
        })
    };
    columns.and_then(Value::as_array).into_iter().flatten().filter_map(column).collect()
}

/// Of a spec what its columns show, in its form.
pub(super) fn shown(kind: Kind, spec: &Value) -> Value {
    let mut shown = Value::Object(Map::new());
    for column in columns(kind) {
        if let Some((Step::Field(root), path)) = column.path.split_first()
            && root == "spec"
        {
            copy(spec, &mut shown, path);
        }
    }
    shown
}

impl Column {
    /// The column's value of an object, if it has one.
    pub(super) fn value<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        self.path.iter().try_fold(object, |value, step| match step {
            Step::Field(name) => value.get(name),
            Step::Place(place) => value.get(place),
            Step::Where(field, text) => {
                let items = value.as_array()?.iter();
                items.into_iter().find(|item| item.get(field).and_then(Value::as_str) == Some(text))
            }
        })
    }
}

fn copy(from: &Value, to: &mut Value, path: &[Step]) {
    match path.split_first() {
        None => to.clone_from(from),
        Some((Step::Field(name), rest)) => {
            let Some(child) = from.get(name) else { return };
            if !to.is_object() {
                *to = Value::Object(Map::new());
            }
            if let Some(fields) = to.as_object_mut() {
                copy(child, fields.entry(name.clone()).or_insert(Value::Null), rest);
            }
        }
        Some((Step::Place(0), rest)) => {
            let Some(child) = from.get(0) else { return };
            let mut item = to.get_mut(0).map(Value::take).unwrap_or_default();
            copy(child, &mut item, rest);
            *to = Value::Array(vec![item]);
        }
        // No column reads a spec so; a test sees to it.
        Some((Step::Place(_) | Step::Where(..), _)) => {}
    }
}

/// The steps of a path; none if it has more to it than this knows.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("[?(@.") {
            let (condition, after) = after.split_once(")]")?;
            let (field, text) = condition.split_once("==")?;
            let text = text.strip_prefix('"')?.strip_suffix('"')?;
            steps.push(Step::Where(field.to_owned(), text.to_owned()));
            rest = after;
        } else if let Some(after) = rest.strip_prefix('[') {
            let (place, after) = after.split_once(']')?;
            steps.push(Step::Place(place.parse().ok()?));
            rest = after;
        } else {
            let after = rest.strip_prefix('.')?;
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (name, after) = after.split_at_checked(end)?;
            steps.push(Step::Field(name.to_owned()));
            rest = after;
        }
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_column_of_every_definition_is_understood() {
        for kind in Kind::ALL {
            let defined = kind.definition()["spec"]["versions"][0]["additionalPrinterColumns"].clone();
            let columns = columns(kind);
            assert_eq!(columns.len(), defined.as_array().unwrap().len(), "{kind}");
            for Column { path, name, .. } in
                columns.iter().filter(|one| one.path[0] == Step::Field("spec".into()))
            {
                let is_simple = |step: &Step| !matches!(step, Step::Place(1..) | Step::Where(..));
                assert!(path.iter().all(is_simple), "{kind} {name}: `copy` does not know this");
            }
        }
    }

    #[test]
    fn of_a_spec_only_what_columns_show_is_taken() {
        let spec = json!({"gatewayRef": {"name": "edge", "namespace": "x"}, "order": 7, "match": {"always": true},
            "relay": {"hosts": [{"host": "a.example", "port": 25}, {"host": "b.example"}]}});
        let expected =
            json!({"gatewayRef": {"name": "edge"}, "order": 7, "relay": {"hosts": [{"host": "a.example"}]}});
        assert_eq!(shown(Kind::RelayRule, &spec), expected);
        assert_eq!(shown(Kind::RelayRule, &json!({})), json!({}));
    }
}
