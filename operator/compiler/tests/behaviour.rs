//! What golden files cannot show: the memory of claims from one compilation to the next, and that size costs what it should.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use posthouse_compiler::{Compilation, Compiler, Context, ObjectKey, Reason, Resources, Standing, compile};
use posthouse_config::{Recipients, Snapshot};
use posthouse_crds::{Kind, Object};
use posthouse_model::Timestamp;
use serde_json::json;

#[path = "large/resources.rs"]
mod resources;

use resources::{DOMAINS, RECIPIENTS, gateway, large, object};

fn domain(name: &str, domain: &str) -> Object {
    object("MailDomain", name, &json!({"gatewayRef": {"name": "edge"}, "domain": domain, "role": "Primary"}))
}

fn of(objects: Vec<Object>) -> Resources {
    let mut resources = Resources::default();
    for object in objects {
        resources.add(object);
    }
    resources
}

fn only(snapshots: &std::collections::BTreeMap<ObjectKey, Arc<Snapshot>>) -> &Snapshot {
    &snapshots[&ObjectKey::new("mail", "edge")]
}

#[test]
fn a_second_claim_in_a_file_does_not_take_the_name_from_the_domain_that_has_it() {
    let mut context = Context::default();
    let first = compile(&of(vec![gateway(), domain("b", "example.com")]), &context);
    context.claims = first.claims;

    let both =
        compile(&of(vec![gateway(), domain("a", "example.com"), domain("b", "example.com")]), &context);
    let held = &only(&both.snapshots).domains[0];
    assert_eq!((held.origin.as_str(), held.suspended), ("mail/b", false));
    assert_eq!(held.role, posthouse_config::Role::Primary);
    let losers: Vec<_> =
        both.verdicts.iter().map(|verdict| (verdict.key.name.as_str(), verdict.reason)).collect();
    assert_eq!(losers, [("a", Reason::DomainClaimed), ("a", Reason::PrimaryClaimed)]);

    context.claims = both.claims;
    let after = compile(&of(vec![gateway(), domain("a", "example.com")]), &context);
    assert_eq!(only(&after.snapshots).domains[0].origin.as_str(), "mail/a", "the name is free again");
}

#[test]
fn a_wrong_domain_leaves_the_others_as_they_were() {
    let context = Context::default();
    let alone = compile(&of(vec![gateway(), domain("b", "b.example")]), &context);
    let wrong = domain("a", "*.example");
    let beside = compile(&of(vec![gateway(), wrong, domain("b", "b.example")]), &context);
    let without_role = |snapshot: &Snapshot| snapshot.domains[0].domain.clone();
    assert_eq!(without_role(only(&alone.snapshots)), without_role(only(&beside.snapshots)));
    assert!(beside.is_refused() && !alone.is_refused());
}

fn follow(context: &mut Context, compilation: Compilation) {
    context.claims = compilation.claims;
    for (key, snapshot) in compilation.snapshots {
        context.previous.insert(key, snapshot);
    }
}

fn refused(mut resources: Resources, kind: Kind, name: &str) -> Resources {
    resources.refused.insert((kind, ObjectKey::new("mail", name)));
    resources
}

fn served(name: &str, domain: &str, users: &[&str]) -> Object {
    let users: Vec<_> = users.iter().map(|name| json!({"name": name})).collect();
    let delivery = json!({"lmtp": {"host": "127.0.0.1", "port": 24}});
    let spec = json!({"gatewayRef": {"name": "edge"}, "domain": domain, "recipients": {"users": users}, "localDelivery": delivery});
    object("MailDomain", name, &spec)
}

fn standing_of(compilation: &Compilation, kind: Kind, name: &str) -> Option<Standing> {
    compilation.standing.get(&(kind, ObjectKey::new("mail", name))).copied()
}

/// The context after a compilation of these.
fn after(objects: Vec<Object>) -> Context {
    let mut context = Context::default();
    let first = compile(&of(objects), &context);
    follow(&mut context, first);
    context
}

fn in_force(context: &Context) -> &Arc<Snapshot> {
    &context.previous[&ObjectKey::new("mail", "edge")]
}

