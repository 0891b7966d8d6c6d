//! What is said of a resource.

use posthouse_compiler::{ObjectKey, Severity, Standing};
use posthouse_crds::{Kind, status::ObjectStatus};

use super::{
    super::observation::{NodeRefusal, Nodes},
    scene::{ALL, Scene, edge, node},
};
use crate::{finding::Finding, reader::Identity};

const READY: &str =
    "Accepted=True Accepted, ResolvedRefs=True ResolvedRefs, Programmed=True Programmed, Ready=True Ready";

fn programmed() -> Scene {
    let mut scene = Scene::of(ALL);
    scene.applies(1).settle();
    scene
}

#[test]
fn what_all_nodes_took_is_programmed_and_ready() {
    let scene = programmed();
    for (kind, name) in
        [(Kind::MailDomain, "example-com"), (Kind::MailRecipients, "more"), (Kind::RelayRule, "out")]
    {
        assert_eq!(scene.conditions(kind, name), READY, "{kind}");
    }
    assert_eq!(
        scene.conditions(Kind::MailGateway, "edge"),
        "Accepted=True Accepted, ResolvedRefs=True ResolvedRefs, Programmed=True Programmed, StoreReachable=True StoreReachable, \
         NodesReady=True NodesReady, Ready=True Ready"
    );
    let ObjectStatus::Gateway(status) = scene.status(Kind::MailGateway, "edge") else { panic!() };
    let counts = serde_json::to_value((&status.nodes, &status.attached, status.replicas)).unwrap();
    let expected = serde_json::json!([{"desired": 1, "ready": 1, "programmed": 1},
        {"domains": 1, "relayRules": 1, "pop3Accounts": 1, "etrnSchedules": 1, "users": 1}, 1]);
    assert_eq!(counts, expected);
}

#[test]
fn a_kind_that_no_node_runs_yet_says_so_and_nobody_waits_for_it() {
    let scene = programmed();
    for (kind, name) in [(Kind::Pop3Account, "isp-box"), (Kind::MailUser, "customer1")] {
        let said = scene.conditions(kind, name);
        assert!(said.contains("Programmed=False NotInForce"), "{kind}: {said}"); // its Secret is missing too
        assert!(said.contains("Ready=False SecretNotFound, Stalled=True SecretNotFound"), "{kind}: {said}");
    }
    let mut scene = Scene::of(&ALL.replace("metadata: {name: unused", "metadata: {name: hourly"));
    scene.look();
    for (kind, name) in [(Kind::EtrnSchedule, "backup-isp"), (Kind::MailSchedule, "hourly")] {
        let said = scene.conditions(kind, name);
        assert!(said.contains("Programmed=False NotSupportedYet"), "{kind}: {said}");
        assert!(said.contains("Stalled=True NotSupportedYet"), "{kind}: {said}");
    }
}

#[test]
fn an_unreferenced_schedule_is_programmed() {
    let scene = programmed();
    assert_eq!(
        scene.conditions(Kind::MailSchedule, "unused"),
        "Accepted=True Accepted, ResolvedRefs=True ResolvedRefs, Programmed=True NotReferenced, Ready=True NotReferenced"
    );
}

#[test]
fn nodes_that_come_lag_or_fail_change_only_the_gateway() {
    let mut scene = programmed();
    let others = |scene: &Scene| {
        let mut all = scene.written.clone();
        all.remove(&(Kind::MailGateway, edge()));
        all
    };
    let before = others(&scene);
    let gateway = scene.gateway();
    gateway.desired = 3;
    gateway.live.insert("edge-1".to_owned(), node(None));
    gateway.live.insert("edge-2".to_owned(), node(Some(0)));
    gateway.is_store_lost = true;
    scene.settle();
    assert_eq!(others(&scene), before);
    let said = scene.conditions(Kind::MailGateway, "edge");
    assert!(said.contains("Programmed=True Programmed, StoreReachable=False StoreUnreachable"), "{said}");
    assert!(said.contains("NodesReady=False NodesNotReady, Ready=False StoreUnreachable"), "{said}");
    assert!(said.contains("Reconciling=True StoreUnreachable"), "{said}");
    assert!(!said.contains("Stalled"), "{said}");

    scene.gateway().is_store_lost = false;
    scene.gateway().live.remove("edge-1");
    scene.settle();
    let said = scene.conditions(Kind::MailGateway, "edge");
    assert!(
        said.contains("NodesReady=False NodeMissing, Ready=True Ready, Reconciling=True NodeMissing"),
        "{said}"
    );
}

