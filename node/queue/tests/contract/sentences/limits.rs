//! Limits, facts and jobs: what nodes share beside mail.

use posthouse_model::{Incarnation, Timestamp};
use posthouse_queue::{FactKind, JobRun, LeasedJob, Settled, StoreError};

use super::{Sentence, sentence};
use crate::contract::world::World;

pub(super) fn sentences() -> Vec<Sentence> {
    vec![
        sentence(permits_are_granted_up_to_the_limit_of_all_nodes),
        sentence(permits_come_back_when_they_are_returned_or_their_node_ends),
        sentence(permits_are_per_next_hop),
        sentence(a_rate_is_a_window_that_begins_with_its_first_use),
        sentence(rates_of_different_keys_do_not_meet),
        sentence(reservations_of_all_nodes_share_the_room),
        sentence(a_reservation_may_always_become_smaller),
        sentence(a_reservation_ends_with_its_incarnation),
        sentence(a_fact_lasts_until_its_time),
        sentence(a_fact_is_replaced_and_forgotten),
        sentence(kinds_of_facts_do_not_see_each_others_keys),
        sentence(a_fact_that_is_too_long_is_refused),
        sentence(a_job_is_leased_when_its_time_has_come_and_once),
        sentence(jobs_come_earliest_first_and_no_more_than_asked_for),
        sentence(a_finished_job_comes_again_at_its_next_time),
        sentence(a_missed_run_is_remembered),
        sentence(a_job_without_a_next_time_is_removed),
        sentence(a_job_is_moved_while_nobody_runs_it),
        sentence(a_job_of_a_dead_incarnation_runs_again_and_the_late_end_is_stale),
        sentence(a_dropped_job_refuses_its_run),
    ]
}

const HOP: &str = "smtp:hop.example:25";

async fn permits(w: &World, who: Incarnation, wanted: u32) -> u32 {
    w.store.take_permits(who, HOP, wanted, 20, w.now).await.unwrap()
}

async fn permits_are_granted_up_to_the_limit_of_all_nodes(w: &mut World) {
    let other = w.another_node().await;
    assert_eq!(permits(w, w.node, 12).await, 12);
    assert_eq!(permits(w, other, 12).await, 8);
    assert_eq!(permits(w, w.node, 1).await, 0);
    let larger = w.store.take_permits(w.node, HOP, 50, 25, w.now).await.unwrap();
    assert_eq!(larger, 5, "the limit is the caller's");
    let smaller = w.store.take_permits(w.node, HOP, 1, 5, w.now).await.unwrap();
    assert_eq!(smaller, 0, "a smaller limit takes nothing away and grants nothing");
}

async fn permits_come_back_when_they_are_returned_or_their_node_ends(w: &mut World) {
    let other = w.another_node().await;
    let third = w.another_node().await;
    assert_eq!(permits(w, w.node, 10).await, 10);
    assert_eq!(permits(w, other, 10).await, 10);
    w.store.return_permits(other, HOP, 3).await.unwrap();
    assert_eq!(permits(w, third, 20).await, 3);
    w.dies(other).await;
    assert_eq!(permits(w, third, 20).await, 7);
    w.departs(third).await;
    assert_eq!(permits(w, w.node, 20).await, 10);
    w.store.return_permits(w.node, HOP, 500).await.unwrap();
    assert_eq!(permits(w, w.node, 20).await, 20, "more than it had cannot be given back");
}

async fn permits_are_per_next_hop(w: &mut World) {
    assert_eq!(permits(w, w.node, 20).await, 20);
    assert_eq!(w.store.take_permits(w.node, "lmtp:other:24", 20, 20, w.now).await.unwrap(), 20);
}

async fn a_rate_is_a_window_that_begins_with_its_first_use(w: &mut World) {
    let take = async |w: &World, wanted| w.store.take_rate("rule", wanted, 10, 60_000, w.now).await.unwrap();
    assert_eq!(take(w, 4).await, 4);
    w.pass(59_000).await;
    assert_eq!(take(w, 20).await, 6);
    assert_eq!(take(w, 1).await, 0);
    w.pass(1_001).await;
    assert_eq!(take(w, 7).await, 7, "a new window");
    w.pass(30_000).await;
    assert_eq!(take(w, 7).await, 3);
}

