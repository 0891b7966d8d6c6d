//! RFC 5321 §4.5.1, RFC 2142: the postmaster gets mail, always [71], and so does who hears of misuse.

use posthouse_routing::{Reason, RefusalReason, Router};
use serde_json::{Value, json};

use crate::fixtures::{ask, domain, explain, forward, neighbour, patterns, router, rule, stranger};

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

/// Who cares for the gateway itself.
const OWN_HOST: [&str; 3] = ["Postmaster", "postmaster@mail.example.com", "Abuse@Mail.Example.COM"];

#[test]
fn the_gateways_own_name_is_the_primary_domains_or_one_of_the_domains() {
    let primary = domain("b.example", &[], &json!({"role": "Primary"}));
    let others = router(json!({"domains": [domain("a.example", &[], &json!({})), primary]}));
    let own = router(json!({"domains": [domain("mail.example.com", &[], &json!({}))]}));
    for given in OWN_HOST {
        for (router, domain) in [(&others, "b.example"), (&own, "mail.example.com")] {
            let found = ask(router, &stranger(), "x@y.example", given).unwrap();
            let expected = format!("postmaster@{domain} → lmtp:lmtp.svc:24 [{domain}]");
            assert!(found[0].eq_ignore_ascii_case(&expected), "{given}: {found:?}");
        }
    }
    let denied = ask(&others, &stranger(), "x@y.example", "alice@mail.example.com");
    assert_eq!(denied, Err(RefusalReason::RelayDenied), "nobody else is here");
}

#[test]
fn a_gateway_without_domains_sends_its_postmasters_mail_where_a_rule_says() {
    let matching = json!({"match": patterns(&[], &["*@mail.example.com"])});
    let ruled = router(json!({"rules": [rule("office", 1, &matching)]}));
    let bare = router(json!({}));
    for given in OWN_HOST {
        let found = ask(&ruled, &stranger(), "x@y.example", given).unwrap();
        assert!(found[0].ends_with(" → smtp:office.example:25 [mail.example.com]"), "{given}: {found:?}");
        // What could be set right is no fault of the sender.
        let found = ask(&bare, &stranger(), "x@y.example", given);
        assert_eq!(found, Err(RefusalReason::NoLocalDelivery), "{given}");
    }
    let denied = ask(&ruled, &stranger(), "x@y.example", "alice@mail.example.com");
    assert_eq!(denied, Err(RefusalReason::RelayDenied), "the rule is no door");
}

#[test]
fn misuse_of_a_domain_is_reported_to_its_postmaster_unless_somebody_is_named() {
    let listed = json!({"recipients": {"aliases": [{"name": "abuse", "members": ["alice"]}]}});
    let mut anybody = domain("anybody.example", &[], &json!({}));
    anybody["recipients"] = json!("AcceptAll");
    let postmaster = json!({"recipients": {"aliases": [{"name": "postmaster", "members": ["alice"]}]}});
    let router = router(json!({"domains": [
        domain("a.example", &["alice"], &listed),
        domain("b.example", &["alice"], &json!({})),
        domain("c.example", &["alice"], &postmaster),
        domain("d.example", &["alice"], &json!({"unknownRecipients": forward("d.example", &json!({}))})),
        anybody,
    ]}));
    for (given, taken) in [
        ("abuse@a.example", "alice@a.example → lmtp"),
        ("Abuse@b.example", "postmaster@b.example → lmtp"),
        ("abuse@c.example", "alice@c.example → lmtp"),
        ("abuse@d.example", "abuse@d.example → smtp:mx2.example.com:25"),
        ("abuse@anybody.example", "abuse@anybody.example → lmtp"),
    ] {
        let found = ask(&router, &stranger(), "x@y.example", given).unwrap();
        assert!(found[0].starts_with(taken), "{given}: {found:?}");
    }
}

#[test]
fn a_slip_in_a_list_shuts_nobody_out_who_would_hear_of_it() {
    for members in [json!(["gone"]), json!(["abuse"]), json!(["postmaster"])] {
        let lists =
            json!([{"name": "abuse", "members": members}, {"name": "postmaster", "members": members}]);
        let slips = json!({"recipients": {"aliases": lists}});
        let router = router(json!({"domains": [domain("a.example", &["alice"], &slips)]}));
        for given in ["postmaster@a.example", "abuse@a.example", "Postmaster"] {
            let found = ask(&router, &stranger(), "x@y.example", given);
            let expected = vec!["postmaster@a.example → lmtp:lmtp.svc:24 [a.example]".to_owned()];
            assert_eq!(found, Ok(expected), "{given}, {members}");
        }
    }
}

/// Every way to set a domain up: who is listed, what is forwarded how, what is delivered where, under which role.
fn every_domain() -> Vec<Value> {
    let slips = json!({"Listed": {"aliases": [{"name": "postmaster", "members": ["gone"]}]}});
    let recipients =
        [json!({"Listed": {}}), json!({"Listed": {"users": ["alice"]}}), json!("AcceptAll"), slips];
    let mut forwards = vec![None];
    for aliased in ["Reject", "Forward"] {
        for admits in ["Anyone", "Authorized"] {
            let parts = json!({"aliasedRecipients": aliased, "admits": admits});
            forwards.push(Some(forward("a.example", &parts)));
        }
    }
    let local = domain("a.example", &[], &json!({}))["localDelivery"].clone();
    let deliveries = [Some(local), Some(json!({"Maildrop": {"queue": "a.example"}})), None];
    let mut domains = Vec::new();
    for recipients in &recipients {
        for forward in &forwards {
            for delivery in &deliveries {
                for role in ["Primary", "Member"] {
                    let mut domain =
                        domain("a.example", &[], &json!({"aliases": ["alias.example"], "role": role}));
                    domain["recipients"] = recipients.clone();
                    domain["localDelivery"] = delivery.clone().unwrap_or_default();
                    if delivery.is_none() {
                        domain.as_object_mut().unwrap().remove("localDelivery");
                    }
                    if let Some(forward) = forward {
                        domain["unknownRecipients"] = forward.clone();
                    }
                    domains.push(domain);
                }
            }
        }
    }
    domains
}

#[test]
fn the_postmaster_and_who_hears_of_misuse_are_taken_however_a_domain_is_set_up() {
    let has_nowhere =
        |domain: &Value| domain.get("localDelivery").is_none() && domain.get("unknownRecipients").is_none();
    let check = |router: &Router, domain: &Value, has_nowhere: bool| {
        for given in [
            "Postmaster",
            "postmaster@a.example",
            "abuse@a.example",
            "POSTMASTER@alias.example",
            "Abuse@ALIAS.example",
            "postmaster@mail.example.com",
            "abuse@mail.example.com",
        ] {
            for client in [stranger(), neighbour()] {
                let found = ask(router, &client, "", given);
                if has_nowhere {
                    // Refused for now: no place is known to anybody.
                    assert_eq!(found, Err(RefusalReason::NoLocalDelivery), "{given}: {domain}");
                } else {
                    assert!(found.is_ok(), "{given}: {found:?}: {domain}");
                }
            }
        }
    };
    let domains = every_domain();
    assert_eq!(domains.len(), 4 * 5 * 3 * 2);
    for set_up in domains {
        check(&router(json!({"domains": [set_up]})), &set_up, has_nowhere(&set_up));
        if set_up["role"] == "Member" {
            let primary = domain("z.example", &[], &json!({"role": "Primary"}));
            check(&router(json!({"domains": [set_up, primary]})), &set_up, false);
        }
    }
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
