//! Leases: in which order, how many, and the token that proves one.

use posthouse_model::{Incarnation, Timestamp};
use posthouse_queue::{
    Counts, HoldReason, LaneSignal, LeaseRequest, LeaseToken, Outcome, QueueMode, Remainder, Settlement,
    State, StoreError,
};

use super::{Sentence, sentence};
use crate::contract::world::{World, ids, new_entry};

pub(super) fn sentences() -> Vec<Sentence> {
    vec![
        sentence(an_entry_is_leased_once),
        sentence(within_a_lane_priority_decides_then_time_then_id),
        sentence(a_request_gets_no_more_than_it_asks_for),
        sentence(a_lane_gives_no_more_than_max_per_lane),
        sentence(skipped_lanes_are_left_alone),
        sentence(tokens_grow_with_every_lease),
        sentence(a_settle_with_another_token_changes_nothing),
        sentence(a_settle_by_another_incarnation_changes_nothing),
        sentence(a_settle_after_take_over_changes_nothing),
        sentence(what_is_deferred_comes_when_its_time_has_come),
        sentence(someone_without_a_heartbeat_leases_nothing),
        sentence(what_is_to_be_attended_to_comes_first),
        sentence(attention_comes_even_in_a_backed_off_lane),
        sentence(attention_comes_even_while_held_or_deferred),
        sentence(what_is_attended_to_while_held_says_so),
        sentence(an_entry_given_back_after_attention_is_where_it_was),
        sentence(attention_can_be_put_off_without_an_attempt),
        sentence(one_entry_can_be_leased_whatever_its_lane_or_hold),
        sentence(one_entry_that_is_not_there_or_busy_is_not_leased),
        sentence(many_entries_are_leased_each_once),
        sentence(a_wake_up_comes_when_there_is_something_to_lease),
    ]
}

async fn an_entry_is_leased_once(w: &mut World) {
    let entry = w.due("north", "hop").await;
    let leased = w.lease_one().await;
    assert_eq!(leased.entry.id, entry);
    assert!(!leased.attend && !leased.probe);
    let other = w.another_node().await;
    let request = LeaseRequest { who: other, ..w.request(10) };
    assert!(w.store.lease(&request, w.now).await.unwrap().is_empty());
    assert_eq!(w.counts().await, Counts { active: 1, ..Counts::default() });
}

async fn within_a_lane_priority_decides_then_time_then_id(w: &mut World) {
    let mut expected = Vec::new();
    for (priority, wait) in [(4, 10), (0, 10), (9, 10), (0, 10), (4, 0)] {
        let mut letter = w.letter("north", "hop");
        letter.entries[0].priority = priority;
        expected.push((priority, w.now, w.post(&letter).await));
        w.pass(wait).await;
    }
    expected.sort_unstable();
    let expected: Vec<_> = expected.into_iter().map(|(_, _, id)| id).collect();
    assert_eq!(ids(&w.lease(2).await), expected[..2]);
    assert_eq!(ids(&w.lease(10).await), expected[2..]);
}

async fn a_request_gets_no_more_than_it_asks_for(w: &mut World) {
    for hop in ["a", "b", "c"] {
        w.due("north", hop).await;
        w.due("south", hop).await;
    }
    assert_eq!(w.lease(4).await.len(), 4);
    assert_eq!(w.lease(4).await.len(), 2);
}

async fn a_lane_gives_no_more_than_max_per_lane(w: &mut World) {
    for _ in 0..5 {
        w.due("north", "a").await;
        w.due("north", "b").await;
    }
    let request = LeaseRequest { max_per_lane: 2, ..w.request(10) };
    let leased = w.store.lease(&request, w.now).await.unwrap();
    assert_eq!(leased.len(), 4, "two from each lane: {:?}", ids(&leased));
    let first = leased[0].entry.lane();
    assert_eq!(leased.iter().filter(|leased| leased.entry.lane() == first).count(), 2);
}

