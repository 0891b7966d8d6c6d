//! The rules of a schema in CEL, asked of a document as the API server asks them: after defaults, and only of a document that is otherwise
//! right. Pure.

use std::sync::OnceLock;

use kube_cel::{CompiledSchema, ErrorKind, Validator, compile_schema};
use serde_json::Value;

use super::Defect;

/// The rules of one schema, compiled when they are first asked.
pub(crate) struct Rules(OnceLock<CompiledSchema>);

impl Rules {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Every rule that does not hold. Rules about a change say nothing of a document alone.
    pub(crate) fn broken(&self, schema: &Value, document: &Value) -> Vec<Defect> {
        thread_local! {
            // It registers every function of Kubernetes' CEL when it is made.
            static VALIDATOR: Validator = Validator::new();
        }
        let compiled = self.0.get_or_init(|| compile_schema(schema));
        let outcome = VALIDATOR.with(|validator| validator.validate_compiled(compiled, document, None));
        let errors = outcome.err().map(kube_cel::ValidationErrors::into_vec).unwrap_or_default();
        let defect = |error: kube_cel::ValidationError| Defect {
            path: error.field_path,
            message: match error.kind {
                ErrorKind::ValidationFailure => error.message,
                // A rule of ours that cannot be evaluated here: a test finds it before anybody meets it.
                _ => format!("cannot be checked here ({}): {}", error.rule, error.message),
            },
            unknown: false,
        };
        errors.into_iter().map(defect).collect()
    }
}
