//! A document as a tree that knows its lines. Pure.

use serde_json::{Map, Value};

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) content: Content,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Block(Vec<Field>),
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) value: Node,
}

impl Node {
    /// A block of these fields.
    pub(super) fn block(line: usize, fields: Vec<Field>) -> Self {
        Self { line, content: Content::Block(fields) }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.content, Content::Scalar(Value::Null))
    }

    /// The value without its lines.
    pub(super) fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => Value::Array(items.iter().map(Self::value).collect()),
            Content::Block(fields) => Value::Object(
                fields
                    .iter()
                    .map(|field| (field.name.clone(), field.value.value()))
                    .collect::<Map<String, Value>>(),
            ),
        }
    }

    /// The fields of a block; nothing elsewhere.
    pub(super) fn fields(&self) -> &[Field] {
        match &self.content {
            Content::Block(fields) => fields,
            Content::Scalar(_) | Content::List(_) => &[],
        }
    }

    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        self.fields().iter().find(|field| field.name == name)
    }

    /// The text of a field that is one.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match &self.field(name)?.value.content {
            Content::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// How many values there are in all.
    pub(super) fn size(&self) -> usize {
        match &self.content {
            Content::Scalar(_) => 1,
            Content::List(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Content::Block(fields) => 1 + fields.iter().map(|field| field.value.size()).sum::<usize>(),
        }
    }

    /// The line of a field such as `spec.listeners[0].port`; where it is not there (it is missing, perhaps), of what is nearest above it.
    pub(super) fn line_of(&self, path: &str) -> usize {
        let mut node = self;
        let mut line = self.line;
        let mut rest = path;
        while !rest.is_empty() {
            if let Some((place, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                let Content::List(items) = &node.content else { break };
                // A list by name: `spec.listeners[smtp]`.
                let item = match place.parse::<usize>() {
                    Ok(number) => items.get(number),
                    Err(_) => items.iter().find(|item| item.text("name") == Some(place)),
                };
                let Some(item) = item else { break };
                (node, line) = (item, item.line);
                rest = after.strip_prefix('.').unwrap_or(after);
                continue;
            }
            // Names of labels and of Secret keys have dots: the longest name that fits is meant.
            let fits = |field: &&Field| {
                rest.strip_prefix(field.name.as_str())
                    .is_some_and(|after| after.is_empty() || after.starts_with(['.', '[']))
            };
            let Some(field) = node.fields().iter().filter(fits).max_by_key(|field| field.name.len()) else {
                break;
            };
            (node, line) = (&field.value, field.line);
            let after = rest.get(field.name.len()..).unwrap_or_default();
            rest = after.strip_prefix('.').unwrap_or(after);
        }
        line
    }
}
