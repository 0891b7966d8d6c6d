//! The kinds that are not built yet: what they name is checked all the same, so that a manifest which is right today stays right. Pure.

use std::collections::HashSet;

use posthouse_crds::{GatewayRef, Kind};

use crate::{
    compile::{Gateways, Input, sorted, target},
    reason::Reason,
    resources::ObjectKey,
    unsupported,
    verdict::{Report, Subject},
};

/// The keys that a Secret with a login has.
pub(crate) const CREDENTIAL_KEYS: [&str; 2] = ["username", "password"];

/// Checks the objects of all these kinds.
pub(crate) fn check(input: &Input<'_>, gateways: &Gateways<'_>, report: &mut Report) {
    let resources = input.resources;
    let attach = |kind, key: &ObjectKey, gateway_ref: &GatewayRef, report: &mut Report| {
        let subject = Subject { kind, key };
        gateways.attach(input, subject, &target(key, gateway_ref), report);
        unsupported::judge_kind(subject, report);
    };
    for (key, account) in sorted(&resources.pop3_accounts) {
        let subject = Subject { kind: Kind::Pop3Account, key: &key };
        attach(subject.kind, &key, &account.spec.gateway_ref, report);
        let secret = &account.spec.authentication.credentials_secret_ref.name;
        let field = "spec.authentication.credentialsSecretRef";
        input.require_secret(subject, field, secret, &CREDENTIAL_KEYS, report);
        input.require_schedule(subject, "spec.scheduleRef", &account.spec.schedule_ref.name, report);
    }
    for (key, etrn) in sorted(&resources.etrn_schedules) {
        let subject = Subject { kind: Kind::EtrnSchedule, key: &key };
        attach(subject.kind, &key, &etrn.spec.gateway_ref, report);
        if let Some(authentication) = &etrn.spec.authentication {
            let secret = &authentication.credentials_secret_ref.name;
            let field = "spec.authentication.credentialsSecretRef";
            input.require_secret(subject, field, secret, &CREDENTIAL_KEYS, report);
        }
        input.require_schedule(subject, "spec.scheduleRef", &etrn.spec.schedule_ref.name, report);
    }
    for (key, user) in sorted(&resources.users) {
        let subject = Subject { kind: Kind::MailUser, key: &key };
        attach(subject.kind, &key, &user.spec.gateway_ref, report);
        let reference = &user.spec.password_secret_ref;
        input.require_secret(subject, "spec.passwordSecretRef", &reference.name, &[&reference.key], report);
    }
    schedules(input, report);
}

fn schedules(input: &Input<'_>, report: &mut Report) {
    let referenced = referenced_schedules(input);
    for (key, _) in sorted(&input.resources.schedules) {
        let subject = Subject { kind: Kind::MailSchedule, key: &key };
        if referenced.contains(&key) {
            unsupported::judge_kind(subject, report);
        } else {
            report.say(subject, "", Reason::NotReferenced, "nothing uses this schedule");
        }
    }
}

fn referenced_schedules(input: &Input<'_>) -> HashSet<ObjectKey> {
    let resources = input.resources;
    let named = |metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta, name: &str| {
        ObjectKey::new(metadata.namespace.clone().unwrap_or_default(), name)
    };
    let gateways = resources.gateways.iter().filter_map(|gateway| {
        let schedule = gateway.spec.connectivity.as_ref()?.schedule_ref.as_ref()?;
        Some(named(&gateway.metadata, &schedule.name))
    });
    let domains = resources.domains.iter().filter_map(|domain| {
        let schedule = domain.spec.release.as_ref()?.schedule_ref.as_ref()?;
        Some(named(&domain.metadata, &schedule.name))
    });
    let accounts = resources
        .pop3_accounts
        .iter()
        .map(|account| named(&account.metadata, &account.spec.schedule_ref.name));
    let etrn =
        resources.etrn_schedules.iter().map(|etrn| named(&etrn.metadata, &etrn.spec.schedule_ref.name));
    gateways.chain(domains).chain(accounts).chain(etrn).collect()
}
