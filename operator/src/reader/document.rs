//! A tree to an object: which kind it is, whether it fits its schema, and every reason why not. Pure.

use std::{fmt, sync::Arc};

use k8s_openapi::api::core::v1::{Namespace, Secret};
use posthouse_compiler::{ObjectKey, Severity};
use posthouse_crds::{API_VERSION, GROUP, Kind, Object, ReadError};

use super::{
    metadata,
    node::{Content, Node},
    secret,
};
use crate::finding::{Finding, Place};

/// Where an object without a namespace belongs, as with kubectl.
const DEFAULT_NAMESPACE: &str = "default";

/// The longest list of objects within lists: `kind: List` inside `kind: List` is nothing that kubectl writes.
const MAX_LIST_DEPTH: usize = 3;

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

/// An object, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) identity: Identity,
    pub(crate) item: Item,
    pub(crate) file: Arc<str>,
    node: Arc<Node>,
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
        let line = self.node.line_of(field.unwrap_or_default());
        Place { file: Arc::clone(&self.file), line: Some(line) }
    }

    /// Why an API server would not let it in.
    pub(crate) fn breaches(&self) -> Vec<Finding> {
        let Item::Ours(object) = &self.item else { return Vec::new() };
        let breaches = object.kind().breaches(&self.node.value());
        let finding = |breach: posthouse_crds::Defect| Finding {
            resource: Some(self.identity.clone()),
            severity: Severity::Error,
            place: Some(self.place(Some(&breach.path))),
            field: Some(breach.path),
            reason: "InvalidValue".to_owned(),
            message: breach.message,
        };
        breaches.into_iter().map(finding).collect()
    }
}

/// What was made of one document.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) documents: Vec<Document>,
    pub(super) findings: Vec<Finding>,
    /// The objects that were described wrongly: what was known of them before stays.
    pub(super) refused: Vec<Identity>,
    /// Whether something was refused that does not tell which object it is.
    pub(super) has_nameless: bool,
}

/// Reads one document into its objects.
pub(super) fn read(file: &Arc<str>, node: Node, outcome: &mut Outcome) {
    Reading { file, outcome }.document(node, 0);
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
            ("v1", "Secret") => self.known(node, &kind, Some(DEFAULT_NAMESPACE), |node| {
                let value = node.value();
                secret::read(&value).map(|secret| Item::Secret(Arc::new(secret)))
            }),
            ("v1", "Namespace") => self.known(node, &kind, None, |node| {
                let namespace = serde_json::from_value(node.value());
                namespace
                    .map(|namespace| Item::Namespace(Arc::new(namespace)))
                    .map_err(|error| vec![Defect::new("metadata", "InvalidValue", error.to_string())])
            }),
            (version, _) if version.split('/').next() == Some(GROUP) => self.ours(node, version, &kind),
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

    fn ours(&mut self, node: Node, version: &str, kind: &str) {
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
        self.known(node, kind, Some(DEFAULT_NAMESPACE), |node| match Object::read(node.value()) {
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
    fn known(
        &mut self,
        node: Node,
        kind: &str,
        default_namespace: Option<&str>,
        read: impl FnOnce(&Node) -> Result<Item, Vec<Defect>>,
    ) {
        let mut defects = metadata::defects(&node);
        let metadata_node = node.field("metadata").map(|field| &field.value);
        let text = |field| metadata_node.and_then(|node| node.text(field)).filter(|text| !text.is_empty());
        let namespace = default_namespace.map(|default| text("namespace").unwrap_or(default));
        let identity = text("name").map(|name| Identity {
            kind: kind.to_owned(),
            key: ObjectKey::new(namespace.unwrap_or_default(), name),
        });
        let item = match read(&node) {
            Ok(item) => Some(item),
            Err(more) => {
                defects.extend(more);
                None
            }
        };
        match (identity, item) {
            (Some(identity), Some(item)) if defects.is_empty() => {
                let item = item.in_namespace(&identity.key.namespace);
                let (file, node) = (Arc::clone(self.file), Arc::new(node));
                self.outcome.documents.push(Document { identity, item, file, node });
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
                    Some(identity) => self.outcome.refused.push(identity),
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
