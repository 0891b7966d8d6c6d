//! Relay rules [17-23].

use posthouse_routing::{Client, RefusalReason, Router};
use serde_json::{Value, json};

use crate::fixtures::{ask, domain, explain, neighbour, patterns, router, rule, stranger, user};

fn rules(rules: &[Value]) -> Router {
    router(json!({"rules": rules}))
}

/// The name of the rule that took the mail.
fn taken_by(router: &Router, client: &Client, sender: &str, recipient: &str) -> String {
    let decision = explain(router, client, sender, recipient).decision;
    match decision.accepted() {
        Some(acceptance) => {
            let origin = &acceptance.deliveries[0].route.origin;
            origin.strip_prefix("RelayRule ").unwrap_or(origin).to_owned()
        }
        None => format!("{:?}", decision.refused().unwrap().reason),
    }
}

#[test]
fn the_first_rule_that_matches_decides_and_no_later_one_helps_it_out() {
    // [22, 23]
    let router = rules(&[
        rule("second", 20, &json!({})),
        rule("first", 10, &json!({"match": patterns(&[], &["*@a.example"])})),
        rule("third", 30, &json!({})),
    ]);
    assert_eq!(taken_by(&router, &neighbour(), "x@y.example", "b@a.example"), "mail/first");
    assert_eq!(taken_by(&router, &neighbour(), "x@y.example", "b@c.example"), "mail/second");
}

#[test]
fn tiers_come_first_then_namespaces_then_orders_then_names() {
    let tenant = |name: &str, namespace: &str, order: i64| {
        rule(name, order, &json!({"origin": format!("{namespace}/{name}"), "tier": "Tenant"}))
    };
    let first = |order| rule("first", order, &json!({"tier": "First", "suspended": true}));
    let all = [rule("z", 1, &json!({})), tenant("b", "t", 5), tenant("a", "t", 5), tenant("c", "t", -1)];
    let router = rules(&[all.to_vec(), vec![first(99), tenant("d", "s", 9)]].concat());
    let explanation = explain(&router, &user("t"), "x@y.example", "b@c.example");
    let text = explanation.to_string();
    let places: Vec<usize> = ["mail/first", "s/d", "t/c", "t/a", "t/b", "mail/z"]
        .iter()
        .map(|name| text.find(&format!("RelayRule {name} ")).unwrap())
        .collect();
    assert!(places.is_sorted(), "{text}");
    assert_eq!(taken_by(&router, &user("t"), "x@y.example", "b@c.example"), "t/c");
    assert_eq!(taken_by(&router, &neighbour(), "x@y.example", "b@c.example"), "mail/z");
}

#[test]
fn a_suspended_rule_is_passed_over() {
    // [18]
    let router = rules(&[rule("off", 1, &json!({"suspended": true})), rule("on", 2, &json!({}))]);
    assert_eq!(taken_by(&router, &neighbour(), "x@y.example", "b@c.example"), "mail/on");
}

#[test]
fn senders_and_recipients_both_have_to_fit_and_one_pattern_of_each_is_enough() {
    // [19]
    let both = patterns(&["*@p.example", "boss@q.example"], &["*@net.example", "a-*@com.example"]);
    let router = rules(&[rule("both", 1, &json!({"match": both}))]);
    for (sender, recipient, fits) in [
        ("x@p.example", "y@net.example", true),
        ("boss@q.example", "a-1@com.example", true),
        ("x@P.Example", "y@NET.example", true),
        ("x@q.example", "y@net.example", false),
        ("x@p.example", "b-1@com.example", false),
        ("", "y@net.example", false),
    ] {
        let expected = if fits { "mail/both" } else { "direct delivery" };
        assert_eq!(taken_by(&router, &neighbour(), sender, recipient), expected, "{sender} {recipient}");
    }
}