async fn rates_of_different_keys_do_not_meet(w: &mut World) {
    assert_eq!(w.store.take_rate("a", 5, 5, 60_000, w.now).await.unwrap(), 5);
    assert_eq!(w.store.take_rate("b", 5, 5, 60_000, w.now).await.unwrap(), 5);
    assert_eq!(w.store.take_rate("a", 5, 5, 60_000, w.now).await.unwrap(), 0);
}

async fn reserve(w: &World, who: Incarnation, bytes: u64) -> bool {
    w.store.reserve(who, bytes, Some(1_000), w.now).await.unwrap()
}

async fn reservations_of_all_nodes_share_the_room(w: &mut World) {
    let other = w.another_node().await;
    assert!(reserve(w, w.node, 600).await);
    assert!(!reserve(w, other, 500).await);
    assert!(reserve(w, other, 400).await);
    assert!(!reserve(w, w.node, 601).await, "the sum is what counts");
    assert!(reserve(w, w.node, 100).await);
    assert!(reserve(w, other, 900).await);
    assert!(w.store.reserve(w.node, u64::MAX / 4, None, w.now).await.unwrap(), "no known limit, no refusal");
}

async fn a_reservation_may_always_become_smaller(w: &mut World) {
    assert!(reserve(w, w.node, 1_000).await);
    assert!(w.store.reserve(w.node, 900, Some(10), w.now).await.unwrap());
    let other = w.another_node().await;
    assert!(!reserve(w, other, 101).await);
    assert!(reserve(w, other, 100).await);
}

async fn a_reservation_ends_with_its_incarnation(w: &mut World) {
    let other = w.another_node().await;
    assert!(reserve(w, w.node, 1_000).await);
    assert!(!reserve(w, other, 1).await);
    w.dies(w.node).await;
    assert!(reserve(w, other, 1_000).await);
    let third = w.another_node().await;
    w.departs(other).await;
    assert!(reserve(w, third, 1_000).await);
    w.node = third;
}

async fn fact(w: &World, kind: FactKind, key: &str) -> Option<String> {
    w.store.fact(kind, key, w.now).await.unwrap()
}

async fn a_fact_lasts_until_its_time(w: &mut World) {
    let until = Timestamp(w.now.0 + 900_000);
    w.store.put_fact(FactKind::LoginAddress, "192.0.2.1", "alice", until).await.unwrap();
    w.pass(899_000).await;
    w.reap().await;
    assert_eq!(fact(w, FactKind::LoginAddress, "192.0.2.1").await.as_deref(), Some("alice"));
    w.pass(1_001).await;
    assert_eq!(fact(w, FactKind::LoginAddress, "192.0.2.1").await, None);
    w.reap().await;
    assert_eq!(fact(w, FactKind::LoginAddress, "192.0.2.1").await, None);
}

async fn a_fact_is_replaced_and_forgotten(w: &mut World) {
    let until = Timestamp(w.now.0 + 900_000);
    let kind = FactKind::BlockedClient;
    w.store.put_fact(kind, "192.0.2.1", "unknown recipients", until).await.unwrap();
    w.store.put_fact(kind, "192.0.2.1", "failed commands", Timestamp(until.0 + 1)).await.unwrap();
    assert_eq!(fact(w, kind, "192.0.2.1").await.as_deref(), Some("failed commands"));
    w.store.drop_fact(kind, "192.0.2.1").await.unwrap();
    w.store.drop_fact(kind, "192.0.2.1").await.unwrap();
    assert_eq!(fact(w, kind, "192.0.2.1").await, None);
}

