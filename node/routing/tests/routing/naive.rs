//! Routing against a second, naive reading of the same rules: recursion, linear scans, texts. Random snapshots with random graphs of groups and
//! aliases also show that every decision ends, and that what is explained is what is done. `PROPTEST_CASES` asks for more of them.

use posthouse_config::{
    Admits, AliasedRecipients, Expansion, LocalDelivery, MailDomain, Match, Recipients, RelayRule, Role,
    RuleTarget, Snapshot, Tier, UnknownRecipients,
};
use posthouse_routing::{Client, RefusalReason, Router};
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

use crate::fixtures::{NOW, ask, neighbour, snapshot, stranger, user};

/// The same answers as `fixtures::ask`, worked out as simply as can be.
struct Naive<'a> {
    snapshot: &'a Snapshot,
    sender: &'a str,
    client: &'a Client,
    passes_over: bool,
    opened: Vec<&'a Expansion>,
    /// Key, line.
    lines: Vec<(String, String)>,
    failures: Vec<RefusalReason>,
}

type Outcome = Result<Vec<String>, RefusalReason>;

fn naive(snapshot: &Snapshot, client: &Client, sender: &str, recipient: &str) -> Outcome {
    let hostname = snapshot.gateway.hostname.as_str();
    let bare =
        snapshot.domains.iter().find(|domain| domain.role == Role::Primary).or(snapshot.domains.first());
    let recipient = if recipient.contains('@') {
        recipient.to_owned()
    } else {
        format!("postmaster@{}", bare.map_or(hostname, |domain| domain.domain.as_str()))
    };
    let (outcome, is_ours) = naive_unless(snapshot, client, sender, &recipient, false);
    match outcome {
        Err(reason) if is_ours && is_reserved(&recipient) && !TRANSIENT.contains(&reason) => {
            naive_unless(snapshot, client, sender, &recipient, true).0
        }
        outcome => outcome,
    }
}

const TRANSIENT: [RefusalReason; 4] = [
    RefusalReason::DomainSuspended,
    RefusalReason::DomainRetired,
    RefusalReason::NoLocalDelivery,
    RefusalReason::OwnHop,
];

fn is_reserved(address: &str) -> bool {
    ["postmaster", "abuse"].iter().any(|name| same(parts(address).0, name))
}

fn naive_unless(
    snapshot: &Snapshot,
    client: &Client,
    sender: &str,
    recipient: &str,
    passes_over: bool,
) -> (Outcome, bool) {
    let (opened, lines, failures) = (Vec::new(), Vec::new(), Vec::new());
    let mut naive = Naive { snapshot, sender, client, passes_over, opened, lines, failures };
    let domain = parts(recipient).1;
    let is_ours = naive.domain(domain).is_some() || same(domain, snapshot.gateway.hostname.as_str());
    naive.visit(recipient, None, &[]);
    (naive.outcome(), is_ours)
}

fn parts(address: &str) -> (&str, &str) {
    address.rsplit_once('@').unwrap()
}

fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

impl<'a> Naive<'a> {
    fn outcome(self) -> Outcome {
        if let Some(reason) = self.failures.iter().find(|reason| TRANSIENT.contains(reason)) {
            return Err(*reason);
        }
        if self.lines.is_empty() {
            return Err(self.failures[0]);
        }
        Ok(self.lines.into_iter().map(|(_, line)| line).collect())
    }

