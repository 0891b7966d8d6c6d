//! Incarnations: who lives, what goes back when one ends, and what a restart of the store keeps.

use posthouse_model::Timestamp;
use posthouse_queue::{
    Accounting, ClaimId, Counts, FactKind, HEARTBEAT_LIFE_MS, HoldReason, Reaped, State, StoreError,
    Withdrawn,
};

use super::{Sentence, sentence};
use crate::contract::world::{World, ids, in_chunks, new_entry, queue_name};

pub(super) fn sentences() -> Vec<Sentence> {
    vec![
        sentence(a_heart_that_beats_keeps_its_leases),
        sentence(what_a_dead_incarnation_leased_is_due_again),
        sentence(what_a_dead_incarnation_enqueued_is_activated),
        sentence(what_a_dead_incarnation_leased_from_hold_is_held_as_before),
        sentence(a_fast_lease_of_a_dead_incarnation_is_due_and_accepted),
        sentence(a_departing_incarnation_gives_everything_back_at_once),
        sentence(a_reaped_incarnation_does_not_come_back),
        sentence(a_late_heart_that_nobody_missed_beats_on),
        sentence(reaping_twice_changes_nothing_more),
        sentence(a_dead_incarnation_with_much_in_hand_is_reaped_in_parts),
        sentence(the_shards_are_known_and_the_clock_runs),
        sentence(a_healthy_store_has_no_reason_to_refuse_mail),
        sentence(everything_survives_a_restart_of_the_store),
    ]
}

async fn a_heart_that_beats_keeps_its_leases(w: &mut World) {
    let entry = w.due("north", "hop").await;
    let leased = w.lease_one().await;
    w.pass(10 * HEARTBEAT_LIFE_MS).await;
    assert_eq!(w.reap().await, Reaped::default());
    assert_eq!(w.state(entry).await, State::Active);
    w.settle(&w.delivered(&leased)).await;
}

async fn what_a_dead_incarnation_leased_is_due_again(w: &mut World) {
    let entry = w.due("north", "hop").await;
    w.lease_one().await;
    let dead = w.node;
    w.node = w.another_node().await;
    w.nothing_to_lease().await;
    assert_eq!(w.dies(dead).await, Reaped { incarnations: 1, leases: 1, activated: 0 });
    let again = w.lease_one().await;
    assert_eq!((again.entry.id, again.entry.attempts), (entry, 0));
}

async fn what_a_dead_incarnation_enqueued_is_activated(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    letter.entries.push(new_entry("south", "other", &["a", "b"], w.now));
    letter.named = 3;
    let id = w.enqueue(&letter).await;
    w.mode("south", Some(HoldReason::OnRequest)).await;
    let dead = w.node;
    w.node = w.another_node().await;
    assert_eq!(w.dies(dead).await, Reaped { incarnations: 1, leases: 0, activated: 2 });
    let expected = Accounting { accepted: 3, queued: 3, ..Accounting::default() };
    assert_eq!(w.store.accounting().await.unwrap(), expected);
    assert_eq!(w.state(id.entry(0)).await, State::Due);
    assert_eq!(w.state(id.entry(1)).await, State::Held);
    assert_eq!(w.store.withdraw(id, w.now).await.unwrap(), Withdrawn::TooLate);
}

async fn what_a_dead_incarnation_leased_from_hold_is_held_as_before(w: &mut World) {
    let entry = w.held("north", HoldReason::OnRequest).await;
    let leased = w.store.lease_entry(w.node, entry, w.now).await.unwrap();
    assert!(leased.is_some());
    let dead = w.node;
    w.node = w.another_node().await;
    assert_eq!(w.dies(dead).await.leases, 1);
    assert_eq!(w.summary(entry).await.hold, Some(HoldReason::OnRequest));
    w.nothing_to_lease().await;
}

