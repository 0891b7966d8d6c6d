//! What is said of the fields of each kind beyond their types (api.md, Shapes and Bad input). Every message names the cure. Pure data.

use super::refine::{
    Refinement,
    What::{Atomic, Foreign, Form, MapBy, Rule, Set, Text},
};
use crate::kind::Kind;

/// A name of a Service's port (RFC 6335 §5.1), a DNS label, a DNS name in lower case.
const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A domain in A-labels, in any case; a grant of one or of all below one, which is no whole top-level domain.
const DOMAIN: &str = "^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*$";
const GRANT: &str = "^(\\*\\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?\\.)?[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*$";

/// A pattern of senders, of recipients: a wildcard stands in the local part only.
const SENDER: &str = "^(<>|[^\\s]+@[^@*?\\s]+)$";
const RECIPIENT: &str = "^[^\\s]+@[^@*?\\s]+$";

/// An address; a local part of the domain or an address. What more there is to an address the compiler knows.
const ADDRESS: &str = "^.+@[^@*?\\s]+$";
const MEMBER: &str = "^([^@]+|.+@[^@*?\\s]+)$";

/// A time of the day.
const TIME: &str = "^([01][0-9]|2[0-3]):[0-5][0-9]$";

/// A login.
const LOGIN: &str = "^[!-~]+$";

/// A name of a header field (RFC 5322 §2.2).
const HEADER: &str = "^[!-9;-~]+$";

/// What ETRN names (RFC 1985 §5.2): a domain, one with all below it, a queue. A single label after `@` would be a whole top-level domain.
const ETRN: &str = "^([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*|@[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)+|#[!-~]+)$";

/// The forms in words.
pub(super) fn form(pattern: &str) -> Option<&'static str> {
    Some(match pattern {
        LABEL => "a name of lower-case letters, digits and hyphens",
        NAME => "a name of lower-case letters, digits, hyphens and dots",
        DOMAIN => "a domain in A-labels, such as example.com",
        GRANT => "a domain, or *.domain for every domain below one (not a top-level one)",
        SENDER => {
            "an address pattern: *@example.com, alice@example.com, or <> (a wildcard stands in the local part only)"
        }
        RECIPIENT => {
            "an address pattern: *@example.com or alice@example.com (a wildcard stands in the local part only)"
        }
        ADDRESS => "an address, such as alice@example.com (there is no wildcard in its domain)",
        MEMBER => {
            "a local part of the domain, such as alice, or an address, such as alice@example.com (there is no wildcard in its domain)"
        }
        TIME => "a time of the day, HH:MM",
        HEADER => "the name of a header field",
        ETRN => "a domain, @domain for one with all below it (not a top-level one), or #queue",
        LOGIN => "a login: printable ASCII without spaces",
        _ => return None,
    })
}

const OTHER_GATEWAY: (&str, &str) = (
    "self.gatewayRef == oldSelf.gatewayRef",
    "gatewayRef cannot be changed: delete the resource and make it anew at the other gateway",
);

/// The refinements of a kind.
pub(super) fn refinements(kind: Kind) -> Vec<Refinement> {
    let own: &[(&str, super::refine::What)] = match kind {
        Kind::MailGateway => GATEWAY,
        Kind::MailDomain => DOMAINS,
        Kind::MailRecipients => RECIPIENTS,
        Kind::RelayRule => RULE,
        Kind::Pop3Account => POP3,
        Kind::EtrnSchedule => ETRN_SCHEDULE,
        Kind::MailSchedule => SCHEDULE,
        Kind::MailUser => USER,
    };
    let attached = !matches!(kind, Kind::MailGateway | Kind::MailRecipients | Kind::MailSchedule);
    let common = attached.then_some([
        ("spec", Rule(OTHER_GATEWAY.0, OTHER_GATEWAY.1)),
        ("spec.gatewayRef.name", Form(253, NAME)),
        ("spec.gatewayRef.namespace", Form(63, LABEL)),
    ]);
    let status: &[_] = &[("status.lastHandledRequest", Text(256))];
    let all = own.iter().copied().chain(common.into_iter().flatten()).chain(status.iter().copied());
    all.map(|(path, what)| Refinement { path, what }).collect()
}

const NAMES_GIVEN: (&str, &str) = (
    "self.from != 'Names' || (has(self.names) && size(self.names) > 0)",
    "from: Names needs the namespaces in names",
);
const SELECTOR_GIVEN: (&str, &str) =
    ("self.from != 'Selector' || has(self.selector)", "from: Selector needs the labels in selector");

