//! What is said of a domain's queues.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use posthouse_channel::{Totals, Waiting, totals::MOST_QUEUES};
use posthouse_compiler::ObjectKey;
use posthouse_crds::{Kind, status::ObjectStatus};
use posthouse_model::{QueueName, Timestamp};

use super::{
    super::{keeper::Change, observation::Counted},
    scene::{ALL, Scene, edge},
};

/// Midnight, 2026-03-01.
const MIDNIGHT: u64 = 1_772_323_200_000;

const FORWARD: &str = "  unknownRecipients: {action: Forward, forward: {host: 192.0.2.1, port: 25, delivery: OnRequest}}\n  \
                       release: {etrn: {networks: [192.0.2.0/24]}}\n";

fn waiting(held: u64, deferred: u64, minute: u64) -> Waiting {
    Waiting { held, deferred, oldest: Some(Timestamp(MIDNIGHT + minute * 60_000 + 789)) }
}

fn queue(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

fn programmed(manifests: &str) -> Scene {
    let mut scene = Scene::of(manifests);
    scene.applies(1).settle();
    scene
}

impl Scene {
    /// The nodes counted this, a second later.
    fn count(&mut self, queues: impl IntoIterator<Item = (QueueName, Waiting)>) -> &mut Self {
        let mut totals = Totals::new(Timestamp(MIDNIGHT));
        totals.extend(queues);
        let snapshot = Arc::clone(&self.compilation.snapshots[&edge()]);
        self.counted = [(edge(), Counted { snapshot, totals: Arc::new(totals) })].into();
        self.after(Duration::from_secs(1))
    }

    fn queue(&self, domain: &str) -> String {
        let ObjectStatus::Domain(status) = self.status(Kind::MailDomain, domain) else { panic!("no domain") };
        serde_json::to_string(&status.queue).unwrap()
    }
}

fn names(changes: &[Change]) -> Vec<&str> {
    changes.iter().map(|change| change.id.1.name.as_str()).collect()
}

#[test]
fn what_waits_is_said_when_two_digits_or_the_minute_of_the_oldest_change() {
    let mut scene = programmed(ALL);
    let own = || queue("example.com");
    assert_eq!(scene.count([]).look().0, vec![], "of a domain whose mail never waits nothing is said");
    assert_eq!(scene.queue("example-com"), "null");
    for (counted, said) in [
        (waiting(1_234, 0, 0), r#"{"held":1234,"deferred":0,"oldestTime":"2026-03-01T00:00:00Z"}"#),
        (waiting(1_300, 0, 0), r#"{"held":1300,"deferred":0,"oldestTime":"2026-03-01T00:00:00Z"}"#),
        (waiting(1_300, 1, 0), r#"{"held":1300,"deferred":1,"oldestTime":"2026-03-01T00:00:00Z"}"#),
        (waiting(1_301, 1, 1), r#"{"held":1301,"deferred":1,"oldestTime":"2026-03-01T00:01:00Z"}"#),
        (Waiting::default(), r#"{"held":0,"deferred":0}"#),
        (waiting(0, 1, 1), r#"{"held":0,"deferred":1,"oldestTime":"2026-03-01T00:01:00Z"}"#),
    ] {
        let (changes, again) = scene.count([(own(), counted)]).look();
        assert_eq!((names(&changes), again), (vec!["example-com"], None), "{said}");
        assert_eq!(scene.queue("example-com"), said);
        let more = Waiting { held: counted.held + counted.held / 100, ..counted };
        assert_eq!(scene.count([(own(), more)]).look().0, vec![], "no second digit changes: {more:?}");
    }
    assert_eq!(
        scene.count([(queue("elsewhere.example"), waiting(7, 7, 7)), (own(), waiting(0, 1, 1))]).look().0,
        vec![]
    );
}

#[test]
fn a_domains_figures_are_of_both_its_queues_and_of_those_that_it_shares() {
    let shared = ALL.replace(
        "  domain: example.com\n",
        &format!("  domain: example.com\n{FORWARD}  queue: {{name: both}}\n"),
    );
    let other = shared.split("\n---\n").nth(1).unwrap().replace("example", "other");
    let mut scene = programmed(&format!("{shared}\n---\n{other}"));
    let names: Vec<_> =
        scene.compilation.snapshots[&edge()].queues.iter().map(|queue| queue.name.to_string()).collect();
    assert_eq!(names, ["both", "local:both"]);
    scene.count([(queue("both"), waiting(3, 0, 5)), (queue("local:both"), waiting(0, 2, 4))]).look();
    for domain in ["example-com", "other-com"] {
        assert_eq!(scene.queue(domain), r#"{"held":3,"deferred":2,"oldestTime":"2026-03-01T00:04:00Z"}"#);
    }
}

#[test]
fn what_is_not_known_is_not_said() {
    let mut scene = programmed(ALL);
    scene.count([(queue("example.com"), waiting(1, 1, 0))]).look();
    let said = scene.queue("example-com");
    // It may be one of the smallest of too many, its nodes may not have counted since the operator began, or its gateway is refused.
    let many = (0..=MOST_QUEUES).map(|number| (queue(&format!("q{number}")), waiting(9, 9, 9)));
    assert_eq!(scene.count(many).look().0, vec![]);
    scene.counted.clear();
    assert_eq!(scene.look().0, vec![]);
    assert_eq!(scene.queue("example-com"), said);
    // Of what is not in the snapshot nobody knows which queues were its own.
    scene.count([]);
    let mut snapshot = (*scene.compilation.snapshots[&edge()]).clone();
    snapshot.domains = Box::default();
    scene.counted.get_mut(&edge()).unwrap().snapshot = Arc::new(snapshot);
    scene.look();
    assert_eq!(scene.queue("example-com"), "null");
}

#[test]
fn figures_have_a_pace_and_conditions_do_not_wait_for_it() {
    let mut manifests = ALL.to_owned();
    let one = ALL.split("\n---\n").nth(1).unwrap();
    for number in 0..20 {
        write!(
            manifests,
            "\n---\n{}",
            one.replace("example-com", &format!("d{number:02}"))
                .replace("example.com", &format!("d{number:02}.example"))
        )
        .unwrap();
    }
    let mut scene = programmed(&manifests);
    let all =
        |held| (0..20).map(move |number| (queue(&format!("d{number:02}.example")), waiting(held, 0, 0)));
    let (changes, again) = scene.count(all(1)).look();
    assert_eq!(names(&changes), ["d00", "d01", "d02", "d03", "d04"]);
    assert_eq!(again, Some(scene.now.at + Duration::from_secs(1)));
    // Everything changes at once: what has another condition is written, with its figures, and the pace is kept by the others.
    scene.read(&manifests.replace("port: 24", "port: 25"), 2, 2);
    scene.applies(2);
    let (changes, again) = scene.look();
    assert_eq!((changes.len(), again), (28, None), "each resource once");
    assert_eq!(scene.queue("d19"), r#"{"held":1,"deferred":0,"oldestTime":"2026-03-01T00:00:00Z"}"#);
    // Who waited longest is next, and at last all is said.
    scene.count(all(20));
    let mut written = Vec::new();
    for _ in 0..4 {
        let (changes, _) = scene.look();
        assert_eq!(changes.len(), 5);
        written.extend(changes.into_iter().map(|change| change.id));
        scene.after(Duration::from_secs(1));
    }
    let expected: Vec<_> =
        (0..20).map(|n| (Kind::MailDomain, ObjectKey::new("mail", format!("d{n:02}")))).collect();
    assert_eq!(written, expected);
    assert_eq!(scene.look(), (vec![], None));
}

#[test]
fn figures_come_with_the_first_conditions_and_not_before() {
    let mut scene = Scene::of(ALL);
    let (changes, _) = scene.count([(queue("example.com"), waiting(1, 0, 0))]).look();
    assert!(!names(&changes).contains(&"example-com"), "its node has not answered yet");
    scene.applies(1).settle();
    assert_eq!(scene.queue("example-com"), r#"{"held":1,"deferred":0,"oldestTime":"2026-03-01T00:00:00Z"}"#);
    // What takes long keeps no figures back.
    scene.read(&ALL.replace("port: 24", "port: 25"), 2, 2);
    scene.look();
    scene.count([(queue("example.com"), waiting(2, 0, 0))]).look();
    assert_eq!(scene.queue("example-com"), r#"{"held":2,"deferred":0,"oldestTime":"2026-03-01T00:00:00Z"}"#);
    assert!(
        scene.conditions(Kind::MailDomain, "example-com").contains("Programmed=True"),
        "as it was said before"
    );
}