#[test]
fn a_domain_whose_form_is_refused_stays_as_it_was_until_another_has_its_name() {
    let context = after(vec![gateway(), served("a", "a.example", &["ann"]), served("b", "b.example", &[])]);
    let alone = refused(of(vec![gateway(), served("b", "b.example", &[])]), Kind::MailDomain, "a");
    let kept = compile(&alone, &context);
    assert_eq!((kept.verdicts.as_slice(), only(&kept.snapshots)), ([].as_slice(), &**in_force(&context)));
    assert!(Arc::ptr_eq(&only(&kept.snapshots).domains[0], &in_force(&context).domains[0]));
    assert_eq!(standing_of(&kept, Kind::MailDomain, "a"), Some(Standing::Kept));

    // It goes on holding its name beside one that comes at the moment when it is right again.
    let mut later = context.clone();
    follow(&mut later, kept);
    let both = of(vec![gateway(), served("a", "a.example", &["ann"]), served("c", "a.example", &[])]);
    assert_eq!(only(&compile(&both, &later).snapshots).domains[0].origin.as_str(), "mail/a");

    let taken = refused(of(vec![gateway(), served("c", "a.example", &[])]), Kind::MailDomain, "a");
    let taken = compile(&taken, &context);
    assert_eq!(only(&taken.snapshots).domains[0].origin.as_str(), "mail/c");
    assert_eq!(standing_of(&taken, Kind::MailDomain, "a"), Some(Standing::Nothing));

    let never = refused(of(vec![gateway()]), Kind::MailDomain, "never");
    assert_eq!(standing_of(&compile(&never, &context), Kind::MailDomain, "never"), Some(Standing::Nothing));
}

#[test]
fn a_rule_whose_form_is_refused_stays_as_it_was() {
    let spec = json!({"gatewayRef": {"name": "edge"}, "match": {"always": true}, "relay": {"hosts": [{"host": "192.0.2.1", "port": 25}]}});
    let context = after(vec![gateway(), object("RelayRule", "r", &spec)]);
    let kept = compile(&refused(of(vec![gateway()]), Kind::RelayRule, "r"), &context);
    assert_eq!(only(&kept.snapshots), &**in_force(&context));
    assert_eq!(standing_of(&kept, Kind::RelayRule, "r"), Some(Standing::Kept));
}

#[test]
fn a_refused_list_takes_no_recipient_away() {
    let list = object("MailRecipients", "more", &json!({"domainRef": {"name": "a"}, "users": ["bob"]}));
    let context = after(vec![gateway(), served("a", "a.example", &["ann"]), list]);
    let without = of(vec![gateway(), served("a", "a.example", &["ann", "new"])]);
    let kept = compile(&refused(without, Kind::MailRecipients, "more"), &context);
    assert_eq!(only(&kept.snapshots), &**in_force(&context));
    assert_eq!(standing_of(&kept, Kind::MailDomain, "a"), Some(Standing::Kept));

    let with = of(vec![gateway(), served("a", "a.example", &["ann", "bob", "new"])]);
    let free = compile(&refused(with, Kind::MailRecipients, "more"), &context);
    let Recipients::Listed { users, .. } = &only(&free.snapshots).domains[0].recipients else { panic!() };
    assert!(users.contains("new"), "nobody is missing, so what the manifest says now holds");
    assert_eq!(standing_of(&free, Kind::MailDomain, "a"), None);
}

#[test]
fn a_gateway_whose_form_is_refused_has_no_new_snapshot_and_is_not_missing() {
    let context = after(vec![gateway(), served("a", "a.example", &[])]);
    let now = of(vec![served("a", "a.example", &[]), served("b", "b.example", &[])]);
    let compilation = compile(&refused(now, Kind::MailGateway, "edge"), &context);
    assert!(compilation.snapshots.is_empty());
    assert!(compilation.verdicts.iter().all(|verdict| verdict.reason == Reason::GatewayRefused));
    assert_eq!(standing_of(&compilation, Kind::MailGateway, "edge"), Some(Standing::Kept));
    assert_eq!(standing_of(&compilation, Kind::MailDomain, "a"), Some(Standing::Kept));
    assert_eq!(standing_of(&compilation, Kind::MailDomain, "b"), Some(Standing::Nothing));
}