async fn a_fast_lease_of_a_dead_incarnation_is_due_and_accepted(w: &mut World) {
    let letter = w.letter("north", "hop");
    let enqueued = w.store.enqueue(w.node, letter.clone(), &[0], w.now).await.unwrap();
    assert!(enqueued.leases[0].is_some());
    let dead = w.node;
    w.node = w.another_node().await;
    let reaped = w.dies(dead).await;
    assert_eq!((reaped.incarnations, reaped.leases), (1, 1));
    let expected = Accounting { accepted: 1, queued: 1, ..Accounting::default() };
    assert_eq!(w.store.accounting().await.unwrap(), expected);
    assert_eq!(w.lease_one().await.entry.id, letter.id.entry(0));
}

async fn a_departing_incarnation_gives_everything_back_at_once(w: &mut World) {
    w.due("north", "hop").await;
    w.lease_one().await;
    let letter = w.letter("south", "hop");
    w.enqueue(&letter).await;
    let departing = w.node;
    w.node = w.another_node().await;
    assert_eq!(w.departs(departing).await, Reaped { incarnations: 1, leases: 1, activated: 1 });
    assert_eq!(w.counts().await, Counts { due: 2, ..Counts::default() });
    assert_eq!(w.lease(10).await.len(), 2);
}

async fn a_reaped_incarnation_does_not_come_back(w: &mut World) {
    let dead = w.node;
    w.node = w.another_node().await;
    w.dies(dead).await;
    let late = w.store.heartbeat(dead, w.now).await;
    assert!(matches!(late, Err(StoreError::Departed)), "{late:?}");
    let letter = w.letter("north", "hop");
    let refused = w.store.enqueue(dead, letter, &[], w.now).await;
    assert!(matches!(refused, Err(StoreError::Departed)), "{refused:?}");
    let departed = w.node;
    w.node = w.another_node().await;
    w.departs(departed).await;
    assert!(matches!(w.store.heartbeat(departed, w.now).await, Err(StoreError::Departed)));
}

async fn a_late_heart_that_nobody_missed_beats_on(w: &mut World) {
    w.due("north", "hop").await;
    let leased = w.lease_one().await;
    w.silence(3 * HEARTBEAT_LIFE_MS);
    w.store.heartbeat(w.node, w.now).await.unwrap();
    assert_eq!(w.reap().await, Reaped::default());
    w.settle(&w.delivered(&leased)).await;
}

async fn reaping_twice_changes_nothing_more(w: &mut World) {
    w.due("north", "hop").await;
    w.lease_one().await;
    let dead = w.node;
    w.node = w.another_node().await;
    w.dies(dead).await;
    assert_eq!(w.reap().await, Reaped::default());
    assert_eq!(w.store.depart(dead, w.now).await.unwrap().leases, 0);
    assert_eq!(w.counts().await, Counts { due: 1, ..Counts::default() });
}

async fn a_dead_incarnation_with_much_in_hand_is_reaped_in_parts(w: &mut World) {
    for _ in 0..3 {
        let mut letter = w.letter("north", "hop");
        letter.entries =
            (0..500).map(|place| new_entry("north", &format!("hop{place}"), &["one"], w.now)).collect();
        letter.named = 500;
        w.post(&letter).await;
    }
    assert_eq!(w.lease(1_000).await.len(), 1_000);
    for _ in 0..2 {
        let mut letter = w.letter("south", "hop");
        letter.entries =
            (0..500).map(|place| new_entry("south", &format!("hop{place}"), &["one"], w.now)).collect();
        letter.named = 500;
        w.enqueue(&letter).await;
    }
    let dead = w.node;
    w.node = w.another_node().await;
    let reaped = w.dies(dead).await;
    assert_eq!(reaped, Reaped { incarnations: 1, leases: 1_000, activated: 1_000 });
    assert_eq!(w.counts().await, Counts { due: 2_500, ..Counts::default() });
    assert_eq!(w.store.accounting().await.unwrap().accepted, 2_500);
}

async fn the_shards_are_known_and_the_clock_runs(w: &mut World) {
    assert!(!w.store.shards().is_empty());
    let first = w.store.time().await.unwrap();
    let second = w.store.time().await.unwrap();
    assert!(first <= second && first > Timestamp(1_600_000_000_000));
}

