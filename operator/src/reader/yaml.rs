//! Text to trees: YAML 1.1 as kubectl reads it, and JSON, which is a part of it. Each broken document is one error; those after it are read.
//! Pure.
//!
//! The events come from serde-saphyr's parser: values and lines are of one reading and cannot disagree. What an anchor names is copied where an
//! alias stands, within a budget, so that no small file makes a large tree.

use std::collections::HashMap;

use serde_json::Value;
use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::{
    node::{Content, Field, Node},
    scalar,
};

/// The most values that the documents of one file may have, copies by aliases included: 100 times the largest `MailRecipients`.
pub(super) const MAX_VALUES: usize = 1_000_000;

/// After so many broken documents a file is no collection of manifests.
const MAX_BROKEN: usize = 100;

/// Why a document is none.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) message: String,
    /// What was read of the document before: its `kind` and `metadata` mostly, so that it is known whose words these are.
    pub(super) before: Vec<Field>,
}

impl SyntaxError {
    fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into(), before: Vec::new() }
    }
}

/// The documents of a text, empty ones left out.
#[cfg(test)]
pub(super) fn documents(text: &str) -> Vec<Result<Node, SyntaxError>> {
    let mut parts = Parts::of(text);
    let mut documents = Vec::new();
    while let Some(part) = parts.read() {
        documents.extend(part.documents);
    }
    documents
}

/// A text from one explicit start of a document (`---`) to the next: what lies between two of them means the same wherever it stands, so that
/// whoever knows it from an earlier reading need not parse it again.
#[derive(Debug)]
pub(super) struct Parts<'t> {
    rest: &'t str,
    /// How many lines lie before the rest.
    line: usize,
    /// Directives (`%TAG`) reach over the start of the document that follows: with them all is one part.
    is_divisible: bool,
    cost: Cost,
}

/// What a text has used up of what one file may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    values: usize,
    broken: usize,
}

/// What was read of one part.
#[derive(Debug)]
pub(super) struct Part<'t> {
    /// Exactly what was read.
    pub(super) text: &'t str,
    /// Whether another one follows: what ends with the file may mean something else when it goes on.
    pub(super) is_followed: bool,
    /// Its documents, empty ones left out. Lines count from its own beginning.
    pub(super) documents: Vec<Result<Node, SyntaxError>>,
    pub(super) cost: Cost,
}

impl<'t> Parts<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        let has_directive = |line_end: &str| rest.contains(line_end);
        let is_divisible = !(rest.starts_with('%') || has_directive("\n%") || has_directive("\r%"));
        Self { rest, line: 0, is_divisible, cost: Cost::default() }
    }

    /// How many lines lie before what comes next.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The text that looks like the next part, and whether another one seems to follow. It is a guess, and true if a part of this very text was
    /// read before: the parser goes from left to right, and found its end there.
    pub(super) fn guess(&self) -> Option<(&'t str, bool)> {
        if !self.is_divisible || self.rest.is_empty() {
            return None;
        }
        let mut from = 0;
        while let Some(found) = self.rest.get(from..).and_then(|rest| rest.find("\n---")) {
            let end = from + found + 1;
            let (part, after) = self.rest.split_at_checked(end)?;
            let after = after.strip_prefix("---").unwrap_or(after);
            if after.is_empty() || after.starts_with([' ', '\t', '\n', '\r']) {
                return Some((part, true));
            }
            from = end;
        }
        Some((self.rest, false))
    }

    /// Goes on behind a part that is known from before.
    pub(super) fn skip(&mut self, text: &str, cost: Cost) {
        self.cost.values += cost.values;
        self.cost.broken += cost.broken;
        self.advance(text.len());
    }

    /// Parses the next part; nothing if there is none, or the file has used up what it may.
    pub(super) fn read(&mut self) -> Option<Part<'t>> {
        if self.rest.is_empty() || self.cost.is_spent() {
            return None;
        }
        let mut options = Options::default();
        options.set_emit_comments(false);
        let parser = Parser::new_from_str_with_options(self.rest, options);
        let before = self.cost;
        let mut reading = Reading {
            parser,
            anchors: HashMap::new(),
            cost: before,
            is_divisible: self.is_divisible,
            end: None,
            depth: 0,
            header: Vec::new(),
        };
        let mut documents = Vec::new();
        loop {
            match reading.next_document() {
                Ok(None) => break,
                Ok(Some(Node { content: Content::Scalar(Value::Null), .. })) => {}
                Ok(Some(node)) => documents.push(Ok(node)),
                Err(mut error) => {
                    error.before = std::mem::take(&mut reading.header);
                    documents.push(Err(error));
                    reading.cost.broken += 1;
                    if reading.cost.is_spent() || !reading.parser.proceed_next_document().unwrap_or(false) {
                        break;
                    }
                }
            }
        }
        let (end, after) = (reading.end, reading.cost);
        self.cost = after;
        let text = end.and_then(|end| self.rest.get(..end)).unwrap_or(self.rest);
        let is_followed = text.len() < self.rest.len();
        self.advance(text.len());
        let cost = Cost { values: after.values - before.values, broken: after.broken - before.broken };
        Some(Part { text, is_followed, documents, cost })
    }

    fn advance(&mut self, length: usize) {
        let (done, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.line += done.bytes().filter(|octet| *octet == b'\n').count();
        self.rest = rest;
    }
}