#[test]
fn a_gateway_without_any_node_for_long_has_nothing_programmed() {
    let mut scene = programmed();
    scene.gateway().live.clear();
    scene.settle();
    let said = scene.conditions(Kind::MailDomain, "example-com");
    assert!(
        said.ends_with("Programmed=False NoNodes, Ready=False NoNodes, Reconciling=True NoNodes"),
        "{said}"
    );
    scene.gateway().live.insert("edge-0".to_owned(), node(Some(1)));
    scene.settle();
    assert_eq!(scene.conditions(Kind::MailDomain, "example-com"), READY);
}

#[test]
fn a_node_that_refuses_tells_the_one_that_is_meant_and_those_that_came_with_it() {
    let mut scene = programmed();
    scene.read(ALL, 2, 2);
    let refuses = |resource: Option<&str>| {
        let reason = "no such thing".to_owned();
        Some(NodeRefusal { sequence: 2, resource: resource.map(str::to_owned), reason })
    };
    scene.node().refused = refuses(Some("RelayRule mail/out"));
    scene.settle();
    let said = scene.conditions(Kind::RelayRule, "out");
    assert!(
        said.ends_with(
            "Programmed=False RefusedByNode, Ready=False RefusedByNode, Stalled=True RefusedByNode"
        ),
        "{said}"
    );
    assert_eq!(scene.message(Kind::RelayRule, "out", "Ready"), "a node refuses it: no such thing");
    let domain = scene.message(Kind::MailDomain, "example-com", "Ready");
    assert!(domain.contains("because of RelayRule mail/out: see there"), "{domain}");

    scene.node().refused = refuses(Some("spec.listeners[0]"));
    scene.settle();
    assert_eq!(scene.message(Kind::MailGateway, "edge", "Programmed"), "a node refuses it: no such thing");
    scene.applies(2).settle();
    assert_eq!(scene.conditions(Kind::RelayRule, "out"), READY);
    assert_eq!(scene.conditions(Kind::MailDomain, "example-com"), READY);
}

#[test]
fn what_was_programmed_stays_so_when_a_later_snapshot_is_refused() {
    let mut scene = programmed();
    scene.gateway().published = Some(2);
    scene.node().refused = Some(NodeRefusal { sequence: 2, resource: None, reason: "no".to_owned() });
    scene.settle();
    assert_eq!(scene.conditions(Kind::MailDomain, "example-com"), READY);
}

#[test]
fn what_is_refused_says_what_stays_in_force() {
    let mut scene = programmed();
    let broken =
        ALL.replace("  domain: example.com\n", "  domain: example.com\n  aliases: [\"-.example\"]\n");
    scene.read(&broken, 2, 1);
    scene.settle();
    let said = scene.conditions(Kind::MailDomain, "example-com");
    assert!(said.starts_with("Accepted=False InvalidDomain"), "{said}");
    assert!(said.contains("Ready=False InvalidDomain, Stalled=True InvalidDomain"), "{said}");
    let message = scene.message(Kind::MailDomain, "example-com", "Accepted");
    assert!(message.starts_with("spec.aliases[0]: "), "{message}");
    let programmed = scene.message(Kind::MailDomain, "example-com", "Programmed");
    assert!(programmed.contains("in force"), "{programmed}");

    scene.read(&ALL.replace("gatewayRef: {name: edge}", "gatewayRef: {name: egde}"), 3, 2);
    scene.settle();
    let said = scene.conditions(Kind::RelayRule, "out");
    assert!(said.contains("Accepted=False GatewayNotFound"), "{said}");
    assert!(said.contains("Programmed=False NotInForce"), "{said}");
}

#[test]
fn a_rule_that_stays_without_its_login_says_that_its_mail_waits() {
    let mut scene = programmed();
    scene.compilation.standing.insert((Kind::RelayRule, ObjectKey::new("mail", "out")), Standing::Waits);
    scene.settle();
    let said = scene.conditions(Kind::RelayRule, "out");
    assert!(said.contains("Programmed=False MailWaits") && said.contains("Ready=False MailWaits"), "{said}");
    let message = scene.message(Kind::RelayRule, "out", "Programmed");
    assert!(message.contains("waits until the rule is corrected"), "{message}");
}

