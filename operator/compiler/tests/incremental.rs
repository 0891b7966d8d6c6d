//! A compiler that remembers says exactly what one says that sees everything for the first time, whatever was edited in between; and what did
//! not change comes out as the same `Arc`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use posthouse_compiler::{Compilation, Compiler, Context, Environment, ObjectKey, Resources, compile};
use posthouse_crds::{API_VERSION, Kind, Object};
use posthouse_model::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

#[path = "large/resources.rs"]
#[allow(dead_code, reason = "others need more of it")]
mod large;

/// What there is at one moment.
#[derive(Clone, Default)]
struct World {
    objects: BTreeMap<(Kind, ObjectKey), Object>,
    /// Each with its password.
    secrets: BTreeMap<&'static str, &'static str>,
    refused: BTreeSet<(Kind, ObjectKey)>,
    refused_secrets: BTreeSet<ObjectKey>,
}

impl World {
    fn resources(&self) -> Resources {
        let mut resources = Resources {
            refused: self.refused.clone(),
            refused_secrets: self.refused_secrets.clone(),
            ..Resources::default()
        };
        self.objects.values().cloned().for_each(|object| resources.add(object));
        for (name, password) in &self.secrets {
            let data = json!({"username": "ann", "password": password});
            let secret = json!({"metadata": {"namespace": "mail", "name": name}, "stringData": data});
            resources.secrets.push(serde_json::from_value(secret).unwrap());
        }
        resources
    }

    /// One edit, chosen by some octets.
    fn edit(&mut self, dice: &mut Dice) {
        let kind = dice.of(&[
            Kind::MailDomain,
            Kind::MailDomain,
            Kind::MailDomain,
            Kind::MailDomain,
            Kind::MailRecipients,
            Kind::MailRecipients,
            Kind::RelayRule,
            Kind::MailGateway,
            Kind::MailUser,
            Kind::MailSchedule,
        ]);
        let name = match kind {
            Kind::MailGateway => dice.of(&["edge", "inner"]),
            _ => dice.of(&["a", "b", "c", "d"]),
        };
        let namespace =
            if kind == Kind::MailGateway { "mail" } else { dice.of(&["mail", "mail", "mail", "customer"]) };
        let key = (kind, ObjectKey::new(namespace, name));
        match dice.upto(8) {
            0 => drop(self.objects.remove(&key)),
            1 => {
                self.objects.remove(&key);
                self.refused.insert(key);
            }
            2 => {
                let secret = dice.of(&["login", "other"]);
                self.secrets.remove(secret);
                self.refused_secrets.remove(&ObjectKey::new("mail", secret));
                match dice.of(&[None, Some("one"), Some("two"), Some("two lines\n"), Some("refused")]) {
                    None => {}
                    Some("refused") => drop(self.refused_secrets.insert(ObjectKey::new("mail", secret))),
                    Some(password) => drop(self.secrets.insert(secret, password)),
                }
            }
            _ => {
                let mut metadata = json!({"namespace": namespace, "name": name});
                if dice.upto(3) == 0 {
                    metadata["creationTimestamp"] = format!("2026-01-01T00:00:{:02}Z", dice.upto(60)).into();
                }
                let spec = spec(kind, dice);
                let object = json!({"apiVersion": API_VERSION, "kind": kind.name(), "metadata": metadata, "spec": spec});
                self.refused.remove(&key);
                self.objects.insert(key, Object::read_admitted(object).unwrap());
            }
        }
    }
}

/// Choices, drawn from octets; when these are used up, always the first.
struct Dice(std::vec::IntoIter<u8>);

impl Dice {
    fn upto(&mut self, sides: u8) -> u8 {
        self.0.next().unwrap_or_default() % sides
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.upto(u8::try_from(choices.len()).unwrap()))]
    }

    fn some<T: Copy>(&mut self, choices: &[T]) -> Vec<T> {
        let taken = self.upto(3);
        (0..taken).map(|_| self.of(choices)).collect()
    }
}

