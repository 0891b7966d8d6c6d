//! The channel: one suite over a folder, Redis and Valkey. What the operator publishes is what nodes run, and nothing else ever is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

mod counted;
mod operators;
mod road;

use std::{fs, sync::Arc, time::Duration};

use posthouse_channel::{
    Applied, ChannelError, Follower, KeyFolder, Look, News, PublishError, Report, last_published,
};
use posthouse_config::{ChunkName, Epoch, Publication, SCHEMA_MAX, SCHEMA_MIN, Snapshot};
use posthouse_model::Timestamp;
use posthouse_tests::store::Flavor;
use tokio::time::timeout;

use counted::totals_are_read_whole_and_give_way_to_later_ones_only;
use road::{NOW, Road, lease, publish, refused, snapshot, take};

async fn what_is_published_is_taken_and_acknowledged(road: Road) {
    let (mut publisher, mut follower) = (road.publisher(), road.follower("edge-0"));
    assert!(matches!(follower.look().await.unwrap(), Look::Nothing), "nothing is there yet");
    let first = publish(&mut publisher, &road, &snapshot("a.example", 100)).await;
    assert_eq!(take(&mut follower).await, "a.example");
    assert!(matches!(follower.look().await.unwrap(), Look::Same));
    let again = publish(&mut publisher, &road, &snapshot("a.example", 100)).await;
    assert_eq!(again, first, "what is published already is not published again");
    let second = publish(&mut publisher, &road, &snapshot("b.example", 100)).await;
    assert!(second.epoch > first.epoch);
    assert_eq!(take(&mut follower).await, "b.example");
    let [report] = road.live().await.try_into().unwrap();
    assert_eq!((report.uid.as_str(), report.node.as_str()), ("uid-edge-0", "edge-0"));
    assert!(report.has_applied(second.epoch) && report.refused.is_none());
    assert_eq!(report.applied.unwrap().hash, second.hash);
    assert_eq!(report.keys, [second.key]);
    road.forget("uid-edge-0").await;
    assert!(road.live().await.is_empty());
}

async fn a_run_that_begins_finds_what_the_one_before_published(road: Road) {
    let first = publish(&mut road.publisher(), &road, &snapshot("a.example", 300)).await;
    let mut publisher = road.publisher();
    let channels = [road.channel.clone()];
    let last = last_published(&channels, &road.keys(), |why| panic!("{why}")).await.unwrap();
    assert!(last.snapshot.says_the_same(&snapshot("a.example", 300)));
    assert_eq!(last.snapshot.generation, first.epoch.sequence);
    publisher.resume(&last);
    assert_eq!(publish(&mut publisher, &road, &snapshot("a.example", 300)).await, first);
    let mut cold = road.follower("edge-0");
    assert_eq!(take(&mut cold).await, "a.example", "it needs nobody but the channel");
    let clock_went_back = Timestamp(1);
    let next = publisher.publish(&snapshot("b.example", 300), &[], clock_went_back).await.unwrap();
    assert!(next.epoch > first.epoch);
}

async fn a_leader_that_slept_cannot_publish_old_configuration(road: Road) {
    let (mut old, mut new) = (road.publisher_of(lease(1, "old")), road.publisher_of(lease(2, "new")));
    publish(&mut old, &road, &snapshot("a.example", 1)).await;
    publish(&mut new, &road, &snapshot("b.example", 1)).await;
    let error = old.publish(&snapshot("old.example", 1), &[], Timestamp(9_000_000)).await.unwrap_err();
    match error {
        PublishError::Outdated(Epoch { transitions: 2, .. }) => {}
        PublishError::Held(holder) => assert_eq!(holder.to_string(), "the operator new"),
        other => panic!("{other}"),
    }
    assert_eq!(take(&mut road.follower("edge-0")).await, "b.example");
    assert!(old.check(&[]).await.is_err(), "it steps back");
    assert_eq!(take(&mut road.follower("edge-1")).await, "b.example", "nor by mending");
}

