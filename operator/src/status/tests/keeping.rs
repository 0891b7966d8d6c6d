//! What is written, and when.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::Arc,
    time::{Duration, Instant},
};

use posthouse_crds::{Kind, Object};
use serde_json::Value;

use super::{
    super::{
        keeper::{BATCH, DESERTED, Moment, PATIENCE, Statuses},
        local::LocalStatuses,
        observation::{Observation, Observed},
    },
    scene::{ALL, Scene, node, objects},
};

#[test]
fn a_generation_whose_outcome_is_soon_known_is_written_once() {
    let mut scene = Scene::of(ALL);
    let (changes, again) = scene.look();
    assert_eq!(changes.len(), 4, "only what no node needs to answer for"); // POP3, ETRN, the schedule, the user
    assert_eq!(again, Some(scene.now.at + PATIENCE));
    let (changes, again) = scene.applies(1).after(Duration::from_secs(1)).look();
    assert_eq!((changes.len(), again), (4, None));
}

#[test]
fn one_that_takes_long_is_written_once_before() {
    let mut scene = Scene::of(ALL);
    scene.look();
    let (changes, _) = scene.after(Duration::from_secs(1)).look();
    assert_eq!(changes.len(), 0);
    let (changes, again) = scene.after(Duration::from_secs(1)).look();
    assert_eq!((changes.len(), again), (4, None));
    assert!(
        scene
            .conditions(Kind::RelayRule, "out")
            .contains("Programmed=Unknown Pending, Ready=Unknown Pending")
    );
    assert_eq!(scene.after(Duration::from_mins(1)).look().0.len(), 0);
    assert_eq!(scene.applies(1).look().0.len(), 4);
}

#[test]
fn at_rest_nothing_is_written() {
    let mut scene = Scene::of(ALL);
    assert_eq!(scene.applies(1).settle(), 8);
    for _ in 0..3 {
        let (changes, again) = scene.after(Duration::from_hours(1)).look();
        assert_eq!((changes, again), (vec![], None));
    }
}

#[test]
fn a_time_moves_only_when_its_status_does() {
    let mut scene = Scene::of(ALL);
    scene.applies(1).settle();
    let times = |scene: &Scene| -> Vec<_> {
        let conditions = scene.status(Kind::RelayRule, "out").conditions();
        conditions.iter().map(|one| one.last_transition_time.clone()).collect()
    };
    let before = times(&scene);
    scene.after(Duration::from_mins(1)).read(ALL, 2, 2);
    assert!(scene.applies(2).settle() > 0, "a new generation is told");
    assert_eq!(times(&scene), before);
}

#[test]
fn a_node_that_is_back_soon_costs_no_write() {
    let mut scene = Scene::of(ALL);
    scene.applies(1).settle();
    scene.gateway().live.clear();
    let (changes, again) = scene.look();
    assert_eq!((changes.len(), again), (0, Some(scene.now.at + PATIENCE)));
    scene.gateway().live.insert("edge-0".to_owned(), node(Some(1)));
    assert_eq!(scene.after(Duration::from_secs(1)).look(), (vec![], None));

    scene.gateway().live.clear();
    scene.look();
    let (changes, again) = scene.after(PATIENCE).look();
    assert_eq!(changes.len(), 1, "the gateway");
    assert_eq!(again, Some(scene.now.at + DESERTED.saturating_sub(PATIENCE)));
}

#[test]
fn what_is_gone_is_removed() {
    let mut scene = Scene::of(ALL);
    scene.applies(1).settle();
    scene.resources.retain(|one| one.kind != Kind::RelayRule);
    let (changes, _) = scene.look();
    let removed: Vec<_> = changes.iter().filter(|one| one.status.is_none()).map(|one| one.id.0).collect();
    assert_eq!(removed, [Kind::RelayRule]);
}