#[test]
fn the_null_reverse_path_is_matched_by_itself_or_by_always_only() {
    let addresses = rule("addresses", 1, &json!({"match": patterns(&["*@p.example"], &[])}));
    let anyone = rule("recipients", 2, &json!({"match": patterns(&[], &["*@net.example"])}));
    let null = rule("null", 3, &json!({"match": patterns(&["*@p.example", "<>"], &[])}));
    let router = rules(&[addresses.clone(), anyone.clone(), null]);
    assert_eq!(taken_by(&router, &neighbour(), "", "y@net.example"), "mail/null");
    let router = rules(&[addresses, anyone, rule("always", 4, &json!({}))]);
    assert_eq!(taken_by(&router, &neighbour(), "", "y@net.example"), "mail/always");
}

#[test]
fn several_hosts_are_one_next_hop_in_their_order() {
    // [23]
    let hosts = json!({"Relay": {"hosts": [{"host": "p1.example", "port": 587}, {"host": "p2.example", "port": 587}]}});
    let router = rules(&[rule("two", 1, &json!({"target": hosts}))]);
    let expected = vec!["b@c.example → smtp:p1.example:587,p2.example:587 [c.example]".to_owned()];
    assert_eq!(ask(&router, &neighbour(), "x@y.example", "b@c.example"), Ok(expected));
}

#[test]
fn without_a_rule_or_by_a_direct_one_mail_goes_by_the_mx_of_its_domain() {
    // [17]
    let direct = rule("direct", 1, &json!({"target": "Direct"}));
    for router in [rules(&[]), rules(&[direct, rule("after", 2, &json!({}))])] {
        let expected = vec!["b@C.example → smtp+guarded:c.example [c.example]".to_owned()];
        assert_eq!(ask(&router, &neighbour(), "x@y.example", "b@C.example"), Ok(expected));
        let literal = vec!["b@[192.0.2.9] → smtp+guarded:192.0.2.9:25 [[192.0.2.9]]".to_owned()];
        assert_eq!(ask(&router, &neighbour(), "x@y.example", "b@[192.0.2.9]"), Ok(literal));
    }
}

#[test]
fn a_host_without_a_port_is_one_whose_mx_are_asked() {
    // [33]
    let hosts = json!({"Relay": {"hosts": [{"host": "p1.example", "port": 25}, {"host": "p2.example"}]}});
    let router = rules(&[rule("mx", 1, &json!({"target": hosts}))]);
    let expected = vec!["b@c.example → smtp:p1.example:25,p2.example [c.example]".to_owned()];
    assert_eq!(ask(&router, &neighbour(), "x@y.example", "b@c.example"), Ok(expected));
}

#[test]
fn what_a_rule_says_of_tls_and_logins_tells_its_connections_from_others() {
    // [21]
    let login = json!({"username": "u", "password": "p"});
    for (parts, expected) in [
        (json!({"tls": {"mode": "Disabled"}}), "smtp+clear:r.example:25"),
        (json!({"tls": {"mode": "Implicit", "verified": true}}), "smtps+verified:r.example:25"),
        (json!({"guarded": true}), "smtp+guarded:r.example:25"),
        (json!({"credentials": login, "method": "Plain"}), "smtp:mail/r@r.example:25"),
        (json!({"tls": {"verified": true, "roots": "x"}}), "smtp+verified:mail/r@r.example:25"),
        (json!({"target": "Direct", "guarded": true}), "smtp+guarded:c.example"),
    ] {
        let found = ask(&rules(&[rule("r", 1, &parts)]), &neighbour(), "x@y.example", "b@c.example");
        assert_eq!(found, Ok(vec![format!("b@c.example → {expected} [c.example]")]));
    }
}

#[test]
fn a_rule_without_hosts_keeps_its_mail_away() {
    let router = rules(&[rule("none", 1, &json!({"target": {"Relay": {"hosts": []}}}))]);
    let refusal = explain(&router, &neighbour(), "x@y.example", "b@c.example").decision;
    let refusal = refusal.refused().unwrap();
    assert_eq!((refusal.reason, refusal.is_transient()), (RefusalReason::NoHost, true));
}