async fn what_is_lost_is_written_again(road: Road) {
    let (mut publisher, mut follower) = (road.publisher(), road.follower("edge-0"));
    let published = publish(&mut publisher, &road, &snapshot("a.example", 200)).await;
    take(&mut follower).await;
    road.lose_everything();
    assert!(matches!(follower.look().await.unwrap(), Look::Nothing), "who has it goes on with it");
    let mended = publisher.check(&[]).await.unwrap();
    assert!(mended.len() == 1 && mended[0].is_whole, "{mended:?}");
    assert!(
        mended[0].to_string().contains("the pointer to the configuration had gone from the "),
        "{mended:?}"
    );
    assert!(publisher.check(&[]).await.unwrap().is_empty(), "it is said once");
    let mut cold = road.follower("edge-1");
    assert_eq!(take(&mut cold).await, "a.example");
    assert_eq!(road.channel.pointer().await.unwrap().unwrap().epoch, published.epoch);
    // One piece of it, and then what lies under its name.
    let piece = |names: std::collections::HashSet<ChunkName>| {
        names
            .into_iter()
            .map(|name| name.to_string())
            .find(|name| *name != published.hash.to_string())
            .unwrap()
    };
    let name = piece(road.channel.names().await.unwrap());
    road.spoil(&name, None);
    let mended = publisher.check(&[]).await.unwrap();
    assert!(mended.len() == 1 && !mended[0].is_whole, "{mended:?}");
    assert_eq!(take(&mut road.follower("edge-2")).await, "a.example");
    road.spoil(&name, Some(b"something else"));
    let mut cold = road.follower("edge-3");
    let refused = refused(&mut cold).await;
    assert!(refused.is_damaged && refused.reason.contains("is damaged"), "{refused:?}");
    publisher.check(&road.live().await).await.unwrap();
    assert_eq!(take(&mut cold).await, "a.example");
    assert!(road.live().await.iter().all(|report| report.refused.is_none()));
}

async fn a_snapshot_of_the_next_version_is_refused_and_the_last_good_one_stays(road: Road) {
    let (mut publisher, mut follower) = (road.publisher(), road.follower("edge-0"));
    let good = publish(&mut publisher, &road, &snapshot("a.example", 1)).await;
    take(&mut follower).await;
    let newer = Arc::new(Snapshot { schema: SCHEMA_MAX + 1, ..Snapshot::clone(&snapshot("b.example", 1)) });
    let epoch = Epoch { transitions: 0, sequence: good.epoch.sequence + 1 };
    let key = &road.keys().read().unwrap()[0];
    let publication = Publication::new(&newer, epoch, key, None).unwrap();
    road.channel.publish(&publication, &lease(0, "operator")).await.unwrap();
    let refused = refused(&mut follower).await;
    let next = SCHEMA_MAX + 1;
    let reason = format!(
        "the snapshot has schema version {next}; this node reads {SCHEMA_MIN} to {SCHEMA_MAX}: upgrade the node"
    );
    assert_eq!(refused.reason, reason);
    assert!(!refused.is_damaged && refused.epoch == epoch);
    assert!(matches!(follower.look().await.unwrap(), Look::Same), "it is said once");
    let [report] = road.live().await.try_into().unwrap();
    assert!(report.has_applied(good.epoch) && !report.has_applied(epoch));
    // The operator that reads what its nodes read gets over it.
    let mended = publish(&mut publisher, &road, &snapshot("c.example", 1)).await;
    assert!(mended.epoch > epoch);
    assert_eq!(take(&mut follower).await, "c.example");
    assert_eq!(road.live().await[0].refused, None);
}