#[test]
fn a_refused_gateway_that_goes_on_keeps_its_queue_from_others() {
    let named = |name: &str, hostname: &str| {
        let listeners = json!([{"name": "smtp", "port": 25, "protocol": "Smtp"}]);
        let spec = json!({"hostname": hostname, "listeners": listeners, "queue": {"id": "one"}});
        posthouse_crds::Object::read_admitted(json!({
            "apiVersion": posthouse_crds::API_VERSION, "kind": "MailGateway",
            "metadata": {"name": name, "namespace": "mail"}, "spec": spec,
        }))
        .unwrap()
    };
    let context = after(vec![named("edge", "edge.example")]);
    // Without what was known of claims: the queue is in use all the same.
    let context = Context { previous: context.previous, ..Context::default() };
    let hidden = refused(of(vec![named("other", "other.example")]), Kind::MailGateway, "edge");
    let wrong = of(vec![named("edge", "no host"), named("other", "other.example")]);
    for resources in [hidden, wrong] {
        let compilation = compile(&resources, &context);
        assert!(compilation.snapshots.is_empty());
        let claimed = compilation.verdicts.iter().filter(|verdict| verdict.reason == Reason::QueueIdClaimed);
        assert_eq!(claimed.map(|verdict| &*verdict.key.name).collect::<Vec<_>>(), ["other"]);
    }
}

#[test]
fn what_a_refused_form_is_named_by_finds_it() {
    let spec = json!({
        "gatewayRef": {"name": "edge"}, "domain": "a.example", "release": {"scheduleRef": {"name": "hourly"}, "atrn": {"users": ["ann"]}},
        "unknownRecipients": {"action": "Forward", "forward": {"host": "192.0.2.1", "port": 25, "delivery": "OnRequest"}},
    });
    let list = object("MailRecipients", "more", &json!({"domainRef": {"name": "gone"}, "users": []}));
    let mut resources = of(vec![gateway(), object("MailDomain", "a", &spec), list]);
    let reasons = |resources: &Resources| {
        let verdicts = compile(resources, &Context::default()).verdicts.into_iter();
        let reasons = verdicts.map(|verdict| verdict.reason);
        reasons.filter(|reason| *reason != Reason::NotSupportedYet).collect::<Vec<_>>()
    };
    assert_eq!(reasons(&resources).len(), 3, "schedule, user and domain are missing");
    for (kind, name) in [(Kind::MailSchedule, "hourly"), (Kind::MailUser, "ann"), (Kind::MailDomain, "gone")]
    {
        resources = refused(resources, kind, name);
    }
    assert_eq!(reasons(&resources), []);
}

#[test]
fn the_name_of_a_domain_that_is_gone_is_retired_for_an_hour() {
    const HOUR: u64 = 3_600_000;
    let mut context = Context { now: Timestamp(1_000), ..Context::default() };
    let with = of(vec![gateway(), served("a", "a.example", &[]), served("b", "b.example", &[])]);
    let without = of(vec![gateway(), served("b", "b.example", &[])]);
    let retired = |compilation: &Compilation| {
        let retired = only(&compilation.snapshots).retired.iter();
        retired.map(|retired| (retired.domain.to_string(), retired.until.0)).collect::<Vec<_>>()
    };
    let first = compile(&with, &context);
    assert_eq!(retired(&first), []);
    follow(&mut context, first);

    let gone = compile(&without, &context);
    let expected = [("a.example".to_owned(), HOUR + 1_000)];
    assert_eq!(retired(&gone), expected);
    follow(&mut context, gone);

    context.now = Timestamp(HOUR);
    assert_eq!(retired(&compile(&without, &context)), expected, "its time stays");
    assert_eq!(retired(&compile(&with, &context)), [], "it is back");
    context.now = Timestamp(HOUR + 1_000);
    assert_eq!(retired(&compile(&without, &context)), [], "its time has passed");
}