async fn kinds_of_facts_do_not_see_each_others_keys(w: &mut World) {
    let until = Timestamp(w.now.0 + 900_000);
    w.store.put_fact(FactKind::LoginAddress, "192.0.2.1", "alice", until).await.unwrap();
    assert_eq!(fact(w, FactKind::BlockedClient, "192.0.2.1").await, None);
    w.store.drop_fact(FactKind::BlockedClient, "192.0.2.1").await.unwrap();
    assert!(fact(w, FactKind::LoginAddress, "192.0.2.1").await.is_some());
}

async fn a_fact_that_is_too_long_is_refused(w: &mut World) {
    let until = Timestamp(w.now.0 + 900_000);
    let kind = FactKind::BlockedClient;
    let long = |octets| "x".repeat(octets);
    assert!(w.store.put_fact(kind, &long(255), &long(1_024), until).await.is_ok());
    for (key, value) in [(long(256), long(1)), (long(1), long(1_025))] {
        let refused = w.store.put_fact(kind, &key, &value, until).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    }
}

async fn lease_jobs(w: &World, max: u32) -> Vec<LeasedJob> {
    w.store.lease_jobs(w.node, max, w.now).await.unwrap()
}

/// A job whose time is now, leased.
async fn running(w: &World, key: &str) -> LeasedJob {
    w.store.plan_job(key, w.now).await.unwrap();
    let mut leased = lease_jobs(w, 10).await;
    assert_eq!(leased.len(), 1, "{leased:?}");
    leased.remove(0)
}

async fn finish(w: &World, leased: &LeasedJob, run: JobRun) -> Settled {
    w.store.finish_job(w.node, &leased.job.key, leased.token, &run).await.unwrap()
}

async fn a_job_is_leased_when_its_time_has_come_and_once(w: &mut World) {
    w.store.plan_job("pop3 mail/box", Timestamp(w.now.0 + 5_000)).await.unwrap();
    assert!(lease_jobs(w, 10).await.is_empty());
    w.pass(5_000).await;
    let leased = lease_jobs(w, 10).await;
    assert_eq!(leased.len(), 1);
    assert_eq!((leased[0].job.key.as_str(), leased[0].job.nominal), ("pop3 mail/box", w.now));
    assert_eq!((leased[0].job.last_run, leased[0].job.missed_run), (None, None));
    let other = w.another_node().await;
    assert!(w.store.lease_jobs(other, 10, w.now).await.unwrap().is_empty());
    let unknown = w.store.lease_jobs(Incarnation([0xee; 16]), 10, w.now).await;
    assert!(matches!(unknown, Err(StoreError::Departed)), "{unknown:?}");
}

async fn jobs_come_earliest_first_and_no_more_than_asked_for(w: &mut World) {
    for (key, ago) in [("b", 2), ("c", 1), ("a", 3)] {
        w.store.plan_job(key, Timestamp(w.now.0 - ago)).await.unwrap();
    }
    let keys =
        async |max| lease_jobs(w, max).await.into_iter().map(|leased| leased.job.key).collect::<Vec<_>>();
    assert_eq!(keys(2).await, ["a", "b"]);
    assert_eq!(keys(2).await, ["c"]);
    assert!(keys(2).await.is_empty());
}

async fn a_finished_job_comes_again_at_its_next_time(w: &mut World) {
    let leased = running(w, "etrn mail/backup").await;
    let started = w.now;
    let next = Timestamp(w.now.0 + 60_000);
    let run = JobRun { started: Some(started), missed: None, next: Some(next) };
    assert_eq!(finish(w, &leased, run).await, Settled::Done);
    assert_eq!(finish(w, &leased, run).await, Settled::Stale);
    assert!(lease_jobs(w, 10).await.is_empty());
    w.pass(60_000).await;
    let again = lease_jobs(w, 10).await.remove(0);
    assert_eq!((again.job.nominal, again.job.last_run, again.job.missed_run), (next, Some(started), None));
    assert!(again.token > leased.token);
}

