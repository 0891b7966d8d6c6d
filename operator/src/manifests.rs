//! From a reading to what the nodes get and what there is to say: the compiler, with the places of its verdicts. Pure but for the reader and the clock that
//! it asks.

use std::{collections::HashSet, path::Path, sync::Arc, time::SystemTime};

use posthouse_compiler::{Compilation, Compiler, Context, ObjectKey, Severity, Standing, Verdict};
use posthouse_config::Snapshot;
use posthouse_crds::Kind;
use posthouse_model::Timestamp;

use crate::{
    failure::Failure,
    finding::Finding,
    reader::{Identity, Reader, Reading},
};

/// What a folder of manifests amounts to.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// The reader's problems and the compiler's verdicts.
    pub(crate) findings: Vec<Finding>,
    /// What the compiler made of it.
    pub(crate) compilation: Compilation,
}

impl Judged {
    pub(crate) fn is_refused(&self) -> bool {
        self.findings.iter().any(Finding::is_error)
    }

    /// The gateway that is meant: the one of this name, or the only one.
    pub(crate) fn gateway(
        &self,
        name: Option<&str>,
    ) -> Result<Option<(&ObjectKey, &Arc<Snapshot>)>, Failure> {
        let snapshots = &self.compilation.snapshots;
        let names = || snapshots.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match name {
            Some(name) => match snapshots.iter().find(|(key, _)| key.to_string() == name) {
                Some(found) => Ok(Some(found)),
                None if snapshots.is_empty() => Ok(None),
                None => Err(Failure::NoSuchGateway { name: name.to_owned(), names: names() }),
            },
            None if snapshots.len() > 1 => Err(Failure::SeveralGateways { names: names() }),
            None => Ok(snapshots.iter().next()),
        }
    }
}

/// Reads and judges a folder once.
pub(crate) fn judge_folder(path: &Path) -> Result<Judged, Failure> {
    let reading = Reader::new(path).read(&Reading::default())?;
    Ok(judge(&mut Compiler::default(), &reading, &Context { now: now(), ..Context::default() }))
}

/// The time that certificates are judged by, and names that are gone.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::default().after(since_epoch)
}

/// Judges what was read.
pub(crate) fn judge(compiler: &mut Compiler, reading: &Reading, context: &Context) -> Judged {
    let compilation = compiler.compile(&reading.resources(), context);
    let mut findings = reading.findings.clone();
    findings.extend(compilation.verdicts.iter().map(|verdict| finding(verdict, reading)));
    findings.sort();
    Judged { findings, compilation }
}

/// What becomes of a rule that stays, but not with all that it sent by.
pub(crate) const MAIL_WAITS: &str = "what mail it is for stays as it was programmed before, and that mail waits until the rule is corrected: where it went \
                                     is refused, or the login that it went with, or the roots that it trusted, were taken away";

/// What holds meanwhile of the resources that are refused, for a run that goes on: one line for each.
pub(crate) fn standing(compilation: &Compilation, reading: &Reading) -> Vec<Finding> {
    // What stands for a domain that cannot be programmed is there only where its names are known, and its gateway has a snapshot.
    let is_in_force = compilation.standing.values().all(|standing| *standing != Standing::Nothing);
    let snapshots = compilation.snapshots.values().filter(|_| !is_in_force);
    let domains = snapshots.flat_map(|snapshot| &snapshot.domains);
    let has_names: HashSet<&str> = domains.map(|domain| domain.origin.as_str()).collect();
    let finding = |((kind, key), standing): (&(Kind, ObjectKey), &Standing)| {
        let (reason, message) = match (standing, kind) {
            (Standing::Kept, _) => {
                ("StaysInForce", "what was programmed of it before stays in force until it is corrected")
            }
            (Standing::Waits, _) => ("MailWaits", MAIL_WAITS),
            (Standing::Nothing, Kind::RelayRule) => (
                "NotInForce",
                "nothing of it was programmed before that could stay in force: until it is corrected, mail goes as the other \
                 rules say",
            ),
            (Standing::Nothing, Kind::MailGateway) => (
                "NotInForce",
                "nothing of it was programmed before that could stay in force: until it is corrected, it has no nodes and takes no mail",
            ),
            (Standing::Nothing, _) if has_names.contains(key.to_string().as_str()) => (
                "NotInForce",
                "nothing of it was programmed before that could stay in force: until it is corrected, its mail gets 451",
            ),
            (Standing::Nothing, _) => (
                "NotInForce",
                "nothing of it was programmed before: until it is corrected, its mail is refused as for a domain of nobody here",
            ),
        };
        let identity = Identity { kind: kind.name().to_owned(), key: key.clone() };
        Finding {
            resource: Some(identity.clone()),
            severity: Severity::Warning,
            field: None,
            reason: reason.to_owned(),
            message: message.to_owned(),
            place: reading.documents.get(&identity).map(|document| document.place(None)),
        }
    };
    compilation.standing.iter().map(finding).collect()
}

fn finding(verdict: &Verdict, reading: &Reading) -> Finding {
    let identity = Identity { kind: verdict.kind.name().to_owned(), key: verdict.key.clone() };
    let document = reading.documents.get(&identity);
    Finding {
        resource: Some(identity),
        severity: verdict.severity,
        field: verdict.field.clone(),
        reason: verdict.reason.to_string(),
        message: verdict.message.clone(),
        place: document.map(|document| document.place(verdict.field.as_deref())),
    }
}
