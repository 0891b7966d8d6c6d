//! Snapshots from JSON through the real parser, and questions in the words of SMTP.

use std::sync::Arc;

use posthouse_config::Snapshot;
use posthouse_model::{Mailbox, ReversePath, Timestamp};
use posthouse_routing::{
    Authentication, Client, Decision, Explanation, Identity, RefusalReason, Router, Source,
};
use serde_json::{Value, json};

/// A router for a gateway that trusts 192.168.0.0/16, changed by `parts`: `gateway` field by field, the rest as a whole.
pub(crate) fn router(parts: Value) -> Router {
    Router::new(Arc::new(snapshot(parts)))
}

pub(crate) fn snapshot(parts: Value) -> Snapshot {
    let mut document = json!({
        "schema": 1,
        "generation": 7,
        "gateway": {
            "origin": "mail/edge",
            "hostname": "mail.example.com",
            "listeners": [{"name": "smtp", "protocol": "Smtp", "port": 25, "bindPort": 10025}],
            "queue": {
                "id": "mail.edge",
                "reserve": 0,
                "retry": {"intervals": [1000], "expireAfter": 5000, "warnAfter": 3000},
                "concurrency": {"perNode": 1, "perNextHop": 1}
            },
            "relayControl": {
                "networks": ["192.168.0.0/16", "2001:db8::/32"],
                "addressTrust": "Always",
                "authentication": "Optional"
            },
            "limits": {"messageSize": 1000}
        },
        "queues": [],
        "domains": [],
        "rules": []
    });
    let Value::Object(parts) = parts else { panic!("an object is asked for") };
    for (name, part) in parts {
        match (name.as_str(), part) {
            ("gateway", Value::Object(fields)) => {
                for (field, value) in fields {
                    document["gateway"][field] = value;
                }
            }
            (_, part) => document[name] = part,
        }
    }
    let snapshot: Snapshot = serde_json::from_value(document).unwrap();
    Snapshot::decode(&snapshot.sorted().encode().unwrap()).unwrap()
}

/// A domain with users that are delivered by LMTP, changed by `parts`.
pub(crate) fn domain(name: &str, users: &[&str], parts: &Value) -> Value {
    let mut users: Vec<&str> = users.to_vec();
    users.sort_unstable();
    let mut document = json!({
        "domain": name,
        "origin": format!("mail/{}", name.replace('.', "-")),
        "recipients": {"Listed": {"users": users}},
        "localDelivery": {"Lmtp": {"host": {"host": "lmtp.svc", "port": 24}, "queue": name}}
    });
    for (field, value) in parts.as_object().unwrap() {
        if value.is_null() {
            document.as_object_mut().unwrap().remove(field);
        } else if field == "recipients" {
            for (list, value) in value.as_object().unwrap() {
                document["recipients"]["Listed"][list] = value.clone();
            }
        } else {
            document[field] = value.clone();
        }
    }
    document
}

/// `unknownRecipients` that forward to mx2, changed by `parts`.
pub(crate) fn forward(queue: &str, parts: &Value) -> Value {
    let mut document = json!({"host": {"host": "mx2.example.com", "port": 25}, "queue": queue});
    for (field, value) in parts.as_object().unwrap() {
        document[field] = value.clone();
    }
    json!({"Forward": document})
}

/// A rule in the gateway's namespace that always sends to a host.
pub(crate) fn rule(name: &str, order: i64, parts: &Value) -> Value {
    let mut document = json!({
        "origin": format!("mail/{name}"),
        "tier": "Default",
        "order": order,
        "match": "Always",
        "target": {"Relay": {"hosts": [{"host": format!("{name}.example"), "port": 25}]}}
    });
    for (field, value) in parts.as_object().unwrap() {
        document[field] = value.clone();
    }
    document
}

/// `match` by patterns.
pub(crate) fn patterns(senders: &[&str], recipients: &[&str]) -> Value {
    json!({"Addresses": {"senders": senders, "recipients": recipients}})
}

pub(crate) fn client(address: &str) -> Client {
    Client::at(address.parse().unwrap())
}

pub(crate) fn stranger() -> Client {
    client("203.0.113.9")
}

pub(crate) fn neighbour() -> Client {
    client("192.168.1.1")
}

pub(crate) fn user(namespace: &str) -> Client {
    let identity = Identity { login: "customer1".into(), namespace: namespace.into() };
    Client { authentication: Authentication::As(identity), ..stranger() }
}

/// When everything happens.
pub(crate) const NOW: Timestamp = Timestamp(1_000);

pub(crate) fn explain(router: &Router, client: &Client, sender: &str, recipient: &str) -> Explanation {
    let (sender, recipient) = (path(sender), format!("<{recipient}>").parse().unwrap());
    let explanation = router.explain(&sender, &recipient, Source::Client(client), NOW);
    // what people are told is what the node does, in every test
    assert_eq!(router.route(&sender, &recipient, Source::Client(client), NOW), explanation.decision);
    explanation
}

/// Where the mail goes: `recipient → next hop [queue, mode]` for each, or the refusal's reason.
pub(crate) fn ask(
    router: &Router,
    client: &Client,
    sender: &str,
    recipient: &str,
) -> Result<Vec<String>, RefusalReason> {
    match explain(router, client, sender, recipient).decision {
        Decision::Refused(refusal) => Err(refusal.reason),
        Decision::Accepted(acceptance) => {
            assert!(!acceptance.deliveries.is_empty());
            Ok(acceptance
                .deliveries
                .iter()
                .map(|delivery| {
                    let (queue, next_hop) = (&delivery.queue, &delivery.route.next_hop);
                    let held = delivery.mode.hold.map_or(String::new(), |hold| format!(" {hold:?}"));
                    format!("{} → {next_hop} [{queue}{held}]", delivery.recipient)
                })
                .collect())
        }
    }
}

pub(crate) fn path(text: &str) -> ReversePath {
    format!("<{text}>").parse().unwrap()
}

pub(crate) fn mailbox(text: &str) -> Mailbox {
    text.parse().unwrap()
}
