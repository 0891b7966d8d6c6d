//! Holds: why mail waits, and that its clock stands still meanwhile.

use posthouse_model::Timestamp;
use posthouse_queue::{Act, Acted, Counts, HoldReason, Remainder, State};

use super::{Sentence, sentence};
use crate::contract::world::{World, queue_name};

pub(super) fn sentences() -> Vec<Sentence> {
    vec![
        sentence(every_reason_holds),
        sentence(held_time_is_counted_from_hold_to_release_not_to_lease),
        sentence(held_time_ends_at_the_first_release_at_or_above),
        sentence(held_time_adds_up_over_several_holds),
        sentence(mail_that_was_never_held_has_no_held_time),
        sentence(a_new_mode_holds_no_older_mail),
        sentence(a_queue_is_held_by_hand_and_only_its_due_and_deferred_mail),
        sentence(all_queues_are_held_by_hand),
        sentence(holding_a_large_queue_holds_every_entry),
    ]
}

async fn every_reason_holds(w: &mut World) {
    for reason in HoldReason::ALL {
        let queue = format!("{reason:?}");
        let entry = w.held(&queue, reason).await;
        let summary = w.summary(entry).await;
        assert_eq!((summary.state, summary.hold), (State::Held, Some(reason)));
        assert_eq!(summary.next_attempt, None);
        for other in HoldReason::ALL {
            let held = w.store.held(&queue_name(&queue), other).await.unwrap();
            assert_eq!(held, u64::from(other == reason), "{other:?} of {queue}");
        }
    }
    w.nothing_to_lease().await;
    assert_eq!(w.counts().await, Counts { held: 5, ..Counts::default() });
    assert_eq!(w.store.accounting().await.unwrap().queued, 5);
}

async fn held_time_is_counted_from_hold_to_release_not_to_lease(w: &mut World) {
    w.held("north", HoldReason::OnRequest).await;
    w.pass(40_000).await;
    w.release("north", HoldReason::OnRequest).await;
    w.pass(25_000).await;
    assert_eq!(w.lease_one().await.entry.held_ms, 40_000);
}

async fn held_time_ends_at_the_first_release_at_or_above(w: &mut World) {
    let first = w.held("north", HoldReason::OnRequest).await;
    w.pass(10_000).await;
    w.release("north", HoldReason::OnRequest).await;
    w.pass(10_000).await;
    let second = w.held("north", HoldReason::OnRequest).await;
    w.pass(10_000).await;
    w.release("north", HoldReason::OnRequest).await;
    w.pass(10_000).await;
    w.release("north", HoldReason::OnRequest).await;
    let leased = w.lease(10).await;
    assert_eq!(leased.iter().map(|leased| leased.entry.id).collect::<Vec<_>>(), [first, second]);
    // The first was free after ten seconds, whatever was released later; the second was there for the second release only.
    assert_eq!(leased.iter().map(|leased| leased.entry.held_ms).collect::<Vec<_>>(), [10_000, 10_000]);
}

async fn held_time_adds_up_over_several_holds(w: &mut World) {
    w.mode("north", Some(HoldReason::OnRequest)).await;
    w.due("north", "hop").await;
    w.pass(7_000).await;
    w.release("north", HoldReason::OnRequest).await;
    let leased = w.lease_one().await;
    assert_eq!(leased.entry.held_ms, 7_000);
    w.pass(3_000).await;
    w.settle(&w.deferred(&leased, Remainder::HoldAgain(w.now))).await;
    w.pass(5_000).await;
    w.release("north", HoldReason::OnRequest).await;
    assert_eq!(w.lease_one().await.entry.held_ms, 12_000);
}

async fn mail_that_was_never_held_has_no_held_time(w: &mut World) {
    w.due("north", "hop").await;
    w.pass(60_000).await;
    let leased = w.lease_one().await;
    assert_eq!(leased.entry.held_ms, 0);
    let later = Timestamp(w.now.0 + 60_000);
    w.settle(&w.deferred(&leased, Remainder::Defer(later))).await;
    w.pass(90_000).await;
    assert_eq!(w.lease_one().await.entry.held_ms, 0);
}

async fn a_new_mode_holds_no_older_mail(w: &mut World) {
    let entry = w.due("north", "hop").await;
    w.mode("north", Some(HoldReason::OnRequest)).await;
    assert_eq!(w.state(entry).await, State::Due);
    let later = w.due("north", "hop").await;
    assert_eq!(w.state(later).await, State::Held);
}

async fn a_queue_is_held_by_hand_and_only_its_due_and_deferred_mail(w: &mut World) {
    w.due("north", "slow").await;
    let deferred = w.back_off(w.now.0 + 60_000).await;
    w.due("north", "quick").await;
    let active = w.lease_one().await;
    let due = w.due("north", "hop").await;
    let other = w.due("south", "hop").await;
    let on_request = w.held("north", HoldReason::OnRequest).await;
    assert_eq!(w.store.hold(Some(&queue_name("north")), w.now).await.unwrap(), 2);
    for (entry, reason) in [
        (deferred, Some(HoldReason::Administrator)),
        (due, Some(HoldReason::Administrator)),
        (on_request, Some(HoldReason::OnRequest)),
        (other, None),
        (active.entry.id, None),
    ] {
        assert_eq!(w.summary(entry).await.hold, reason, "{entry}");
    }
    assert_eq!(w.store.hold(Some(&queue_name("north")), w.now).await.unwrap(), 0);
    assert_eq!(w.release("north", HoldReason::Administrator).await, 2);
    assert_eq!(w.store.act(due, Act::Release, w.now).await.unwrap(), Acted::NotApplicable);
}

async fn all_queues_are_held_by_hand(w: &mut World) {
    w.due("north", "hop").await;
    w.due("south", "hop").await;
    w.held("east", HoldReason::OnRequest).await;
    w.release("east", HoldReason::OnRequest).await;
    assert_eq!(w.store.hold(None, w.now).await.unwrap(), 3, "what was released is held again");
    assert_eq!(w.counts().await, Counts { held: 3, ..Counts::default() });
    w.nothing_to_lease().await;
    assert_eq!(w.store.held(&queue_name("east"), HoldReason::Administrator).await.unwrap(), 1);
}

async fn holding_a_large_queue_holds_every_entry(w: &mut World) {
    for _ in 0..3 {
        let mut letter = w.letter("north", "hop");
        let entry = letter.entries[0].clone();
        letter.entries = (0..900)
            .map(|place| posthouse_queue::NewEntry { source: format!("{place}"), ..entry.clone() })
            .collect();
        letter.named = 900;
        w.post(&letter).await;
    }
    assert_eq!(w.store.hold(Some(&queue_name("north")), w.now).await.unwrap(), 2_700);
    assert_eq!(w.counts().await, Counts { held: 2_700, ..Counts::default() });
    assert_eq!(w.release("north", HoldReason::Administrator).await, 2_700);
    assert_eq!(w.counts().await, Counts { due: 2_700, ..Counts::default() });
    assert!(!w.lease(1_000).await.is_empty(), "a bounded part is moved at a time, but something");
}
