//! What becomes of a rule when the Secret with its login is refused, edited or deleted: a slip of the hand takes nothing away, and a login that was
//! taken away is used no more. Its mail waits then: it goes neither elsewhere, nor without the login.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use posthouse_compiler::{Compilation, Context, ObjectKey, Reason, Resources, Standing, compile};
use posthouse_config::{Match, RelayRule, RuleTarget};
use posthouse_crds::{Kind, Object};
use serde_json::{Value, json};

#[path = "large/resources.rs"]
#[allow(dead_code, reason = "others need more of it")]
mod resources;

use resources::{gateway, object};

/// The manifest of the rule.
#[derive(Clone, Copy, PartialEq)]
enum Manifest {
    Right,
    /// Its match is refused.
    WithoutMatch,
    /// One of its hosts is refused.
    WithWrongHost,
    /// It names a Secret that never was.
    WithOtherSecret,
    /// Its form is refused, so nobody knows what it says.
    Broken,
}

const ALL: [Manifest; 5] = [
    Manifest::Right,
    Manifest::WithoutMatch,
    Manifest::WithWrongHost,
    Manifest::WithOtherSecret,
    Manifest::Broken,
];

fn rule(matches: &Value, host: &str, secret: &str) -> Object {
    let authentication = json!({"credentialsSecretRef": {"name": secret}});
    let relay = json!({"hosts": [{"host": host, "port": 25}], "authentication": authentication});
    object("RelayRule", "out", &json!({"gatewayRef": {"name": "edge"}, "match": matches, "relay": relay}))
}

/// A gateway, the rule, and Secrets with what each says.
fn world(manifest: Manifest, secrets: &[(&str, Value)]) -> Resources {
    let always = json!({"always": true});
    let mut resources = Resources::default();
    resources.add(gateway());
    match manifest {
        Manifest::Right => resources.add(rule(&always, "192.0.2.1", "login")),
        Manifest::WithoutMatch => {
            let mut raw = rule(&always, "192.0.2.1", "login").document();
            raw["spec"]["match"] = json!({});
            resources.add(Object::read_admitted(raw).unwrap());
        }
        Manifest::WithWrongHost => resources.add(rule(&always, "not a host", "login")),
        Manifest::WithOtherSecret => resources.add(rule(&always, "192.0.2.1", "logn")),
        Manifest::Broken => {
            resources.refused.insert((Kind::RelayRule, ObjectKey::new("mail", "out")));
        }
    }
    for (name, data) in secrets {
        let secret = json!({"metadata": {"namespace": "mail", "name": name}, "stringData": data});
        resources.secrets.push(serde_json::from_value(secret).unwrap());
    }
    resources
}

fn login(password: &str) -> (&'static str, Value) {
    ("login", json!({"username": "ann", "password": password}))
}

/// The context after a compilation of the right manifest with a right login.
fn before() -> Context {
    let compilation = compile(&world(Manifest::Right, &[login("one")]), &Context::default());
    Context { claims: compilation.claims, previous: compilation.snapshots, ..Context::default() }
}

fn only(compilation: &Compilation) -> &RelayRule {
    let [rule] = &*compilation.snapshots[&ObjectKey::new("mail", "edge")].rules else { panic!("one rule") };
    rule
}

fn standing(compilation: &Compilation) -> Option<Standing> {
    compilation.standing.get(&(Kind::RelayRule, ObjectKey::new("mail", "out"))).copied()
}

/// It has the login that it had, and its mail waits for nothing that was refused.
fn assert_stays(compilation: &Compilation) {
    let before = before();
    assert_eq!(only(compilation), &before.previous[&ObjectKey::new("mail", "edge")].rules[0]);
    assert_eq!(only(compilation).credentials.as_ref().unwrap().password.reveal(), "one");
    assert_eq!(standing(compilation), Some(Standing::Kept));
}