async fn a_missed_run_is_remembered(w: &mut World) {
    let leased = running(w, "etrn mail/backup").await;
    let missed = leased.job.nominal;
    let next = Timestamp(w.now.0 + 60_000);
    let run = JobRun { started: None, missed: Some(missed), next: Some(next) };
    assert_eq!(finish(w, &leased, run).await, Settled::Done);
    let job = w.store.job("etrn mail/backup").await.unwrap().unwrap();
    assert_eq!((job.nominal, job.last_run, job.missed_run), (next, None, Some(missed)));
    w.pass(60_000).await;
    let leased = lease_jobs(w, 10).await.remove(0);
    let run = JobRun { started: Some(w.now), missed: None, next: Some(Timestamp(w.now.0 + 60_000)) };
    assert_eq!(finish(w, &leased, run).await, Settled::Done);
    let job = w.store.job("etrn mail/backup").await.unwrap().unwrap();
    assert_eq!((job.last_run, job.missed_run), (Some(w.now), Some(missed)), "both stay");
}

async fn a_job_without_a_next_time_is_removed(w: &mut World) {
    let leased = running(w, "release north").await;
    let run = JobRun { started: Some(w.now), missed: None, next: None };
    assert_eq!(finish(w, &leased, run).await, Settled::Done);
    assert_eq!(w.store.job("release north").await.unwrap(), None);
    w.pass(1_000).await;
    assert!(lease_jobs(w, 10).await.is_empty());
}

async fn a_job_is_moved_while_nobody_runs_it(w: &mut World) {
    let later = Timestamp(w.now.0 + 60_000);
    w.store.plan_job("pop3 mail/box", w.now).await.unwrap();
    w.store.plan_job("pop3 mail/box", later).await.unwrap();
    assert!(lease_jobs(w, 10).await.is_empty());
    w.store.plan_job("pop3 mail/box", w.now).await.unwrap();
    let leased = lease_jobs(w, 10).await.remove(0);
    w.store.plan_job("pop3 mail/box", later).await.unwrap();
    let job = w.store.job("pop3 mail/box").await.unwrap().unwrap();
    assert_eq!(job.nominal, leased.job.nominal, "a run is under way");
    let run = JobRun { started: Some(w.now), missed: None, next: Some(later) };
    assert_eq!(finish(w, &leased, run).await, Settled::Done);
    w.store.plan_job("pop3 mail/box", Timestamp(later.0 + 5)).await.unwrap();
    let job = w.store.job("pop3 mail/box").await.unwrap().unwrap();
    assert_eq!((job.nominal.0, job.last_run), (later.0 + 5, Some(w.now)), "what it remembers stays");
}

async fn a_job_of_a_dead_incarnation_runs_again_and_the_late_end_is_stale(w: &mut World) {
    let old = running(w, "pop3 mail/box").await;
    let slow = w.node;
    w.node = w.another_node().await;
    w.dies(slow).await;
    let new = lease_jobs(w, 10).await.remove(0);
    assert_eq!((&new.job, new.token > old.token), (&old.job, true));
    let run = JobRun { started: Some(w.now), missed: None, next: None };
    let late = w.store.finish_job(slow, &old.job.key, old.token, &run).await.unwrap();
    assert_eq!(late, Settled::Stale);
    assert!(w.store.job("pop3 mail/box").await.unwrap().is_some());
    let departing = w.node;
    w.node = w.another_node().await;
    w.departs(departing).await;
    assert_eq!(lease_jobs(w, 10).await.len(), 1, "a departing node's job comes at once");
}

async fn a_dropped_job_refuses_its_run(w: &mut World) {
    let leased = running(w, "pop3 mail/box").await;
    w.store.drop_job("pop3 mail/box").await.unwrap();
    w.store.drop_job("pop3 mail/box").await.unwrap();
    let run = JobRun { started: Some(w.now), missed: None, next: Some(w.now) };
    assert_eq!(finish(w, &leased, run).await, Settled::Stale);
    assert_eq!(w.store.job("pop3 mail/box").await.unwrap(), None);
    let refused = w.store.plan_job(&"k".repeat(513), w.now).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
}
