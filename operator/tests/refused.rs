//! Manifests whose form is broken, over restarts: what an API server would refuse changes nothing, and a local run says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

mod house;

use std::fs;

use house::{DOMAIN, GATEWAY, House, NODE};
use posthouse_tests::{process::Child, wait::SOON};

/// A schedule that is used by a domain, and a Secret that is used by a rule.
const SCHEDULE: &str = "apiVersion: posthouse.dev/v1alpha1
kind: MailSchedule
metadata: {name: hourly, namespace: mail}
spec: {triggers: [{every: 60m}]}
";

const SECRET: &str = "apiVersion: v1
kind: Secret
metadata: {name: provider, namespace: mail}
stringData: {username: u, password: p}
";

const RULE: &str = "apiVersion: posthouse.dev/v1alpha1
kind: RelayRule
metadata: {name: out, namespace: mail}
spec:
  gatewayRef: {name: edge}
  match: {always: true}
  relay: {hosts: [{host: 127.0.0.1, port: 26}], authentication: {credentialsSecretRef: {name: provider}}}
";

/// The operator ends, a manifest is edited meanwhile, another one starts.
fn restarted(house: &House, mut operator: Child, name: &str, text: &str) -> Child {
    assert_eq!(operator.terminate(SOON).unwrap().code(), Some(0), "{}", operator.log_tail());
    house.write(name, text);
    house.start_ready()
}

/// What the last run has logged; the log goes on over restarts.
fn last_log(operator: &Child) -> String {
    let log = operator.log().unwrap();
    log.rsplit("local run").next().unwrap_or_default().to_owned()
}

#[test]
fn a_domain_that_breaks_its_form_keeps_what_was_programmed_over_a_restart() {
    let house = House::new(NODE);
    house.write("domain.yaml", DOMAIN);
    let mut operator = house.start_ready();
    house.until_published(&mut operator, |text| text.contains("alice"));

    let broken = DOMAIN.replace("users: [{name: alice}]", "users: [{nam: carol}]");
    let mut operator = restarted(&house, operator, "domain.yaml", &broken);
    house.until_published(&mut operator, |text| text.contains("alice") && !text.contains("carol"));
    let log = last_log(&operator);
    let told = "Error MailDomain mail/example-com spec.recipients.users[0].nam: UnknownField: ";
    let line = log.lines().find(|line| line.contains(told)).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("did you mean name?") && line.ends_with("(domain.yaml:7)"), "{line}");
    let kept = "Warning MailDomain mail/example-com: StaysInForce: what was programmed of it before stays";
    assert!(log.contains(kept), "{log}");

    house.write("domain.yaml", &DOMAIN.replace("alice", "carol"));
    house.until_published(&mut operator, |text| text.contains("carol") && !text.contains("alice"));
    house.until_logged(&mut operator, "Resolved MailDomain mail/example-com: StaysInForce");
}

#[test]
fn a_gateway_that_breaks_its_form_goes_on_with_its_last_snapshot_over_a_restart() {
    let house = House::new(NODE);
    house.write("domain.yaml", DOMAIN);
    let mut operator = house.start_ready();
    house.until_published(&mut operator, |text| text.contains("alice"));

    let broken = GATEWAY.replace("port: 25", "port: 70000");
    let mut operator = restarted(&house, operator, "gateway.yaml", &broken);
    let log = last_log(&operator);
    assert!(log.contains("Error MailGateway mail/edge spec.listeners[0].port: InvalidValue: "), "{log}");
    assert!(log.contains("(gateway.yaml:7)"), "{log}");
    assert!(log.contains("the gateway starts with the last configuration that was good"), "{log}");
    assert_eq!(house.node().listeners[0].name, "smtp");
    house.until_published(&mut operator, |text| text.contains("alice"));

    house.write("gateway.yaml", &GATEWAY.replace("mail.example.com", "mx.example.com"));
    house.until_published(&mut operator, |text| text.contains("mx.example.com") && text.contains("alice"));
}