const GATEWAY: &[(&str, super::refine::What)] = &[
    ("spec.hostname", Form(253, DOMAIN)),
    (
        "spec",
        Rule(
            "(has(self.controllerName) ? self.controllerName : 'posthouse.dev/operator') == (has(oldSelf.controllerName) ? oldSelf.controllerName : 'posthouse.dev/operator')",
            "controllerName cannot be changed: make a new gateway for another operator",
        ),
    ),
    (
        "spec",
        Rule(
            "(has(self.queue) && has(self.queue.id) ? self.queue.id : '') == (has(oldSelf.queue) && has(oldSelf.queue.id) ? oldSelf.queue.id : '')",
            "queue.id cannot be changed: the mail in the queue would be left behind; make a new gateway and let this one drain",
        ),
    ),
    ("spec.listeners", MapBy(&["name"])),
    (
        "spec.listeners",
        Rule(
            "self.all(a, self.exists_one(b, (a.port < 1024 ? a.port + 10000 : a.port) == (b.port < 1024 ? b.port + 10000 : b.port)))",
            "two listeners would be bound to one port (a port below 1024 is bound at 10000 + port): give each its own",
        ),
    ),
    ("spec.listeners[].name", Form(15, LABEL)),
    ("spec.listeners[].proxyProtocol.trustedNetworks", Set),
    ("spec.listeners[].proxyProtocol.trustedNetworks[]", Text(43)),
    ("spec.resolver.nameservers[]", Text(64)),
    ("spec.nodes.resources.requests", Foreign),
    ("spec.nodes.resources.limits", Foreign),
    ("spec.nodes.podOverrides", Foreign),
    ("spec.autoscaling", Rule("self.min <= self.max", "min is greater than max: exchange them")),
    ("spec.service.loadBalancerClass", Text(253)),
    ("spec.queue.id", Form(253, NAME)),
    (
        "spec.queue.redis",
        Rule(
            "(self.topology == 'Sentinel') == has(self.sentinel)",
            "topology: Sentinel needs sentinel (masterName and hosts), and nothing else does",
        ),
    ),
    ("spec.queue.redis.sentinel.hosts", Set),
    ("spec.queue.redis.sentinel.hosts[]", Text(261)),
    ("spec.relayControl.networks", Set),
    ("spec.relayControl.networks[]", Text(43)),
    ("spec.connectivity", Atomic),
    (
        "spec.connectivity",
        Rule(
            "self.mode != 'Scheduled' || has(self.scheduleRef)",
            "mode: Scheduled needs scheduleRef, the MailSchedule to connect by",
        ),
    ),
    ("spec.egress.deniedNetworks", Set),
    ("spec.egress.deniedNetworks[]", Text(43)),
    ("spec.egress.allowedHosts[].hosts", Set),
    ("spec.egress.allowedHosts[].hosts[]", Text(253)),
    ("spec.egress.allowedHosts[].namespaces", Rule(NAMES_GIVEN.0, NAMES_GIVEN.1)),
    ("spec.egress.allowedHosts[].namespaces", Rule(SELECTOR_GIVEN.0, SELECTOR_GIVEN.1)),
    ("spec.egress.allowedHosts[].namespaces.names", Set),
    ("spec.egress.allowedHosts[].namespaces.names[]", Form(63, LABEL)),
    ("spec.egress.allowedHosts[].namespaces.selector", Foreign),
    ("spec.allowedRoutes.namespaces", Atomic),
    ("spec.allowedRoutes.namespaces", Rule(NAMES_GIVEN.0, NAMES_GIVEN.1)),
    ("spec.allowedRoutes.namespaces", Rule(SELECTOR_GIVEN.0, SELECTOR_GIVEN.1)),
    ("spec.allowedRoutes.namespaces.names", Set),
    ("spec.allowedRoutes.namespaces.names[]", Form(63, LABEL)),
    ("spec.allowedRoutes.namespaces.selector", Foreign),
    ("spec.allowedRoutes.grants[].namespaces", Rule(NAMES_GIVEN.0, NAMES_GIVEN.1)),
    ("spec.allowedRoutes.grants[].namespaces", Rule(SELECTOR_GIVEN.0, SELECTOR_GIVEN.1)),
    ("spec.allowedRoutes.grants[].namespaces.names", Set),
    ("spec.allowedRoutes.grants[].namespaces.names[]", Form(63, LABEL)),
    ("spec.allowedRoutes.grants[].namespaces.selector", Foreign),
    ("spec.allowedRoutes.grants[].domains", Set),
    ("spec.allowedRoutes.grants[].domains[]", Form(253, GRANT)),
    ("status.selector", Text(1024)),
    ("status.image", Text(1024)),
];