#[test]
fn a_name_that_an_edit_takes_away_or_a_refused_form_hides_is_not_retired() {
    let named = |aliases: &[&str]| {
        object(
            "MailDomain",
            "a",
            &json!({"gatewayRef": {"name": "edge"}, "domain": "a.example", "aliases": aliases}),
        )
    };
    let context = after(vec![gateway(), named(&["x.example"])]);
    let edited = compile(&of(vec![gateway(), named(&[])]), &context);
    assert_eq!(*only(&edited.snapshots).retired, []);
    let hidden = compile(&refused(of(vec![gateway()]), Kind::MailDomain, "a"), &context);
    assert_eq!(*only(&hidden.snapshots).retired, []);
}

fn login(password: &str) -> Resources {
    let relay = json!({
        "hosts": [{"host": "192.0.2.1", "port": 25}], "authentication": {"credentialsSecretRef": {"name": "provider"}},
    });
    let spec = json!({"gatewayRef": {"name": "edge"}, "match": {"always": true}, "relay": relay});
    let mut resources = of(vec![gateway(), object("RelayRule", "r", &spec)]);
    let secret = json!({
        "metadata": {"namespace": "mail", "name": "provider"}, "stringData": {"username": "somebody", "password": password},
    });
    resources.secrets.push(serde_json::from_value(secret).unwrap());
    resources
}

#[test]
fn an_edit_of_a_secret_reaches_the_snapshot_and_nothing_that_is_printed() {
    let mut compiler = Compiler::default();
    let mut context = Context::default();
    let passwords = ["hunter2", "correct horse"].map(|password| {
        let resources = login(password);
        let compilation = compiler.compile(&resources, &context);
        let credentials = only(&compilation.snapshots).rules[0].credentials.clone().unwrap();
        assert_eq!(credentials.username.reveal(), "somebody");
        let printed = format!("{compilation:?} {resources:?} {compiler:?}");
        assert!(!printed.contains(password) && !printed.contains("somebody"), "{printed}");
        follow(&mut context, compilation);
        credentials.password.reveal().to_owned()
    });
    assert_eq!(passwords, ["hunter2", "correct horse"]);

    // One that cannot be sent is told by its name alone, and what was there before stays.
    let wrong = compiler.compile(&login("staple\n"), &context);
    assert_eq!(wrong.verdicts.iter().filter(|verdict| verdict.reason == Reason::InvalidSecret).count(), 1);
    assert!(!format!("{:?}", wrong.verdicts).contains("staple"));
    assert_eq!(only(&wrong.snapshots).rules, in_force(&context).rules);
}

/// 10,000 domains and 100,000 recipients: an edit of one must reach the nodes within a second. The bound here is generous, for a debug build
/// on a busy machine; what it would catch is a loop inside a loop.
#[test]
fn ten_thousand_domains_compile_in_linear_time() {
    let large = large();
    let context = Context::default();
    let begun = Instant::now();
    let compilation = compile(&large, &context);
    let took = begun.elapsed();
    assert_eq!(compilation.verdicts, []);
    let listed = only(&compilation.snapshots).domains.iter().map(|domain| match &domain.recipients {
        Recipients::Listed { users, .. } => users.len(),
        Recipients::AcceptAll => 0,
    });
    assert_eq!(listed.sum::<usize>(), RECIPIENTS);
    assert!(took < Duration::from_secs(20), "{took:?}");

    // The worst that one edit can do: every domain is refused, and each is looked for in what was in force before.
    let mut wrong = large;
    for domain in &mut wrong.domains {
        Arc::make_mut(domain).spec.local_delivery = None;
    }
    let context = Context { claims: compilation.claims, previous: compilation.snapshots, ..context };
    let begun = Instant::now();
    let refused = compile(&wrong, &context);
    let took = begun.elapsed();
    assert_eq!(only(&refused.snapshots), &*context.previous[&ObjectKey::new("mail", "edge")]);
    assert_eq!(refused.standing.values().filter(|standing| **standing == Standing::Kept).count(), DOMAINS);
    assert!(took < Duration::from_secs(20), "{took:?}");
}