#[test]
fn a_part_goes_with_its_whole() {
    let mut scene = programmed();
    // The recipients are wrong: their domain stays as it was.
    scene.read(&ALL.replace("users: [carol]", "users: [\"c@rol@\"]"), 2, 1);
    scene.settle();
    let said = scene.conditions(Kind::MailRecipients, "more");
    assert!(said.contains("Accepted=False InvalidAddress"), "{said}");
    let said = scene.conditions(Kind::MailDomain, "example-com");
    assert!(
        said.ends_with("Programmed=False StaysInForce, Ready=False StaysInForce, Stalled=True StaysInForce"),
        "{said}"
    );
    // The domain is wrong: its recipients are not in force either.
    scene.read(&ALL.replace("  domain: example.com\n", "  domain: \"-.example\"\n"), 3, 2);
    scene.settle();
    let said = scene.conditions(Kind::MailRecipients, "more");
    assert!(said.contains("Programmed=False DomainRefused, Ready=False DomainRefused"), "{said}");
    let message = scene.message(Kind::MailDomain, "example-com", "Ready");
    assert!(
        message.ends_with("in force until it is corrected") || message.contains("nothing of it is in force"),
        "{message}"
    );
    // Recipients that were there before stay with what stays of the domain.
    let mut kept = programmed();
    let mut recipients = kept.resources.clone();
    recipients.retain(|one| one.kind == Kind::MailRecipients);
    kept.read(&ALL.replace("users: [{name: alice}]", "users: [{name: \"a@b@\"}]"), 2, 1);
    kept.resources.retain(|one| one.kind != Kind::MailRecipients);
    kept.resources.extend(recipients);
    kept.settle();
    let said = kept.conditions(Kind::MailDomain, "example-com");
    assert!(said.contains("Programmed=False StaysInForce"), "{said}");
    assert_eq!(kept.conditions(Kind::MailRecipients, "more"), READY);
    // The gateway is wrong: what belongs to it says so.
    scene.read(&ALL.replace("hostname: mail.example.com", "hostname: \"-.example\""), 4, 3);
    scene.settle();
    let said = scene.conditions(Kind::RelayRule, "out");
    assert!(said.contains("Programmed=False GatewayRefused, Ready=False GatewayRefused"), "{said}");
    let said = scene.conditions(Kind::MailGateway, "edge");
    assert!(said.contains("Accepted=False InvalidDomain"), "{said}");
    assert!(said.contains("Programmed=False StaysInForce"), "{said}");
}

#[test]
fn a_form_that_cannot_be_read_is_not_accepted_and_what_was_read_last_stays() {
    let mut scene = programmed();
    let about = |kind: &str, name: &str, reason: &str| Finding {
        resource: Some(Identity { kind: kind.to_owned(), key: ObjectKey::new("mail", name) }),
        severity: Severity::Error,
        field: Some("spec.doman".to_owned()),
        reason: reason.to_owned(),
        message: "there is no such field; did you mean domain?".to_owned(),
        place: None,
    };
    scene.findings = vec![
        about("MailDomain", "example-com", "UnknownField"),
        about("MailDomain", "never-read", "UnknownField"),
        about("MailGateway", "edge", "CannotListen"),
        about("Secret", "s", "UnknownField"),
    ];
    let unread = super::super::observation::unread(&scene.findings, &scene.resources);
    assert_eq!(unread.len(), 1);
    scene.resources.extend(unread);
    scene.settle();
    assert_eq!(
        scene.conditions(Kind::MailDomain, "example-com"),
        "Accepted=False UnknownField, ResolvedRefs=Unknown NotAccepted, Programmed=False StaysInForce, Ready=False UnknownField, \
         Stalled=True UnknownField"
    );
    assert!(scene.conditions(Kind::MailDomain, "never-read").contains("Programmed=False NotInForce"));
    let said = scene.conditions(Kind::MailGateway, "edge");
    assert!(said.contains("Accepted=True Accepted"), "{said}");
    assert!(said.contains("Programmed=False CannotListen"), "{said}");
}

#[test]
fn suspended_and_too_new_for_the_nodes_are_told() {
    let mut scene = programmed();
    scene.read(&ALL.replace("  domain: example.com\n", "  domain: example.com\n  suspend: true\n"), 2, 2);
    scene.gateway().too_old_for = [(Kind::RelayRule, ObjectKey::new("mail", "out"))].into();
    scene.applies(2).settle();
    let said = scene.conditions(Kind::MailDomain, "example-com");
    assert!(said.ends_with("Ready=True Suspended, Suspended=True Suspended"), "{said}");
    let said = scene.conditions(Kind::RelayRule, "out");
    assert!(
        said.ends_with("Programmed=False NodesTooOld, Ready=False NodesTooOld, Stalled=True NodesTooOld"),
        "{said}"
    );
}