impl Cost {
    fn is_spent(self) -> bool {
        self.broken >= MAX_BROKEN || self.values > MAX_VALUES
    }
}

struct Reading<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Node>,
    cost: Cost,
    is_divisible: bool,
    /// Where the next part begins, once that is seen.
    end: Option<usize>,
    depth: usize,
    /// What the document says of itself, as far as it is read.
    header: Vec<Field>,
}

/// The fields by which a document tells which object it describes.
const HEADER: [&str; 3] = ["apiVersion", "kind", "metadata"];

impl<'t> Reading<'t> {
    fn next_document(&mut self) -> Result<Option<Node>, SyntaxError> {
        self.anchors.clear();
        self.header.clear();
        self.depth = 0;
        loop {
            match self.next_event()? {
                None | Some((Event::StreamEnd, _)) => return Ok(None),
                Some((Event::DocumentStart(true, _), span)) if self.is_divisible => {
                    self.end = span.start.byte_offset().filter(|offset| *offset > 0);
                    if self.end.is_some() {
                        return Ok(None);
                    }
                }
                Some((Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _)) => {}
                Some((event, span)) => return self.node(event, span).map(Some),
            }
        }
    }

    fn next_event(&mut self) -> Result<Option<(Event<'t>, Span)>, SyntaxError> {
        self.parser.next_event().transpose().map_err(|error: ScanError| {
            let why = error.info();
            let message = format!("this is no YAML: {why}; correct it from here on, or from just before");
            SyntaxError::new(error.marker().line(), message)
        })
    }

