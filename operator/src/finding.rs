//! What there is to say about the manifests, in one form for the reader's problems and the compiler's verdicts. Pure.

use std::{collections::HashSet, fmt, hash::Hash, sync::Arc};

use posthouse_compiler::Severity;
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::reader::Identity;

/// One thing worth saying: about a resource, or about a place in a file that is no resource yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The resource; absent where the document does not tell.
    pub(crate) resource: Option<Identity>,
    /// Whether something is refused, or only worth knowing.
    pub(crate) severity: Severity,
    /// The field: `spec.relay.tls`.
    pub(crate) field: Option<String>,
    /// Why, in one word.
    pub(crate) reason: String,
    /// What is wrong, and the cure.
    pub(crate) message: String,
    /// Where in the manifests.
    pub(crate) place: Option<Place>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The file, as it lies in the folder.
    pub(crate) file: Arc<str>,
    /// The line, from 1; absent where it is about the file as a whole.
    pub(crate) line: Option<usize>,
}

impl Finding {
    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// What it speaks of: two findings with one subject are the same one, perhaps in other words or from another line.
    fn subject(&self) -> (Option<&Identity>, Option<&str>, &str, Option<&str>) {
        let file = self.place.as_ref().filter(|_| self.resource.is_none());
        let file = file.map(|place| &*place.file);
        (self.resource.as_ref(), self.field.as_deref(), &self.reason, file)
    }

    /// All of it but where it stands.
    fn wording(&self) -> (impl Eq + Hash + '_, Severity, &str) {
        (self.subject(), self.severity, &self.message)
    }
}

impl fmt::Display for Finding {
    /// `Warning RelayRule mail/customer-a spec.relay.tls: NotSupportedYet: … (rules.yaml:12)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name(self.severity))?;
        match (&self.resource, &self.place) {
            (Some(resource), _) => write!(f, " {resource}")?,
            (None, Some(place)) => write!(f, " {place}")?,
            (None, None) => {}
        }
        if let Some(field) = &self.field {
            write!(f, " {field}")?;
        }
        write!(f, ": {}: {}", self.reason, self.message)?;
        match (&self.resource, &self.place) {
            (Some(_), Some(place)) => write!(f, " ({place})"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "Error",
        Severity::Warning => "Warning",
    }
}

impl Serialize for Finding {
    /// One flat object: `{"kind", "namespace", "name", "file", "line", "severity", "reason", "field", "message"}`; what is not known is left out.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { resource, severity, field, reason, message, place } = self;
        let mut map = serializer.serialize_map(None)?;
        if let Some(Identity { kind, key }) = resource {
            map.serialize_entry("kind", kind)?;
            if !key.namespace.is_empty() {
                map.serialize_entry("namespace", &key.namespace)?;
            }
            map.serialize_entry("name", &key.name)?;
        }
        if let Some(Place { file, line }) = place {
            map.serialize_entry("file", &**file)?;
            if let Some(line) = line {
                map.serialize_entry("line", line)?;
            }
        }
        map.serialize_entry("severity", name(*severity))?;
        map.serialize_entry("reason", reason)?;
        if let Some(field) = field {
            map.serialize_entry("field", field)?;
        }
        map.serialize_entry("message", message)?;
        map.end()
    }
}

/// How a set of findings became another one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// What was not said before, or not in these words.
    pub(crate) new: Vec<Finding>,
    /// What holds no more.
    pub(crate) gone: Vec<Finding>,
}

/// What changed from one set to the next. A finding that only moved to another line is not worth a line itself.
pub(crate) fn changes(before: &[Finding], after: &[Finding]) -> Changes {
    let said: HashSet<_> = before.iter().map(Finding::wording).collect();
    let subjects: HashSet<_> = after.iter().map(Finding::subject).collect();
    Changes {
        new: after.iter().filter(|finding| !said.contains(&finding.wording())).cloned().collect(),
        gone: before.iter().filter(|finding| !subjects.contains(&finding.subject())).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use posthouse_compiler::ObjectKey;

    use super::*;

    fn finding(field: &str, message: &str, line: usize) -> Finding {
        Finding {
            resource: Some(Identity {
                kind: "RelayRule".to_owned(),
                key: ObjectKey::new("mail", "customer-a"),
            }),
            severity: Severity::Warning,
            field: Some(field.to_owned()),
            reason: "NotSupportedYet".to_owned(),
            message: message.to_owned(),
            place: Some(Place { file: "rules.yaml".into(), line: Some(line) }),
        }
    }

    #[test]
    fn a_finding_reads_as_one_line() {
        assert_eq!(
            finding("spec.relay.tls", "it is not built yet", 12).to_string(),
            "Warning RelayRule mail/customer-a spec.relay.tls: NotSupportedYet: it is not built yet (rules.yaml:12)"
        );
        let nameless = Finding { resource: None, field: None, ..finding("", "not YAML", 3) };
        assert_eq!(nameless.to_string(), "Warning rules.yaml:3: NotSupportedYet: not YAML");
    }

    #[test]
    fn only_what_is_new_changed_or_gone_is_told() {
        let before = [finding("a", "stays", 1), finding("b", "old words", 2), finding("c", "goes", 3)];
        let after = [finding("a", "stays", 9), finding("b", "new words", 2), finding("d", "comes", 3)];
        let Changes { new, gone } = changes(&before, &after);
        assert_eq!(new, [finding("b", "new words", 2), finding("d", "comes", 3)]);
        assert_eq!(gone, [finding("c", "goes", 3)]);
        assert_eq!(changes(&after, &after), Changes::default());
    }
}
