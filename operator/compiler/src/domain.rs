//! Domains: which names each holds, who receives mail there, where it goes, which queue it waits in. What is wrong with a part withholds
//! that part, so that its mail gets 451 and comes again; the rest of the domain, and every other domain, is programmed. Pure.

use std::sync::Arc;

use posthouse_config::{Hold, MailDomain as Form};
use posthouse_crds::{
    Kind, MailDomain,
    mail_domain::{Delivery, Forward, RecipientPolicy, Release, Role, UnknownAction},
    size::Size,
};
use posthouse_model::{Domain, HostPort, QueueName};
use smallvec::SmallVec;

use crate::{
    claims::Settled,
    compile::{Attachment, Gateways, Host, Input},
    gateway::Gateway,
    memory::Remembered,
    reason::Reason,
    resources::ObjectKey,
    syntax,
    tenancy::Seen,
    unsupported,
    verdict::{Report, Subject},
};

mod loops;
mod names;
mod parsed;
mod queues;
mod recipients;

pub(crate) use names::Wanted;
pub(crate) use parsed::{ParsedDomain, ParsedName};
pub(crate) use recipients::{EntryKind, Listed, key_of};

/// A domain, checked.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is found by another step, and all combine")]
pub(crate) struct DomainPlan<'a> {
    pub(crate) parsed: &'a ParsedDomain,
    pub(crate) key: &'a ObjectKey,
    /// The place of its gateway.
    pub(crate) gateway: usize,
    /// The names that it wants, its own first: granted, each once.
    pub(crate) wanted: SmallVec<[Wanted<'a>; 2]>,
    /// Its own name, once it is known to hold it.
    pub(crate) name: Option<&'a ParsedName>,
    /// The aliases that it holds, sorted.
    pub(crate) aliases: SmallVec<[&'a Domain; 2]>,
    /// Names that it wants and nobody holds.
    pub(crate) contested: Vec<&'a Domain>,
    /// Another domain took its names over.
    pub(crate) superseded: bool,
    /// Whether bare recipients are its own.
    pub(crate) primary: bool,
    /// Nothing is wrong that the whole domain needs; else its mail gets 451.
    pub(crate) complete: bool,
    /// Whom it receives mail for.
    pub(crate) listed: Arc<Listed>,
    /// What it was compiled to before, and from which recipients.
    form: Option<(&'a Arc<Listed>, &'a Arc<Form>)>,
    /// Where mail of its users goes.
    pub(crate) local: Option<LocalDelivery>,
    /// Where mail for anybody else goes.
    pub(crate) unknown: Unknown,
    /// When forwarded mail leaves.
    pub(crate) delivery: Delivery,
    /// The queue that its mail waits in.
    pub(crate) queue: Option<&'a QueueName>,
    /// Others use this queue too, or may.
    pub(crate) shares_queue: bool,
}

/// Where mail of users goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LocalDelivery {
    Lmtp(Place),
    Maildrop,
}

/// A host that mail is brought to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: HostPort,
    /// The node looks at its addresses when it connects.
    pub(crate) guarded: bool,
}

/// What happens to mail for a recipient that is not listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// It is refused for good.
    Reject,
    /// It is forwarded.
    Forward(Place),
    /// It would be forwarded there, but something is wrong, as the marks say: it is accepted and waits.
    Waits(Place, Vec<String>),
}