    fn primary(&self) -> Option<&'a MailDomain> {
        let domains = &self.snapshot.domains;
        domains.iter().find(|domain| domain.role == Role::Primary).or(domains.first()).map(AsRef::as_ref)
    }

    fn domain(&self, name: &str) -> Option<&'a MailDomain> {
        self.snapshot.domains.iter().map(AsRef::as_ref).find(|domain| {
            same(domain.domain.as_str(), name)
                || domain.aliases.iter().any(|alias| same(alias.as_str(), name))
        })
    }

    fn may_relay(&self) -> bool {
        *self.client == neighbour() || self.client.identity().is_some()
    }

    fn is_retired(&self, name: &str) -> bool {
        self.snapshot.retired.iter().any(|retired| same(retired.domain.as_str(), name) && NOW < retired.until)
    }

    fn visit(&mut self, address: &str, via: Option<&'a MailDomain>, above: &[&'a Expansion]) {
        let outcome = match self.domain(parts(address).1) {
            Some(domain) => self.visit_own(domain, address, via, above),
            None if is_reserved(address)
                && same(parts(address).1, self.snapshot.gateway.hostname.as_str()) =>
            {
                match self.primary() {
                    Some(primary) => {
                        let local = parts(address).0;
                        self.visit(&format!("{local}@{}", primary.domain), via, above);
                        Ok(None)
                    }
                    None if self.rule(address, via).is_some() => Ok(Some(self.relayed(address, via))),
                    None => Err(RefusalReason::NoLocalDelivery),
                }
            }
            None if self.is_retired(parts(address).1) => Err(RefusalReason::DomainRetired),
            None => self.visit_other(address, via).map(Some),
        };
        match outcome {
            Ok(None) => {}
            Err(reason) => self.failures.push(reason),
            Ok(Some(line)) => {
                let (local, domain) = parts(address);
                let key = match self.domain(domain) {
                    Some(own) => format!("{}@{}", local.to_lowercase(), own.domain),
                    None => format!("{local}@{}", domain.to_lowercase()),
                };
                if !self.lines.iter().any(|(known, _)| *known == key) {
                    self.lines.push((key, format!("{address} → {line}")));
                }
            }
        }
    }

    fn visit_own(
        &mut self,
        domain: &'a MailDomain,
        address: &str,
        via: Option<&'a MailDomain>,
        above: &[&'a Expansion],
    ) -> Result<Option<String>, RefusalReason> {
        let (local, given) = parts(address);
        if domain.suspended {
            return Err(RefusalReason::DomainSuspended);
        }
        if let Recipients::Listed { users, groups, aliases } = &domain.recipients
            && !(self.passes_over && is_reserved(address))
        {
            let is_user = users.iter().any(|user| same(user, local));
            let found = aliases.iter().chain(groups).find(|expansion| same(expansion.name.value(), local));
            if let Some(found) = found {
                if self.opened.iter().any(|opened| std::ptr::eq(*opened, found)) {
                    if is_user {
                        return Self::local(domain).map(Some);
                    }
                    let is_circle = above.iter().any(|expansion| std::ptr::eq(*expansion, found));
                    return if is_circle { Err(RefusalReason::AliasLoop) } else { Ok(None) };
                }
                self.opened.push(found);
                let above = [above, &[found]].concat();
                for member in &found.members {
                    let member = member.to_string();
                    let member = if member.contains('@') { member } else { format!("{member}@{given}") };
                    self.visit(&member, Some(domain), &above);
                }
                return Ok(None);
            }
            if is_user {
                return Self::local(domain).map(Some);
            }
        }
        let forward = match &domain.unknown_recipients {
            UnknownRecipients::Reject => None,
            UnknownRecipients::Forward(forward) => Some(forward),
        };
        let takes = |forward: &posthouse_config::Forward| {
            if forward.aliased_recipients == AliasedRecipients::Reject && !same(given, domain.domain.as_str())
            {
                Err(RefusalReason::AliasedRecipient)
            } else if forward.admits == Admits::Authorized && via.is_none() && !self.may_relay() {
                Err(RefusalReason::NotAdmitted)
            } else {
                Ok(())
            }
        };
        let sent = |forward: &posthouse_config::Forward| format!("smtp:{} [{}]", forward.host, forward.queue);
        if same(local, "abuse") {
            if let Some(forward) = forward.filter(|forward| takes(forward).is_ok()) {
                return Ok(Some(sent(forward)));
            }
            if domain.recipients == Recipients::AcceptAll && domain.local_delivery.is_some() {
                return Self::local(domain).map(Some);
            }
            self.visit(&format!("postmaster@{given}"), via, above);
            return Ok(None);
        }
        if same(local, "postmaster") {
            let taken = forward.map(|forward| takes(forward));
            if let (Some(forward), Some(Ok(()))) = (forward, taken) {
                return Ok(Some(sent(forward)));
            }
            if domain.local_delivery.is_some() {
                return Self::local(domain).map(Some);
            }
            if taken == Some(Err(RefusalReason::AliasedRecipient)) {
                self.visit(&format!("{local}@{}", domain.domain), via, above);
                return Ok(None);
            }
            let primary = self.primary().unwrap();
            if !std::ptr::eq(primary, domain) {
                self.visit(&format!("{local}@{}", primary.domain), Some(domain), above);
                return Ok(None);
            }
            return match forward {
                Some(forward) => Ok(Some(sent(forward))),
                None => Self::local(domain).map(Some),
            };
        }
        match forward {
            Some(forward) => {
                takes(forward)?;
                Ok(Some(sent(forward)))
            }
            None if domain.recipients == Recipients::AcceptAll && domain.local_delivery.is_some() => {
                Self::local(domain).map(Some)
            }
            None => Err(RefusalReason::UnknownRecipient),
        }
    }

    fn local(domain: &MailDomain) -> Result<String, RefusalReason> {
        match &domain.local_delivery {
            Some(LocalDelivery::Lmtp { host, queue, guarded: _ }) => Ok(format!("lmtp:{host} [{queue}]")),
            Some(LocalDelivery::Maildrop { queue }) => Ok(format!("maildrop [{queue}]")),
            None => Err(RefusalReason::NoLocalDelivery),
        }
    }

    fn visit_other(&self, address: &str, via: Option<&MailDomain>) -> Result<String, RefusalReason> {
        if via.is_none() && !self.may_relay() {
            return Err(RefusalReason::RelayDenied);
        }
        Ok(self.relayed(address, via))
    }

    fn rule(&self, address: &str, via: Option<&MailDomain>) -> Option<&'a RelayRule> {
        self.snapshot.rules.iter().find(|rule| self.rule_fits(rule, address, via))
    }

    fn relayed(&self, address: &str, via: Option<&MailDomain>) -> String {
        let domain = parts(address).1.to_lowercase();
        match self.rule(address, via).map(|rule| &rule.target) {
            Some(RuleTarget::Relay { hosts }) => {
                let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
                format!("smtp:{} [{domain}]", hosts.join(","))
            }
            Some(RuleTarget::Direct) | None => format!("smtp+guarded:{domain} [{domain}]"),
        }
    }

    fn rule_fits(&self, rule: &RelayRule, address: &str, via: Option<&MailDomain>) -> bool {
        let namespace = rule.origin.namespace();
        let is_theirs = via.is_some_and(|domain| domain.origin.namespace() == namespace)
            || self.client.identity().is_some_and(|identity| &*identity.namespace == namespace);
        if rule.suspended || (rule.tier == Tier::Tenant && !is_theirs) {
            return false;
        }
        let Match::Addresses { senders, recipients } = &rule.matches else { return true };
        let fits = |pattern: String, address: &str| match (pattern.as_str(), address) {
            ("<>", "") => true,
            ("<>", _) | (_, "") => false,
            _ => {
                let ((local, domain), (given, at)) = (parts(&pattern), parts(address));
                same(domain, at) && (local == "*" || local == given)
            }
        };
        let by_sender = senders.iter().any(|pattern| fits(pattern.to_string(), self.sender));
        let by_recipient = recipients.iter().any(|pattern| fits(pattern.to_string(), address));
        let asks_no_sender = senders.is_empty() && !self.sender.is_empty();
        (by_sender || asks_no_sender) && (by_recipient || recipients.is_empty())
    }
}