#[test]
fn batches_are_bounded_and_what_failed_comes_again() {
    let many = many(3 * BATCH);
    let scene = Scene::of(ALL);
    let mut statuses = Statuses::default();
    let observation = Observation { resources: &many, ..observation(&scene) };
    statuses.observe(&observation, Moment { at: scene.now.at, ..scene.now });
    statuses.observe(&observation, Moment { at: scene.now.at + PATIENCE, ..scene.now });
    let first = statuses.batch();
    assert_eq!(first.len(), BATCH);
    statuses.failed(first.clone());
    assert_eq!(statuses.batch(), first);
    assert_eq!((statuses.batch().len(), statuses.batch().len(), statuses.batch().len()), (BATCH, BATCH, 0));
}

fn many(count: usize) -> Vec<Observed> {
    let objects = objects(ALL);
    let rules: Vec<Object> = (0..count)
        .map(|place| {
            let mut object = objects[3].clone();
            object.metadata_mut().name = Some(format!("rule-{place}"));
            object
        })
        .collect();
    super::super::observation::observed(&rules).into_iter().map(|(one, _)| one).collect()
}

fn observation(scene: &Scene) -> Observation<'_> {
    Observation {
        resources: &scene.resources,
        compilation: &scene.compilation,
        findings: &scene.findings,
        nodes: &scene.nodes,
        counted: &scene.counted,
    }
}

fn shared(objects: Vec<Object>) -> Vec<Arc<Object>> {
    objects.into_iter().map(Arc::new).collect()
}

/// One look of a local run; how many files it wrote.
fn look(statuses: &mut LocalStatuses, scene: &mut Scene, objects: &[Arc<Object>]) -> usize {
    let mut resources = statuses.resources(objects, &scene.findings, scene.now);
    for one in &mut resources {
        one.since = Some(1);
    }
    scene.resources = resources;
    statuses.observe(&observation(scene), scene.now);
    let mut written = 0;
    while let Some(batch) = statuses.batch() {
        written += batch.writes();
        assert!(batch.write().is_ok());
    }
    written
}

