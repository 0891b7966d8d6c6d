//! Recipients of our own domains [1, 2, 29, 71, 78].

use posthouse_routing::{Reason, RefusalReason};
use serde_json::json;

use crate::fixtures::{NOW, ask, domain, explain, neighbour, router, stranger};

#[test]
fn a_listed_user_gets_mail_from_anybody_by_the_domains_local_delivery() {
    let router = router(json!({"domains": [domain("example.com", &["alice"], &json!({}))]}));
    let expected = vec!["alice@example.com → lmtp:lmtp.svc:24 [example.com]".to_owned()];
    assert_eq!(ask(&router, &stranger(), "x@y.example", "alice@example.com"), Ok(expected.clone()));
    assert_eq!(ask(&router, &stranger(), "", "alice@example.com"), Ok(expected), "bounces come in too");
}

#[test]
fn an_unknown_recipient_is_refused_at_rcpt() {
    let router = router(json!({"domains": [domain("example.com", &["alice"], &json!({}))]}));
    let decision = explain(&router, &neighbour(), "x@y.example", "carol@example.com").decision;
    let refusal = decision.refused().unwrap();
    assert_eq!(refusal.reason, RefusalReason::UnknownRecipient);
    assert_eq!(refusal.reply.to_string(), "550 5.1.1 no such recipient here");
}

#[test]
fn names_are_found_in_any_case_and_sent_on_as_they_were_given() {
    // RFC 5321 §2.4
    let router = router(json!({"domains": [domain("example.com", &["alice"], &json!({}))]}));
    for (given, sent) in
        [("ALICE@Example.COM", "ALICE@Example.COM"), ("\"alice\"@example.com", "\"alice\"@example.com")]
    {
        let expected = format!("{sent} → lmtp:lmtp.svc:24 [example.com]");
        assert_eq!(ask(&router, &stranger(), "x@y.example", given), Ok(vec![expected]));
    }
}

#[test]
fn a_domains_alias_has_the_same_recipients_and_the_address_is_never_rewritten() {
    // [78]
    let aliased = domain("example.com", &["alice"], &json!({"aliases": ["example.org"]}));
    let router = router(json!({"domains": [aliased]}));
    let expected = "alice@example.org → lmtp:lmtp.svc:24 [example.com]".to_owned();
    assert_eq!(ask(&router, &stranger(), "x@y.example", "alice@example.org"), Ok(vec![expected]));
    assert_eq!(
        ask(&router, &stranger(), "x@y.example", "carol@example.org"),
        Err(RefusalReason::UnknownRecipient)
    );
}

#[test]
fn a_subdomain_is_not_the_domain() {
    let router = router(json!({"domains": [domain("example.com", &["alice"], &json!({}))]}));
    assert_eq!(
        ask(&router, &stranger(), "x@y.example", "alice@sub.example.com"),
        Err(RefusalReason::RelayDenied)
    );
}

#[test]
fn percent_bang_and_source_routes_are_never_interpreted() {
    let router = router(json!({"domains": [domain("example.com", &["alice"], &json!({}))]}));
    for address in [
        "bob%elsewhere.example@example.com",
        "elsewhere.example!bob@example.com",
        "@relay.example:bob@example.com",
    ] {
        let found = ask(&router, &neighbour(), "x@y.example", address);
        assert_eq!(found, Err(RefusalReason::UnknownRecipient), "{address}");
    }
}

#[test]
fn everybody_is_accepted_only_where_that_is_said() {
    // [2]
    let silent = domain("silent.example", &[], &json!({}));
    let open = json!({
        "domain": "open.example", "origin": "mail/open", "recipients": "AcceptAll",
        "localDelivery": {"Lmtp": {"host": {"host": "lmtp.svc", "port": 24}, "queue": "open.example"}}
    });
    let router = router(json!({"domains": [silent, open]}));
    assert_eq!(
        ask(&router, &stranger(), "x@y.example", "a@silent.example"),
        Err(RefusalReason::UnknownRecipient),
        "an empty list is not an open door"
    );
    assert!(ask(&router, &stranger(), "x@y.example", "a@open.example").is_ok());
}

#[test]
fn a_maildrop_keeps_the_mail_in_the_queue() {
    let kept = json!({"localDelivery": {"Maildrop": {"queue": "example.com"}}});
    let router = router(json!({"domains": [domain("example.com", &["alice"], &kept)]}));
    let expected = vec!["alice@example.com → maildrop [example.com]".to_owned()];
    assert_eq!(ask(&router, &stranger(), "x@y.example", "alice@example.com"), Ok(expected));
}

#[test]
fn a_suspended_domain_or_gateway_says_later() {
    let suspended = domain("example.com", &["alice"], &json!({"suspended": true}));
    let other = domain("other.example", &["bob"], &json!({}));
    let domains = json!([suspended, other]);
    let one = router(json!({"domains": domains}));
    let decision = explain(&one, &stranger(), "x@y.example", "alice@example.com").decision;
    assert_eq!(decision.refused().unwrap().reply.to_string(), "451 4.3.2 suspended, try again later");
    assert!(ask(&one, &stranger(), "x@y.example", "bob@other.example").is_ok());
    let all = router(json!({"domains": domains, "gateway": {"suspended": true}}));
    assert_eq!(
        ask(&all, &stranger(), "x@y.example", "bob@other.example"),
        Err(RefusalReason::GatewaySuspended)
    );
}

#[test]
fn a_user_without_local_delivery_is_a_fault_of_ours_and_not_of_the_sender() {
    let nowhere = domain("example.com", &["alice"], &json!({"localDelivery": null}));
    let router = router(json!({"domains": [nowhere]}));
    let decision = explain(&router, &stranger(), "x@y.example", "alice@example.com").decision;
    let refusal = decision.refused().unwrap();
    assert!(refusal.is_transient() && refusal.reason == RefusalReason::NoLocalDelivery);
}

#[test]
fn a_decision_names_the_resource_the_mode_and_the_generation() {
    let router = router(json!({"domains": [domain("example.com", &["alice"], &json!({}))]}));
    let decision = explain(&router, &stranger(), "x@y.example", "alice@example.com").decision;
    let delivery = &decision.accepted().unwrap().deliveries[0];
    assert_eq!(delivery.route.origin, "MailDomain mail/example-com");
    assert_eq!((delivery.mode.hold, delivery.mode.generation), (None, 7));
    assert_eq!((delivery.reason, &delivery.route.waits), (Reason::Local, &None));
}

#[test]
fn a_domain_that_was_deleted_gets_451_for_a_while_and_then_550() {
    let retired =
        |until: u64| router(json!({"retired": [{"domain": "gone.example", "until": until}], "domains": []}));
    let reply = |until| {
        let decision = explain(&retired(until), &stranger(), "x@y.example", "alice@Gone.example").decision;
        decision.refused().unwrap().reply.to_string()
    };
    assert_eq!(reply(NOW.0 + 1), "451 4.3.2 this domain is not served here at the moment, try again later");
    assert!(reply(NOW.0).starts_with("550 5.7.1 "), "{}", reply(NOW.0));
    let may_relay = ask(&retired(NOW.0 + 1), &neighbour(), "x@y.example", "alice@gone.example");
    assert_eq!(may_relay, Err(RefusalReason::DomainRetired), "not even for those who may relay");
}
