//! A tree to an object: which kind it is, whether it fits its schema, and every reason why not. Pure.

use std::{fmt, sync::Arc};

use k8s_openapi::api::core::v1::{Namespace, Secret};
use posthouse_compiler::{ObjectKey, Severity};
use posthouse_crds::{API_VERSION, GROUP, Kind, Object, ReadError};
use serde_json::{Map, Value};

use super::{
    lines::Lines,
    metadata,
    node::{Content, Node},
    secret,
    yaml::SyntaxError,
};
use crate::finding::{Finding, Place};

/// Where an object without a namespace belongs, as with kubectl.
const DEFAULT_NAMESPACE: &str = "default";

/// The one kind of others that may have been refused and is there nevertheless for what names it.
pub(super) const SECRET: &str = "Secret";

/// The longest list of objects within lists: `kind: List` inside `kind: List` is nothing that kubectl writes.
const MAX_LIST_DEPTH: usize = 3;

/// The fields of a namespace.
const OF_NAMESPACE: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

/// What an object is called: two documents with one identity describe one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Identity {
    /// Its kind.
    pub(crate) kind: String,
    /// Its namespace (empty for what has none) and name.
    pub(crate) key: ObjectKey,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.key.name)
        } else {
            write!(f, "{} {}", self.kind, self.key)
        }
    }
}

/// An object, and where it stands. What did not change from one reading to the next is the same object, not only an equal one.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) identity: Arc<Identity>,
    pub(crate) item: Item,
    pub(crate) file: Arc<str>,
    lines: Arc<Lines>,
    /// How many lines lie before those that are counted.
    offset: usize,
}

/// What a document describes.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// A resource of ours.
    Ours(Arc<Object>),
    /// A Secret.
    Secret(Arc<Secret>),
    /// A namespace.
    Namespace(Arc<Namespace>),
}

impl Document {
    /// Where a field of the object stands, or what is nearest above it.
    pub(crate) fn place(&self, field: Option<&str>) -> Place {
        let line = self.lines.of_field(field.unwrap_or_default()).saturating_add(self.offset);
        Place { file: Arc::clone(&self.file), line: Some(line) }
    }

    /// What an API server would say to this change of an object that it has: some fields are as they were made.
    pub(super) fn refused_changes(&self, before: &Self) -> Vec<Finding> {
        let refused = match (&self.item, &before.item) {
            (Item::Ours(now), Item::Ours(before)) if !Arc::ptr_eq(now, before) => now.refused_changes(before),
            (Item::Secret(now), Item::Secret(before)) if !Arc::ptr_eq(now, before) => {
                secret::refused_changes(now, before)
            }
            _ => Vec::new(),
        };
        let finding = |posthouse_crds::Defect { path, message, .. }| Finding {
            resource: Some((*self.identity).clone()),
            severity: Severity::Error,
            place: Some(self.place(Some(&path))),
            field: Some(path),
            reason: "InvalidValue".to_owned(),
            message,
        };
        refused.into_iter().map(finding).collect()
    }
}

/// What was made of a document, or of several.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) documents: Vec<Document>,
    pub(super) findings: Vec<Finding>,
    /// The objects that were described wrongly: what was known of them before stays.
    pub(super) refused: Vec<Arc<Identity>>,
    /// Whether something was refused that does not tell which object it is.
    pub(super) has_nameless: bool,
}

impl Outcome {
    /// Adds what was made of a part that stands behind so many lines.
    pub(super) fn extend_with(&mut self, part: &Self, lines: usize) {
        let Self { documents, findings, refused, has_nameless } = part;
        let documents = documents.iter().cloned();
        self.documents
            .extend(documents.map(|document| Document { offset: document.offset + lines, ..document }));
        self.findings.extend(findings.iter().cloned().map(|mut finding| {
            if let Some(line) = finding.place.as_mut().and_then(|place| place.line.as_mut()) {
                *line += lines;
            }
            finding
        }));
        self.refused.extend(refused.iter().cloned());
        self.has_nameless |= has_nameless;
    }
}

/// Reads one document into its objects.
pub(super) fn read(file: &Arc<str>, node: Node, outcome: &mut Outcome) {
    Reading { file, outcome }.document(node, 0);
}

