//! What a manifest leaves out means what api.md says ("Defaults"): with the default written out the same comes out, word for word.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{collections::BTreeMap, sync::Arc};

use posthouse_compiler::{Context, ObjectKey, Resources, Severity, compile};
use posthouse_config::Snapshot;
use posthouse_crds::{API_VERSION, Object};
use serde_json::{Value, json};

/// Kind, namespace, spec, and what the defaults of the spec are.
fn table() -> Vec<(&'static str, &'static str, Value, Value)> {
    let lmtp = json!({"lmtp": {"host": "127.0.0.1", "port": 24}});
    let edge = json!({"name": "edge", "namespace": "mail"});
    let relay = json!({"hosts": [{"host": "192.0.2.1", "port": 25}], "authentication": {"credentialsSecretRef": {"name": "login"}}});
    let always = json!({"always": true});
    vec![
        (
            "MailGateway",
            "mail",
            json!({"hostname": "mail.example.com", "listeners": [{"name": "smtp", "port": 25, "protocol": "Smtp"}], "relayControl": {}}),
            json!({
                "suspend": false, "replicas": 1, "controllerName": "posthouse.dev/operator",
                "listeners": [{"name": "smtp", "port": 25, "protocol": "Smtp", "tls": {"mode": "Disabled"}}],
                "resolver": {"dnssec": "Disabled"},
                "queue": {
                    "id": "mail.edge", "reserve": "256Mi", "concurrency": {"perNode": 200, "perNextHop": 20},
                    "retry": {"intervals": ["5m", "15m", "30m", "1h", "2h"], "expireAfter": "5d", "warnAfter": "4h"},
                },
                "relayControl": {"authentication": "Optional"},
                "connectivity": {"mode": "Online"},
                "limits": {"messageSize": "50Mi"},
                "egress": {"deniedNetworks": ["127.0.0.0/8", "::1/128", "169.254.0.0/16"]},
                "allowedRoutes": {"namespaces": {"from": "Same"}},
            }),
        ),
        (
            "MailDomain",
            "mail",
            json!({"gatewayRef": {"name": "edge"}, "domain": "a.example", "recipients": {"users": [{"name": "ann"}]}, "localDelivery": lmtp}),
            json!({
                "gatewayRef": edge, "suspend": false, "role": "Member",
                "recipients": {"policy": "Listed", "users": [{"name": "ann"}]},
                "unknownRecipients": {"action": "Reject"}, "queue": {"name": "a.example"},
            }),
        ),
        (
            "MailDomain",
            "mail",
            json!({
                "gatewayRef": edge, "domain": "b.example", "aliases": ["c.example"],
                "unknownRecipients": {"action": "Forward", "forward": {"host": "192.0.2.2", "port": 25}},
            }),
            json!({"unknownRecipients": {"action": "Forward", "forward": {
                "host": "192.0.2.2", "port": 25, "delivery": "Online", "aliasedRecipients": "Reject", "admits": "Anyone",
            }}}),
        ),
        (
            "RelayRule",
            "mail",
            json!({"gatewayRef": edge, "match": always, "relay": relay}),
            json!({
                "tier": "Default", "order": 0, "suspend": false,
                "relay": {
                    "hosts": [{"host": "192.0.2.1", "port": 25}], "authentication": {"method": "Auto", "credentialsSecretRef": {"name": "login"}},
                },
            }),
        ),
        (
            "RelayRule",
            "tenant",
            json!({"gatewayRef": edge, "match": always, "relay": {"hosts": [{"host": "192.0.2.1", "port": 25}]}}),
            json!({"tier": "Tenant", "order": 0}),
        ),
        (
            "MailSchedule",
            "mail",
            json!({"triggers": [{"every": "10m"}]}),
            json!({"timeZone": "UTC", "suspend": false}),
        ),
    ]
}

/// Compiles all rows, those of some with their defaults written out.
fn compiled(is_written_out: impl Fn(usize) -> bool) -> BTreeMap<ObjectKey, Arc<Snapshot>> {
    let mut resources = Resources::default();
    for (row, (kind, namespace, mut spec, defaults)) in table().into_iter().enumerate() {
        let name = if kind == "MailGateway" { "edge".to_owned() } else { format!("of-row-{row}") };
        if is_written_out(row) {
            for (field, value) in defaults.as_object().unwrap() {
                spec[field] = value.clone();
            }
        }
        let object = json!({"apiVersion": API_VERSION, "kind": kind, "metadata": {"namespace": namespace, "name": name}, "spec": spec});
        resources.add(Object::read(object).unwrap_or_else(|error| panic!("row {row}: {error}")));
    }
    let secret = json!({"metadata": {"namespace": "mail", "name": "login"}, "stringData": {"username": "ann", "password": "p"}});
    resources.secrets.push(serde_json::from_value(secret).unwrap());
    let compilation = compile(&resources, &Context::default());
    let errors: Vec<_> = compilation
        .verdicts
        .iter()
        .filter(|one| one.severity == Severity::Error)
        .map(ToString::to_string)
        .collect();
    // The tenant is not let in by default, and all else is right.
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(
        errors[0].starts_with("error RelayRule tenant/of-row-4 spec.gatewayRef: NamespaceNotAllowed"),
        "{errors:?}"
    );
    compilation.snapshots
}

#[test]
fn what_is_left_out_means_what_the_api_says() {
    let short = compiled(|_| false);
    assert_eq!(short.len(), 1);
    for row in 0..table().len() {
        assert_eq!(compiled(|one| one == row), short, "row {row}");
    }
}
