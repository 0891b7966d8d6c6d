//! Lanes: taken in turn, backed off, and opened again by one probe.

use posthouse_model::{EntryId, Timestamp};
use posthouse_queue::{LaneSignal, Remainder, Settlement};

use super::{Sentence, sentence};
use crate::contract::world::{World, ids};

pub(super) fn sentences() -> Vec<Sentence> {
    vec![
        sentence(lanes_are_served_in_turn),
        sentence(a_long_lane_does_not_delay_a_short_one),
        sentence(the_lane_served_longest_ago_comes_first),
        sentence(the_source_makes_a_lane_of_its_own),
        sentence(a_backed_off_lane_gives_nothing_until_its_time),
        sentence(a_backed_off_lane_gives_one_probe_and_no_more),
        sentence(a_probe_that_is_given_back_can_be_taken_again),
        sentence(a_probe_that_dies_with_its_node_can_be_taken_again),
        sentence(a_probe_that_works_opens_the_lane),
        sentence(a_probe_that_fails_backs_the_lane_off_again),
        sentence(a_probe_settled_without_a_word_leaves_room_for_another),
        sentence(an_earlier_end_of_back_off_does_not_replace_a_later_one),
        sentence(one_lanes_back_off_leaves_the_others_alone),
        sentence(any_attempt_that_works_opens_the_lane),
    ]
}

async fn lanes_are_served_in_turn(w: &mut World) {
    for _ in 0..4 {
        for hop in ["a", "b", "c"] {
            w.due("north", hop).await;
        }
    }
    for round in 0..4 {
        let mut lanes = std::collections::BTreeSet::new();
        for _ in 0..3 {
            lanes.insert(w.lease(1).await[0].entry.lane());
        }
        assert_eq!(lanes.len(), 3, "round {round} served {lanes:?}");
    }
}

async fn a_long_lane_does_not_delay_a_short_one(w: &mut World) {
    for _ in 0..50 {
        w.due("north", "long").await;
    }
    let short = w.due("north", "short").await;
    let mut found = ids(&w.lease(1).await);
    found.extend(ids(&w.lease(1).await));
    assert!(found.contains(&short), "two leases, two lanes: {found:?}");
}

async fn the_lane_served_longest_ago_comes_first(w: &mut World) {
    w.due("north", "a").await;
    w.lease_one().await;
    for _ in 0..3 {
        w.due("north", "b").await;
    }
    w.lease(1).await;
    let longest_ago = w.due("north", "a").await;
    assert_eq!(ids(&w.lease(1).await), [longest_ago]);
}

async fn the_source_makes_a_lane_of_its_own(w: &mut World) {
    w.due("north", "hop").await;
    w.back_off(w.now.0 + 60_000).await;
    let mut letter = w.letter("north", "hop");
    letter.entries[0].source = "other".into();
    let other = w.post(&letter).await;
    let leased = w.lease_one().await;
    assert_eq!(leased.entry.id, other);
    assert!(!leased.probe);
}

/// A lane that is backed off for a minute, with two entries due behind the deferred one.
async fn backed_off(w: &mut World) -> [EntryId; 3] {
    w.due("north", "hop").await;
    let first = w.back_off(w.now.0 + 60_000).await;
    [first, w.due("north", "hop").await, w.due("north", "hop").await]
}

async fn a_backed_off_lane_gives_nothing_until_its_time(w: &mut World) {
    let entries = backed_off(w).await;
    w.nothing_to_lease().await;
    let summary = w.summary(entries[1]).await;
    assert_eq!(summary.next_attempt, Some(Timestamp(w.now.0 + 60_000)), "the lane's back-off is shown");
    w.pass(59_999).await;
    w.nothing_to_lease().await;
    w.pass(1).await;
    assert!(w.lease_one().await.probe);
}

async fn a_backed_off_lane_gives_one_probe_and_no_more(w: &mut World) {
    backed_off(w).await;
    w.pass(60_000).await;
    let probe = w.lease_one().await;
    assert!(probe.probe && !probe.attend);
    w.nothing_to_lease().await;
    w.pass(500_000).await;
    w.nothing_to_lease().await;
}

