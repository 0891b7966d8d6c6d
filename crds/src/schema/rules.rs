//! The rules of a schema in CEL, asked of a document as the API server asks them: after defaults, and only of a document that is otherwise
//! right. Pure.

use std::sync::OnceLock;

use kube_cel::{CompiledSchema, ErrorKind, ValidationError, Validator, compile_schema};
use serde_json::Value;

use super::Defect;
use crate::Kind;

/// The rules of one schema, compiled when they are first asked.
pub(crate) struct Rules(OnceLock<CompiledSchema>);

impl Rules {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Every rule that does not hold. Rules about a change say nothing of a document alone.
    pub(crate) fn broken(&self, schema: &Value, document: &Value) -> Vec<Defect> {
        self.ask(schema, document, None).map(defect).collect()
    }

    /// Every rule about a change that does not hold of this one.
    pub(crate) fn broken_transitions(&self, schema: &Value, document: &Value, before: &Value) -> Vec<Defect> {
        let of_change = |error: &ValidationError| error.rule.contains(OLD);
        self.ask(schema, document, Some(before)).filter(of_change).map(defect).collect()
    }

    fn ask(
        &self,
        schema: &Value,
        document: &Value,
        before: Option<&Value>,
    ) -> impl Iterator<Item = ValidationError> + use<> {
        thread_local! {
            // It registers every function of Kubernetes' CEL when it is made.
            static VALIDATOR: Validator = Validator::new();
        }
        let compiled = self.0.get_or_init(|| compile_schema(schema));
        let outcome = VALIDATOR.with(|validator| validator.validate_compiled(compiled, document, before));
        outcome.err().into_iter().flatten()
    }
}

impl Kind {
    /// Whether some fields of this kind are for ever.
    pub(super) fn has_transitions(self) -> bool {
        let rules =
            self.schema().pointer("/properties/spec/x-kubernetes-validations").and_then(Value::as_array);
        let is_of_change =
            |rule: &Value| rule.get("rule").and_then(Value::as_str).is_some_and(|rule| rule.contains(OLD));
        rules.into_iter().flatten().any(is_of_change)
    }
}

/// How a rule names the object that is changed.
const OLD: &str = "oldSelf";

fn defect(error: ValidationError) -> Defect {
    Defect {
        path: error.field_path,
        message: match error.kind {
            ErrorKind::ValidationFailure => error.message,
            // A rule of ours that cannot be evaluated here: a test finds it before anybody meets it.
            _ => format!("cannot be checked here ({}): {}", error.rule, error.message),
        },
        unknown: false,
    }
}
