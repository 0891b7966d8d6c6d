//! What there is to say about the manifests, in one form for the reader's problems and the compiler's verdicts. Pure.

use std::{collections::HashSet, fmt, hash::Hash, sync::Arc};

use posthouse_compiler::Severity;
use serde::{Serialize, Serializer};

/// One thing worth saying: about a resource, or about a place in a file that is no resource yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finding {
    /// Kind and name: `RelayRule mail/customer-a`; absent where the document does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resource: Option<String>,
    /// Whether something is refused, or only worth knowing.
    #[serde(serialize_with = "severity_name")]
    pub(crate) severity: Severity,
    /// The field: `spec.relay.tls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
    /// Why, in one word.
    pub(crate) reason: String,
    /// What is wrong, and the cure.
    pub(crate) message: String,
    /// Where in the manifests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<Place>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Place {
    /// The file, as it lies in the folder.
    #[serde(serialize_with = "text")]
    pub(crate) file: Arc<str>,
    /// The line, from 1; absent where it is about the file as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
}

impl Finding {
    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// What it speaks of: two findings with one subject are the same one, perhaps in other words or from another line.
    fn subject(&self) -> (Option<&str>, Option<&str>, &str, Option<&str>) {
        let file = self.place.as_ref().filter(|_| self.resource.is_none());
        let file = file.map(|place| &*place.file);
        (self.resource.as_deref(), self.field.as_deref(), &self.reason, file)
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

#[allow(clippy::trivially_copy_pass_by_ref)] // serde hands in a reference
fn severity_name<S: Serializer>(severity: &Severity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name(*severity))
}

fn text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
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
    use super::*;

    fn finding(field: &str, message: &str, line: usize) -> Finding {
        Finding {
            resource: Some("RelayRule mail/customer-a".to_owned()),
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