async fn a_healthy_store_has_no_reason_to_refuse_mail(w: &mut World) {
    let findings = w.store.check().await.unwrap();
    assert!(findings.iter().all(|finding| !finding.refuse), "{findings:?}");
}

async fn everything_survives_a_restart_of_the_store(w: &mut World) {
    w.mode("held", Some(HoldReason::OnRequest)).await;
    w.due("slow", "hop").await;
    let deferred = w.back_off(w.now.0 + 600_000).await;
    let behind = w.due("slow", "hop").await;
    let held = w.due("held", "hop").await;
    let released = w.due("freed", "hop").await;
    w.store.act(released, posthouse_queue::Act::Hold, w.now).await.unwrap();
    w.release("freed", HoldReason::Administrator).await;
    let mut chunked = w.letter("large", "hop");
    let chunks = in_chunks(&mut chunked, 3 * posthouse_queue::CHUNK_SIZE + 9);
    for (index, chunk) in (0..).zip(&chunks) {
        w.store.put_chunk(chunked.id, index, chunk.clone(), w.now).await.unwrap();
    }
    w.enqueue(&chunked).await;
    let withdrawn = w.letter("north", "hop");
    w.enqueue(&withdrawn).await;
    w.store.withdraw(withdrawn.id, w.now).await.unwrap();
    let until = Timestamp(w.now.0 + 900_000);
    w.store.put_fact(FactKind::LoginAddress, "192.0.2.1", "alice", until).await.unwrap();
    w.store.plan_job("pop3 mail/box", until).await.unwrap();
    w.due("attempted", "hop").await;
    let request = posthouse_queue::LeaseRequest { max: 10, ..w.request(10) };
    let leased = w.store.lease(&request, w.now).await.unwrap();
    let attempted: Vec<_> = ids(&leased);
    let done = leased.iter().find(|leased| leased.entry.queue.as_str() == "attempted").unwrap();
    w.settle(&w.delivered(done)).await;
    let accounting = w.store.accounting().await.unwrap();

    w.restart().await;

    let dead = w.node;
    w.forget(dead);
    w.node = w.another_node().await;
    w.pass(HEARTBEAT_LIFE_MS + 1).await;
    w.reap().await;
    let expected =
        Accounting { accepted: accounting.accepted + 1, queued: accounting.queued + 1, ..accounting };
    assert_eq!(w.store.accounting().await.unwrap(), expected, "as before, and the incoming one accepted");
    let counts = Counts { due: 3, deferred: 1, held: 1, ..Counts::default() };
    assert_eq!(w.counts().await, counts, "slow, freed and large; deferred; held; attempted is gone");
    assert!(attempted.contains(&released));
    w.nothing_but(&[released, chunked.id.entry(0)]).await;
    for (index, chunk) in (0..).zip(&chunks) {
        assert_eq!(w.store.chunk(chunked.id, index).await.unwrap().as_ref(), Some(chunk));
    }
    assert_eq!(w.state(deferred).await, State::Deferred);
    assert_eq!(w.state(behind).await, State::Due);
    assert_eq!(w.summary(held).await.hold, Some(HoldReason::OnRequest));
    let later = w.due("held", "hop").await;
    assert_eq!(w.state(later).await, State::Held, "the queue's mode is known");
    let late = w.store.enqueue(w.node, withdrawn, &[], w.now).await;
    assert!(matches!(late, Err(StoreError::Withdrawn)), "{late:?}");
    let fact = w.store.fact(FactKind::LoginAddress, "192.0.2.1", w.now).await.unwrap();
    assert_eq!(fact.as_deref(), Some("alice"));
    assert_eq!(w.store.job("pop3 mail/box").await.unwrap().unwrap().nominal, until);
    let claim = w.store.claim(w.node, ClaimId([1; 16]), &queue_name("held"), 10, w.now).await.unwrap();
    assert_eq!(claim.unwrap().entries, [held, later]);
}