async fn skipped_lanes_are_left_alone(w: &mut World) {
    let skipped = w.due("north", "a").await;
    let wanted = w.due("north", "b").await;
    let lane = w.summary(skipped).await.entry.unwrap().lane();
    let request = LeaseRequest { skip: vec![lane.id()], ..w.request(10) };
    assert_eq!(ids(&w.store.lease(&request, w.now).await.unwrap()), [wanted]);
    assert!(w.store.lease(&request, w.now).await.unwrap().is_empty());
    assert_eq!(w.lease_one().await.entry.id, skipped);
}

async fn tokens_grow_with_every_lease(w: &mut World) {
    w.due("north", "hop").await;
    let mut last = LeaseToken(0);
    for _ in 0..4 {
        let leased = w.lease_one().await;
        assert!(leased.token > last, "{:?} after {last:?}", leased.token);
        last = leased.token;
        w.settle(&w.deferred(&leased, Remainder::GiveBack)).await;
    }
    let id = w.list().await[0].id;
    let by_hand = w.store.lease_entry(w.node, id, w.now).await.unwrap().unwrap();
    assert!(by_hand.token > last);
    let letter = w.letter("south", "other");
    let fast = w.store.enqueue(w.node, letter, &[0], w.now).await.unwrap();
    assert!(fast.leases[0] > Some(by_hand.token));
}

async fn a_settle_with_another_token_changes_nothing(w: &mut World) {
    w.due("north", "hop").await;
    let leased = w.lease_one().await;
    let mut settlement = w.delivered(&leased);
    settlement.token = LeaseToken(leased.token.0 + 1);
    w.stale(&settlement).await;
    assert_eq!(w.counts().await, Counts { active: 1, ..Counts::default() });
}

async fn a_settle_by_another_incarnation_changes_nothing(w: &mut World) {
    w.due("north", "hop").await;
    let leased = w.lease_one().await;
    let mut settlement = w.delivered(&leased);
    settlement.who = w.another_node().await;
    w.stale(&settlement).await;
    assert_eq!(w.store.accounting().await.unwrap().delivered, 0);
    w.settle(&w.delivered(&leased)).await;
}

async fn a_settle_after_take_over_changes_nothing(w: &mut World) {
    let entry = w.due("north", "hop").await;
    let slow = w.node;
    let old = w.lease_one().await;
    w.node = w.another_node().await;
    w.dies(slow).await;
    let new = w.lease_one().await;
    assert_eq!(new.entry.id, entry);
    assert!(new.token > old.token);
    let late =
        Settlement { who: slow, lane: LaneSignal::BackOff(Timestamp(w.now.0 + 60_000)), ..w.delivered(&old) };
    let before = w.store.accounting().await.unwrap();
    w.stale(&late).await;
    assert_eq!(w.store.accounting().await.unwrap(), before);
    assert_eq!(w.state(entry).await, State::Active);
    w.due("north", "hop").await;
    assert!(!w.lease_one().await.probe, "the lane was not backed off by it either");
    w.settle(&w.delivered(&new)).await;
}

async fn what_is_deferred_comes_when_its_time_has_come(w: &mut World) {
    let entry = w.due("north", "hop").await;
    let leased = w.lease_one().await;
    let later = Timestamp(w.now.0 + 30_000);
    w.settle(&w.deferred(&leased, Remainder::Defer(later))).await;
    let summary = w.summary(entry).await;
    assert_eq!((summary.state, summary.next_attempt), (State::Deferred, Some(later)));
    w.pass(29_999).await;
    w.nothing_to_lease().await;
    w.pass(1).await;
    let again = w.lease_one().await;
    assert_eq!((again.entry.id, again.entry.attempts), (entry, 1));
}

async fn someone_without_a_heartbeat_leases_nothing(w: &mut World) {
    let entry = w.due("north", "hop").await;
    let who = Incarnation([0xee; 16]);
    let request = LeaseRequest { who, ..w.request(10) };
    assert!(matches!(w.store.lease(&request, w.now).await, Err(StoreError::Departed)));
    assert!(matches!(w.store.lease_entry(who, entry, w.now).await, Err(StoreError::Departed)));
    w.silence(posthouse_queue::HEARTBEAT_LIFE_MS + 1);
    assert!(matches!(w.store.lease(&w.request(10), w.now).await, Err(StoreError::Departed)));
    w.pass(1).await; // it was not reaped, so its heart may beat again
    assert_eq!(w.lease_one().await.entry.id, entry);
}

