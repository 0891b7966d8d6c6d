//! The one table of what the API has and the nodes cannot do yet. Whoever builds something deletes its row: what the row withheld is then
//! programmed, for the rest of the compiler always compiles the whole API.
//!
//! What would widen access or send a credential fails closed ([`Effect::Withheld`]); what merely lacks comfort is left out with a warning
//! ([`Effect::Ignored`]). Pure.

use posthouse_crds::{
    Kind, MailDomainSpec, MailGatewaySpec,
    mail_domain::Release,
    mail_gateway::{
        ConnectivityMode, Listener, Protocol, Redis, RedisTopology, RelayAuthentication, RelayControl,
    },
    relay_rule::Relay,
};

use crate::{
    reason::Reason,
    verdict::{Report, Subject},
};

/// What becomes of the part of a resource that a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effect {
    /// The rest holds without it.
    Ignored,
    /// Nothing of it is programmed: a listener is not bound, mail waits, nobody relays.
    Withheld,
}

/// One thing that is not built yet.
pub(crate) struct Row<T> {
    /// The field, relative to the part that the table is about.
    field: &'static str,
    /// Whether the part uses it.
    used: fn(&T) -> bool,
    /// What becomes of the part.
    effect: Effect,
    /// What happens instead, for people.
    instead: &'static str,
}

const fn ignored<T>(field: &'static str, used: fn(&T) -> bool, instead: &'static str) -> Row<T> {
    Row { field, used, effect: Effect::Ignored, instead }
}

const fn withheld<T>(field: &'static str, used: fn(&T) -> bool, instead: &'static str) -> Row<T> {
    Row { field, used, effect: Effect::Withheld, instead }
}

/// Kinds of which nothing is built.
pub(crate) const KINDS: &[(Kind, &str)] = &[
    (Kind::Pop3Account, "nothing is picked up"),
    (Kind::EtrnSchedule, "no server is asked"),
    (Kind::MailSchedule, "it never fires"),
    (Kind::MailUser, "nobody can authenticate"),
];

/// Listeners.
pub(crate) const LISTENER: &[Row<Listener>] = &[
    withheld(
        "protocol",
        |l| l.protocol == Protocol::Odmr,
        "Odmr is not spoken, so the listener is not bound",
    ),
    withheld(
        "protocol",
        |l| l.protocol == Protocol::Pop3,
        "Pop3 is not spoken, so the listener is not bound",
    ),
    ignored(
        "protocol",
        |l| l.protocol == Protocol::Submission,
        "no login is offered, so only clients of relayControl.networks can submit",
    ),
];

/// What a gateway says as a whole.
pub(crate) const GATEWAY: &[Row<MailGatewaySpec>] = &[
    ignored("spec.nodes", |g| g.nodes.is_some(), "no pods are made"),
    ignored("spec.service", |g| g.service.is_some(), "no Service is made"),
    ignored("spec.autoscaling", |g| g.autoscaling.is_some(), "the number of nodes stays as it is"),
    ignored(
        "spec.replicas",
        |g| g.replicas.is_some_and(|replicas| replicas != 1),
        "as many nodes run as the command line says",
    ),
    ignored(
        "spec.connectivity",
        |g| g.connectivity.as_ref().is_some_and(|c| c.mode == ConnectivityMode::Scheduled),
        HELD,
    ),
    ignored(
        "spec.limits.messagesPerHour",
        |g| g.limits.as_ref().is_some_and(|l| l.messages_per_hour.is_some()),
        NO_LIMIT,
    ),
    ignored(
        "spec.limits.connections",
        |g| g.limits.as_ref().is_some_and(|l| l.connections.is_some()),
        NO_LIMIT,
    ),
    ignored(
        "spec.limits.unknownRecipients",
        |g| g.limits.as_ref().is_some_and(|l| l.unknown_recipients.is_some()),
        NO_LIMIT,
    ),
    ignored(
        "spec.queue.redis.topology",
        |g| redis_of(g).is_some_and(|redis| redis.topology != RedisTopology::Standalone),
        "only a standalone Redis can keep the queue",
    ),
    ignored(
        "spec.queue.redis.caSecretRef",
        |g| redis_of(g).is_some_and(|redis| redis.ca_secret_ref.is_some()),
        "Redis is spoken to without TLS",
    ),
    ignored(
        "spec.queue.redis.confirm",
        |g| redis_of(g).is_some_and(|redis| redis.confirm.is_some_and(|confirm| confirm.replicas > 0)),
        "250 is said when Redis has the message, and no replica is waited for",
    ),
    ignored(
        "spec.queue.redis.declared",
        |g| redis_of(g).is_some_and(|redis| redis.declared.is_some()),
        "the settings of Redis are not checked, with or without it",
    ),
];

