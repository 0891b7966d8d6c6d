//! Limits of size [24, 75].

use serde_json::json;

use crate::fixtures::{domain, explain, path, router, stranger};

#[test]
fn a_domain_has_two_limits_and_the_gateways_holds_beside_them() {
    let small = json!({"messageSize": {"sent": 100, "received": 200}, "aliases": ["example.org"]});
    let large = json!({"messageSize": {"sent": 5000, "received": 5000}});
    let router = router(json!({
        "domains": [domain("example.com", &["alice"], &small), domain("large.example", &["bob"], &large)]
    }));
    assert_eq!(router.message_size(), 1000);
    assert_eq!(router.sent_size(&path("alice@example.org")), 100);
    assert_eq!(router.sent_size(&path("bob@large.example")), 1000);
    assert_eq!(router.sent_size(&path("x@y.example")), 1000);
    assert_eq!(router.sent_size(&path("")), 1000);
    assert_eq!(router.received_size(&"<alice@example.com>".parse().unwrap()), 200);
    assert_eq!(router.received_size(&"<Postmaster>".parse().unwrap()), 200);
    let refused = router.check_sent_size(&path("alice@example.com"), 101).unwrap_err();
    assert_eq!(refused.to_string(), "552 5.3.4 message too large: at most 100 bytes"); // RFC 1870 §6.1
    assert!(router.check_sent_size(&path("alice@example.com"), 100).is_ok());
}

#[test]
fn a_group_takes_what_the_smallest_of_its_members_domains_takes() {
    let group = json!({"recipients": {"groups": [{"name": "all", "members": ["bob@other.example"]}]}});
    let small = json!({"messageSize": {"received": 50}});
    let router = router(json!({
        "domains": [domain("example.com", &[], &group), domain("other.example", &["bob"], &small)]
    }));
    let decision = explain(&router, &stranger(), "x@y.example", "all@example.com").decision;
    let acceptance = decision.accepted().unwrap();
    assert_eq!(acceptance.message_size, 50);
    assert!(acceptance.check_size(50).is_ok() && acceptance.check_size(51).is_err());
}