async fn what_is_to_be_attended_to_comes_first(w: &mut World) {
    let mut late = w.letter("north", "hop");
    late.entries[0].priority = 9;
    late.entries[0].attend_at = Timestamp(w.now.0 + 1_000);
    let first = w.due("north", "hop").await;
    let late = w.post(&late).await;
    w.pass(1_000).await;
    let leased = w.lease(10).await;
    assert_eq!(ids(&leased), [late, first]);
    assert_eq!(leased.iter().map(|leased| leased.attend).collect::<Vec<_>>(), [true, false]);
}

async fn attention_comes_even_in_a_backed_off_lane(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    letter.entries[0].attend_at = Timestamp(w.now.0 + 5_000);
    w.due("north", "hop").await;
    w.back_off(w.now.0 + 60_000).await;
    let entry = w.post(&letter).await;
    w.nothing_to_lease().await;
    w.pass(5_000).await;
    let leased = w.lease_one().await;
    assert_eq!(leased.entry.id, entry);
    assert!(leased.attend && !leased.probe);
    let expired = Settlement { outcomes: vec![Outcome::Expired], ..w.delivered(&leased) };
    w.settle(&expired).await;
    assert_eq!(w.store.accounting().await.unwrap().failed, 1);
}

async fn attention_comes_even_while_held_or_deferred(w: &mut World) {
    let mut held = w.letter("north", "hop");
    held.entries[0].mode.hold = Some(HoldReason::OnRequest);
    held.entries[0].mode.generation = 1;
    held.entries[0].attend_at = Timestamp(w.now.0 + 5_000);
    let held = w.post(&held).await;
    let deferred = w.due("south", "hop").await;
    let leased = w.lease_one().await;
    let attend_at = Timestamp(w.now.0 + 5_000);
    let until = Timestamp(w.now.0 + 60_000);
    w.settle(&Settlement { attend_at, ..w.deferred(&leased, Remainder::Defer(until)) }).await;
    w.nothing_to_lease().await;
    w.pass(5_000).await;
    let leased = w.lease(10).await;
    let mut found = ids(&leased);
    found.sort_unstable();
    assert_eq!(found, [held, deferred]);
    assert!(leased.iter().all(|leased| leased.attend));
    let of_held = leased.iter().find(|leased| leased.entry.id == held).unwrap();
    assert_eq!(of_held.entry.held_ms, 5_000, "the hold that the lease ended is counted");
}

async fn what_is_attended_to_while_held_says_so(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    letter.entries[0].mode = QueueMode { hold: Some(HoldReason::OnRequest), generation: 1 };
    letter.entries[0].attend_at = Timestamp(w.now.0 + 5_000);
    let entry = w.post(&letter).await;
    w.pass(5_000).await;
    let leased = w.lease_one().await;
    assert!(leased.attend && leased.held);
    w.settle(&w.deferred(&leased, Remainder::GiveBack)).await;
    let by_hand = w.store.lease_entry(w.node, entry, w.now).await.unwrap().unwrap();
    assert!(by_hand.held && !by_hand.attend);
    w.settle(&w.deferred(&by_hand, Remainder::GiveBack)).await;
    w.release("north", HoldReason::OnRequest).await;
    let released = w.lease_one().await;
    assert!(!released.held, "a release ends the hold");
}

async fn an_entry_given_back_after_attention_is_where_it_was(w: &mut World) {
    let entry = w.due("north", "hop").await;
    let leased = w.lease_one().await;
    let until = Timestamp(w.now.0 + 60_000);
    let attend_at = Timestamp(w.now.0 + 1_000);
    w.settle(&Settlement { attend_at, ..w.deferred(&leased, Remainder::Defer(until)) }).await;
    w.pass(1_000).await;
    let leased = w.lease_one().await;
    assert!(leased.attend);
    let attend_at = Timestamp(w.now.0 + 900_000);
    w.settle(&Settlement { attend_at, ..w.deferred(&leased, Remainder::GiveBack) }).await;
    let summary = w.summary(entry).await;
    assert_eq!((summary.state, summary.next_attempt), (State::Deferred, Some(until)));
    assert_eq!(summary.entry.unwrap().attempts, 1);
}

