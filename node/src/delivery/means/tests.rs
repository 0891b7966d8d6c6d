//! By what means a next hop is spoken to, as snapshots say.

use posthouse_config::{ClientTls, Gateway, Match, RelayRule, RuleTarget, Secret, Tier};
use posthouse_model::{HostPort, Security, Transport};

use super::*;

const ROOT: &str = include_str!("../../tls/client/tests/root.pem");

fn rule(name: &str, password: Option<&str>, roots: Option<&str>) -> RelayRule {
    RelayRule {
        origin: name.parse().unwrap(),
        tier: Tier::First,
        order: 0,
        suspended: false,
        matches: Match::Always,
        target: RuleTarget::Relay { hosts: [HostPort { host: "mx".to_owned(), port: Some(587) }].into() },
        credentials: password
            .map(|password| Credentials { username: Secret::new("joe"), password: Secret::new(password) }),
        method: AuthenticationMethod::Auto,
        tls: ClientTls { roots: roots.map(Into::into), ..ClientTls::default() },
        guarded: false,
        unsupported: Box::default(),
    }
}

/// What a snapshot with these rules gives, with what is kept of the one before.
fn in_force(rules: &[RelayRule], before: Option<&ClientConfigs>) -> (Logins, ClientConfigs) {
    let mut snapshot =
        Snapshot::new(Gateway::new("mail/edge".parse().unwrap(), "mx.example.com".parse().unwrap()));
    snapshot.rules = rules.into();
    (Logins::of(&snapshot), ClientConfigs::of(&snapshot, before))
}

fn hop(security: Security) -> NextHop {
    NextHop { security, ..NextHop::new(Transport::Smtp, Vec::new()) }
}

fn of_rule(rule: &str) -> NextHop {
    hop(Security { rule: Some(rule.into()), ..Security::default() })
}

#[test]
fn mail_goes_in_clear_only_where_nothing_more_is_asked_for() {
    let (logins, configs) = in_force(&[rule("mail/a", Some("secret"), Some(ROOT))], None);
    let means = |tls, verified, rule: Option<&str>| {
        let security = Security { tls, verified, guarded: false, rule: rule.map(Into::into) };
        Means::of(&hop(security), &logins, &configs).unwrap()
    };
    let own = Some("mail/a");
    for (tls, verified, rule, starttls, in_clear) in [
        (HopTls::StartTls, false, None, StartTls::IfOffered, true),
        (HopTls::StartTls, false, own, StartTls::IfOffered, false),
        (HopTls::StartTls, true, own, StartTls::Required, false),
        (HopTls::Implicit, false, None, StartTls::Never, false),
        (HopTls::Disabled, false, None, StartTls::Never, false),
    ] {
        let means = means(tls, verified, rule);
        assert_eq!((means.starttls(), means.may_go_in_clear()), (starttls, in_clear), "{means:?}");
    }
}

#[test]
fn a_connection_is_as_good_as_another_while_login_and_roots_are_the_same() {
    let (logins, configs) =
        in_force(&[rule("mail/a", Some("old"), Some(ROOT)), rule("mail/b", Some("old"), None)], None);
    let before = |name: &str| Means::of(&of_rule(name), &logins, &configs).unwrap();
    let (after, later) = in_force(
        &[rule("mail/a", Some("old"), Some(ROOT)), rule("mail/b", Some("new"), None)],
        Some(&configs),
    );
    let now = |name: &str| Means::of(&of_rule(name), &after, &later).unwrap();
    assert_eq!(before("mail/a"), now("mail/a"));
    assert_ne!(before("mail/b"), now("mail/b"));
}

#[test]
fn nothing_is_sent_without_the_login_of_a_rule_that_is_gone() {
    let (logins, configs) = in_force(&[], None);
    let missing = Means::of(&of_rule("mail/a"), &logins, &configs).unwrap_err();
    assert_eq!((missing.status().to_string().as_str(), missing), ("4.3.5", NoMeans::NoRule("mail/a".into())));
}

#[test]
fn no_secret_is_shown() {
    let (logins, _) = in_force(&[rule("mail/a", Some("tanstaaftanstaaf"), None)], None);
    let shown = format!("{logins:?}");
    assert!(shown.contains("mail/a") && !shown.contains("tanstaaf") && !shown.contains("joe"), "{shown}");
}
