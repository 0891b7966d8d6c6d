//! What the compiler and the reader say about a resource, by resource, and how several remarks become one message. Pure.

use std::{borrow::Cow, collections::HashMap};

use posthouse_compiler::{Condition, ObjectKey, Verdict};
use posthouse_crds::Kind;

use super::observation::Observation;
use crate::finding::Finding;

/// As many remarks as a person reads in one message; `validate` prints all.
const MOST_REMARKS: usize = 8;

/// No message gets longer, in characters: a condition may have 32768, but somebody has to read it.
const MOST_CHARACTERS: usize = 4096;

/// How a message ends that leaves remarks out. Not how many: a number would change with each of them.
const MORE: &str = "and more: run posthouse-operator validate";

/// Findings that belong to another condition than `Accepted`: what stands in the way is not the manifest.
const NOT_PROGRAMMED: [&str; 3] = ["CannotListen", "SamePorts", "NotProgrammed"];

/// Findings that only repeat what becomes of a refused resource.
const REPEATED: [&str; 3] = ["StaysInForce", "MailWaits", "NotInForce"];

/// One thing that is said of a resource.
#[derive(Clone, Debug)]
pub(super) struct Remark<'a> {
    pub(super) condition: Condition,
    /// Whether the condition is true all the same.
    pub(super) status: bool,
    pub(super) is_error: bool,
    /// It is about the form, so the compiler never saw it.
    pub(super) is_form: bool,
    pub(super) reason: Cow<'a, str>,
    field: Option<&'a str>,
    message: &'a str,
}

/// The remarks of all resources.
#[derive(Debug, Default)]
pub(super) struct Remarks<'a>(HashMap<(Kind, &'a ObjectKey), Vec<Remark<'a>>>);

impl<'a> Remarks<'a> {
    pub(super) fn of(observation: &Observation<'a>) -> Self {
        let mut all: HashMap<_, Vec<Remark<'a>>> = HashMap::new();
        for verdict in &observation.compilation.verdicts {
            all.entry((verdict.kind, &verdict.key)).or_default().push(of_verdict(verdict));
        }
        for finding in observation.findings {
            let Some(identity) = &finding.resource else { continue };
            let Ok(kind) = identity.kind.parse::<Kind>() else { continue };
            let remarks = all.entry((kind, &identity.key)).or_default();
            let is_known = |one: &Remark<'_>| {
                one.reason == finding.reason
                    && one.field == finding.field.as_deref()
                    && one.message == finding.message
            };
            if !REPEATED.contains(&finding.reason.as_str()) && !remarks.iter().any(is_known) {
                remarks.push(of_finding(finding));
            }
        }
        for remarks in all.values_mut() {
            remarks.sort_by_key(|remark| !remark.is_error); // stable: verdicts come sorted
        }
        Self(all)
    }

    pub(super) fn about(&self, kind: Kind, key: &'a ObjectKey) -> &[Remark<'a>] {
        self.0.get(&(kind, key)).map_or(&[], Vec::as_slice)
    }
}

fn of_verdict(verdict: &Verdict) -> Remark<'_> {
    Remark {
        condition: verdict.condition,
        status: verdict.status,
        is_error: verdict.severity == posthouse_compiler::Severity::Error,
        is_form: false,
        reason: verdict.reason.to_string().into(),
        field: verdict.field.as_deref(),
        message: &verdict.message,
    }
}

fn of_finding(finding: &Finding) -> Remark<'_> {
    let is_error = finding.is_error();
    let is_outside = NOT_PROGRAMMED.contains(&finding.reason.as_str());
    Remark {
        condition: if is_outside { Condition::Programmed } else { Condition::Accepted },
        status: !is_error,
        is_error,
        is_form: is_error && !is_outside,
        reason: finding.reason.as_str().into(),
        field: finding.field.as_deref(),
        message: &finding.message,
    }
}

/// One message of several remarks: the first ones, and where to find the rest.
pub(super) fn joined<'a>(remarks: impl IntoIterator<Item = &'a Remark<'a>>) -> String {
    let mut message = String::new();
    for (place, Remark { field, message: text, .. }) in remarks.into_iter().enumerate() {
        let separator = if place == 0 { "" } else { "; " };
        let part = field.map_or_else(|| format!("{separator}{text}"), |f| format!("{separator}{f}: {text}"));
        let room = MOST_CHARACTERS.saturating_sub(message.chars().count());
        if place >= MOST_REMARKS || part.chars().count() + MORE.len() + 2 > room {
            message.push_str(separator);
            message.push_str(MORE);
            break;
        }
        message.push_str(&part);
    }
    message
}