    /// The event within a collection; the parser ends none without its end.
    fn expect_event(&mut self) -> Result<(Event<'t>, Span), SyntaxError> {
        self.next_event()?.ok_or_else(|| SyntaxError::new(0, "the file ends too early"))
    }

    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Node, SyntaxError> {
        let line = span.start.line();
        self.count(1, line)?;
        let (content, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (Content::Scalar(scalar_value(&text, style, tag.as_deref(), line)?), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                refuse_foreign_tag(tag.as_deref(), "seq", line)?;
                (Content::List(self.items()?), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                refuse_foreign_tag(tag.as_deref(), "map", line)?;
                (Content::Block(self.fields()?), anchor)
            }
            Event::Alias(anchor) => {
                let Some(named) = self.anchors.get(&anchor) else {
                    let message = "the alias stands inside what it names: write it out".to_owned();
                    return Err(SyntaxError::new(line, message));
                };
                let (named, size) = (named.clone(), named.size());
                self.count(size, line)?;
                // The copy is where the alias stands; what is inside it is where it was written.
                return Ok(Node { line, content: named.content });
            }
            _ => return Err(SyntaxError::new(line, "there is no value here: write one")),
        };
        let node = Node { line, content };
        if anchor != 0 {
            self.count(node.size(), line)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn items(&mut self) -> Result<Vec<Node>, SyntaxError> {
        let mut items = Vec::new();
        self.depth += 1;
        loop {
            match self.expect_event()? {
                (Event::SequenceEnd, _) => {
                    self.depth -= 1;
                    return Ok(items);
                }
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn fields(&mut self) -> Result<Vec<Field>, SyntaxError> {
        let mut fields: Vec<Field> = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        let mut merged = Vec::new();
        self.depth += 1;
        loop {
            let (event, span) = match self.expect_event()? {
                (Event::MappingEnd, _) => break,
                other => other,
            };
            let line = span.start.line();
            let is_merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.node(event, span)?;
            let (event, span) = self.expect_event()?;
            let value = self.node(event, span)?;
            if is_merge {
                merged.extend(merge_sources(value)?);
                continue;
            }
            let name = key_name(key)?;
            if let Some(first) = lines.insert(name.clone(), line) {
                let message = format!("{name} is given twice, first in line {first}: keep one");
                return Err(SyntaxError::new(line, message));
            }
            if self.depth == 1 && HEADER.contains(&name.as_str()) {
                self.header.push(Field { name: name.clone(), line, value: value.clone() });
            }
            fields.push(Field { name, line, value });
        }
        self.depth -= 1;
        // A field of the block itself counts before a merged one, and an earlier source before a later one.
        for field in merged {
            if !lines.contains_key(&field.name) {
                lines.insert(field.name.clone(), field.line);
                fields.push(field);
            }
        }
        Ok(fields)
    }

    fn count(&mut self, values: usize, line: usize) -> Result<(), SyntaxError> {
        self.cost.values += values;
        if self.cost.values > MAX_VALUES {
            let message =
                format!("the file has more than {MAX_VALUES} values: split it, or use fewer aliases");
            return Err(SyntaxError::new(line, message));
        }
        Ok(())
    }
}

fn scalar_value(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    line: usize,
) -> Result<Value, SyntaxError> {
    match tag {
        None if style == ScalarStyle::Plain && scalar::is_no_number_of_json(text) => Err(SyntaxError::new(
            line,
            format!("JSON, and so Kubernetes, has no number {text}: put it in quotes"),
        )),
        None if style == ScalarStyle::Plain => Ok(scalar::resolve(text)),
        None => Ok(Value::String(text.to_owned())),
        Some(tag) => {
            let kind = tag.core_suffix().ok_or_else(|| foreign_tag(tag, line))?;
            let message =
                || format!("the value does not fit its tag !!{kind}: correct it, or leave the tag out");
            scalar::tagged(kind, text).ok_or_else(|| SyntaxError::new(line, message()))
        }
    }
}

fn refuse_foreign_tag(tag: Option<&Tag>, own: &str, line: usize) -> Result<(), SyntaxError> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema_tag(own) => Err(foreign_tag(tag, line)),
        _ => Ok(()),
    }
}

fn foreign_tag(tag: &Tag, line: usize) -> SyntaxError {
    SyntaxError::new(line, format!("the tag {} means nothing here: leave it out", tag.original()))
}

/// A key as kubectl makes JSON of it.
fn key_name(key: Node) -> Result<String, SyntaxError> {
    match key.content {
        Content::Scalar(Value::String(text)) => Ok(text),
        Content::Scalar(value @ (Value::Bool(_) | Value::Number(_))) => Ok(value.to_string()),
        Content::Scalar(_) | Content::List(_) | Content::Block(_) => {
            Err(SyntaxError::new(key.line, "a field's name is a text: correct it"))
        }
    }
}

fn merge_sources(value: Node) -> Result<Vec<Field>, SyntaxError> {
    let refused =
        |line| SyntaxError::new(line, "`<<` takes a block of fields, or a list of them: correct it");
    match value.content {
        Content::Block(fields) => Ok(fields),
        Content::List(items) => {
            let mut fields = Vec::new();
            for item in items {
                let Content::Block(more) = item.content else { return Err(refused(item.line)) };
                fields.extend(more);
            }
            Ok(fields)
        }
        Content::Scalar(_) => Err(refused(value.line)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(text: &str) -> Vec<Result<Value, usize>> {
        documents(text)
            .into_iter()
            .map(|document| document.map(|node| node.value()).map_err(|error| error.line))
            .collect()
    }

    #[test]
    fn documents_are_read_one_by_one() {
        let text = "# only a comment\n---\na: yes\n---\n---\nb: 'yes'\n...\n";
        assert_eq!(values(text), [Ok(json!({"a": true})), Ok(json!({"b": "yes"}))]);
        assert_eq!(values(""), []);
    }

    #[test]
    fn a_broken_document_harms_only_itself() {
        let text = "a: 1\n---\nb: [1\nc: }\n---\nd: 2\n";
        let read = values(text);
        assert_eq!(read.first(), Some(&Ok(json!({"a": 1}))));
        assert!(matches!(read.get(1), Some(Err(3..=5))), "{read:?}");
        assert_eq!(read.last(), Some(&Ok(json!({"d": 2}))));
    }

    #[test]
    fn a_field_that_is_given_twice_is_refused_with_both_lines() {
        let errors: Vec<_> = documents("a: 1\nb: 2\na: 3\n").into_iter().filter_map(Result::err).collect();
        assert_eq!(errors[0].line, 3);
        assert!(errors[0].message.contains("first in line 1"), "{}", errors[0].message);
    }

    #[test]
    fn json_is_read_with_its_lines() {
        let read = documents("{\n\t\"a\": {\"b\": [1,\n\t\t2]},\n\t\"c\": \"\\u00e9\\/\"\n}\n");
        let node = read[0].as_ref().unwrap();
        assert_eq!(node.value(), json!({"a": {"b": [1, 2]}, "c": "é/"}));
        assert_eq!((node.line_of("a.b[1]"), node.line_of("c")), (3, 4));
    }

    #[test]
    fn aliases_are_copied_and_merged_within_a_budget() {
        let text = "base: &base {x: 1, z: 2}\nown: {<<: *base, z: 3}\nsame: *base\n";
        assert_eq!(
            values(text),
            [Ok(json!({"base": {"x": 1, "z": 2}, "own": {"z": 3, "x": 1}, "same": {"x": 1, "z": 2}}))]
        );
        let level = |level: usize| {
            let copies = vec![format!("*a{}", level - 1); 10].join(", ");
            format!("a{level}: &a{level} [{copies}]\n")
        };
        let bomb: String = std::iter::once("a0: &a0 [x]\n".to_owned()).chain((1..9).map(level)).collect();
        let errors: Vec<_> = documents(&bomb).into_iter().filter_map(Result::err).collect();
        assert!(errors[0].message.contains("more than 1000000 values"), "{}", errors[0].message);
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_crash() {
        let read = values(&"[".repeat(100_000));
        assert!(read[0].is_err());
    }

    #[test]
    fn the_line_of_what_is_missing_is_the_one_above_it() {
        let read = documents(
            "metadata:\n  labels: {a.b/c: x}\nspec:\n  hosts:\n  - host: a\n  - name: second\n    port: 7\n",
        );
        let node = read[0].as_ref().unwrap();
        for (path, line) in [
            ("spec.hosts[1].port", 7),
            ("spec.hosts[second].port", 7),
            ("spec.hosts[1].host", 6),
            ("spec.hosts[7]", 4),
            ("metadata.labels.a.b/c", 2),
            ("status", 1),
        ] {
            assert_eq!(node.line_of(path), line, "{path}");
        }
    }
}