impl<'a> DomainPlan<'a> {
    pub(crate) fn object(&self) -> &'a Arc<MailDomain> {
        &self.parsed.object
    }

    pub(crate) fn subject(&self) -> Subject<'a> {
        Subject { kind: Kind::MailDomain, key: self.key }
    }

    /// Whether what is right of it makes a domain; else its mail gets 451.
    pub(crate) fn is_programmable(&self) -> bool {
        self.complete && self.name.is_some() && self.queue.is_some()
    }

    /// Why mail that it forwards is held.
    pub(crate) fn hold(&self, gateway: &Gateway<'_>) -> Option<Hold> {
        match self.delivery {
            _ if !self.forwards() => None,
            Delivery::OnRequest => Some(Hold::OnRequest),
            Delivery::Scheduled => Some(Hold::Scheduled),
            Delivery::Online => gateway.hold(),
        }
    }

    /// What it was compiled to before from the same manifest and recipients.
    pub(crate) fn form(&self) -> Option<&'a Arc<Form>> {
        self.form.filter(|(listed, _)| Arc::ptr_eq(listed, &self.listed)).map(|(_, form)| form)
    }

    /// Whether it holds a name that it wants.
    fn holds(&self, wanted: &Wanted<'_>) -> bool {
        let name = &wanted.name.domain;
        self.name.is_some_and(|own| std::ptr::eq(own, wanted.name))
            || self.aliases.iter().any(|alias| std::ptr::eq(*alias, name))
    }

    /// Whether it holds all that its manifest names, and nothing else.
    fn holds_all_names(&self) -> bool {
        let held = usize::from(self.name.is_some()) + self.aliases.len();
        let names = self.parsed.names.len();
        held == names && self.wanted.len() == names && !self.wanted.iter().any(|wanted| wanted.inherited)
    }

    pub(crate) fn accepts_all(&self) -> bool {
        self.object().spec.recipients.as_ref().is_some_and(|r| r.policy == RecipientPolicy::AcceptAll)
    }

    pub(crate) fn forwards(&self) -> bool {
        self.object()
            .spec
            .unknown_recipients
            .as_ref()
            .is_some_and(|unknown| unknown.action == UnknownAction::Forward)
    }

    pub(crate) fn forward(&self) -> Option<&'a Forward> {
        let unknown = self.object().spec.unknown_recipients.as_ref()?;
        unknown.forward.as_ref().filter(|_| unknown.action == UnknownAction::Forward)
    }
}

/// Checks all domains and their recipients.
pub(crate) fn check<'a>(
    input: &Input<'a>,
    gateways: &Gateways<'a>,
    claims: &mut Settled<'a>,
    report: &mut Report,
) -> Vec<DomainPlan<'a>> {
    let mut plans = Vec::with_capacity(input.parsed.domains.len());
    for remembered in &input.parsed.domains {
        let Remembered { parsed, listed, form } = remembered;
        let subject = Subject { kind: Kind::MailDomain, key: &parsed.key };
        let attachment = gateways.attach(input, subject, &parsed.gateway, report);
        let Attachment::To(place) = attachment else { continue };
        plans.push(DomainPlan {
            parsed,
            key: &parsed.key,
            gateway: place,
            wanted: SmallVec::new(),
            name: None,
            aliases: SmallVec::new(),
            contested: Vec::new(),
            superseded: false,
            primary: false,
            complete: true,
            listed: Arc::clone(listed),
            form: form.as_ref().map(|form| (listed, form)),
            local: None,
            unknown: Unknown::Reject,
            delivery: Delivery::Online,
            queue: None,
            shares_queue: false,
        });
    }
    let holders = names::settle(&mut plans, input, gateways, claims, report);
    for plan in plans.iter_mut().filter(|plan| !plan.superseded) {
        if let Some(gateway) = gateways.at(plan.gateway) {
            parts(plan, input, gateway, report);
        }
    }
    recipients::judge(&mut plans, input, report);
    loops::cut_recipient_loops(&mut plans, &holders, report);
    recipients::drop_unknown_targets(&mut plans, report);
    loops::cut_forward_loops(&mut plans, &holders, gateways, report);
    queues::settle(&mut plans, input, claims, report);
    for plan in &plans {
        hold(plan, claims);
    }
    plans
}

/// What a domain holds is its own from now on.
fn hold<'a>(plan: &DomainPlan<'a>, claims: &mut Settled<'a>) {
    let parsed = plan.parsed;
    if plan.holds_all_names() && !plan.shares_queue {
        claims.insert_holding(&parsed.holding);
        return;
    }
    for wanted in plan.wanted.iter().filter(|wanted| plan.holds(wanted)) {
        claims.insert(wanted.name.claim.clone(), Arc::clone(&parsed.key));
    }
    if let Some(Ok(queue)) = parsed.queue.as_ref().filter(|_| plan.queue.is_some() && !plan.shares_queue) {
        claims.insert(queue.claim.clone(), Arc::clone(&queue.holder));
    }
}