/// The scene with a field more in the spec or the metadata of each resource.
fn all_with(spec: &str, metadata: &str) -> String {
    let all = ALL.replace("\nspec:\n", &format!("\nspec:\n  {spec}\n"));
    let all = all.replace("\nspec: {", &format!("\nspec: {{{spec}, "));
    all.replace("namespace: mail}", &format!("namespace: mail{metadata}}}"))
}

#[test]
fn every_kind_can_be_suspended_and_says_so() {
    let mut scene = Scene::of(&all_with("suspend: true", ""));
    scene.applies(1).settle();
    assert_eq!(scene.written.len(), Kind::ALL.len());
    for (kind, key) in scene.written.keys() {
        let said = scene.conditions(*kind, &key.name);
        assert!(said.contains("Suspended=True Suspended"), "{kind}: {said}");
    }
}

#[test]
fn a_request_is_echoed_by_every_kind_that_there_is_something_to_do_for_at_once() {
    let mut scene =
        Scene::of(&all_with("suspend: false", ", annotations: {posthouse.dev/requested-at: now}"));
    scene.after(std::time::Duration::ZERO).look();
    scene.applies(1).settle();
    for ((kind, key), status) in &mut scene.written.clone() {
        // What runs by a schedule echoes it when it has run.
        let expected = (!matches!(status, ObjectStatus::Run(_))).then_some("now");
        assert_eq!(status.last_handled_request_mut().as_deref(), expected, "{kind} {key}");
    }
}

#[test]
fn a_gateway_that_nobody_runs_leaves_nobody_waiting() {
    let mut scene = Scene::of(ALL);
    scene.nodes.clear();
    let (changes, again) = scene.look();
    assert_eq!((changes.len(), again), (8, None));
    assert!(scene.conditions(Kind::RelayRule, "out").contains("Programmed=False GatewayNotRunning"));
}

#[test]
fn a_request_is_echoed_when_it_is_done() {
    let asked = ALL.replace(
        "{name: example-com, namespace: mail}",
        "{name: example-com, namespace: mail, annotations: {posthouse.dev/requested-at: now}}",
    );
    let mut scene = Scene::of(&asked);
    scene.after(std::time::Duration::ZERO).look();
    scene.applies(1).settle();
    let ObjectStatus::Domain(status) = scene.status(Kind::MailDomain, "example-com") else { panic!() };
    assert_eq!(status.last_handled_request.as_deref(), Some("now"));
}

#[test]
fn every_status_fits_its_definition() {
    let mut scene = programmed();
    let users: Vec<_> = (0..100).map(|place| format!("{{name: \"{} {place}\"}}", "x".repeat(40))).collect();
    scene.read(&ALL.replace("users: [{name: alice}]", &format!("users: [{}]", users.join(", "))), 2, 2);
    scene.gateway().too_old_for = scene.resources.iter().map(|one| (one.kind, one.key.clone())).collect();
    *scene.gateway() = Nodes { desired: 9, ..scene.gateway().clone() };
    scene.settle();
    for ((kind, key), status) in &scene.written {
        let mut document = super::scene::objects(ALL).remove(0).document();
        document["kind"] = kind.name().into();
        document["status"] = serde_json::to_value(status).unwrap();
        let mine = |one: &posthouse_crds::Defect| one.path.starts_with("status");
        let defects: Vec<_> = match posthouse_crds::Object::admit(document) {
            Err(posthouse_crds::ReadError::Defects(defects)) => defects.into_iter().filter(mine).collect(),
            _ => Vec::new(),
        };
        assert_eq!(defects, [], "{kind} {key}");
        for condition in status.conditions() {
            assert!(condition.message.chars().count() <= 4200, "{kind} {}", condition.message);
        }
    }
    let message = scene.message(Kind::MailDomain, "example-com", "Accepted");
    assert!(message.ends_with("; and more: run posthouse-operator validate"), "{message}");
}

#[test]
fn a_rule_whose_login_is_refused_says_so_until_it_is_let_in() {
    let mut scene = programmed();
    let refused = "the next hop does not accept this login (535)".to_owned();
    scene.gateway().refused_logins = [(ObjectKey::new("mail", "out"), refused)].into();
    scene.settle();
    let said = scene.conditions(Kind::RelayRule, "out");
    assert!(said.contains("Programmed=True") && said.contains("Ready=False LoginRefused"), "{said}");
    assert!(said.contains("Stalled=True LoginRefused"), "{said}");
    assert_eq!(scene.conditions(Kind::MailDomain, "example-com"), READY, "nothing else is touched");
    scene.gateway().refused_logins.clear();
    scene.settle();
    assert_eq!(scene.conditions(Kind::RelayRule, "out"), READY);
}
