//! Resources of the size that has to compile within a second: for a test and for the benchmark.

use posthouse_compiler::Resources;
use posthouse_crds::Object;
use serde_json::{Value, json};

/// How many domains there are.
pub(crate) const DOMAINS: usize = 10_000;

/// How many recipients all of them have.
pub(crate) const RECIPIENTS: usize = 100_000;

/// An object in the namespace of the gateway.
pub(crate) fn object(kind: &str, name: &str, spec: &Value) -> Object {
    Object::read(json!({
        "apiVersion": posthouse_crds::API_VERSION, "kind": kind,
        "metadata": {"name": name, "namespace": "mail"}, "spec": spec,
    }))
    .unwrap()
}

/// A gateway.
pub(crate) fn gateway() -> Object {
    let listeners = json!([{"name": "smtp", "port": 25, "protocol": "Smtp"}]);
    object("MailGateway", "edge", &json!({"hostname": "mail.example.com", "listeners": listeners}))
}

/// The gateway with all domains, each with an alias, users and a group that has members in other domains; every tenth has a `MailRecipients`.
pub(crate) fn large() -> Resources {
    let mut large = Resources::default();
    large.add(gateway());
    for n in 0..DOMAINS {
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
    for n in 0..DOMAINS / 10 {
        let users: Vec<_> = (0..20).map(|user| format!("more{user}")).collect();
        let spec = json!({"domainRef": {"name": format!("d{n}")}, "users": users});
        large.add(object("MailRecipients", &format!("r{n}"), &spec));
    }
    large
}