/// Tells of a document that cannot be read, as far as it could.
pub(super) fn refuse(file: &Arc<str>, error: SyntaxError, outcome: &mut Outcome) {
    let SyntaxError { line, message, before } = error;
    let identity = identity(&Node::block(line, before));
    outcome.refused.extend(identity.clone().map(Arc::new));
    // More may have been meant to stand there than is known.
    outcome.has_nameless = true;
    outcome.findings.push(Finding {
        resource: identity,
        severity: Severity::Error,
        field: None,
        reason: "InvalidYaml".to_owned(),
        message,
        place: Some(Place { file: Arc::clone(file), line: Some(line) }),
    });
}

/// Which object a document describes, if it is of a kind that is read and has a name.
fn identity(node: &Node) -> Option<Identity> {
    let kind = node.text("kind")?;
    let has_namespace = match node.text("apiVersion")? {
        "v1" if kind == "Namespace" => false,
        "v1" if kind == SECRET => true,
        API_VERSION if kind.parse::<Kind>().is_ok() => true,
        _ => return None,
    };
    let metadata = &node.field("metadata")?.value;
    let text = |field| metadata.text(field).filter(|text| !text.is_empty());
    let namespace = if has_namespace { text("namespace").unwrap_or(DEFAULT_NAMESPACE) } else { "" };
    Some(Identity { kind: kind.to_owned(), key: ObjectKey::new(namespace, text("name")?) })
}

struct Reading<'a> {
    file: &'a Arc<str>,
    outcome: &'a mut Outcome,
}

