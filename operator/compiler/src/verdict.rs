//! What the compiler says about one resource: which condition, why, where, and what to do about it. Pure.

use std::{collections::BTreeMap, fmt};

use posthouse_crds::Kind;

use crate::{reason::Reason, resources::ObjectKey};

/// The condition that a verdict belongs to. A condition that no verdict speaks of is as good as the resource lets it be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// Parsed, attached, granted, no conflict.
    Accepted,
    /// The Secrets, schedules and resources that it names exist; hosts are allowed.
    ResolvedRefs,
    /// The nodes do what it says.
    Programmed,
    /// It can never take effect.
    Shadowed,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f) // the variants are named as the API names them
    }
}

/// How much a verdict weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The resource, or a part of it, is refused.
    Error,
    /// The resource holds; something about it is worth knowing.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// What the compiler says about one resource. Sorted by resource, then by weight and place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Verdict {
    /// The resource's kind.
    pub kind: Kind,
    /// The resource.
    pub key: ObjectKey,
    /// Whether it refuses something or only warns.
    pub severity: Severity,
    /// The field: `spec.listeners[0].port`; absent where it is about the whole.
    pub field: Option<String>,
    /// Why.
    pub reason: Reason,
    /// The condition that carries it.
    pub condition: Condition,
    /// Whether the condition is true.
    pub status: bool,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl fmt::Display for Verdict {
    /// `error MailDomain mail/example-com spec.domain: DomainClaimed: …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.severity, self.kind, self.key)?;
        if let Some(field) = &self.field {
            write!(f, " {field}")?;
        }
        write!(f, ": {}: {}", self.reason, self.message)
    }
}

/// What is wrong with a field, whoever's it is: what parsing remembers, for each compilation to say.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    field: String,
    reason: Reason,
    message: String,
}

impl Fault {
    pub(crate) fn new(field: impl Into<String>, reason: Reason, message: impl Into<String>) -> Self {
        Self { field: field.into(), reason, message: message.into() }
    }
}

/// The verdicts of one compilation, as they are found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    verdicts: Vec<Verdict>,
    errors: usize,
    missing: usize,
}

/// What a refusal means for what was programmed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refusal {
    /// It may stay until the resource is corrected.
    Corrigible,
    /// Some of it was taken away from the resource.
    Revoked,
}

/// A resource that verdicts are about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) kind: Kind,
    pub(crate) key: &'a ObjectKey,
}

impl Report {
    /// Says something about a field of a resource.
    pub(crate) fn say(
        &mut self,
        subject: Subject<'_>,
        field: impl Into<String>,
        reason: Reason,
        message: impl Into<String>,
    ) {
        let (_, status) = reason.condition();
        self.say_with_status(subject, field, reason, status, message);
    }

    /// Says what parsing found.
    pub(crate) fn say_fault(&mut self, subject: Subject<'_>, fault: &Fault) {
        let Fault { field, reason, message } = fault;
        self.say(subject, field.as_str(), *reason, message.as_str());
    }

    /// The same for a reason whose condition may be true or false.
    pub(crate) fn say_with_status(
        &mut self,
        subject: Subject<'_>,
        field: impl Into<String>,
        reason: Reason,
        status: bool,
        message: impl Into<String>,
    ) {
        let field = Some(field.into()).filter(|field| !field.is_empty());
        let (condition, _) = reason.condition();
        if reason.severity() == Severity::Error {
            self.errors += 1;
            self.missing += usize::from(condition == Condition::ResolvedRefs);
        }
        self.verdicts.push(Verdict {
            kind: subject.kind,
            key: subject.key.clone(),
            severity: reason.severity(),
            field,
            reason,
            condition,
            status,
            message: message.into(),
        });
    }

    /// The resources that are refused, at least in part, or that lost what they had.
    pub(crate) fn refused(&self) -> BTreeMap<(Kind, ObjectKey), Refusal> {
        let mut refused = BTreeMap::new();
        for Verdict { kind, key, severity, reason, .. } in &self.verdicts {
            let refusal = match severity {
                _ if reason.revokes() => Refusal::Revoked,
                Severity::Error => Refusal::Corrigible,
                Severity::Warning => continue,
            };
            let whole = refused.entry((*kind, key.clone())).or_insert(refusal);
            *whole = refusal.max(*whole);
        }
        refused
    }

    /// How many verdicts refuse something: a step that compares this before and after knows whether it found anything wrong.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// The same without what only names something that is missing: that harms whatever needs it, not the whole.
    pub(crate) fn refusals(&self) -> usize {
        self.errors - self.missing // each missing thing was counted as an error too
    }

    /// All verdicts, sorted, each once.
    pub(crate) fn into_verdicts(mut self) -> Vec<Verdict> {
        self.verdicts.sort();
        self.verdicts.dedup();
        self.verdicts
    }
}
