//! Objects as large as the schemas let them be: the server takes them without running out of its budget for rules, and the reader soon.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use posthouse_tests::api_server::text;
use posthouse_tests::binaries::product;
use serde_json::{Value, json};

use super::api;

/// Far more than the reader takes, and far less than somebody who waits for it would bear.
const SOON: Duration = Duration::from_secs(10);

fn many<T>(count: usize, make: impl Fn(usize) -> T) -> Vec<T> {
    (0..count).map(make).collect()
}

/// A local part of the greatest length, 64 octets.
fn local_part(number: usize) -> String {
    format!("{number:0>64}")
}

/// A domain of the greatest length, 253 octets.
fn domain(number: usize) -> String {
    let label = format!("{number:0>61}");
    format!("{label}.{label}.{label}.{label}.x.yyy")
}

fn address(number: usize) -> String {
    format!("{}@{number:0>40}.example", local_part(number))
}

fn network(number: usize) -> String {
    format!("2001:db8:{number:04x}:ffff:ffff:ffff:ffff:fff0/128")
}

fn name(number: usize) -> String {
    format!("n{number:0>62}")
}

fn gateway() -> Value {
    let expressions: Vec<_> = many(
        64,
        |number| json!({"key": format!("k{number}"), "operator": "In", "values": many(64, |value| format!("v{value}"))}),
    );
    let names = json!({"from": "Names", "names": many(256, name)});
    let selector = json!({"from": "Selector", "selector": {"matchExpressions": expressions}});
    let grants = many(256, |grant| {
        let namespaces =
            if grant < 2 { names.clone() } else { json!({"from": "Names", "names": [name(grant)]}) };
        let domains = if grant < 2 { many(256, domain) } else { many(4, domain) };
        json!({"namespaces": namespaces, "domains": domains})
    });
    let hosts = |host: usize| {
        let namespaces = if host == 0 { names.clone() } else { json!({"from": "All"}) };
        json!({"namespaces": namespaces, "hosts": many(64, |number| format!("h{number}.example"))})
    };
    let tls = json!({"mode": "StartTls", "certificateSecretRefs": many(16, |number| json!({"name": name(number)}))});
    let listener = |number: usize| {
        json!({"name": format!("l{number}"), "port": 20_000 + number, "protocol": "Smtp", "tls": tls,
               "proxyProtocol": {"trustedNetworks": many(64, network)}})
    };
    json!({
        "hostname": "mail.example.com", "listeners": many(32, listener),
        "resolver": {"nameservers": many(8, |number| format!("192.0.2.{number}:53"))},
        "queue": {"retry": {"intervals": many(32, |number| format!("{}m", number + 1))}},
        "relayControl": {"networks": many(256, network)},
        "egress": {"deniedNetworks": many(64, network), "allowedHosts": many(64, hosts)},
        "allowedRoutes": {"namespaces": selector, "grants": grants},
    })
}