#[test]
fn files_survive_a_restart_without_a_write() {
    let state = tempfile::tempdir().unwrap();
    let (mut scene, objects) = (Scene::of(ALL), shared(objects(ALL)));
    scene.applies(1);
    let mut statuses = LocalStatuses::open(state.path()).unwrap();
    assert_eq!(look(&mut statuses, &mut scene, &objects), 8);
    let mut statuses = LocalStatuses::open(state.path()).unwrap();
    scene.after(Duration::from_hours(1));
    assert_eq!(look(&mut statuses, &mut scene, &objects), 0);

    let file = state.path().join("status/MailDomain.mail.example-com.yaml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&file).unwrap();
    let as_yaml: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(Some(&as_yaml), super::super::form::parse(&text).as_ref(), "it is YAML");
    assert_eq!(as_yaml["metadata"]["generation"], 1);
    assert_eq!(as_yaml["spec"], serde_json::json!({"domain": "example.com", "gatewayRef": {"name": "edge"}}));
    assert_eq!(as_yaml["status"]["conditions"][3]["type"], "Ready");
}

#[test]
fn a_generation_is_counted_up_by_each_other_spec() {
    let state = tempfile::tempdir().unwrap();
    let mut scene = Scene::of(ALL);
    scene.applies(1);
    let mut generations = Vec::new();
    for order in ["order: 100", "order: 100", "order: 7", "order: 100"] {
        let mut statuses = LocalStatuses::open(state.path()).unwrap(); // a restart each time
        look(&mut statuses, &mut scene, &shared(objects(&ALL.replace("order: 100", order))));
        generations.push(scene.resources.iter().find(|one| one.kind == Kind::RelayRule).unwrap().generation);
    }
    assert_eq!(generations, [1, 1, 2, 3]);
}

#[test]
fn a_damaged_file_is_mended_and_one_that_nobody_owns_is_taken_away() {
    let state = tempfile::tempdir().unwrap();
    let (mut scene, objects) = (Scene::of(ALL), shared(objects(ALL)));
    scene.applies(1);
    look(&mut LocalStatuses::open(state.path()).unwrap(), &mut scene, &objects);
    let file = |name: &str| state.path().join("status").join(name);
    let text = fs::read_to_string(file("RelayRule.mail.out.yaml")).unwrap();
    fs::write(file("RelayRule.mail.out.yaml"), text.get(..text.len() / 2).unwrap()).unwrap();
    fs::write(file("MailUser.mail.customer1.yaml"), [0xff, 0]).unwrap();
    fs::write(file("MailUser.mail.gone.yaml"), "").unwrap();
    let mut statuses = LocalStatuses::open(state.path()).unwrap();
    assert_eq!(look(&mut statuses, &mut scene, &objects), 2);
    assert_eq!(fs::read_to_string(file("RelayRule.mail.out.yaml")).unwrap(), text);
    assert!(!file("MailUser.mail.gone.yaml").exists());
    assert_eq!(look(&mut statuses, &mut scene, objects.get(..7).unwrap()), 1, "the gateway");
    assert!(!file("MailUser.mail.customer1.yaml").exists());
}

#[test]
fn what_cannot_be_written_is_written_later() {
    let state = tempfile::tempdir().unwrap();
    let (mut scene, objects) = (Scene::of(ALL), shared(objects(ALL)));
    scene.applies(1);
    let mut statuses = LocalStatuses::open(state.path()).unwrap();
    fs::remove_dir(state.path().join("status")).unwrap();
    scene.resources = statuses.resources(&objects, &[], scene.now);
    statuses.observe(&observation(&scene), scene.now);
    let unwritten = statuses.batch().unwrap().write().unwrap_err();
    assert!(unwritten.why.to_string().contains("cannot be written"), "{}", unwritten.why);
    statuses.put_back(unwritten);
    fs::create_dir(state.path().join("status")).unwrap();
    assert!(statuses.batch().unwrap().write().is_ok());
    assert!(state.path().join("status/MailSchedule.mail.unused.yaml").exists());
}

#[test]
fn a_name_that_is_none_of_a_file_stays_in_the_folder() {
    let state = tempfile::tempdir().unwrap();
    let mut scene = Scene::of(ALL);
    let mut objects = objects(ALL);
    objects.truncate(2);
    objects[0].metadata_mut().name = Some("../../../x".to_owned());
    objects[1].metadata_mut().name = Some("x".repeat(253));
    let objects = shared(objects);
    scene.nodes.clear();
    assert_eq!(look(&mut LocalStatuses::open(state.path()).unwrap(), &mut scene, &objects), 2);
    assert_eq!(fs::read_dir(state.path().join("status")).unwrap().count(), 2);
    assert_eq!(look(&mut LocalStatuses::open(state.path()).unwrap(), &mut scene, &objects), 0);
}

#[test]
fn ten_thousand_resources_load_and_are_judged_in_moments() {
    let state = tempfile::tempdir().unwrap();
    let mut scene = Scene::of(ALL);
    scene.applies(1);
    let rules = (0..10_000)
        .map(|place| {
            let mut object = objects(ALL.split("\n---\n").nth(3).unwrap()).remove(0);
            object.metadata_mut().name = Some(format!("rule-{place}"));
            object
        })
        .collect();
    let rules = shared(rules);
    assert_eq!(look(&mut LocalStatuses::open(state.path()).unwrap(), &mut scene, &rules), 10_000);
    let began = Instant::now();
    let mut statuses = LocalStatuses::open(state.path()).unwrap();
    let loaded = began.elapsed();
    let began = Instant::now();
    statuses.observe(&observation(&scene), Moment::now());
    eprintln!("10,000 statuses: {loaded:?} to load, {:?} to judge", began.elapsed());
    assert!(statuses.batch().is_none());
    assert!(loaded < Duration::from_secs(20), "{loaded:?}"); // in a debug build, on a machine with others
}
