//! What golden files cannot show: the memory of claims from one compilation to the next, and that size costs what it should.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use posthouse_compiler::{Context, ObjectKey, Reason, Resources, compile};
use posthouse_config::{Recipients, Snapshot};
use posthouse_crds::Object;
use serde_json::{Value, json};

fn object(kind: &str, name: &str, spec: &Value) -> Object {
    Object::read(json!({
        "apiVersion": posthouse_crds::API_VERSION, "kind": kind,
        "metadata": {"name": name, "namespace": "mail"}, "spec": spec,
    }))
    .unwrap()
}

fn gateway() -> Object {
    let listeners = json!([{"name": "smtp", "port": 25, "protocol": "Smtp"}]);
    object("MailGateway", "edge", &json!({"hostname": "mail.example.com", "listeners": listeners}))
}

fn domain(name: &str, domain: &str) -> Object {
    object("MailDomain", name, &json!({"gatewayRef": {"name": "edge"}, "domain": domain, "role": "Primary"}))
}

fn resources(objects: Vec<Object>) -> Resources {
    let mut resources = Resources::default();
    for object in objects {
        resources.add(object);
    }
    resources
}

fn only(snapshots: &std::collections::BTreeMap<ObjectKey, Snapshot>) -> &Snapshot {
    &snapshots[&ObjectKey::new("mail", "edge")]
}

#[test]
fn a_second_claim_in_a_file_does_not_take_the_name_from_the_domain_that_has_it() {
    let mut context = Context::default();
    let first = compile(&resources(vec![gateway(), domain("b", "example.com")]), &context);
    context.claims = first.claims;

    let both = compile(
        &resources(vec![gateway(), domain("a", "example.com"), domain("b", "example.com")]),
        &context,
    );
    let held = &only(&both.snapshots).domains[0];
    assert_eq!((held.origin.as_str(), held.suspended), ("mail/b", false));
    assert_eq!(held.role, posthouse_config::Role::Primary);
    let losers: Vec<_> =
        both.verdicts.iter().map(|verdict| (verdict.key.name.as_str(), verdict.reason)).collect();
    assert_eq!(losers, [("a", Reason::DomainClaimed), ("a", Reason::PrimaryClaimed)]);

    context.claims = both.claims;
    let after = compile(&resources(vec![gateway(), domain("a", "example.com")]), &context);
    assert_eq!(only(&after.snapshots).domains[0].origin.as_str(), "mail/a", "the name is free again");
}

#[test]
fn a_wrong_domain_leaves_the_others_as_they_were() {
    let context = Context::default();
    let alone = compile(&resources(vec![gateway(), domain("b", "b.example")]), &context);
    let wrong = domain("a", "*.example");
    let beside = compile(&resources(vec![gateway(), wrong, domain("b", "b.example")]), &context);
    let without_role = |snapshot: &Snapshot| snapshot.domains[0].domain.clone();
    assert_eq!(without_role(only(&alone.snapshots)), without_role(only(&beside.snapshots)));
    assert!(beside.is_refused() && !alone.is_refused());
}

/// 10,000 domains and 100,000 recipients: an edit of one must reach the nodes within a second. The bound here is generous, for a debug build
/// on a busy machine; what it would catch is a loop inside a loop.
#[test]
fn ten_thousand_domains_compile_in_linear_time() {
    let mut large = resources(vec![gateway()]);
    for n in 0..10_000 {
        let users: Vec<_> = (0..8).map(|user| json!({"name": format!("user{user}")})).collect();
        let groups =
            json!([{"name": "all", "members": ["user0", "user1", format!("all@d{}.example", n + 1)]}]);
        large.add(object(
            "MailDomain",
            &format!("d{n}"),
            &json!({
                "gatewayRef": {"name": "edge"}, "domain": format!("d{n}.example"), "aliases": [format!("a{n}.example")],
                "recipients": {"users": users, "groups": groups},
                "localDelivery": {"lmtp": {"host": "127.0.0.1", "port": 24}},
            }),
        ));
    }
    for n in 0..1_000 {
        let users: Vec<_> = (0..20).map(|user| format!("more{user}")).collect();
        let spec = json!({"domainRef": {"name": format!("d{n}")}, "users": users});
        large.add(object("MailRecipients", &format!("r{n}"), &spec));
    }
    let context = Context::default();
    let begun = Instant::now();
    let compilation = compile(&large, &context);
    let took = begun.elapsed();
    assert_eq!(compilation.verdicts, []);
    let listed = only(&compilation.snapshots).domains.iter().map(|domain| match &domain.recipients {
        Recipients::Listed { users, .. } => users.len(),
        Recipients::AcceptAll => 0,
    });
    assert_eq!(listed.sum::<usize>(), 100_000);
    assert!(took < Duration::from_secs(20), "{took:?}");
}