const NAMES: &[&str] = &["a.example", "b.example", "c.example", "A.Example", "x.c.example"];
const LOCALS: &[&str] = &["ann", "bob", "Ann", "all", "no body"];
const TARGETS: &[&str] = &["ann", "all", "bob", "all@a.example", "all@b.example", "ann@far.example"];
const HOSTS: &[&str] =
    &["192.0.2.1", "edge.example", "inner.example", "mx.example", "mx", "127.0.0.1", "not a host"];

fn spec(kind: Kind, dice: &mut Dice) -> Value {
    let gateway = json!({"name": dice.of(&["edge", "edge", "edge", "inner"]), "namespace": "mail"});
    let suspend = dice.upto(5) == 0;
    match kind {
        Kind::MailGateway => json!({
            "hostname": dice.of(&["edge.example", "inner.example", "no host"]),
            "suspend": suspend,
            "listeners": [{"name": "smtp", "port": 25, "protocol": "Smtp"}],
            "queue": {"id": dice.of(&["one", "two"])},
            "connectivity": dice.of(&[None, Some("Scheduled")]).map(|mode| json!({"mode": mode, "scheduleRef": {"name": "a"}})),
            "allowedRoutes": {
                "namespaces": {"from": dice.of(&["All", "Same"])},
                "grants": [{"namespaces": {"from": "All"}, "domains": [dice.of(&["c.example", "*.c.example", "b.example"])]}],
            },
        }),
        Kind::MailDomain => {
            let users: Vec<_> = dice.some(LOCALS).into_iter().map(|name| json!({"name": name})).collect();
            let expansion = |dice: &mut Dice, list: &str| {
                let names = dice.some(LOCALS);
                let one = |name| json!({"name": name, list: dice.some(TARGETS)});
                names.into_iter().map(one).collect::<Vec<_>>()
            };
            let (groups, aliases) = (expansion(dice, "members"), expansion(dice, "deliverTo"));
            let mut spec = json!({
                "gatewayRef": gateway, "suspend": suspend,
                "domain": dice.of(NAMES), "aliases": dice.some(NAMES),
                "role": dice.of(&["Member", "Member", "Primary"]),
                "recipients": {"policy": dice.of(&["Listed", "Listed", "Listed", "AcceptAll"]), "users": users, "groups": groups, "aliases": aliases},
            });
            match dice.upto(4) {
                0 => {}
                1 => spec["localDelivery"] = json!({"maildrop": {}}),
                _ => spec["localDelivery"] = json!({"lmtp": {"host": dice.of(HOSTS), "port": 24}}),
            }
            if dice.upto(2) == 0 {
                let delivery = dice.of(&["Online", "OnRequest", "Scheduled"]);
                spec["unknownRecipients"] = json!({
                    "action": "Forward", "forward": {"host": dice.of(HOSTS), "port": 25, "delivery": delivery},
                });
            }
            if dice.upto(3) == 0 {
                spec["queue"] = json!({"name": dice.of(&["shared", "a.example", "local:x"])});
            }
            if dice.upto(3) == 0 {
                spec["release"] =
                    json!({"scheduleRef": {"name": dice.of(&["a", "b"])}, "atrn": {"users": ["a"]}});
            }
            if dice.upto(6) == 0 {
                spec["renamedFrom"] = json!({"name": dice.of(&["a", "b", "c"])});
            }
            spec
        }
        Kind::MailRecipients => json!({
            "domainRef": {"name": dice.of(&["a", "b", "c"])}, "suspend": suspend, "users": dice.some(LOCALS),
        }),
        Kind::RelayRule => json!({
            "gatewayRef": gateway, "suspend": suspend, "order": dice.upto(3),
            "match": dice.of(&[Some("*@c.example"), Some("*@b.example"), None])
                .map_or(json!({"always": true}), |pattern| json!({"senders": [pattern]})),
            "relay": {"hosts": [{"host": dice.of(HOSTS), "port": 25}], "authentication": {"credentialsSecretRef": {"name": "login"}}},
        }),
        Kind::MailUser => json!({
            "gatewayRef": gateway, "login": dice.of(&["ann", "ann@c.example", "bob"]),
            "passwordSecretRef": {"name": "login", "key": "password"}, "maySendAs": ["*@c.example"],
        }),
        _ => {
            let zone = dice.of(&["UTC", "Europe/Prague", "Nowhere"]);
            let (field, text) =
                dice.of(&[("every", "10m"), ("at", "12:00"), ("cron", "0 9 * * Sat"), ("cron", "never")]);
            let window = json!({"days": ["Mon"], "from": "08:00", "to": dice.of(&["18:00", "08:00"])});
            json!({"timeZone": zone, "triggers": [{field: text}], "validDuring": [window]})
        }
    }
}