async fn a_node_two_versions_old_gets_what_it_reads(road: Road) {
    let mut publisher = road.publisher();
    let mut report = Report::new("uid-old".to_owned(), "old".to_owned());
    report.schema_max = SCHEMA_MAX - 2;
    road.channel.report(&report).await.unwrap();
    let published = publish(&mut publisher, &road, &snapshot("a.example", 1)).await;
    assert_eq!(published.schema, SCHEMA_MAX - 2);
    let mut new = road.follower("edge-0");
    assert_eq!(take(&mut new).await, "a.example", "newer nodes read it as well");
    road.forget("uid-old").await;
    let published = publish(&mut publisher, &road, &snapshot("a.example", 1)).await;
    assert_eq!(published.schema, SCHEMA_MAX, "and the newest comes back when it is gone");
    report.schema_max = SCHEMA_MAX + 2;
    report.schema_min = SCHEMA_MAX + 1;
    road.channel.report(&report).await.unwrap();
    let error = publisher.publish(&snapshot("b.example", 1), &road.live().await, NOW).await.unwrap_err();
    assert!(error.to_string().contains("no common schema"), "{error}");
}

async fn a_new_key_is_used_once_every_live_node_has_it(road: Road) {
    let keys = |name: &str| KeyFolder::new(road.folder.path().join(name));
    let mut publisher = road.publisher();
    // Each has a mount of its own, and they change at different times.
    let follower = |name: &str| {
        let folder = keys(name);
        folder.create().unwrap();
        fs::copy(road.keys().path().join("1"), folder.path().join("1")).unwrap();
        Follower::new(road.channel.clone(), folder, format!("uid-{name}"), name.to_owned())
    };
    let (mut one, mut other) = (follower("one"), follower("other"));
    let sent = snapshot("a.example", 150);
    let old = publish(&mut publisher, &road, &sent).await;
    take(&mut one).await;
    take(&mut other).await;
    let second = tempfile::tempdir().unwrap();
    KeyFolder::new(second.path()).create().unwrap();
    let rotate = |folder: &KeyFolder| fs::copy(second.path().join("1"), folder.path().join("2")).unwrap();
    rotate(&road.keys());
    assert_eq!(publish(&mut publisher, &road, &sent).await.key, old.key, "no node has it");
    rotate(&keys("one"));
    assert!(matches!(one.look().await.unwrap(), Look::Same));
    assert!(one.say().await.unwrap(), "it says that it has it");
    assert_eq!(publish(&mut publisher, &road, &sent).await.key, old.key, "one node has it not");
    rotate(&keys("other"));
    other.look().await.unwrap();
    other.say().await.unwrap();
    let new = publish(&mut publisher, &road, &sent).await;
    assert!(new.key != old.key && new.epoch > old.epoch);
    assert_eq!((take(&mut one).await, take(&mut other).await), ("a.example".into(), "a.example".into()));
    fs::remove_file(keys("one").path().join("1")).unwrap();
    fs::remove_file(road.keys().path().join("1")).unwrap();
    one.look().await.unwrap();
    let mut cold = Follower::new(road.channel.clone(), keys("one"), "uid-cold".into(), "cold".into());
    assert_eq!(take(&mut cold).await, "a.example", "nothing needs the old one any more");
}

async fn what_no_live_node_needs_is_collected(road: Road) {
    let (mut publisher, mut fast, mut slow) =
        (road.publisher(), road.follower("fast"), road.follower("slow"));
    publish(&mut publisher, &road, &snapshot("a.example", 500)).await;
    take(&mut fast).await;
    take(&mut slow).await;
    publish(&mut publisher, &road, &snapshot("b.example", 300)).await;
    take(&mut fast).await;
    let before = road.channel.names().await.unwrap().len();
    publisher.check(&road.live().await).await.unwrap();
    assert_eq!(road.channel.names().await.unwrap().len(), before, "one node has not got it yet");
    take(&mut slow).await;
    publisher.check(&road.live().await).await.unwrap();
    assert!(road.channel.names().await.unwrap().len() < before);
    assert_eq!(take(&mut road.follower("cold")).await, "b.example");
}

