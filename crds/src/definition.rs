//! The custom resource definitions as the API server gets them: what the types say, tidied, with what types cannot say put in: kinds of lists,
//! patterns, rules in CEL, columns, the first status. Pure.

mod refine;
mod tables;
mod tidy;

use serde_json::{Value, json};

use crate::{GROUP, kind::Kind};

/// The definition of a kind, as JSON. `raw` is the one that is derived from its type.
pub(crate) fn finish(kind: Kind, mut raw: Value) -> Value {
    if let Some(schema) = raw.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        tidy::tidy(schema);
        refine::refine(schema, &tables::refinements(kind));
        if let Some(status) = schema.pointer_mut("/properties/status") {
            tidy::status(status);
        }
    }
    if let Some(version) = raw.pointer_mut("/spec/versions/0").and_then(Value::as_object_mut) {
        version.insert("additionalPrinterColumns".to_owned(), columns(kind));
    }
    raw
}

/// What a pattern of the schemas stands for, in words: "… is not {this}".
pub(crate) fn form(pattern: &str) -> String {
    tables::form(pattern).map_or_else(|| format!("of the form {pattern}"), str::to_owned)
}

/// Where the schema lies in a definition.
pub(crate) fn schema(definition: &Value) -> Option<&Value> {
    definition.pointer("/spec/versions/0/schema/openAPIV3Schema")
}

/// The file below `crds/yaml` that a definition is kept in: `posthouse.dev_maildomains.yaml`.
#[must_use]
pub fn file_name(kind: Kind) -> String {
    let plural = kind.definition().pointer("/spec/names/plural").and_then(Value::as_str).unwrap_or_default();
    format!("{GROUP}_{plural}.yaml")
}

/// A definition as it is applied: the text of its file, which a test holds to the types.
#[must_use]
pub fn yaml(kind: Kind) -> &'static str {
    match kind {
        Kind::MailGateway => include_str!("../yaml/posthouse.dev_mailgateways.yaml"),
        Kind::MailDomain => include_str!("../yaml/posthouse.dev_maildomains.yaml"),
        Kind::MailRecipients => include_str!("../yaml/posthouse.dev_mailrecipients.yaml"),
        Kind::RelayRule => include_str!("../yaml/posthouse.dev_relayrules.yaml"),
        Kind::Pop3Account => include_str!("../yaml/posthouse.dev_pop3accounts.yaml"),
        Kind::EtrnSchedule => include_str!("../yaml/posthouse.dev_etrnschedules.yaml"),
        Kind::MailSchedule => include_str!("../yaml/posthouse.dev_mailschedules.yaml"),
        Kind::MailUser => include_str!("../yaml/posthouse.dev_mailusers.yaml"),
    }
}

/// What a person wants to see in a list: the columns of the kind, then whether it works and how old it is.
fn columns(kind: Kind) -> Value {
    let own = tables::columns(kind)
        .iter()
        .map(|(name, path, of_type)| json!({"name": name, "jsonPath": path, "type": of_type, "priority": 0}));
    let common = [
        json!({"name": "Ready", "type": "string", "priority": 0,
            "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}),
        json!({"name": "Reason", "type": "string", "priority": 0,
            "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason"}),
        json!({"name": "Age", "type": "date", "priority": 0, "jsonPath": ".metadata.creationTimestamp"}),
        json!({"name": "Message", "type": "string", "priority": 1,
            "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message"}),
    ];
    own.chain(common).collect()
}