/// The same mail is for it, and waits; the login that it had is forgotten.
fn assert_waits(compilation: &Compilation) {
    let rule = only(compilation);
    assert_eq!(rule.matches, Match::Always);
    assert!(rule.credentials.as_ref().is_none_or(|login| login.password.reveal() != "one"));
    assert!(matches!(rule.target, RuleTarget::Relay { .. }), "it would leave by another way: {rule:?}");
    assert!(rule.unsupported.iter().any(|mark| mark.ends_with(" (refused)")), "{:?}", rule.unsupported);
}

#[test]
fn what_names_a_refused_secret_is_told_so_and_stays_as_it_was() {
    for manifest in ALL {
        let mut resources = world(manifest, &[]);
        resources.refused_secrets.insert(ObjectKey::new("mail", "login"));
        let compilation = compile(&resources, &before());
        let about_secrets: Vec<_> =
            compilation.verdicts.iter().filter(|verdict| verdict.message.contains("Secret")).collect();
        match manifest {
            Manifest::Broken => assert!(about_secrets.is_empty(), "nobody knows what it names"),
            Manifest::WithOtherSecret => {
                // Nothing says that it is the refused one that is meant.
                assert_eq!(about_secrets[0].reason, Reason::SecretNotFound);
                assert_waits(&compilation);
                continue;
            }
            _ => {
                assert_eq!(about_secrets[0].reason, Reason::SecretRefused);
                assert!(about_secrets[0].message.contains("was refused as it is written"));
            }
        }
        assert_stays(&compilation);
    }
    // Of a rule that is new, mail waits.
    let mut resources = world(Manifest::Right, &[]);
    resources.refused_secrets.insert(ObjectKey::new("mail", "login"));
    assert_waits(&compile(&resources, &Context::default()));
}

#[test]
fn a_login_that_was_taken_away_is_used_no_more_whatever_the_manifest_says() {
    let without_key = ("login", json!({"username": "ann"}));
    let of_another = ("other", json!({"username": "ann", "password": "two"}));
    for secrets in [vec![], vec![without_key], vec![of_another]] {
        for manifest in ALL {
            let compilation = compile(&world(manifest, &secrets), &before());
            assert_waits(&compilation);
            // Where the manifest says what mail it is for, that is in force; else what it said before.
            let is_kept = matches!(manifest, Manifest::WithoutMatch | Manifest::Broken);
            assert_eq!(standing(&compilation), is_kept.then_some(Standing::Waits));
        }
    }
}

#[test]
fn a_login_that_was_changed_is_not_used_as_it_was_by_a_rule_that_is_refused() {
    for manifest in ALL.into_iter().filter(|manifest| *manifest != Manifest::Right) {
        assert_waits(&compile(&world(manifest, &[login("two")]), &before()));
    }
    let right = compile(&world(Manifest::Right, &[login("two")]), &before());
    assert_eq!(only(&right).credentials.as_ref().unwrap().password.reveal(), "two");
}

#[test]
fn a_login_that_cannot_be_used_as_it_is_written_now_takes_none_away() {
    let unusable = [login("two\nlines"), ("login", json!({"username": "a\nb", "password": "one"}))];
    for secret in unusable {
        for manifest in ALL.into_iter().filter(|manifest| *manifest != Manifest::WithOtherSecret) {
            assert_stays(&compile(&world(manifest, std::slice::from_ref(&secret)), &before()));
        }
    }
}

#[test]
fn a_login_that_some_secret_still_has_stays_while_a_slip_is_corrected() {
    for manifest in ALL.into_iter().filter(|manifest| *manifest != Manifest::Right) {
        assert_stays(&compile(&world(manifest, &[login("one")]), &before()));
    }
    // It is in another Secret now, and the rule still names the old one.
    let moved = ("moved", json!({"username": "ann", "password": "one"}));
    assert_stays(&compile(&world(Manifest::Right, &[moved]), &before()));
}

#[test]
fn mail_that_waits_for_its_login_goes_on_when_the_secret_is_back() {
    let mut context = before();
    for secrets in [vec![], vec![], vec![login("one")]] {
        let compilation = compile(&world(Manifest::Right, &secrets), &context);
        context.previous = compilation.snapshots;
        context.claims = compilation.claims;
    }
    assert_eq!(context.previous, before().previous);
}