#[test]
fn an_edit_of_what_is_for_ever_is_refused_in_the_words_of_the_api_and_the_old_one_stays() {
    let house = House::new(NODE);
    house.write("domain.yaml", DOMAIN);
    let mut operator = house.start_ready();
    house.until_published(&mut operator, |text| text.contains("example.com"));

    let other = DOMAIN.replace("domain: example.com", "domain: example.net").replace("alice", "carol");
    house.write("domain.yaml", &other);
    house.until_logged(&mut operator, "Error MailDomain mail/example-com spec");
    let log = last_log(&operator);
    let line = log.lines().find(|line| line.contains("Error MailDomain mail/example-com")).unwrap();
    assert!(line.contains("InvalidValue: ") && line.contains("renamedFrom"), "{line}");
    assert!(line.contains("(domain.yaml:"), "{line}");
    assert!(!house.published().contains("carol"), "nothing of a refused edit is taken");

    // Corrected otherwise: what may change does.
    house.write("domain.yaml", &DOMAIN.replace("alice", "bob"));
    house.until_published(&mut operator, |text| text.contains("bob") && text.contains("example.com"));
    house.until_logged(&mut operator, "Resolved MailDomain mail/example-com spec");
}

#[test]
fn a_schedule_whose_form_is_broken_is_there_nevertheless() {
    let house = House::new(NODE);
    let domain = format!(
        "{DOMAIN}  unknownRecipients: {{action: Forward, forward: {{host: 127.0.0.1, port: 26, delivery: Scheduled}}}}\n  release: {{scheduleRef: {{name: hourly}}}}\n"
    );
    house.write("domain.yaml", &domain);
    house.write("schedule.yaml", &SCHEDULE.replace("60m", "an hour"));
    let mut operator = house.start_ready();
    let log = last_log(&operator);
    assert!(log.contains("Error MailSchedule mail/hourly spec.triggers[0].every: InvalidValue: "), "{log}");
    assert!(!log.contains("ScheduleNotFound"), "{log}");
    house.until_published(&mut operator, |text| text.contains("alice"));
}

#[test]
fn what_uses_a_secret_stays_in_force_while_the_form_of_the_secret_is_broken() {
    let house = House::new(NODE);
    house.write("secret.yaml", SECRET);
    house.write("rule.yaml", RULE);
    let mut operator = house.start_ready();
    house.until_published(&mut operator, |text| text.contains("mail/out"));
    let rule = |text: &str| text.split("\"rules\"").nth(1).map(str::to_owned);
    let before = rule(&house.published());

    // Within a run the last good one stays, and nothing that names it has anything to say.
    let broken = SECRET.replace("stringData", "data");
    house.write("secret.yaml", &broken);
    house
        .until_logged(&mut operator, "Error Secret mail/provider data.password: InvalidValue: is not base64");
    assert!(!last_log(&operator).contains("SecretNotFound"));
    assert_eq!(rule(&house.published()), before);

    // The run after it never saw a good one: it is there nevertheless, and what was programmed stays.
    let mut operator = restarted(&house, operator, "secret.yaml", &broken);
    let log = last_log(&operator);
    assert!(log.contains("Error Secret mail/provider data.password: InvalidValue: is not base64"), "{log}");
    let told = "Error RelayRule mail/out spec.relay.authentication.credentialsSecretRef: SecretRefused: Secret mail/provider was refused";
    assert!(log.contains(told) && !log.contains("SecretNotFound"), "{log}");
    assert!(log.contains("Warning RelayRule mail/out: StaysInForce: "), "{log}");
    assert_eq!(rule(&house.published()), before);

    // A file that is gone is another matter: its login was taken away, so mail waits, and goes nowhere else.
    let secret = house.path("manifests/secret.yaml");
    fs::remove_file(&secret).unwrap();
    house.until_logged(
        &mut operator,
        "credentialsSecretRef: SecretNotFound: there is no Secret mail/provider",
    );
    house.until_published(&mut operator, |text| {
        text.contains("relay (refused)") && !text.contains("credentials")
    });

    // So it is where the rule is broken over a restart besides.
    let broken = RULE.replace("always: true", "allways: true");
    house.write("secret.yaml", SECRET);
    house.until_published(&mut operator, |text| text.contains("credentials"));
    assert_eq!(operator.terminate(SOON).unwrap().code(), Some(0), "{}", operator.log_tail());
    fs::remove_file(&secret).unwrap();
    house.write("rule.yaml", &broken);
    let mut operator = house.start_ready();
    house.until_published(&mut operator, |text| {
        text.contains("relay.authentication (refused)") && !text.contains("credentials")
    });
    assert!(
        last_log(&operator).contains("Warning RelayRule mail/out: MailWaits: "),
        "{}",
        last_log(&operator)
    );
}