async fn attention_can_be_put_off_without_an_attempt(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    letter.entries[0].mode.hold = Some(HoldReason::OnRequest);
    letter.entries[0].mode.generation = 1;
    letter.entries[0].attend_at = Timestamp(w.now.0 + 1_000);
    let entry = w.post(&letter).await;
    w.pass(1_000).await;
    let leased = w.lease_one().await;
    let attend_at = Timestamp(w.now.0 + 50_000);
    let warned = Settlement { attend_at, delay_warned: true, ..w.deferred(&leased, Remainder::GiveBack) };
    w.settle(&warned).await;
    w.nothing_to_lease().await;
    let kept = w.summary(entry).await;
    assert_eq!((kept.state, kept.hold), (State::Held, Some(HoldReason::OnRequest)));
    let kept = kept.entry.unwrap();
    assert_eq!((kept.attempts, kept.delay_warned, kept.attend_at), (0, true, attend_at));
    w.pass(50_000).await;
    assert!(w.lease_one().await.attend);
}

async fn one_entry_can_be_leased_whatever_its_lane_or_hold(w: &mut World) {
    let held = w.held("north", HoldReason::OnRequest).await;
    let kept_aside = w.held("aside", HoldReason::Quarantine).await;
    w.due("south", "dead").await;
    let deferred = w.back_off(w.now.0 + 60_000).await;
    let behind = w.due("south", "dead").await;
    for entry in [held, kept_aside, deferred, behind] {
        let leased = w.store.lease_entry(w.node, entry, w.now).await.unwrap().expect("leased by hand");
        assert_eq!(leased.entry.id, entry);
        w.settle(&Settlement { outcomes: vec![Outcome::Deleted], ..w.delivered(&leased) }).await;
    }
    assert_eq!(w.store.accounting().await.unwrap().deleted, 4);
}

async fn one_entry_that_is_not_there_or_busy_is_not_leased(w: &mut World) {
    let unknown = w.new_id().entry(0);
    let entry = w.due("north", "hop").await;
    w.lease_one().await;
    for id in [unknown, entry, entry.message.entry(1)] {
        assert!(w.store.lease_entry(w.node, id, w.now).await.unwrap().is_none(), "{id}");
    }
}

async fn many_entries_are_leased_each_once(w: &mut World) {
    let mut all = std::collections::BTreeSet::new();
    for _ in 0..30 {
        let mut letter = w.letter("north", "hop");
        letter.entries =
            (0..20).map(|place| new_entry("north", &format!("hop{place}"), &["resident"], w.now)).collect();
        letter.named = 20;
        let id = w.post(&letter).await.message;
        all.extend((0..20).map(|index| id.entry(index)));
    }
    let mut found = std::collections::BTreeSet::new();
    loop {
        let leased = w.lease(37).await;
        if leased.is_empty() {
            break;
        }
        for leased in leased {
            assert!(found.insert(leased.entry.id), "{} came twice", leased.entry.id);
        }
    }
    assert_eq!(found, all);
}

async fn a_wake_up_comes_when_there_is_something_to_lease(w: &mut World) {
    let mut wakeups = w.store.wakeups();
    wakeups.mark_unchanged();
    w.due("north", "hop").await;
    let bound = std::time::Duration::from_secs(10);
    tokio::time::timeout(bound, wakeups.changed()).await.expect("a wake-up on activation").unwrap();
    w.held("held", HoldReason::OnRequest).await;
    let mut wakeups = w.store.wakeups();
    wakeups.mark_unchanged();
    w.release("held", HoldReason::OnRequest).await;
    tokio::time::timeout(bound, wakeups.changed()).await.expect("a wake-up on release").unwrap();
}