async fn a_probe_that_is_given_back_can_be_taken_again(w: &mut World) {
    backed_off(w).await;
    w.pass(60_000).await;
    let probe = w.lease_one().await;
    w.settle(&w.deferred(&probe, Remainder::GiveBack)).await;
    assert!(w.lease_one().await.probe);
    w.nothing_to_lease().await;
}

async fn a_probe_that_dies_with_its_node_can_be_taken_again(w: &mut World) {
    backed_off(w).await;
    w.pass(60_000).await;
    assert!(w.lease_one().await.probe);
    let dead = w.node;
    w.node = w.another_node().await;
    w.dies(dead).await;
    assert!(w.lease_one().await.probe);
    w.nothing_to_lease().await;
}

async fn a_probe_that_works_opens_the_lane(w: &mut World) {
    backed_off(w).await;
    w.pass(60_000).await;
    let probe = w.lease_one().await;
    w.settle(&Settlement { lane: LaneSignal::Works, ..w.delivered(&probe) }).await;
    let leased = w.lease(10).await;
    assert_eq!(leased.len(), 2);
    assert!(leased.iter().all(|leased| !leased.probe));
}

async fn a_probe_that_fails_backs_the_lane_off_again(w: &mut World) {
    backed_off(w).await;
    w.pass(60_000).await;
    let probe = w.lease_one().await;
    let until = Timestamp(w.now.0 + 120_000);
    let lane = LaneSignal::BackOff(until);
    w.settle(&Settlement { lane, ..w.deferred(&probe, Remainder::Defer(until)) }).await;
    w.nothing_to_lease().await;
    w.pass(119_999).await;
    w.nothing_to_lease().await;
    w.pass(1).await;
    assert!(w.lease_one().await.probe);
    w.nothing_to_lease().await;
}

async fn a_probe_settled_without_a_word_leaves_room_for_another(w: &mut World) {
    backed_off(w).await;
    w.pass(60_000).await;
    let probe = w.lease_one().await;
    w.settle(&w.delivered(&probe)).await;
    assert!(w.lease_one().await.probe, "nobody said that the next hop works");
    w.nothing_to_lease().await;
}

async fn an_earlier_end_of_back_off_does_not_replace_a_later_one(w: &mut World) {
    for _ in 0..3 {
        w.due("north", "hop").await;
    }
    let leased = w.lease(3).await;
    for (leased, span) in leased.iter().zip([60_000, 90_000, 30_000]) {
        let until = Timestamp(w.now.0 + span);
        let lane = LaneSignal::BackOff(until);
        w.settle(&Settlement { lane, ..w.deferred(leased, Remainder::GiveBack) }).await;
    }
    w.pass(89_999).await;
    w.nothing_to_lease().await;
    w.pass(1).await;
    assert!(w.lease_one().await.probe);
}

async fn one_lanes_back_off_leaves_the_others_alone(w: &mut World) {
    backed_off(w).await;
    let other = w.due("north", "other").await;
    let elsewhere = w.due("south", "hop").await;
    let mut found = ids(&w.lease(10).await);
    found.sort_unstable();
    assert_eq!(found, [other, elsewhere], "another next hop, and the same one from another queue");
}

async fn any_attempt_that_works_opens_the_lane(w: &mut World) {
    w.due("north", "hop").await;
    w.due("north", "hop").await;
    let leased = w.lease(2).await;
    let until = Timestamp(w.now.0 + 60_000);
    let lane = LaneSignal::BackOff(until);
    w.settle(&Settlement { lane, ..w.deferred(&leased[0], Remainder::Defer(until)) }).await;
    let behind = w.due("north", "hop").await;
    w.nothing_to_lease().await;
    w.settle(&Settlement { lane: LaneSignal::Works, ..w.delivered(&leased[1]) }).await;
    let leased = w.lease_one().await;
    assert_eq!(leased.entry.id, behind);
    assert!(!leased.probe);
}