const NAMES: [&str; 8] = ["u", "v", "w", "g", "h", "k", "postmaster", "abuse"];
const DOMAINS: [&str; 3] = ["a.example", "b.example", "c.example"];
const ADDRESSES: [&str; 18] = [
    "u@a.example",
    "g@a.example",
    "h@A.alias.example",
    "U@b.example",
    "g@b.example",
    "k@b.example",
    "v@c.example",
    "k@c.example",
    "h@c.alias.example",
    "postmaster@b.example",
    "Postmaster@c.alias.example",
    "abuse@a.example",
    "Abuse@b.alias.example",
    "postmaster@mail.example.com",
    "ABUSE@mail.example.com",
    "x@out.example",
    "y@other.example",
    "X@OUT.example",
];

fn expansions() -> impl Strategy<Value = Value> {
    let member = prop_oneof![select(&NAMES[..]), select(&ADDRESSES[..])];
    let expansion = (select(&NAMES[..]), prop::collection::vec(member, 1..5));
    prop::collection::vec(expansion, 0..4).prop_map(|mut list| {
        list.sort_by_key(|(name, _)| *name);
        list.dedup_by_key(|(name, _)| *name);
        list.into_iter().map(|(name, members)| json!({"name": name, "members": members})).collect()
    })
}

fn domain(name: &'static str) -> impl Strategy<Value = Value> {
    let users = prop::collection::btree_set(select(&NAMES[..]), 0..4);
    let flags =
        (prop::bool::weighted(0.1), prop::bool::weighted(0.15), prop::bool::weighted(0.3), any::<bool>());
    let forward = prop::option::of((any::<bool>(), any::<bool>(), prop::bool::weighted(0.8)));
    (users, expansions(), expansions(), flags, forward, 0..3u8).prop_map(
        move |(users, groups, aliases, (suspended, accepts_all, is_primary, is_tenants), forward, local)| {
            let namespace = if is_tenants { "t" } else { "mail" };
            let mut document = json!({
                "domain": name,
                "origin": format!("{namespace}/{}", &name[..1]),
                "role": if is_primary { "Primary" } else { "Member" },
                "suspended": suspended,
                "aliases": [format!("{}.alias.example", &name[..1])],
                "recipients": "AcceptAll"
            });
            if !accepts_all {
                document["recipients"] =
                    json!({"Listed": {"users": users, "groups": groups, "aliases": aliases}});
            }
            match local {
                0 => {}
                1 => document["localDelivery"] = json!({"Maildrop": {"queue": name}}),
                _ => {
                    let lmtp = json!({"host": {"host": "lmtp.svc", "port": 24}, "queue": name});
                    document["localDelivery"] = json!({"Lmtp": lmtp});
                }
            }
            if let Some((forwards_aliased, admits_anyone, has_port)) = forward {
                let port = if has_port { json!({"host": "mx2", "port": 25}) } else { json!({"host": "mx2"}) };
                document["unknownRecipients"] = json!({"Forward": {
                    "host": port,
                    "queue": name,
                    "aliasedRecipients": if forwards_aliased { "Forward" } else { "Reject" },
                    "admits": if admits_anyone { "Anyone" } else { "Authorized" }
                }});
            }
            document
        },
    )
}