async fn a_node_that_stays_behind_keeps_what_it_runs_and_no_more(road: Road) {
    let mut slow = road.follower("slow");
    let mut publisher = road.publisher();
    let mut pieces = Vec::new();
    // What a piece says is the same where it is the same domains: here each publication has pieces of its own.
    for (number, domains) in [10, 200, 420, 640].into_iter().enumerate() {
        publish(&mut publisher, &road, &snapshot(&format!("h{number}.example"), domains)).await;
        if number == 1 {
            take(&mut slow).await;
        }
        publisher.check(&road.live().await).await.unwrap();
        pieces.push(road.channel.names().await.unwrap());
        let index: ChunkName = publisher.published().unwrap().hash.into();
        assert!(pieces[number].contains(&index));
    }
    let live = road.live().await;
    let [Report { applied: Some(Applied { hash: runs, .. }), .. }] = live.as_slice() else {
        panic!("{live:?}")
    };
    let there = road.channel.names().await.unwrap();
    assert!(there.contains(&(*runs).into()), "what it runs stays");
    assert!(pieces[1].is_subset(&there), "with all its pieces");
    assert!(!pieces[2].is_subset(&there), "what was published between goes");
    // A publisher that knows nothing of what was before learns it from the channel.
    let mut next = road.publisher();
    publish(&mut next, &road, &snapshot("h4.example", 860)).await;
    next.check(&live).await.unwrap();
    let there = road.channel.names().await.unwrap();
    assert!(pieces[1].is_subset(&there) && !pieces[3].is_subset(&there));
    // And when it is gone, nothing keeps them.
    next.check(&[]).await.unwrap();
    assert!(!road.channel.names().await.unwrap().contains(&(*runs).into()));
    assert_eq!(take(&mut road.follower("cold")).await, "h4.example");
}

async fn readers_never_see_a_half_while_it_is_published_and_collected(road: Road) {
    let road = Arc::new(road);
    let mut publisher = road.publisher();
    publish(&mut publisher, &road, &snapshot("h0.example", 100)).await;
    let reading = {
        let road = Arc::clone(&road);
        tokio::spawn(async move {
            let mut taken = 0;
            let mut last = 0;
            while last < 60 {
                let mut cold = road.follower("cold");
                let look = cold.look().await.unwrap();
                let Look::New(assembled) = look else { panic!("{look:?}") };
                let name = assembled.snapshot.gateway.hostname.to_string();
                let number: usize =
                    name.trim_start_matches('h').trim_end_matches(".example").parse().unwrap();
                assert_eq!(
                    assembled.snapshot.domains.len(),
                    100 + number,
                    "the gateway and its domains are of one"
                );
                assert!(number >= last);
                last = number;
                taken += 1;
            }
            taken
        })
    };
    for number in 1..=60 {
        publisher.publish(&snapshot(&format!("h{number}.example"), 100 + number), &[], NOW).await.unwrap();
        publisher.check(&[]).await.unwrap(); // nobody says that he reads: all but the last is collected at once
    }
    assert!(timeout(Duration::from_mins(1), reading).await.unwrap().unwrap() > 0);
}

async fn who_listens_is_told(road: Road) {
    let mut pointer = News::of_pointer(&road.channel);
    let mut reports = News::of_reports(&road.channel);
    let mut follower = road.follower("edge-0");
    let mut publisher = road.publisher();
    for name in ["a.example", "b.example", "c.example"] {
        publish(&mut publisher, &road, &snapshot(name, 1)).await;
        let told = async {
            loop {
                pointer.next().await;
                let look = follower.look().await.unwrap();
                if let Look::New(assembled) = look {
                    break follower.applied(assembled);
                }
            }
        };
        timeout(Duration::from_secs(20), told).await.unwrap();
        follower.say().await.unwrap();
        let epoch = publisher.published().unwrap().epoch;
        let told = async {
            while !road.live().await.iter().any(|report| report.has_applied(epoch)) {
                reports.next().await;
            }
        };
        timeout(Duration::from_secs(20), told).await.unwrap();
    }
}

