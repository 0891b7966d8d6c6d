//! RFC 5321 §4.5.1: the postmaster gets mail, always [71].

use posthouse_routing::{Reason, RefusalReason};
use serde_json::json;

use crate::fixtures::{ask, domain, explain, forward, router, stranger};

#[test]
fn the_bare_postmaster_belongs_to_the_primary_domain() {
    let first = domain("a.example", &[], &json!({}));
    let primary = domain("b.example", &[], &json!({"role": "Primary"}));
    let router = router(json!({"domains": [first, primary]}));
    for given in ["Postmaster", "postmaster", "POSTMASTER"] {
        let expected = vec!["postmaster@b.example → lmtp:lmtp.svc:24 [b.example]".to_owned()];
        assert_eq!(ask(&router, &stranger(), "x@y.example", given), Ok(expected));
    }
}

#[test]
fn without_a_primary_domain_the_first_takes_the_bare_postmaster() {
    let router = router(
        json!({"domains": [domain("a.example", &[], &json!({})), domain("b.example", &[], &json!({}))]}),
    );
    let found = ask(&router, &stranger(), "x@y.example", "Postmaster").unwrap();
    assert!(found[0].starts_with("postmaster@a.example"));
}

#[test]
fn a_gateway_without_domains_has_no_postmaster() {
    assert_eq!(
        ask(&router(json!({})), &stranger(), "x@y.example", "Postmaster"),
        Err(RefusalReason::UnknownRecipient)
    );
}

#[test]
fn a_domains_postmaster_gets_mail_though_nobody_listed_him() {
    let router = router(json!({"domains": [domain("a.example", &["alice"], &json!({}))]}));
    let decision = explain(&router, &stranger(), "x@y.example", "PostMaster@a.example").decision;
    let delivery = &decision.accepted().unwrap().deliveries[0];
    assert_eq!(delivery.recipient.to_string(), "PostMaster@a.example");
    assert_eq!(delivery.reason, Reason::Postmaster);
}

#[test]
fn a_listed_postmaster_is_what_the_list_says() {
    let aliased = json!({"recipients": {"aliases": [{"name": "postmaster", "members": ["alice"]}]}});
    let router = router(json!({"domains": [domain("a.example", &["alice"], &aliased)]}));
    let expected = vec!["alice@a.example → lmtp:lmtp.svc:24 [a.example]".to_owned()];
    assert_eq!(ask(&router, &stranger(), "x@y.example", "postmaster@a.example"), Ok(expected));
}

#[test]
fn where_the_domain_forwards_the_postmaster_is_forwarded_unless_the_forward_would_not_take_him() {
    let open = json!({"unknownRecipients": forward("a.example", &json!({})), "aliases": ["alias.example"]});
    let closed = json!({"unknownRecipients": forward("b.example", &json!({"admits": "Authorized"}))});
    let router =
        router(json!({"domains": [domain("a.example", &[], &open), domain("b.example", &[], &closed)]}));
    for (given, next_hop) in [
        ("postmaster@a.example", "smtp:mx2.example.com:25"),
        ("postmaster@alias.example", "lmtp:lmtp.svc:24"),
        ("postmaster@b.example", "lmtp:lmtp.svc:24"),
    ] {
        let found = ask(&router, &stranger(), "x@y.example", given).unwrap();
        assert!(found[0].contains(next_hop), "{given}: {found:?}");
    }
}

#[test]
fn a_domain_with_nowhere_to_deliver_leaves_its_postmaster_to_the_primary_domain() {
    let bare = domain("a.example", &[], &json!({"localDelivery": null}));
    let primary = domain("b.example", &["postmaster"], &json!({"role": "Primary"}));
    let router = router(json!({"domains": [bare, primary]}));
    let expected = vec!["postmaster@b.example → lmtp:lmtp.svc:24 [b.example]".to_owned()];
    assert_eq!(ask(&router, &stranger(), "x@y.example", "postmaster@a.example"), Ok(expected));
}
