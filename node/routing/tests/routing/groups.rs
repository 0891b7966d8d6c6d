//! Groups and aliases: who gets the mail in the end.

use posthouse_routing::RefusalReason;
use serde_json::{Value, json};

use crate::fixtures::{ask, domain, explain, forward, patterns, router, rule, stranger};

fn expansion(name: &str, members: &[&str]) -> Value {
    json!({"name": name, "members": members})
}

fn listed(users: &[&str], aliases: &[Value], groups: &[Value]) -> Value {
    let lists = json!({"recipients": {"aliases": aliases, "groups": groups}, "aliases": ["example.org"]});
    domain("example.com", users, &lists)
}

fn recipients(found: Result<Vec<String>, RefusalReason>) -> Vec<String> {
    found.unwrap().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn an_alias_leads_to_a_group_and_the_group_to_its_members_in_order_and_each_once() {
    let aliases = [expansion("info", &["sales", "alice"])];
    let groups = [expansion("sales", &["bob", "alice", "ALICE@example.org"])];
    let router = router(json!({"domains": [listed(&["alice", "bob"], &aliases, &groups)]}));
    let found = ask(&router, &stranger(), "x@y.example", "info@example.com");
    assert_eq!(recipients(found), ["bob@example.com", "alice@example.com"]);
    let found = ask(&router, &stranger(), "x@y.example", "info@example.org");
    assert_eq!(
        recipients(found),
        ["bob@example.org", "alice@example.org"],
        "members are of the domain that was given"
    );
}

#[test]
fn a_member_elsewhere_gets_mail_by_the_rules_though_the_client_may_not_relay() {
    let groups = [expansion("sales", &["alice", "bob@elsewhere.example"])];
    let router = router(json!({
        "domains": [listed(&["alice"], &[], &groups)],
        "rules": [rule("out", 1, &json!({}))]
    }));
    let found = ask(&router, &stranger(), "x@y.example", "sales@example.com").unwrap();
    assert_eq!(
        found,
        [
            "alice@example.com → lmtp:lmtp.svc:24 [example.com]",
            "bob@elsewhere.example → smtp:out.example:25 [elsewhere.example]"
        ]
    );
    assert_eq!(
        ask(&router, &stranger(), "x@y.example", "bob@elsewhere.example"),
        Err(RefusalReason::RelayDenied)
    );
}

#[test]
fn an_alias_loop_is_refused_and_named() {
    let aliases = [expansion("a", &["b"]), expansion("b", &["c"]), expansion("c", &["b"])];
    let router = router(json!({"domains": [listed(&[], &aliases, &[])]}));
    let explanation = explain(&router, &stranger(), "x@y.example", "a@example.com");
    let refusal = explanation.decision.refused().unwrap();
    assert_eq!(refusal.reply.to_string(), "550 5.4.6 alias loop");
    assert!(explanation.to_string().contains("alias loop: b → c → b"), "{explanation}");
}

#[test]
fn a_loop_beside_real_recipients_is_reported_and_does_not_stop_them() {
    let aliases = [expansion("a", &["a", "alice"])];
    let router = router(json!({"domains": [listed(&["alice"], &aliases, &[])]}));
    let decision = explain(&router, &stranger(), "x@y.example", "a@example.com").decision;
    let acceptance = decision.accepted().unwrap();
    assert_eq!(acceptance.deliveries.len(), 1);
    assert_eq!(acceptance.unreachable[0].refusal.reason, RefusalReason::AliasLoop);
}

#[test]
fn an_alias_that_names_its_own_user_keeps_a_copy() {
    let aliases = [expansion("alice", &["alice", "bob"])];
    let router = router(json!({"domains": [listed(&["alice", "bob"], &aliases, &[])]}));
    let found = ask(&router, &stranger(), "x@y.example", "Alice@example.com");
    assert_eq!(recipients(found), ["alice@example.com", "bob@example.com"]);
}

#[test]
fn a_member_that_nobody_knows_is_told_to_the_owner_and_does_not_stop_the_others() {
    let groups = [expansion("sales", &["alice", "gone"])];
    let router = router(json!({"domains": [listed(&["alice"], &[], &groups)]}));
    let decision = explain(&router, &stranger(), "x@y.example", "sales@example.com").decision;
    let acceptance = decision.accepted().unwrap();
    assert_eq!(acceptance.deliveries.len(), 1);
    assert_eq!(acceptance.unreachable[0].recipient.to_string(), "gone@example.com");
    assert_eq!(acceptance.unreachable[0].refusal.reason, RefusalReason::UnknownRecipient);
}

#[test]
fn a_member_that_cannot_be_reached_now_makes_the_whole_group_wait_so_that_nobody_gets_it_twice() {
    let groups = [expansion("sales", &["alice", "bob@elsewhere.example"])];
    let resting = domain("elsewhere.example", &["bob"], &json!({"suspended": true}));
    let router = router(json!({"domains": [listed(&["alice"], &[], &groups), resting]}));
    let found = ask(&router, &stranger(), "x@y.example", "sales@example.com");
    assert_eq!(found, Err(RefusalReason::DomainSuspended));
}

#[test]
fn a_member_of_another_domain_of_ours_is_looked_up_there() {
    let groups = [expansion("all", &["carol@other.example", "dave@other.example"])];
    let other = json!({"unknownRecipients": forward("other.example", &json!({"admits": "Authorized"}))});
    let router = router(json!({
        "domains": [listed(&[], &[], &groups), domain("other.example", &["carol"], &other)]
    }));
    let found = ask(&router, &stranger(), "x@y.example", "all@example.com").unwrap();
    assert!(found[0].contains("lmtp:") && found[1].contains("smtp:mx2"), "{found:?}");
}

#[test]
fn a_tenants_rule_sees_what_its_domain_sends_on_and_nothing_else() {
    let tenant = json!({
        "origin": "customer-a/domain",
        "recipients": {"groups": [expansion("out", &["bob@elsewhere.example"])]}
    });
    let own = json!({"recipients": {"groups": [expansion("out", &["bob@elsewhere.example"])]}});
    let tenants_rule =
        json!({"origin": "customer-a/theirs", "tier": "Tenant", "match": patterns(&["*@y.example"], &[])});
    let router = router(json!({
        "domains": [domain("customer-a.example", &[], &tenant), domain("example.com", &[], &own)],
        "rules": [rule("theirs", 1, &tenants_rule), rule("ours", 1, &json!({}))]
    }));
    let found = ask(&router, &stranger(), "x@y.example", "out@customer-a.example").unwrap();
    assert!(found[0].contains("theirs.example:25"), "{found:?}");
    let found = ask(&router, &stranger(), "x@y.example", "out@example.com").unwrap();
    assert!(found[0].contains("ours.example:25"), "{found:?}");
}