/// The parts of a domain that need no other domain.
fn parts(plan: &mut DomainPlan<'_>, input: &Input<'_>, gateway: &Gateway<'_>, report: &mut Report) {
    let spec = &plan.object().spec;
    let subject = plan.subject();
    let errors = report.errors();
    local_delivery(plan, input, gateway, subject, report);
    sizes_and_times(plan, subject, report);
    plan.complete &= report.errors() == errors;

    plan.delivery = plan.forward().and_then(|forward| forward.delivery).unwrap_or_default();
    match unknown_recipients(plan, input, gateway, subject, report) {
        Some(unknown) => plan.unknown = unknown,
        None => plan.complete = false,
    }
    if let Some(release) = &spec.release {
        release_parts(release, input, subject, report);
        if plan.delivery == Delivery::Online {
            let message = "nothing is held to be released: set unknownRecipients.forward.delivery to OnRequest or Scheduled, \
                           or leave release out";
            report.say(subject, "spec.release", Reason::NoEffect, message);
        } else {
            unsupported::judge(unsupported::RELEASE, release, "", subject, report);
        }
    }
    unsupported::judge(unsupported::DOMAIN, spec, "", subject, report);
}

fn local_delivery(
    plan: &mut DomainPlan<'_>,
    input: &Input<'_>,
    gateway: &Gateway<'_>,
    subject: Subject<'_>,
    report: &mut Report,
) {
    const FIELD: &str = "spec.localDelivery";
    let Some(local) = &plan.object().spec.local_delivery else { return };
    if plan.accepts_all() {
        let message = "a domain that accepts all forwards everything: leave localDelivery out";
        report.say(subject, FIELD, Reason::NoEffect, message);
        return;
    }
    plan.local = match (&local.lmtp, &local.maildrop) {
        (Some(lmtp), None) => {
            let host = input.host(gateway, subject, "spec.localDelivery.lmtp.host", &lmtp.host, report);
            if lmtp.port == 0 {
                let message = "0 is not a port: use 1 to 65535";
                report.say(subject, "spec.localDelivery.lmtp.port", Reason::InvalidPort, message);
            }
            host.map(|Host { name, guarded, is_listed: _ }| {
                LocalDelivery::Lmtp(Place { host: HostPort { host: name, port: Some(lmtp.port) }, guarded })
            })
        }
        (None, Some(_)) => Some(LocalDelivery::Maildrop),
        (Some(_), Some(_)) => {
            let message = "lmtp and maildrop exclude each other: keep one";
            report.say(subject, FIELD, Reason::ConflictingFields, message);
            None
        }
        (None, None) => {
            report.say(subject, FIELD, Reason::MissingField, "give lmtp or maildrop");
            None
        }
    };
}

fn sizes_and_times(plan: &DomainPlan<'_>, subject: Subject<'_>, report: &mut Report) {
    let spec = &plan.object().spec;
    let sizes = spec.message_size.map(|size| [("sent", size.sent), ("received", size.received)]);
    for (field, size) in sizes.into_iter().flatten() {
        if size.map(Size::as_bytes) == Some(0) {
            let message =
                "0 would refuse every message: give a size, or leave the field out for the gateway's limit";
            report.say(subject, format!("spec.messageSize.{field}"), Reason::InvalidSize, message);
        }
    }
    let hold = spec.queue.as_ref().and_then(|queue| queue.hold_expires_after);
    if hold.is_some_and(|hold| hold.as_secs() == 0) {
        let message = "0s would give mail up as soon as it is held: use at least 1s";
        report.say(subject, "spec.queue.holdExpiresAfter", Reason::InvalidDuration, message);
    }
}

