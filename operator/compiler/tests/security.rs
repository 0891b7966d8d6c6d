//! What golden files cannot show of certificates and guarded hosts: edits, one after another, in a compiler that remembers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use posthouse_compiler::{Compilation, Compiler, Context, ObjectKey, Resources, compile};
use posthouse_config::{LocalDelivery, Recipients, Snapshot, UnknownRecipients};
use posthouse_crds::{API_VERSION, Object};
use serde_json::{Value, json};

const GOOD: [&str; 2] = [include_str!("certificates/good.crt"), include_str!("certificates/good.key")];
const RENEWED: [&str; 2] =
    [include_str!("certificates/renewed.crt"), include_str!("certificates/renewed.key")];

fn object(kind: &str, namespace: &str, name: &str, spec: &Value) -> Object {
    let metadata = json!({"namespace": namespace, "name": name});
    let document = json!({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec});
    Object::read_admitted(document).unwrap()
}

/// A gateway with one listener that shows the certificate `tls`, and that Secret.
fn with_certificate([chain, key]: [&str; 2]) -> Resources {
    let tls = json!({"mode": "StartTls", "certificateSecretRefs": [{"name": "tls"}]});
    let listeners = json!([{"name": "smtp", "port": 25, "protocol": "Smtp", "tls": tls}]);
    let spec = json!({"hostname": "mail.example.com", "listeners": listeners});
    let mut resources = Resources::default();
    resources.add(object("MailGateway", "mail", "edge", &spec));
    let secret = json!({
        "metadata": {"namespace": "mail", "name": "tls"}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": chain, "tls.key": key}
    });
    resources.secrets.push(serde_json::from_value(secret).unwrap());
    resources
}

fn only(compilation: &Compilation) -> &Arc<Snapshot> {
    &compilation.snapshots[&ObjectKey::new("mail", "edge")]
}

/// What the first certificate is, if there is one and the listener is open and shows it.
fn shown(compilation: &Compilation) -> Option<&str> {
    let snapshot = only(compilation);
    let listener = &snapshot.gateway.listeners[0];
    assert_eq!(listener.closed.is_none(), listener.tls.is_some());
    Some(&*snapshot.certificate(&listener.tls.as_ref()?.certificates[0]).unwrap().chain)
}

#[test]
fn an_edit_of_a_certificate_is_an_edit_of_the_snapshot() {
    let mut compiler = Compiler::default();
    let mut context = Context::default();
    let mut resources = with_certificate(GOOD);
    for (secret, expected) in
        [(GOOD, GOOD), (RENEWED, RENEWED), ([RENEWED[0], GOOD[1]], RENEWED), (GOOD, GOOD)]
    {
        resources.secrets = with_certificate(secret).secrets; // nothing else is another Arc
        let compilation = compiler.compile(&resources, &context);
        assert_eq!(shown(&compilation), Some(expected[0]));
        assert_eq!(only(&compilation).certificates[0].key.reveal(), expected[1]);
        context.previous = compilation.snapshots;
    }
}

#[test]
fn a_listener_shows_what_it_showed_until_its_secret_is_back_and_is_closed_where_it_showed_nothing() {
    let mut resources = with_certificate(GOOD);
    let secrets = std::mem::take(&mut resources.secrets);
    assert_eq!(shown(&compile(&resources, &Context::default())), None);
    let mut context = Context::default();
    for (secrets, expected) in
        [(secrets, GOOD), (vec![], GOOD), (vec![], GOOD), (with_certificate(RENEWED).secrets, RENEWED)]
    {
        resources.secrets = secrets;
        let compilation = compile(&resources, &context);
        assert_eq!(shown(&compilation), Some(expected[0]));
        context.previous = compilation.snapshots;
    }
}

/// A gateway that lists these hosts for all, and a tenant's domain with this user, that delivers to one host and forwards to another.
fn with_tenant(listed: &[&str], user: &str) -> Resources {
    let all = json!({"from": "All"});
    let spec = json!({
        "hostname": "mail.example.com", "listeners": [{"name": "smtp", "port": 25, "protocol": "Smtp"}],
        "egress": {"allowedHosts": [{"namespaces": all, "hosts": listed}]},
        "allowedRoutes": {"namespaces": all, "grants": [{"namespaces": all, "domains": ["a.example"]}]}
    });
    let mut resources = Resources::default();
    resources.add(object("MailGateway", "mail", "edge", &spec));
    let spec = json!({
        "gatewayRef": {"name": "edge", "namespace": "mail"}, "domain": "a.example",
        "recipients": {"users": [{"name": "ann"}, {"name": user}]},
        "localDelivery": {"lmtp": {"host": "lmtp.example", "port": 24}},
        "unknownRecipients": {"action": "Forward", "forward": {"host": "mx2.example"}}
    });
    resources.add(object("MailDomain", "tenant", "a", &spec));
    resources
}

/// Whether the addresses of local delivery and of the forward are looked at.
fn guarded(compilation: &Compilation) -> (bool, bool) {
    let domain = &only(compilation).domains[0];
    let Some(LocalDelivery::Lmtp { guarded, .. }) = &domain.local_delivery else { panic!("{domain:?}") };
    let UnknownRecipients::Forward(forward) = &domain.unknown_recipients else { panic!("{domain:?}") };
    assert!(forward.unsupported.is_empty());
    (*guarded, forward.guarded)
}

#[test]
fn a_tenants_host_is_guarded_as_the_gateway_says_now_even_where_the_rest_stays_as_it_was() {
    let mut compiler = Compiler::default();
    let mut context = Context::default();
    for user in ["bob", "no user"] {
        for (listed, expected) in [
            (&["lmtp.example", "mx2.example"][..], (false, false)),
            (&["mx2.example"], (true, false)),
            (&["other.example"], (true, true)),
            (&["lmtp.example"], (false, true)),
        ] {
            let compilation = compiler.compile(&with_tenant(listed, user), &context);
            assert_eq!(guarded(&compilation), expected, "{user} {listed:?}");
            assert!(has_user(&compilation, "bob"), "it stays as it was");
            context.previous = compilation.snapshots;
            context.claims = compilation.claims;
        }
    }
}

fn has_user(compilation: &Compilation, user: &str) -> bool {
    let recipients = &only(compilation).domains[0].recipients;
    matches!(recipients, Recipients::Listed { users, .. } if users.contains(user))
}
