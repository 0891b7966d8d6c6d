//! Who may relay, as a table: what a manifest says, and what the compiled snapshot then answers to clients (api.md, "Relay control").
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{fmt::Write as _, net::IpAddr, sync::Arc};

use posthouse_compiler::{Context, Environment, Resources, compile};
use posthouse_crds::{API_VERSION, Object};
use posthouse_routing::{AddressSource, Authentication, Client, Identity, Router, Source};
use serde_json::{Value, json};

/// Where, addressTrust, networks, authentication → who may relay: `i` an address inside of the networks, `p` one that a load balancer told, `o`
/// one outside; `+` with a login. POP-before-SMTP changes no row yet. `-`: nobody.
const TABLE: &str = "\
Local    -         -    -         i+ p+ o+
Local    -         -    Disabled  -
Local    -         -    Optional  i+ p+ o+
Local    -         -    Required  i+ p+ o+
Local    -         net  -         i i+ p p+ o+
Local    -         net  Disabled  i i+ p p+
Local    -         net  Optional  i i+ p p+ o+
Local    -         net  Required  i+ p+
Local    Verified  -    -         i+ p+ o+
Local    Verified  -    Disabled  -
Local    Verified  -    Optional  i+ p+ o+
Local    Verified  -    Required  i+ p+ o+
Local    Verified  net  -         i i+ p p+ o+
Local    Verified  net  Disabled  i i+ p p+
Local    Verified  net  Optional  i i+ p p+ o+
Local    Verified  net  Required  i+ p+
Cluster  -         -    -         i+ p+ o+
Cluster  -         -    Disabled  -
Cluster  -         -    Optional  i+ p+ o+
Cluster  -         -    Required  i+ p+ o+
Cluster  -         net  -         i+ p p+ o+
Cluster  -         net  Disabled  p p+
Cluster  -         net  Optional  i+ p p+ o+
Cluster  -         net  Required  p+
Cluster  Verified  -    -         i+ p+ o+
Cluster  Verified  -    Disabled  -
Cluster  Verified  -    Optional  i+ p+ o+
Cluster  Verified  -    Required  i+ p+ o+
Cluster  Verified  net  -         i i+ p p+ o+
Cluster  Verified  net  Disabled  i i+ p p+
Cluster  Verified  net  Optional  i i+ p p+ o+
Cluster  Verified  net  Required  i+ p+
";

fn router(environment: Environment, control: Option<Value>) -> Router {
    let mut spec = json!({
        "hostname": "mail.example.com", "listeners": [{"name": "smtp", "port": 25, "protocol": "Smtp"}],
        "queue": {"redis": {"urlSecretRef": {"name": "redis", "key": "url"}}},
    });
    if let Some(control) = control {
        spec["relayControl"] = control;
    }
    let gateway = json!({
        "apiVersion": API_VERSION, "kind": "MailGateway", "metadata": {"name": "edge", "namespace": "mail"}, "spec": spec,
    });
    let mut resources = Resources::default();
    resources.add(Object::read(gateway).unwrap());
    let compilation = compile(&resources, &Context { environment, ..Context::default() });
    Router::new(Arc::clone(compilation.snapshots.values().next().unwrap()))
}

/// Who of all kinds of clients may relay.
fn allowed(router: &Router) -> String {
    let (inside, outside): (IpAddr, IpAddr) = ("10.1.2.3".parse().unwrap(), "192.0.2.1".parse().unwrap());
    let mut allowed = String::new();
    let addresses = [
        ("i", inside, AddressSource::Connection),
        ("p", inside, AddressSource::ProxyProtocol),
        ("o", outside, AddressSource::Connection),
    ];
    for (name, address, address_source) in addresses {
        let login = Authentication::As(Identity { login: "ann".into(), namespace: "mail".into() });
        for (mark, authentication) in [("", Authentication::None), ("+", login)] {
            let client = Client { address: Some(address), address_source, authentication };
            if router.may_relay(Source::Client(&client)).is_granted() {
                write!(allowed, " {name}{mark}").unwrap();
            }
        }
        // A failed login is final for the session, whatever the address.
        let failed = Authentication::Failed;
        let client = Client { address: Some(address), address_source, authentication: failed };
        assert!(!router.may_relay(Source::Client(&client)).is_granted());
    }
    if allowed.is_empty() { "-".to_owned() } else { allowed.trim_start().to_owned() }
}

#[test]
fn who_may_relay_is_what_the_table_says() {
    for pop in [None, Some("15m")] {
        let mut found = String::new();
        for (environment, place) in [(Environment::Local, "Local"), (Environment::Cluster, "Cluster")] {
            for trust in [None, Some("Verified")] {
                for networks in [None, Some("net")] {
                    for authentication in [None, Some("Disabled"), Some("Optional"), Some("Required")] {
                        let mut control = json!({});
                        if let Some(trust) = trust {
                            control["addressTrust"] = trust.into();
                        }
                        if networks.is_some() {
                            control["networks"] = json!(["10.0.0.0/8"]);
                        }
                        if let Some(authentication) = authentication {
                            control["authentication"] = authentication.into();
                        }
                        if let Some(window) = pop {
                            control["popBeforeSmtp"] = json!({"window": window});
                        }
                        let allowed = allowed(&router(environment, Some(control)));
                        let [trust, networks, authentication] =
                            [trust, networks, authentication].map(|given| given.unwrap_or("-"));
                        writeln!(found, "{place:<8} {trust:<9} {networks:<4} {authentication:<9} {allowed}")
                            .unwrap();
                    }
                }
            }
        }
        assert_eq!(found, TABLE, "\n{found}");
    }
}

#[test]
fn without_relay_control_nobody_relays() {
    for environment in [Environment::Local, Environment::Cluster] {
        assert_eq!(allowed(&router(environment, None)), "-");
    }
}