#[test]
fn a_rule_that_needs_what_is_not_built_takes_the_mail_and_never_sends_it_without() {
    // [21]
    let needs = json!({"unsupported": ["relay.authentication", "relay.tls.verify"]});
    let router = rules(&[rule("secure", 1, &needs), rule("plain", 2, &json!({}))]);
    let decision = explain(&router, &neighbour(), "x@y.example", "b@c.example").decision;
    let delivery = &decision.accepted().unwrap().deliveries[0];
    assert_eq!(delivery.route.origin, "RelayRule mail/secure");
    assert_eq!(
        delivery.route.waits.as_deref(),
        Some("RelayRule mail/secure asks for relay.authentication, relay.tls.verify, which is not built yet")
    );
}

#[test]
fn a_rule_that_is_refused_takes_the_mail_and_says_where_to_look() {
    let refused = json!({"unsupported": ["relay (refused)", "relay.authentication"]});
    let router = rules(&[rule("wrong", 1, &refused)]);
    let decision = explain(&router, &neighbour(), "x@y.example", "b@c.example").decision;
    let delivery = &decision.accepted().unwrap().deliveries[0];
    assert_eq!(
        delivery.route.waits.as_deref(),
        Some("RelayRule mail/wrong: relay is refused, see its verdict")
    );
}

#[test]
fn a_tenants_rule_sees_mail_of_its_own_users_only() {
    let tenants = json!({"origin": "customer-a/always", "tier": "Tenant"});
    let router = rules(&[rule("always", 1, &tenants), rule("ours", 1, &json!({}))]);
    assert_eq!(taken_by(&router, &user("customer-a"), "x@y.example", "b@c.example"), "customer-a/always");
    assert_eq!(taken_by(&router, &user("customer-b"), "x@y.example", "b@c.example"), "mail/ours");
    assert_eq!(taken_by(&router, &neighbour(), "x@y.example", "b@c.example"), "mail/ours");
}

#[test]
fn a_stranger_is_refused_before_any_rule_is_asked() {
    // [11]
    let router = rules(&[rule("always", 1, &json!({}))]);
    let explanation = explain(&router, &stranger(), "x@y.example", "b@c.example");
    assert_eq!(explanation.decision.refused().unwrap().reply.to_string(), "550 5.7.1 relaying denied");
    assert!(!explanation.to_string().contains("RelayRule"));
}

#[test]
fn relayed_mail_waits_in_a_queue_of_its_recipients_domain_and_never_in_one_of_ours() {
    let taken = json!({"localDelivery": {"Maildrop": {"queue": "c.example"}}});
    let router = router(json!({
        "queues": [{"name": "c.example", "hold": "OnRequest"}],
        "domains": [domain("example.com", &["alice"], &taken)],
        "rules": [rule("out", 1, &json!({}))]
    }));
    let expected = vec!["b@C.example → smtp:out.example:25 [relay:c.example]".to_owned()];
    assert_eq!(ask(&router, &neighbour(), "x@y.example", "b@C.example"), Ok(expected));
    let expected = vec!["b@d.example → smtp:out.example:25 [d.example]".to_owned()];
    assert_eq!(ask(&router, &neighbour(), "x@y.example", "b@d.example"), Ok(expected));
}

#[test]
fn relayed_mail_is_held_while_the_gateway_is_offline_by_schedule() {
    let offline = json!({"gateway": {"connectivity": "Scheduled"}, "rules": [rule("out", 1, &json!({}))]});
    let expected = vec!["b@d.example → smtp:out.example:25 [d.example Connectivity]".to_owned()];
    assert_eq!(ask(&router(offline), &neighbour(), "x@y.example", "b@d.example"), Ok(expected));
}
