//! Identities: which login each has, and whose it may use. Pure.

use std::{collections::BTreeMap, sync::Arc};

use posthouse_config::SenderPattern;
use posthouse_crds::{Kind, MailUser};
use posthouse_model::Mailbox;

use crate::{
    claims::{Claim, Claimant, Settled, winner},
    compile::{Attachment, Gateways, Input, sorted, target},
    gateway::Gateway,
    reason::Reason,
    resources::ObjectKey,
    unsupported,
    verdict::{Report, Subject},
};

/// Checks all users, and gives each login of a gateway to one of them.
pub(super) fn check(
    input: &Input<'_>,
    gateways: &Gateways<'_>,
    claims: &mut Settled<'_>,
    report: &mut Report,
) {
    let users = sorted(&input.resources.users);
    let mut wanting: BTreeMap<Claim, Vec<(&ObjectKey, &MailUser)>> = BTreeMap::new();
    for (key, user) in &users {
        let subject = Subject { kind: Kind::MailUser, key };
        let attachment =
            gateways.attach(input, subject, &target(&key.namespace, &user.spec.gateway_ref), report);
        unsupported::judge_kind(subject, report);
        let reference = &user.spec.password_secret_ref;
        input.require_secret(subject, "spec.passwordSecretRef", &reference.name, &[&reference.key], report);
        let Attachment::To(place) = attachment else { continue };
        let Some(gateway) = gateways.at(place) else { continue };
        senders(user, subject, input, gateway, report);
        if login_is_right(user, subject, input, gateway, report) {
            let claim = Claim::login(&Arc::new(gateway.key.clone()), &user.spec.login);
            wanting.entry(claim).or_default().push((key, user));
        }
    }
    for (claim, users) in wanting {
        let created = |user: &'_ MailUser| user.metadata.creation_timestamp.clone();
        let times: Vec<_> = users.iter().map(|(_, user)| created(user)).collect();
        let contenders: Vec<_> = users
            .iter()
            .zip(&times)
            .map(|((key, _), created)| Claimant { key, created: created.as_ref() })
            .collect();
        let holder = winner(&claim, &contenders, &input.context.claims);
        for (key, user) in users.iter().filter(|(key, _)| Some(*key) != holder) {
            let message = match holder {
                Some(_) => format!(
                    "another MailUser has the login {:?} and was first: choose another",
                    user.spec.login
                ),
                None => format!(
                    "another MailUser claims the login {:?} too, and nothing says which was first, so neither has it: rename one",
                    user.spec.login
                ),
            };
            let subject = Subject { kind: Kind::MailUser, key };
            report.say(subject, "spec.login", Reason::LoginClaimed, message);
        }
        if let Some(holder) = holder {
            claims.insert(claim, Arc::new(holder.clone()));
        }
    }
}

/// Outside the gateway's namespace a login is an address in a domain that is granted: nobody takes a bare name from its owner.
fn login_is_right(
    user: &MailUser,
    subject: Subject<'_>,
    input: &Input<'_>,
    gateway: &Gateway<'_>,
    report: &mut Report,
) -> bool {
    const FIELD: &str = "spec.login";
    let (login, own) = (&user.spec.login, &subject.key.namespace);
    if *own == gateway.key.namespace {
        return true;
    }
    match login.parse::<Mailbox>() {
        Err(error) => {
            let message = format!(
                "{login:?}: {error}; outside the gateway's namespace a login is an address in a domain that is granted"
            );
            report.say(subject, FIELD, Reason::InvalidAddress, message);
            false
        }
        Ok(address) if !input.grants(gateway, own, address.domain()) => {
            let message = not_granted(gateway, address.domain(), own);
            report.say(subject, FIELD, Reason::DomainNotGranted, message);
            false
        }
        Ok(_) => true,
    }
}

fn senders(
    user: &MailUser,
    subject: Subject<'_>,
    input: &Input<'_>,
    gateway: &Gateway<'_>,
    report: &mut Report,
) {
    for (place, text) in user.spec.may_send_as.iter().enumerate() {
        let field = format!("spec.maySendAs[{place}]");
        match text.parse::<SenderPattern>() {
            Err(error) => report.say(subject, field, Reason::InvalidPattern, format!("{text:?}: {error}")),
            Ok(SenderPattern::Address(pattern))
                if !input.grants(gateway, &subject.key.namespace, pattern.domain()) =>
            {
                let message = not_granted(gateway, pattern.domain(), &subject.key.namespace);
                report.say(subject, field, Reason::DomainNotGranted, message);
            }
            Ok(_) => {}
        }
    }
}

fn not_granted(gateway: &Gateway<'_>, domain: &posthouse_model::Domain, namespace: &str) -> String {
    format!(
        "gateway {} does not grant {domain} to namespace {namespace}; its owner can, by allowedRoutes.grants",
        gateway.key
    )
}
