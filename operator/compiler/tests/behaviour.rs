//! What golden files cannot show: the memory of claims from one compilation to the next, and that size costs what it should.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use posthouse_compiler::{Context, ObjectKey, Reason, Resources, Standing, compile};
use posthouse_config::{Recipients, Snapshot};
use posthouse_crds::Object;
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

fn only(snapshots: &std::collections::BTreeMap<ObjectKey, Snapshot>) -> &Snapshot {
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
    let previous = compilation.snapshots.into_iter().map(|(key, snapshot)| (key, Arc::new(snapshot)));
    let context = Context { claims: compilation.claims, previous: previous.collect(), ..context };
    let begun = Instant::now();
    let refused = compile(&wrong, &context);
    let took = begun.elapsed();
    assert_eq!(only(&refused.snapshots), &*context.previous[&ObjectKey::new("mail", "edge")]);
    assert_eq!(refused.standing.values().filter(|standing| **standing == Standing::Kept).count(), DOMAINS);
    assert!(took < Duration::from_secs(20), "{took:?}");
}