/// What one compilation leaves to the next one.
fn follow(context: &mut Context, compilation: Compilation) {
    context.claims = compilation.claims;
    for (key, snapshot) in compilation.snapshots {
        context.previous.insert(key, snapshot);
    }
}

fn assert_same(remembering: &Compilation, fresh: &Compilation) {
    assert_eq!(remembering.snapshots, fresh.snapshots);
    assert_eq!(remembering.verdicts, fresh.verdicts);
    assert_eq!(remembering.standing, fresh.standing);
    assert_eq!(remembering.claims, fresh.claims);
}

/// What is equal in two snapshots of a gateway is one thing.
fn assert_shared(before: &Context, after: &Compilation) {
    for (key, snapshot) in &after.snapshots {
        let Some(before) = before.previous.get(key) else { continue };
        for domain in &snapshot.domains {
            let same =
                before.domains.iter().find(|before| before.domain == domain.domain && before == &domain);
            assert!(same.is_none_or(|same| Arc::ptr_eq(same, domain)), "{} was copied", domain.domain);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_edited_the_memory_changes_nothing(
        environment in prop_oneof![Just(Environment::Local), Just(Environment::Cluster)],
        edits in prop::collection::vec(prop::collection::vec(any::<u8>(), 4..40), 1..30),
    ) {
        let mut world = World::default();
        for name in ["edge", "inner"] {
            let spec = json!({"hostname": format!("{name}.example"), "listeners": [{"name": "smtp", "port": 25, "protocol": "Smtp"}],
                "queue": {"id": name, "redis": {"urlSecretRef": {"name": "redis", "key": "url"}}}, "allowedRoutes": {"namespaces": {"from": "All"}}});
            world.objects.insert((Kind::MailGateway, ObjectKey::new("mail", name)), large::object("MailGateway", name, &spec));
        }
        let mut compiler = Compiler::default();
        let mut context = Context { environment, ..Context::default() };
        let mut earlier = vec![world.clone()];
        for edit in edits {
            let mut dice = Dice(edit.into_iter());
            // Now and then all is as it was some time ago, with the same objects.
            if dice.upto(12) == 0 {
                world = earlier[usize::from(dice.upto(u8::try_from(earlier.len()).unwrap()))].clone();
            } else {
                world.edit(&mut dice);
            }
            context.now = Timestamp(context.now.0 + u64::from(dice.upto(8)) * 600_000);
            let resources = world.resources();
            let remembering = compiler.compile(&resources, &context);
            assert_same(&remembering, &compile(&resources, &context));
            assert_shared(&context, &remembering);
            follow(&mut context, remembering);
            earlier.push(world.clone());
        }
    }
}

#[test]
fn one_edit_leaves_all_other_domains_as_they_were() {
    let mut resources = large::large();
    let (mut compiler, mut context) = (Compiler::default(), Context::default());
    let first = compiler.compile(&resources, &context);
    follow(&mut context, first);
    let edge = ObjectKey::new("mail", "edge");
    let before = Arc::clone(&context.previous[&edge]);

    Arc::make_mut(&mut resources.domains[7]).spec.suspend = true;
    Arc::make_mut(&mut resources.recipients[20]).spec.users.push("one.more".to_owned());
    let after = compiler.compile(&resources, &context);
    assert_same(&after, &compile(&resources, &context));
    let changed: Vec<_> = before
        .domains
        .iter()
        .zip(&after.snapshots[&edge].domains)
        .filter(|(one, other)| !Arc::ptr_eq(one, other))
        .map(|(_, domain)| domain.domain.as_str())
        .collect();
    assert_eq!(changed, ["d20.example", "d7.example"]);
}