fn redis_of(gateway: &MailGatewaySpec) -> Option<&Redis> {
    gateway.queue.as_ref()?.redis.as_ref()
}

const NO_LIMIT: &str = "there is no such limit";

/// Who may relay.
pub(crate) const RELAY_CONTROL: &[Row<RelayControl>] = &[
    withheld(
        "authentication",
        |r| r.authentication == Some(RelayAuthentication::Required),
        "no login is offered, so nobody relays",
    ),
    ignored(
        "authentication",
        |r| r.authentication == Some(RelayAuthentication::Optional),
        "no login is offered, so only networks relay",
    ),
    ignored("popBeforeSmtp", |r| r.pop_before_smtp.is_some(), "a POP3 login lets nobody relay"),
];

/// What a domain says as a whole.
pub(crate) const DOMAIN: &[Row<MailDomainSpec>] = &[
    ignored(
        "spec.localDelivery.maildrop",
        |d| d.local_delivery.as_ref().is_some_and(|l| l.maildrop.is_some()),
        "mail is kept in the queue, where POP3 cannot fetch it yet",
    ),
    ignored("spec.footer", |d| d.footer.is_some(), "mail leaves without it"),
];

/// Who may release a held queue.
pub(crate) const RELEASE: &[Row<Release>] = &[
    ignored("spec.release.etrn", |r| r.etrn.is_some(), HELD),
    ignored("spec.release.atrn", |r| r.atrn.is_some(), HELD),
    ignored("spec.release.pop3", |r| r.pop3.is_some(), HELD),
    ignored("spec.release.scheduleRef", |r| r.schedule_ref.is_some(), HELD),
];

const HELD: &str = "what is held waits for `posthouse-node queue release`";

/// How a rule relays.
pub(crate) const RELAY: &[Row<Relay>] =
    &[ignored("rate", |r| r.rate.is_some(), "mail goes out as fast as it can")];

/// How a snapshot marks a part that waits because it is refused: after the field. A part that is only not built yet has no such end.
const REFUSED: &str = " (refused)";

/// The mark of a part that is refused.
pub(crate) fn refused(field: &str) -> String {
    format!("{field}{REFUSED}")
}

/// Whether a mark is one of a part that is refused.
pub(crate) fn is_refused(mark: &str) -> bool {
    mark.ends_with(REFUSED)
}

/// Reports what a part uses that is not built yet; gives what happens instead if that keeps the part from being programmed.
pub(crate) fn judge<T>(
    rows: &[Row<T>],
    part: &T,
    path: &str,
    subject: Subject<'_>,
    report: &mut Report,
) -> Option<&'static str> {
    let mut withheld = None;
    for row in rows.iter().filter(|row| (row.used)(part)) {
        let dot = if path.is_empty() || row.field.is_empty() { "" } else { "." };
        report.say_with_status(
            subject,
            format!("{path}{dot}{}", row.field),
            Reason::NotSupportedYet,
            row.effect == Effect::Ignored,
            format!("not supported yet: {}", row.instead),
        );
        if row.effect == Effect::Withheld {
            withheld = withheld.or(Some(row.instead));
        }
    }
    withheld
}

/// Reports an object of a kind that is not built yet.
pub(crate) fn judge_kind(subject: Subject<'_>, report: &mut Report) {
    if let Some((_, instead)) = KINDS.iter().find(|(kind, _)| *kind == subject.kind) {
        let message = format!("{} is not supported yet: {instead}", subject.kind);
        report.say_with_status(subject, "", Reason::NotSupportedYet, false, message);
    }
}