impl Reading<'_> {
    fn document(&mut self, node: Node, depth: usize) {
        if !matches!(node.content, Content::Block(_)) {
            let message = "this is no object: a manifest has apiVersion, kind and metadata; write them, or move the text elsewhere";
            self.refuse_nameless(node.line, None, "NoObject", message);
            return;
        }
        for field in ["apiVersion", "kind"] {
            if node.text(field).is_none() {
                let message =
                    format!("every manifest says its {field}: add it, such as `{}`", example(field));
                self.refuse_nameless(node.line_of(field), Some(field), "MissingField", &message);
                return;
            }
        }
        let text = |field| node.text(field).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        match (api_version.as_str(), kind.as_str()) {
            ("v1", "List") => self.list(node, depth),
            ("v1", SECRET) => {
                self.known(&node, |value| secret::read(&value).map(|secret| Item::Secret(Arc::new(secret))));
            }
            ("v1", "Namespace") => self.known(&node, |value| {
                let fields = value.as_object().into_iter().flat_map(Map::keys);
                let unknown = fields.filter(|name| !OF_NAMESPACE.contains(&name.as_str()));
                let message =
                    || format!("there is no such field; the fields here are {}", OF_NAMESPACE.join(", "));
                let unknown: Vec<_> =
                    unknown.map(|name| Defect::new(name, "UnknownField", message())).collect();
                if !unknown.is_empty() {
                    return Err(unknown);
                }
                let namespace = serde_json::from_value(value);
                namespace
                    .map(|namespace| Item::Namespace(Arc::new(namespace)))
                    .map_err(|error| vec![Defect::new("metadata", "InvalidValue", error.to_string())])
            }),
            (version, _) if version.split('/').next() == Some(GROUP) => self.ours(&node, version, &kind),
            _ => {
                let place = Some(self.place(node.line_of("kind")));
                self.outcome.findings.push(Finding {
                    resource: None,
                    severity: Severity::Warning,
                    field: None,
                    reason: "ForeignKind".to_owned(),
                    message: format!(
                        "{api_version} {kind} is ignored: what is read is {API_VERSION}, Secret and Namespace"
                    ),
                    place,
                });
            }
        }
    }

    fn list(&mut self, node: Node, depth: usize) {
        let line = node.line;
        let Content::Block(fields) = node.content else { return };
        let items = fields.into_iter().find(|field| field.name == "items").map(|field| field.value);
        match items {
            Some(Node { content: Content::List(items), .. }) if depth < MAX_LIST_DEPTH => {
                for item in items {
                    self.document(item, depth + 1);
                }
            }
            Some(Node { content: Content::List(_), line }) => {
                self.refuse_nameless(line, Some("items"), "NestedLists", "lists lie in lists: take one out");
            }
            Some(Node { line, .. }) => {
                self.refuse_nameless(
                    line,
                    Some("items"),
                    "InvalidValue",
                    "items is a list of objects: correct it",
                );
            }
            None => self.refuse_nameless(line, Some("items"), "MissingField", "a List has items: add them"),
        }
    }

    fn ours(&mut self, node: &Node, version: &str, kind: &str) {
        if version != API_VERSION {
            let message = format!("there is no version {version} of this group: write {API_VERSION}");
            self.refuse_nameless(node.line_of("apiVersion"), Some("apiVersion"), "UnknownVersion", &message);
            return;
        }
        if let Err(unknown) = kind.parse::<Kind>() {
            let message = format!("{kind} is {unknown}: correct it");
            self.refuse_nameless(node.line_of("kind"), Some("kind"), "UnknownKind", &message);
            return;
        }
        self.known(node, |value| match Object::admit(value) {
            Ok(object) => Ok(Item::Ours(Arc::new(object))),
            Err(ReadError::Defects(defects)) => Err(defects
                .into_iter()
                .map(|defect| {
                    let reason = if defect.unknown { "UnknownField" } else { "InvalidValue" };
                    Defect::new(defect.path, reason, defect.message)
                })
                .collect()),
            Err(foreign @ ReadError::Foreign { .. }) => {
                Err(vec![Defect::new("kind", "UnknownKind", foreign.to_string())])
            }
        });
    }

    /// An object of a kind that is read: its metadata, then `read`.
    fn known(&mut self, node: &Node, read: impl FnOnce(Value) -> Result<Item, Vec<Defect>>) {
        let mut defects = metadata::defects(node);
        let identity = identity(node);
        let item = match read(metadata::normal(node.value())) {
            Ok(item) => Some(item),
            Err(more) => {
                defects.extend(more);
                None
            }
        };
        match (identity, item) {
            (Some(identity), Some(item)) if defects.is_empty() => {
                let item = item.in_namespace(&identity.key.namespace);
                let (identity, lines) = (Arc::new(identity), Arc::new(Lines::of(node)));
                let file = Arc::clone(self.file);
                self.outcome.documents.push(Document { identity, item, file, lines, offset: 0 });
            }
            (identity, _) => {
                let resource = identity.clone();
                for Defect { field, reason, message } in defects {
                    let place = Some(self.place(node.line_of(&field)));
                    let (resource, field) = (resource.clone(), Some(field));
                    let severity = Severity::Error;
                    self.outcome.findings.push(Finding {
                        resource,
                        severity,
                        field,
                        reason: reason.to_owned(),
                        message,
                        place,
                    });
                }
                match identity {
                    Some(identity) => self.outcome.refused.push(Arc::new(identity)),
                    None => self.outcome.has_nameless = true,
                }
            }
        }
    }

    fn refuse_nameless(&mut self, line: usize, field: Option<&str>, reason: &str, message: &str) {
        self.outcome.has_nameless = true;
        let place = Some(self.place(line));
        self.outcome.findings.push(Finding {
            resource: None,
            severity: Severity::Error,
            field: field.map(str::to_owned),
            reason: reason.to_owned(),
            message: message.to_owned(),
            place,
        });
    }

    fn place(&self, line: usize) -> Place {
        Place { file: Arc::clone(self.file), line: Some(line) }
    }
}

impl Item {
    fn in_namespace(mut self, namespace: &str) -> Self {
        match &mut self {
            Self::Ours(object) => Arc::make_mut(object).metadata_mut().namespace = Some(namespace.to_owned()),
            Self::Secret(secret) => Arc::make_mut(secret).metadata.namespace = Some(namespace.to_owned()),
            Self::Namespace(_) => {}
        }
        self
    }
}

/// What is wrong with one field of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Defect {
    pub(super) field: String,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Defect {
    pub(super) fn new(field: impl Into<String>, reason: &'static str, message: impl Into<String>) -> Self {
        Self { field: field.into(), reason, message: message.into() }
    }
}

fn example(field: &str) -> &'static str {
    if field == "kind" { "kind: MailGateway" } else { "apiVersion: posthouse.dev/v1alpha1" }
}