macro_rules! over_every_channel {
    ($($sentence:ident)*) => {
        mod over_a_folder { $( #[tokio::test] async fn $sentence() { super::$sentence(super::Road::over(None)).await } )* }
        mod over_redis { $( #[tokio::test] async fn $sentence() { super::$sentence(super::Road::over(Some(super::Flavor::Redis))).await } )* }
        mod over_valkey { $( #[tokio::test] async fn $sentence() { super::$sentence(super::Road::over(Some(super::Flavor::Valkey))).await } )* }
    };
}

over_every_channel! {
    what_is_published_is_taken_and_acknowledged
    a_run_that_begins_finds_what_the_one_before_published
    a_leader_that_slept_cannot_publish_old_configuration
    what_is_lost_is_written_again
    a_snapshot_of_the_next_version_is_refused_and_the_last_good_one_stays
    a_node_two_versions_old_gets_what_it_reads
    a_new_key_is_used_once_every_live_node_has_it
    what_no_live_node_needs_is_collected
    a_node_that_stays_behind_keeps_what_it_runs_and_no_more
    readers_never_see_a_half_while_it_is_published_and_collected
    who_listens_is_told
    totals_are_read_whole_and_give_way_to_later_ones_only
}

#[tokio::test]
async fn a_redis_that_is_away_is_said_and_comes_back() {
    let mut road = Road::over(Some(Flavor::Redis));
    let mut publisher = road.publisher();
    publish(&mut publisher, &road, &snapshot("a.example", 1)).await;
    let server = road.server.as_mut().unwrap();
    server.kill().unwrap();
    let error = publisher.publish(&snapshot("b.example", 1), &[], NOW).await.unwrap_err();
    assert!(matches!(error, PublishError::Channel(ChannelError::Redis(_))), "{error}");
    road.server.as_mut().unwrap().start_again().unwrap();
    publish(&mut publisher, &road, &snapshot("b.example", 1)).await;
    assert_eq!(take(&mut road.follower("edge-0")).await, "b.example");
}

#[tokio::test]
async fn what_is_no_key_is_passed_over_by_nodes_and_refused_by_the_operator() {
    let road = Road::over(None);
    let mut publisher = road.publisher();
    publish(&mut publisher, &road, &snapshot("a.example", 1)).await;
    fs::write(road.keys().path().join("2"), "short").unwrap();
    fs::write(road.keys().path().join("3"), "x".repeat(10_000)).unwrap();
    fs::create_dir(road.keys().path().join("4")).unwrap();
    let mut cold = road.follower("edge-0");
    assert_eq!(take(&mut cold).await, "a.example");
    assert_eq!(cold.passed_over().len(), 3, "{:?}", cold.passed_over());
    assert!(
        cold.passed_over().iter().any(|why| why.contains("/2: a sealing key is 32 random octets in base64"))
    );
    assert!(cold.passed_over().iter().any(|why| why.contains("/3: it has more than 256 octets")));
    let error = publisher.publish(&snapshot("b.example", 1), &[], NOW).await.unwrap_err();
    assert!(matches!(error, PublishError::Keys(_)), "{error}");
    for name in ["2", "3"] {
        fs::remove_file(road.keys().path().join(name)).unwrap();
    }
    fs::remove_dir(road.keys().path().join("4")).unwrap();
    publish(&mut publisher, &road, &snapshot("b.example", 1)).await;
    assert_eq!(take(&mut cold).await, "b.example");
    assert!(cold.passed_over().is_empty());
}

#[tokio::test]
async fn keys_that_are_none_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let keys = KeyFolder::new(folder.path());
    assert!(keys.read().unwrap_err().to_string().contains("there is no sealing key"));
    keys.create().unwrap();
    fs::write(folder.path().join("..data"), "what a mounted Secret has besides").unwrap();
    assert_eq!(keys.read().unwrap().len(), 1);
    fs::write(folder.path().join("2"), "short").unwrap();
    let error = keys.read().unwrap_err().to_string();
    assert!(error.contains("/2: a sealing key is 32 random octets in base64"), "{error}");
}
