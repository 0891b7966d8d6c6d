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

/// The most that the server's store takes of one object (etcd's `--max-request-bytes`), less what the server adds to it.
const WEIGHT: usize = 1_400_000;

/// The smallest list that takes its place: every entry has to have something.
fn one<T>(make: impl Fn(usize) -> T) -> Vec<T> {
    many(1, make)
}

fn selector() -> Value {
    let expression = |number| json!({"key": format!("k{number}"), "operator": "In", "values": many(64, |value| format!("v{value}"))});
    let labels: serde_json::Map<_, _> =
        many(64, |number| (format!("l{number}"), Value::from(name(number)))).into_iter().collect();
    json!({"from": "Selector", "selector": {"matchExpressions": many(64, expression), "matchLabels": labels}})
}

/// A gateway with these grants and hosts, and everything else at its most.
fn gateway(grants: &[Value], hosts: &[Value]) -> Value {
    let tls = json!({"mode": "StartTls", "certificateSecretRefs": many(16, |number| json!({"name": name(number)}))});
    let listener = |number: usize| {
        json!({"name": format!("l{number}"), "port": 20_000 + number, "protocol": "Smtp", "tls": tls,
               "proxyProtocol": {"trustedNetworks": many(64, network)}})
    };
    let annotations: serde_json::Map<_, _> =
        many(64, |number| (format!("a.example/{number}"), Value::from("x".repeat(4096))))
            .into_iter()
            .collect();
    let redis = json!({
        "urlSecretRef": {"name": "redis", "key": "url"}, "topology": "Sentinel",
        "sentinel": {"masterName": domain(1), "hosts": many(16, |number| format!("{}:{}", domain(number), 26_379 + number))},
    });
    json!({
        "hostname": "mail.example.com", "listeners": many(32, listener), "service": {"annotations": annotations},
        "resolver": {"nameservers": many(8, |number| format!("192.0.2.{number}:53"))},
        "queue": {"redis": redis, "retry": {"intervals": many(32, |number| format!("{}m", number + 1))}},
        "relayControl": {"networks": many(256, network)},
        "egress": {"deniedNetworks": many(64, network), "allowedHosts": hosts},
        "allowedRoutes": {"namespaces": selector(), "grants": grants},
    })
}

/// As many entries full to the brim as one object may weigh besides the rest, the others with one thing in each.
fn full(
    count: usize,
    rest: &Value,
    whole: impl Fn(usize) -> Value,
    least: impl Fn(usize) -> Value,
) -> Vec<Value> {
    let mut left = WEIGHT - rest.to_string().len();
    let weight = |entry: &Value| entry.to_string().len() + 1;
    left -= many(count, &least).iter().map(weight).sum::<usize>();
    let mut fill = |number| {
        let (whole, least) = (whole(number), least(number));
        let more = weight(&whole) - weight(&least);
        match left.checked_sub(more) {
            Some(now) => {
                left = now;
                whole
            }
            None => least,
        }
    };
    (0..count).map(&mut fill).collect()
}

/// What can be at its most in every entry of one list at least cannot be so in every entry of all of them: each is in turn.
fn gateways() -> Vec<Value> {
    let all = json!({"from": "All"});
    let names = |count| json!({"from": "Names", "names": many(count, name)});
    let grant =
        |namespaces: &Value, domains: Vec<String>| json!({"namespaces": namespaces, "domains": domains});
    let hosts = |namespaces: &Value, hosts: Vec<String>| json!({"namespaces": namespaces, "hosts": hosts});
    let (few_grants, few_hosts) =
        (many(256, |_| grant(&all, one(domain))), many(64, |_| hosts(&all, one(domain))));
    let rest = gateway(&few_grants, &few_hosts);
    // Short ones, so that every entry of every list may have as many as it may.
    let short = |number: usize| format!("d{number}.example");
    let selected = selector();
    vec![
        gateway(
            &full(256, &rest, |_| grant(&names(256), many(256, domain)), |_| grant(&all, one(domain))),
            &few_hosts,
        ),
        gateway(
            &full(256, &rest, |_| grant(&all, many(256, short)), |_| grant(&all, one(short))),
            &few_hosts,
        ),
        gateway(&full(256, &rest, |_| grant(&selected, one(short)), |_| grant(&all, one(short))), &few_hosts),
        gateway(
            &full(
                256,
                &rest,
                |_| json!({"namespaces": {"from": "Names", "names": many(256, |number| format!("n{number}"))}, "domains": one(short)}),
                |_| grant(&all, one(short)),
            ),
            &few_hosts,
        ),
        gateway(
            &few_grants,
            &full(64, &rest, |_| hosts(&names(256), many(64, domain)), |_| hosts(&all, one(domain))),
        ),
        gateway(
            &few_grants,
            &full(64, &rest, |_| hosts(&selected, many(64, short)), |_| hosts(&all, one(short))),
        ),
    ]
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
    let gateways = gateways().into_iter().map(|gateway| ("MailGateway", gateway));
    let rest = vec![
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
    ];
    gateways.chain(rest).collect()
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