/// Every list at its greatest length; where all of them together would be more than the server's store takes in one object, in turn.
fn largest() -> Vec<(&'static str, Value)> {
    let edge = json!({"name": "edge"});
    let of_domain = |recipients: Value| {
        json!({
            "gatewayRef": edge, "domain": "example.com", "aliases": many(256, domain), "recipients": recipients,
            "release": {
                "etrn": {"networks": many(64, network), "users": many(64, name)},
                "atrn": {"users": many(64, name)}, "pop3": {"users": many(64, name)},
            },
        })
    };
    let named = |number: usize| json!({"name": local_part(number)});
    let group = |number: usize, members: usize| json!({"name": local_part(number), "members": many(members, address)});
    let alias =
        |number: usize, to: usize| json!({"name": local_part(number), "deliverTo": many(to, address)});
    let rules = many(
        1000,
        |number| json!({"address": address(number), "deliverTo": "alice@example.com", "description": name(number)}),
    );
    vec![
        ("MailGateway", gateway()),
        ("MailDomain", of_domain(json!({"users": many(1000, named)}))),
        (
            "MailDomain",
            of_domain(
                json!({"groups": many(1000, |number| group(number, if number < 1 { 1000 } else { 2 }))}),
            ),
        ),
        (
            "MailDomain",
            of_domain(
                json!({"aliases": many(1000, |number| alias(number, if number < 10 { 100 } else { 2 }))}),
            ),
        ),
        ("MailRecipients", json!({"domainRef": {"name": "a"}, "users": many(10_000, local_part)})),
        (
            "RelayRule",
            json!({
                "gatewayRef": edge, "match": {"senders": many(1000, address), "recipients": many(1000, address)},
                "relay": {"hosts": many(16, |number| json!({"host": format!("h{number}.example"), "port": 25}))},
            }),
        ),
        (
            "Pop3Account",
            json!({
                "gatewayRef": edge, "scheduleRef": {"name": "hourly"}, "server": {"host": "pop.example", "port": 110}, "authentication": {"method": "Plain", "credentialsSecretRef": {"name": "isp"}},
                "sorting": {"preferredHeader": "X-Envelope-To", "rules": rules, "otherwise": {"action": "Discard"}},
            }),
        ),
        (
            "EtrnSchedule",
            json!({
                "gatewayRef": edge, "server": {"host": "mx.example", "port": 25}, "domains": many(256, domain), "scheduleRef": {"name": "hourly"},
            }),
        ),
        (
            "MailSchedule",
            json!({
                "triggers": many(64, |number| json!({"every": format!("{}m", number + 1)})),
                "validDuring": many(64, |_| json!({"days": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"], "from": "08:00", "to": "18:00"})),
            }),
        ),
        (
            "MailUser",
            json!({
                "gatewayRef": edge, "login": "a", "passwordSecretRef": {"name": "s", "key": "password"}, "maySendAs": many(256, address),
            }),
        ),
    ]
}

#[test]
fn the_largest_objects_are_taken_by_the_server_and_soon_by_the_reader() {
    let shared = api();
    let api = &shared.0;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("largest.yaml");
    let mut complaints = Vec::new();
    for (number, (kind, spec)) in largest().into_iter().enumerate() {
        let metadata = json!({"name": format!("largest-{number}"), "namespace": "mail"});
        let document =
            json!({"apiVersion": "posthouse.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec});
        fs::write(&file, serde_json::to_vec(&document).unwrap()).unwrap();
        let size = fs::metadata(&file).unwrap().len();
        // Twice: rules about changes are asked when it is there already.
        for words in ["one", "two"] {
            let mut document = document.clone();
            document["metadata"]["labels"] = json!({"say": words});
            let applied = api
                .kubectl_with(&["apply", "--server-side", "-f", "-"], document.to_string().as_bytes())
                .unwrap();
            if !applied.status.success() {
                let said: String = text(&applied).chars().take(1500).collect();
                complaints.push(format!("{kind} of {size} octets: {said}"));
            }
        }
        let began = Instant::now();
        let mut validate = Command::new(product("posthouse-operator").unwrap());
        let said = validate.args(["validate", "-o", "json", "-f"]).arg(&file).output().unwrap();
        let findings: Vec<Value> = serde_json::from_slice(&said.stdout).unwrap();
        let form = ["InvalidValue", "UnknownField", "MissingField", "InvalidYaml"];
        let refused: Vec<_> =
            findings.iter().filter(|one| form.iter().any(|form| one["reason"] == *form)).take(3).collect();
        eprintln!("{kind} of {size} octets: {:?} in the reader", began.elapsed());
        if !refused.is_empty() || began.elapsed() > SOON {
            complaints.push(format!("{kind} of {size} octets, reader, {:?}: {refused:?}", began.elapsed()));
        }
        let name = format!("largest-{number}");
        let _ = api.kubectl(&["delete", kind, &name, "-n", "mail", "--wait=false"]);
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