const DOMAINS: &[(&str, super::refine::What)] = &[
    (
        "spec",
        Rule(
            "self.domain == oldSelf.domain",
            "domain cannot be changed: make a new resource with renamedFrom, which takes the old name over as an alias",
        ),
    ),
    (
        "spec",
        Rule(
            "!has(self.unknownRecipients) || !has(self.unknownRecipients.forward) || !has(self.unknownRecipients.forward.delivery) || self.unknownRecipients.forward.delivery != 'Scheduled' || (has(self.release) && has(self.release.scheduleRef))",
            "delivery: Scheduled needs release.scheduleRef, the MailSchedule that releases the queue",
        ),
    ),
    ("spec.domain", Form(253, DOMAIN)),
    ("spec.aliases", Set),
    ("spec.aliases[]", Form(253, DOMAIN)),
    (
        "spec.recipients",
        Rule(
            "self.policy != 'AcceptAll' || (!has(self.users) && !has(self.groups) && !has(self.aliases))",
            "policy: AcceptAll takes mail for everybody: remove users, groups and aliases, or use policy: Listed",
        ),
    ),
    ("spec.recipients.users", MapBy(&["name"])),
    ("spec.recipients.groups", MapBy(&["name"])),
    ("spec.recipients.groups[].members", Set),
    ("spec.recipients.groups[].members[]", Form(320, MEMBER)),
    ("spec.recipients.aliases", MapBy(&["name"])),
    ("spec.recipients.aliases[].deliverTo", Set),
    ("spec.recipients.aliases[].deliverTo[]", Form(320, MEMBER)),
    ("spec.localDelivery", Atomic),
    (
        "spec.localDelivery",
        Rule(
            "has(self.lmtp) != has(self.maildrop)",
            "give exactly one of lmtp (a mailbox server) and maildrop (kept for POP3)",
        ),
    ),
    (
        "spec.localDelivery.lmtp",
        // RFC 2033 §5
        Rule(
            "self.port != 25",
            "LMTP is never spoken on port 25: give the port of the mailbox server's LMTP, often 24",
        ),
    ),
    ("spec.unknownRecipients", Atomic),
    (
        "spec.unknownRecipients",
        Rule(
            "(self.action == 'Forward') == has(self.forward)",
            "action: Forward needs forward, and nothing else does",
        ),
    ),
    (
        "spec.release.etrn",
        Rule(
            "(has(self.networks) && size(self.networks) > 0) || (has(self.users) && size(self.users) > 0)",
            "name who may send ETRN: networks, users or both",
        ),
    ),
    ("spec.release.etrn.networks", Set),
    ("spec.release.etrn.networks[]", Text(43)),
    ("spec.release.etrn.users", Set),
    ("spec.release.etrn.users[]", Form(253, NAME)),
    ("spec.release.atrn.users", Set),
    ("spec.release.atrn.users[]", Form(253, NAME)),
    ("spec.release.pop3.users", Set),
    ("spec.release.pop3.users[]", Form(253, NAME)),
];

const RECIPIENTS: &[(&str, super::refine::What)] = &[("spec.users[]", Text(64))];

const RULE: &[(&str, super::refine::What)] = &[
    (
        "spec",
        Rule(
            "has(self.relay) != has(self.direct)",
            "give exactly one of relay (hosts to send through) and direct: {} (by MX)",
        ),
    ),
    (
        "spec.match",
        Rule(
            "(has(self.always) && self.always) != ((has(self.senders) && size(self.senders) > 0) || (has(self.recipients) && size(self.recipients) > 0))",
            "match by senders, recipients or both, or by always: true alone",
        ),
    ),
    ("spec.match.senders", Set),
    ("spec.match.senders[]", Form(320, SENDER)),
    ("spec.match.recipients", Set),
    ("spec.match.recipients[]", Form(320, RECIPIENT)),
];

