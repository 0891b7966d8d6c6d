//! Unknown recipients [1-9, 26-33].

use posthouse_routing::{Reason, RefusalReason};
use serde_json::{Value, json};

use crate::fixtures::{ask, domain, explain, forward, neighbour, router, stranger};

fn forwarding(parts: &Value) -> Value {
    let parts = json!({"aliases": ["example.org"], "unknownRecipients": forward("example.com", parts)});
    domain("example.com", &["alice"], &parts)
}

#[test]
fn only_unknown_recipients_are_forwarded_and_each_with_its_address_unchanged() {
    // [1, 3, 26, 28]
    let router = router(json!({"domains": [forwarding(&json!({}))]}));
    let expected = vec!["carol@Example.com → smtp:mx2.example.com:25 [example.com]".to_owned()];
    assert_eq!(ask(&router, &stranger(), "x@y.example", "carol@Example.com"), Ok(expected));
    let known = ask(&router, &stranger(), "x@y.example", "alice@example.com").unwrap();
    assert!(known[0].contains("lmtp:"), "a known recipient is never forwarded");
}

#[test]
fn a_domain_that_accepts_all_forwards_everything() {
    // [2]
    let router = router(json!({"domains": [{
        "domain": "example.com", "origin": "mail/example-com", "recipients": "AcceptAll",
        "unknownRecipients": forward("example.com", &json!({}))
    }]}));
    let expected = vec!["anyone@example.com → smtp:mx2.example.com:25 [example.com]".to_owned()];
    assert_eq!(ask(&router, &stranger(), "x@y.example", "anyone@example.com"), Ok(expected));
}

#[test]
fn unknown_recipients_under_an_alias_are_not_forwarded_unless_that_is_said() {
    // [8]: the loop breaker
    let broken = router(json!({"domains": [forwarding(&json!({}))]}));
    let decision = explain(&broken, &neighbour(), "x@y.example", "carol@example.org").decision;
    let refusal = decision.refused().unwrap();
    assert_eq!(refusal.reason, RefusalReason::AliasedRecipient);
    assert_eq!(refusal.reply.to_string(), "550 5.1.1 no such recipient here");
    let open = router(json!({"domains": [forwarding(&json!({"aliasedRecipients": "Forward"}))]}));
    let expected = vec!["carol@example.org → smtp:mx2.example.com:25 [example.com]".to_owned()];
    assert_eq!(ask(&open, &stranger(), "x@y.example", "carol@example.org"), Ok(expected));
    let known = ask(&broken, &stranger(), "x@y.example", "alice@example.org");
    assert!(known.is_ok(), "known recipients are not concerned");
}

#[test]
fn a_route_may_admit_authorised_clients_only() {
    // [31]
    let router = router(json!({"domains": [forwarding(&json!({"admits": "Authorized"}))]}));
    let decision = explain(&router, &stranger(), "x@y.example", "carol@example.com").decision;
    let refusal = decision.refused().unwrap();
    assert_eq!(refusal.reason, RefusalReason::NotAdmitted);
    assert!(refusal.reply.to_string().starts_with("550 5.7.1 "));
    assert!(ask(&router, &neighbour(), "x@y.example", "carol@example.com").is_ok());
    assert!(ask(&router, &stranger(), "x@y.example", "alice@example.com").is_ok());
}

#[test]
fn held_mail_waits_in_the_domains_queue_while_local_mail_does_not() {
    // [5-7]: the mode is the queue's
    for hold in ["OnRequest", "Scheduled"] {
        let held = json!({
            "unknownRecipients": forward("example.com", &json!({})),
            "localDelivery": {"Lmtp": {"host": {"host": "lmtp.svc", "port": 24}, "queue": "local:example.com"}}
        });
        let router = router(json!({
            "queues": [{"name": "example.com", "hold": hold}, {"name": "local:example.com"}],
            "domains": [domain("example.com", &["alice"], &held)]
        }));
        let expected = format!("carol@example.com → smtp:mx2.example.com:25 [example.com {hold}]");
        assert_eq!(ask(&router, &stranger(), "x@y.example", "carol@example.com"), Ok(vec![expected]));
        let expected = "alice@example.com → lmtp:lmtp.svc:24 [local:example.com]".to_owned();
        assert_eq!(ask(&router, &stranger(), "x@y.example", "alice@example.com"), Ok(vec![expected]));
    }
}

#[test]
fn a_host_with_a_port_bypasses_mx_and_one_without_is_asked_for_them() {
    // [4, 32, 33]
    let mx = router(json!({"domains": [forwarding(&json!({"host": {"host": "mx2.example.com"}}))]}));
    let found = ask(&mx, &stranger(), "x@y.example", "carol@example.com").unwrap();
    assert!(found[0].contains(" smtp:mx2.example.com ["), "{found:?}");
    let address = router(json!({"domains": [forwarding(&json!({"host": {"host": "192.0.2.7"}}))]}));
    let found = ask(&address, &stranger(), "x@y.example", "carol@example.com").unwrap();
    assert!(found[0].contains("smtp:192.0.2.7:25"), "an address has no MX: {found:?}");
}

#[test]
fn mail_is_never_sent_to_the_gateway_itself_but_to_a_sibling_on_another_port() {
    // [34]
    let to = |port: u16| json!({"host": {"host": "MAIL.example.com", "port": port}});
    let own = router(json!({"domains": [forwarding(&to(25))]}));
    assert_eq!(ask(&own, &stranger(), "x@y.example", "carol@example.com"), Err(RefusalReason::OwnHop));
    let sibling = router(json!({"domains": [forwarding(&to(2525))]}));
    assert!(ask(&sibling, &stranger(), "x@y.example", "carol@example.com").is_ok());
}

#[test]
fn a_forward_that_asks_for_what_is_not_built_takes_the_mail_and_keeps_it() {
    let router = router(json!({"domains": [forwarding(&json!({"unsupported": ["footer"]}))]}));
    let decision = explain(&router, &stranger(), "x@y.example", "carol@example.com").decision;
    let delivery = &decision.accepted().unwrap().deliveries[0];
    assert_eq!(delivery.reason, Reason::Forwarded);
    let why = Some("MailDomain mail/example-com asks for footer, which is not built yet");
    assert_eq!(delivery.route.waits.as_deref(), why);
    let local = explain(&router, &stranger(), "x@y.example", "alice@example.com").decision;
    assert_eq!(local.accepted().unwrap().deliveries[0].route.waits, None);
}