fn unknown_recipients(
    plan: &DomainPlan<'_>,
    input: &Input<'_>,
    gateway: &Gateway<'_>,
    subject: Subject<'_>,
    report: &mut Report,
) -> Option<Unknown> {
    const FIELD: &str = "spec.unknownRecipients.forward";
    let spec = &plan.object().spec;
    if !plan.forwards() {
        if spec.unknown_recipients.as_ref().is_some_and(|unknown| unknown.forward.is_some()) {
            let message =
                "with action: Reject nothing is forwarded: set action: Forward, or leave forward out";
            report.say(subject, FIELD, Reason::NoEffect, message);
        }
        if plan.accepts_all() {
            let message =
                "a domain that accepts all forwards everything: set action: Forward and say where to";
            report.say(subject, FIELD, Reason::MissingField, message);
            return None;
        }
        return Some(Unknown::Reject);
    }
    let Some(forward) = plan.forward() else {
        report.say(subject, FIELD, Reason::MissingField, "action: Forward needs forward with a host");
        return None;
    };
    let errors = report.errors();
    let host = input.host(gateway, subject, &format!("{FIELD}.host"), &forward.host, report);
    if forward.port == Some(0) {
        report.say(subject, format!("{FIELD}.port"), Reason::InvalidPort, "0 is not a port: use 1 to 65535");
    }
    let release = spec.release.as_ref();
    match plan.delivery {
        Delivery::Online => {}
        Delivery::Scheduled if release.is_some_and(|release| release.schedule_ref.is_some()) => {}
        Delivery::Scheduled => {
            let message = "delivery: Scheduled needs release.scheduleRef";
            report.say(subject, "spec.release.scheduleRef", Reason::MissingField, message);
        }
        Delivery::OnRequest if release.is_some_and(releases_somehow) => {}
        Delivery::OnRequest => {
            let message = "mail would be held for ever: say in release who may request it (etrn, atrn, pop3 or scheduleRef)";
            report.say(subject, "spec.release", Reason::ReleaseMissing, message);
        }
    }
    // An address has no MX: without a port it is meant at SMTP's own (RFC 5321 §4.5.4.2).
    let is_address = forward.host.parse::<std::net::IpAddr>().is_ok();
    let port = forward.port.or(is_address.then_some(25));
    let Host { name, guarded, is_listed: _ } = host?;
    let place = Place { host: HostPort { host: name, port }, guarded };
    Some(if report.errors() > errors {
        Unknown::Waits(place, vec![unsupported::refused("unknownRecipients.forward")])
    } else {
        Unknown::Forward(place)
    })
}

fn releases_somehow(release: &Release) -> bool {
    release.etrn.is_some()
        || release.atrn.is_some()
        || release.pop3.is_some()
        || release.schedule_ref.is_some()
}

/// What a release names: networks and users. What is wrong releases nothing, and harms nothing else.
fn release_parts(release: &Release, input: &Input<'_>, subject: Subject<'_>, report: &mut Report) {
    let mut seen = Seen::default();
    if let Some(etrn) = &release.etrn {
        for (place, text) in etrn.networks.iter().enumerate() {
            if let Err(wrong) = syntax::network(text) {
                report.say(
                    subject,
                    format!("spec.release.etrn.networks[{place}]"),
                    wrong.reason,
                    wrong.message,
                );
            }
        }
        if etrn.networks.is_empty() && etrn.users.is_empty() {
            let message = "nobody could send ETRN: name networks or users";
            report.say(subject, "spec.release.etrn", Reason::EmptyList, message);
        }
    }
    let users = [
        ("etrn", release.etrn.as_ref().map(|etrn| &etrn.users)),
        ("atrn", release.atrn.as_ref().map(|atrn| &atrn.users)),
        ("pop3", release.pop3.as_ref().map(|pop3| &pop3.users)),
    ];
    for (verb, users) in users.into_iter().filter_map(|(verb, users)| Some((verb, users?))) {
        if users.is_empty() && verb != "etrn" {
            let message = "nobody could log in: name at least one user";
            report.say(subject, format!("spec.release.{verb}.users"), Reason::EmptyList, message);
        }
        for (place, user) in users.iter().enumerate() {
            let field = format!("spec.release.{verb}.users[{place}]");
            if !seen.first((verb, user)) {
                report.say(
                    subject,
                    field,
                    Reason::DuplicateEntry,
                    format!("{user:?} is named twice: remove one"),
                );
            } else if !user.is_empty() {
                input.require_user(subject, &field, user, report);
            }
        }
    }
    if let Some(schedule) = &release.schedule_ref {
        input.require_schedule(subject, "spec.release.scheduleRef", &schedule.name, report);
    }
}

/// Whether a domain wants to be its gateway's primary.
fn wants_primary(object: &MailDomain) -> bool {
    object.spec.role == Some(Role::Primary)
}
