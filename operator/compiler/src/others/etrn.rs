//! What another server is asked for: domains, what is below them, queues. Pure.

use posthouse_crds::{EtrnSchedule, etrn_schedule::EtrnMethod};
use posthouse_model::QueueName;

use crate::{
    reason::Reason,
    syntax::{self, Wrong},
    tenancy::Seen,
    verdict::{Report, Subject},
};

/// Says what is wrong with what is asked, and how.
pub(super) fn check(object: &EtrnSchedule, subject: Subject<'_>, report: &mut Report) {
    let spec = &object.spec;
    if spec.method == EtrnMethod::Atrn && spec.authentication.is_none() {
        // RFC 2645 §5.2.1: ATRN only after AUTH
        let message = "method: Atrn needs authentication: the server gives mail only to who has logged in";
        report.say(subject, "spec.authentication", Reason::MissingField, message);
    }
    if spec.response_timeout.is_some_and(|timeout| timeout.as_secs() == 0) {
        let message = "0s leaves no time for an answer: use at least 1s, or leave the field out";
        report.say(subject, "spec.responseTimeout", Reason::InvalidDuration, message);
    }
    if spec.domains.is_empty() {
        report.say(subject, "spec.domains", Reason::EmptyList, "nothing would be asked for: name a domain");
    }
    let mut seen = Seen::default();
    for (place, text) in spec.domains.iter().enumerate() {
        let field = format!("spec.domains[{place}]");
        if let Err(Wrong { reason, message }) = wanted(text, spec.method) {
            report.say(subject, field, reason, message);
        } else if !seen.first(text.to_ascii_lowercase()) {
            report.say(
                subject,
                field,
                Reason::DuplicateEntry,
                format!("{text:?} is named twice: remove one"),
            );
        }
    }
}

fn wanted(text: &str, method: EtrnMethod) -> Result<(), Wrong> {
    let below = text.strip_prefix('@');
    let queue = text.strip_prefix('#');
    if method == EtrnMethod::Atrn && (below.is_some() || queue.is_some()) {
        // RFC 2645 §5.2: the parameter is a list of domains
        let message = format!("{text:?}: ATRN asks for domains only: name each domain, or set method: Etrn");
        return Err(Wrong { reason: Reason::InvalidDomain, message });
    }
    if let Some(queue) = queue {
        return QueueName::new(queue)
            .map(drop)
            .map_err(|error| Wrong { reason: Reason::InvalidName, message: format!("{text:?}: {error}") });
    }
    // RFC 1985 §8: @com would start the queues of half the world
    if let Some(below) = below.filter(|below| !below.contains('.')) {
        let message = format!("{text:?} is everything below {below:?}: name a domain of at least two labels");
        return Err(Wrong { reason: Reason::InvalidDomain, message });
    }
    syntax::domain(below.unwrap_or(text)).map(drop)
}