const POP3: &[(&str, super::refine::What)] = &[
    (
        "spec",
        Rule(
            "has(self.deliverTo) != has(self.sorting)",
            "give exactly one of deliverTo (one recipient of everything) and sorting (recipients by header)",
        ),
    ),
    ("spec.deliverTo", Form(320, ADDRESS)),
    ("spec.sorting.preferredHeader", Form(76, HEADER)),
    ("spec.sorting.rules[].address", Form(320, ADDRESS)),
    ("spec.sorting.rules[].deliverTo", Form(320, ADDRESS)),
    ("spec.sorting.otherwise", Atomic),
    ("spec.sorting.otherwise.deliverTo", Form(320, ADDRESS)),
    (
        "spec.sorting.otherwise",
        Rule(
            "(self.action == 'Deliver') == has(self.deliverTo)",
            "action: Deliver needs deliverTo, and nothing else does",
        ),
    ),
    ("status.lastRun.result", Text(1024)),
];

const ETRN_SCHEDULE: &[(&str, super::refine::What)] = &[
    (
        "spec",
        Rule(
            "self.method != 'Atrn' || has(self.authentication)",
            "method: Atrn needs authentication: the server gives mail only to who has logged in",
        ),
    ),
    ("spec.domains", Set),
    ("spec.domains[]", Form(255, ETRN)),
    ("status.lastRun.result", Text(1024)),
];

const SCHEDULE: &[(&str, super::refine::What)] = &[
    (
        "spec.triggers[]",
        Rule(
            "(has(self.every) ? 1 : 0) + (has(self.at) ? 1 : 0) + (has(self.cron) ? 1 : 0) == 1",
            "give exactly one of every, at and cron in each trigger",
        ),
    ),
    ("spec.triggers[].at", Form(5, TIME)),
    (
        "spec.validDuring[]",
        Rule("self.from != self.to", "from and to are the same time: the window would be empty"),
    ),
    ("spec.validDuring[].days", Set),
    ("spec.validDuring[].from", Form(5, TIME)),
    ("spec.validDuring[].to", Form(5, TIME)),
];

const USER: &[(&str, super::refine::What)] = &[
    (
        "spec",
        Rule(
            "self.login == oldSelf.login",
            "login cannot be changed: make a new MailUser with the other login",
        ),
    ),
    ("spec.login", Form(320, LOGIN)),
    ("spec.maySendAs", Set),
    ("spec.maySendAs[]", Form(320, SENDER)),
];

/// Name, path and type of the columns of a kind. What is still to come is text: a date is shown as how long ago it was.
pub(super) fn columns(kind: Kind) -> &'static [(&'static str, &'static str, &'static str)] {
    match kind {
        Kind::MailGateway => &[
            ("Hostname", ".spec.hostname", "string"),
            ("Nodes", ".status.nodes.ready", "integer"),
            ("Desired", ".status.nodes.desired", "integer"),
            ("Domains", ".status.attached.domains", "integer"),
        ],
        Kind::MailDomain => &[
            ("Domain", ".spec.domain", "string"),
            ("Gateway", ".spec.gatewayRef.name", "string"),
            ("Held", ".status.queue.held", "integer"),
            ("Deferred", ".status.queue.deferred", "integer"),
        ],
        Kind::MailRecipients => &[("Domain", ".spec.domainRef.name", "string")],
        Kind::RelayRule => &[
            ("Gateway", ".spec.gatewayRef.name", "string"),
            ("Tier", ".spec.tier", "string"),
            ("Order", ".spec.order", "integer"),
            ("Host", ".spec.relay.hosts[0].host", "string"),
        ],
        Kind::Pop3Account => &[
            ("Server", ".spec.server.host", "string"),
            ("Last", ".status.lastRun.time", "date"),
            ("Result", ".status.lastRun.result", "string"),
            ("Messages", ".status.lastRun.messages", "integer"),
            ("Next", ".status.nextRun", "string"),
        ],
        Kind::EtrnSchedule => &[
            ("Server", ".spec.server.host", "string"),
            ("Method", ".spec.method", "string"),
            ("Last", ".status.lastRun.time", "date"),
            ("Result", ".status.lastRun.result", "string"),
            ("Next", ".status.nextRun", "string"),
        ],
        Kind::MailSchedule => &[("Zone", ".spec.timeZone", "string")],
        Kind::MailUser => {
            &[("Login", ".spec.login", "string"), ("Gateway", ".spec.gatewayRef.name", "string")]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::refine::find;

    #[test]
    fn every_path_leads_to_a_field() {
        for kind in Kind::ALL {
            let mut schema = kind.schema().clone();
            for Refinement { path, .. } in refinements(kind) {
                assert!(find(&mut schema, path).is_some(), "{kind}: {path}");
            }
        }
    }
}
