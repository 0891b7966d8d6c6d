//! Queued mail under a newer snapshot.

use posthouse_model::{NextHop, Route};
use posthouse_routing::{RefusalReason, Rerouted, Router, StoredReason};
use serde_json::json;

use crate::fixtures::{domain, mailbox, path, patterns, router, rule};

fn stored(origin: &str) -> Route {
    let next_hop: NextHop = "smtp:old.example:25".parse().unwrap();
    Route { next_hop, origin: origin.to_owned(), waits: None }
}

fn again(router: &Router, recipient: &str, from: Option<&str>, origin: &str) -> Rerouted {
    let from = from.map(mailbox);
    let (sender, recipient, route) = (path("x@y.example"), mailbox(recipient), stored(origin));
    let rerouted = router.reroute(&sender, &recipient, from.as_ref(), &route);
    let (explained, steps) = router.explain_reroute(&sender, &recipient, from.as_ref(), &route);
    assert_eq!(explained, rerouted);
    assert!(!steps.is_empty());
    rerouted
}

fn next_hops(rerouted: Rerouted) -> Vec<String> {
    match rerouted {
        Rerouted::Routed(acceptance) => {
            acceptance.deliveries.iter().map(|delivery| delivery.route.next_hop.to_string()).collect()
        }
        other => panic!("not routed: {other:?}"),
    }
}

#[test]
fn a_changed_rule_takes_the_mail_that_waits_with_it_and_no_client_is_asked_for_again() {
    let router = router(json!({"rules": [rule("new", 1, &json!({}))]}));
    let found = again(&router, "b@c.example", None, "RelayRule mail/new");
    assert_eq!(next_hops(found), ["smtp:new.example:25"]);
}

#[test]
fn mail_of_a_deleted_domain_drains_by_the_route_that_is_stored_with_it() {
    let found = again(&router(json!({})), "b@gone.example", None, "MailDomain mail/gone");
    assert_eq!(found, Rerouted::Stored(StoredReason::OriginGone));
}

#[test]
fn mail_of_a_deleted_rule_waits_because_the_rule_may_have_asked_for_a_login() {
    let found = again(&router(json!({})), "b@c.example", None, "RelayRule mail/gone");
    assert!(matches!(found, Rerouted::Waits(_)), "{found:?}");
    let ours_now = router(json!({"domains": [domain("c.example", &["alice"], &json!({}))]}));
    let found = again(&ours_now, "b@c.example", None, "RelayRule mail/gone");
    assert!(matches!(found, Rerouted::Waits(_)), "refused for good, but not sent without it: {found:?}");
}

#[test]
fn mail_of_a_suspended_domain_waits() {
    let suspended = domain("example.com", &["alice"], &json!({"suspended": true}));
    let router = router(json!({"domains": [suspended]}));
    let found = again(&router, "alice@example.com", None, "MailDomain mail/example-com");
    let Rerouted::Waits(refusal) = found else { panic!("{found:?}") };
    assert_eq!(refusal.reason, RefusalReason::DomainSuspended);
}

#[test]
fn nothing_leaves_a_suspended_gateway_by_a_route_whose_resource_is_gone() {
    let router = router(json!({"gateway": {"suspended": true}}));
    let found = again(&router, "b@gone.example", None, "MailDomain mail/gone");
    assert!(matches!(found, Rerouted::Waits(_)), "{found:?}");
}

#[test]
fn mail_of_a_suspended_rule_does_not_leave_by_it() {
    let router = router(json!({"rules": [rule("off", 1, &json!({"suspended": true}))]}));
    let found = again(&router, "b@c.example", None, "RelayRule mail/off");
    assert!(matches!(found, Rerouted::Waits(_)), "{found:?}");
}

#[test]
fn mail_goes_directly_once_no_rule_is_for_it_where_its_owner_said_so_or_it_did_before() {
    let other = rule("edited", 1, &json!({"match": patterns(&[], &["*@other.example"])}));
    let router = router(json!({"rules": [other]}));
    for origin in ["RelayRule mail/edited", "direct delivery"] {
        assert_eq!(next_hops(again(&router, "b@c.example", None, origin)), ["smtp+guarded:c.example"]);
    }
}

#[test]
fn mail_of_an_alias_that_a_domain_lost_waits() {
    let router = router(json!({"domains": [domain("example.com", &["alice"], &json!({}))]}));
    let found = again(&router, "alice@example.org", None, "MailDomain mail/example-com");
    let Rerouted::Waits(refusal) = found else { panic!("{found:?}") };
    assert_eq!(refusal.reason, RefusalReason::NoLongerRouted);
}

#[test]
fn who_was_accepted_and_is_no_longer_listed_is_left_to_the_far_end() {
    let router = router(json!({"domains": [domain("example.com", &[], &json!({}))]}));
    let found = again(&router, "alice@example.com", None, "MailDomain mail/example-com");
    let Rerouted::Stored(StoredReason::RefusedToday(refusal)) = found else { panic!("{found:?}") };
    assert_eq!(refusal.reason, RefusalReason::UnknownRecipient);
}

#[test]
fn what_was_expanded_once_is_not_expanded_again() {
    let copies = json!({"recipients": {"aliases": [{"name": "alice", "members": ["alice", "bob"]}]}});
    let router = router(json!({"domains": [domain("example.com", &["alice", "bob"], &copies)]}));
    let origin = "MailDomain mail/example-com";
    let found = again(&router, "alice@example.com", Some("alice@example.com"), origin);
    assert_eq!(next_hops(found).len(), 1);
    let found = again(&router, "alice@example.com", None, origin);
    assert_eq!(next_hops(found).len(), 2, "the alias is newer than the mail");
}

#[test]
fn a_tenants_mail_stays_the_tenants() {
    let theirs =
        json!({"origin": "customer-a/theirs", "tier": "Tenant", "match": patterns(&[], &["*@c.example"])});
    let router = router(json!({"rules": [rule("theirs", 1, &theirs), rule("ours", 1, &json!({}))]}));
    let found = again(&router, "b@c.example", None, "RelayRule customer-a/theirs");
    assert_eq!(next_hops(found), ["smtp:theirs.example:25"]);
    let found = again(&router, "b@c.example", None, "RelayRule mail/ours");
    assert_eq!(next_hops(found), ["smtp:ours.example:25"]);
}
