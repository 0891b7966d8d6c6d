//! The kinds that are not built yet: what they name is checked all the same, so that a manifest which is right today stays right. Pure.

use posthouse_crds::{GatewayRef, Kind, ObjectRef, Pop3Account};

use crate::{
    claims::Settled,
    compile::{Attachment, Gateways, Input, sorted, target},
    gateway::Gateway,
    reason::Reason,
    resources::ObjectKey,
    syntax, unsupported,
    verdict::{Report, Subject},
};

mod etrn;
pub(crate) mod schedules;
mod users;

/// Checks the objects of all these kinds.
pub(crate) fn check(
    input: &Input<'_>,
    gateways: &Gateways<'_>,
    claims: &mut Settled<'_>,
    report: &mut Report,
) {
    let resources = input.resources;
    let attach = |kind, key: &ObjectKey, gateway_ref: &GatewayRef, report: &mut Report| {
        let subject = Subject { kind, key };
        let attachment = gateways.attach(input, subject, &target(&key.namespace, gateway_ref), report);
        unsupported::judge_kind(subject, report);
        match attachment {
            Attachment::To(place) => gateways.at(place),
            Attachment::Nowhere => None,
        }
    };
    for (key, account) in sorted(&resources.pop3_accounts) {
        let subject = Subject { kind: Kind::Pop3Account, key: &key };
        let gateway = attach(subject.kind, &key, &account.spec.gateway_ref, report);
        server(input, gateway, subject, (&account.spec.server.host, account.spec.server.port), report);
        let tls = account.spec.server.tls.as_ref();
        roots(input, subject, tls.and_then(|tls| tls.ca_secret_ref.as_ref()), report);
        recipients_of(account, subject, report);
        let secret = &account.spec.authentication.credentials_secret_ref.name;
        let field = "spec.authentication.credentialsSecretRef";
        input.credentials(subject, field, secret, report);
        input.require_schedule(subject, "spec.scheduleRef", &account.spec.schedule_ref.name, report);
    }
    for (key, etrn) in sorted(&resources.etrn_schedules) {
        let subject = Subject { kind: Kind::EtrnSchedule, key: &key };
        let gateway = attach(subject.kind, &key, &etrn.spec.gateway_ref, report);
        server(input, gateway, subject, (&etrn.spec.server.host, etrn.spec.server.port), report);
        let tls = etrn.spec.server.tls.as_ref();
        roots(input, subject, tls.and_then(|tls| tls.ca_secret_ref.as_ref()), report);
        etrn::check(etrn, subject, report);
        if let Some(authentication) = &etrn.spec.authentication {
            let secret = &authentication.credentials_secret_ref.name;
            let field = "spec.authentication.credentialsSecretRef";
            input.credentials(subject, field, secret, report);
        }
        input.require_schedule(subject, "spec.scheduleRef", &etrn.spec.schedule_ref.name, report);
    }
    users::check(input, gateways, claims, report);
    schedules::check(input, report);
}

/// Says what is wrong with a server that is connected to.
fn server(
    input: &Input<'_>,
    gateway: Option<&Gateway<'_>>,
    subject: Subject<'_>,
    (host, port): (&str, u16),
    report: &mut Report,
) {
    if let Some(gateway) = gateway {
        input.host(gateway, subject, "spec.server.host", host, report);
    }
    if port == 0 {
        report.say(subject, "spec.server.port", Reason::InvalidPort, "0 is not a port: use 1 to 65535");
    }
}

/// Says what is wrong with the roots that a server is verified by.
fn roots(input: &Input<'_>, subject: Subject<'_>, reference: Option<&ObjectRef>, report: &mut Report) {
    if let Some(reference) = reference {
        input.roots(subject, "spec.server.tls.caSecretRef", &reference.name, report);
    }
}

/// Says which recipients of picked up mail are no addresses.
fn recipients_of(account: &Pop3Account, subject: Subject<'_>, report: &mut Report) {
    let spec = &account.spec;
    let sorting = spec.sorting.as_ref();
    match (&spec.deliver_to, sorting) {
        (Some(_), Some(_)) => {
            let message = "deliverTo and sorting exclude each other: keep one";
            report.say(subject, "spec.sorting", Reason::ConflictingFields, message);
        }
        (None, None) => {
            let message = "say whose the mail is: give deliverTo or sorting";
            report.say(subject, "spec.deliverTo", Reason::MissingField, message);
        }
        _ => {}
    }
    let one = spec.deliver_to.iter().map(|text| ("spec.deliverTo".to_owned(), text));
    let rules = sorting.into_iter().flat_map(|sorting| sorting.rules.iter().enumerate());
    let rules = rules.flat_map(|(place, rule)| {
        let path = format!("spec.sorting.rules[{place}]");
        [(format!("{path}.address"), &rule.address), (format!("{path}.deliverTo"), &rule.deliver_to)]
    });
    let otherwise = sorting.and_then(|sorting| sorting.otherwise.as_ref()?.deliver_to.as_ref());
    let otherwise = otherwise.map(|text| ("spec.sorting.otherwise.deliverTo".to_owned(), text));
    for (field, text) in one.chain(rules).chain(otherwise) {
        if let Err(wrong) = syntax::mailbox(text) {
            report.say(subject, field, wrong.reason, wrong.message);
        }
    }
}