fn rules() -> impl Strategy<Value = Vec<Value>> {
    let senders =
        prop::collection::vec(select(vec!["*@s.example", "p@s.example", "<>", "*@a.example"]), 0..3);
    let recipients =
        prop::collection::vec(select(vec!["*@out.example", "x@out.example", "*@other.example"]), 0..3);
    let rule = (0..3u8, any::<bool>(), 0..3i64, prop::bool::weighted(0.2), senders, recipients, 0..6u8);
    prop::collection::vec(rule, 0..5).prop_map(|rules| {
        (0..)
            .zip(rules)
            .map(|(number, (tier, always, order, suspended, senders, recipients, target)): (u8, _)| {
                let is_always = always || (senders.is_empty() && recipients.is_empty());
                json!({
                    "origin": format!("{}/r{number}", if tier == 1 { "t" } else { "mail" }),
                    "tier": (["First", "Tenant", "Default"][usize::from(tier)]),
                    "order": order,
                    "suspended": suspended,
                    "match": if is_always { json!("Always") } else {
                        json!({"Addresses": {"senders": senders, "recipients": recipients}})
                    },
                    "target": match target {
                        0 => json!("Direct"),
                        1 => json!({"Relay": {"hosts": [{"host": "r", "port": 1}, {"host": "mx"}]}}),
                        _ => json!({"Relay": {"hosts": [{"host": format!("r{number}"), "port": 25}]}}),
                    }
                })
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn routing_is_what_a_naive_reading_of_the_rules_finds(
        domains in (domain(DOMAINS[0]), domain(DOMAINS[1]), domain(DOMAINS[2])),
        count in 0..=3usize,
        rules in rules(),
        retired in prop::option::of(999..=1_001u64),
    ) {
        let domains: Vec<Value> = [domains.0, domains.1, domains.2].into_iter().take(count).collect();
        // names that are a domain's again, and names that are nobody's any more
        let retired: Vec<Value> = retired.into_iter()
            .flat_map(|until| ["c.example", "out.example"].map(|name| json!({"domain": name, "until": until})))
            .collect();
        let snapshot = snapshot(json!({"domains": domains, "rules": rules, "retired": retired}));
        let router = Router::new(std::sync::Arc::new(snapshot.clone()));
        for recipient in ADDRESSES.into_iter().chain(["Postmaster", "nobody@a.example", "nobody@c.alias.example"]) {
            for client in [neighbour(), stranger(), user("t")] {
                for sender in ["p@s.example", "q@s.example", ""] {
                    // asks with and without the path, and compares
                    let found = ask(&router, &client, sender, recipient);
                    prop_assert_eq!(
                        found,
                        naive(&snapshot, &client, sender, recipient),
                        "{}, {:?} → {}: {}", client, sender, recipient,
                        serde_json::to_string_pretty(&snapshot).unwrap()
                    );
                }
            }
        }
    }
}
