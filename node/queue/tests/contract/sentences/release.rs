//! Releases: one record that frees what was held before it, for one reason.

use std::time::Instant;

use posthouse_queue::{Counts, HoldReason, Release, ReleaseScope, State};

use super::{Sentence, sentence};
use crate::contract::world::{World, ids, queue_name};

pub(super) fn sentences() -> Vec<Sentence> {
    vec![
        sentence(a_release_frees_what_is_held_and_says_how_many),
        sentence(what_is_released_counts_as_due_at_once),
        sentence(a_release_frees_its_reason_only),
        sentence(a_release_frees_its_queue_only),
        sentence(a_release_of_all_frees_every_queue_for_its_reason),
        sentence(mail_held_after_a_release_waits_for_the_next),
        sentence(the_same_release_again_does_nothing),
        sentence(the_same_release_again_after_another_does_nothing),
        sentence(a_release_of_an_empty_queue_frees_nothing_later),
        sentence(a_release_of_all_and_one_of_a_queue_do_not_count_twice),
        sentence(released_mail_is_leased_in_priority_order),
        sentence(a_large_queue_is_released_and_leased_whole),
        sentence(a_release_takes_no_longer_for_more_mail),
    ]
}

async fn a_release_frees_what_is_held_and_says_how_many(w: &mut World) {
    let first = w.held("north", HoldReason::OnRequest).await;
    let second = w.held("north", HoldReason::OnRequest).await;
    w.nothing_to_lease().await;
    assert_eq!(w.release("north", HoldReason::OnRequest).await, 2);
    let mut found = ids(&w.lease(10).await);
    found.sort_unstable();
    assert_eq!(found, [first, second]);
}

async fn what_is_released_counts_as_due_at_once(w: &mut World) {
    let entry = w.held("north", HoldReason::OnRequest).await;
    w.release("north", HoldReason::OnRequest).await;
    assert_eq!(w.counts().await, Counts { due: 1, ..Counts::default() });
    let queue = queue_name("north");
    assert_eq!(w.store.counts(Some(&queue)).await.unwrap(), Counts { due: 1, ..Counts::default() });
    assert_eq!(w.store.held(&queue, HoldReason::OnRequest).await.unwrap(), 0);
    let summary = w.summary(entry).await;
    assert_eq!((summary.state, summary.hold), (State::Due, None));
}

async fn a_release_frees_its_reason_only(w: &mut World) {
    let mut entries = Vec::new();
    for reason in HoldReason::ALL {
        entries.push((reason, w.held("north", reason).await));
    }
    assert_eq!(w.release("north", HoldReason::OnRequest).await, 1);
    for (reason, entry) in entries {
        let expected = if reason == HoldReason::OnRequest { State::Due } else { State::Held };
        assert_eq!(w.state(entry).await, expected, "{reason:?}");
    }
    assert_eq!(w.lease(10).await.len(), 1);
}

async fn a_release_frees_its_queue_only(w: &mut World) {
    let north = w.held("north", HoldReason::OnRequest).await;
    let south = w.held("south", HoldReason::OnRequest).await;
    assert_eq!(w.release("north", HoldReason::OnRequest).await, 1);
    assert_eq!(w.lease_one().await.entry.id, north);
    assert_eq!(w.state(south).await, State::Held);
}

async fn a_release_of_all_frees_every_queue_for_its_reason(w: &mut World) {
    let north = w.held("north", HoldReason::Connectivity).await;
    let south = w.held("south", HoldReason::Connectivity).await;
    let other = w.held("south", HoldReason::Administrator).await;
    let release = Release { scope: ReleaseScope::All, ..w.release_of("any", HoldReason::Connectivity) };
    assert_eq!(w.store.release(&release).await.unwrap(), 2);
    let mut found = ids(&w.lease(10).await);
    found.sort_unstable();
    assert_eq!(found, [north, south]);
    assert_eq!(w.state(other).await, State::Held);
    let later = w.held("north", HoldReason::Connectivity).await;
    assert_eq!(w.state(later).await, State::Held);
}

async fn mail_held_after_a_release_waits_for_the_next(w: &mut World) {
    let before = w.held("north", HoldReason::OnRequest).await;
    w.release("north", HoldReason::OnRequest).await;
    let after = w.held("north", HoldReason::OnRequest).await;
    assert_eq!(w.lease_one().await.entry.id, before);
    assert_eq!(w.state(after).await, State::Held);
    assert_eq!(w.release("north", HoldReason::OnRequest).await, 1);
    assert_eq!(w.lease_one().await.entry.id, after);
}

async fn the_same_release_again_does_nothing(w: &mut World) {
    w.held("north", HoldReason::OnRequest).await;
    let release = w.release_of("north", HoldReason::OnRequest);
    assert_eq!(w.store.release(&release).await.unwrap(), 1);
    let after = w.held("north", HoldReason::OnRequest).await;
    w.store.release(&release).await.unwrap();
    assert_eq!(w.state(after).await, State::Held);
    assert_eq!(w.counts().await, Counts { due: 1, held: 1, ..Counts::default() });
}

async fn the_same_release_again_after_another_does_nothing(w: &mut World) {
    w.held("north", HoldReason::OnRequest).await;
    let first = w.release_of("north", HoldReason::OnRequest);
    w.store.release(&first).await.unwrap();
    w.held("north", HoldReason::OnRequest).await;
    w.release("north", HoldReason::OnRequest).await;
    let after = w.held("north", HoldReason::OnRequest).await;
    w.store.release(&first).await.unwrap();
    assert_eq!(w.state(after).await, State::Held, "a resumed release happens once");
}

async fn a_release_of_an_empty_queue_frees_nothing_later(w: &mut World) {
    assert_eq!(w.release("north", HoldReason::OnRequest).await, 0);
    let later = w.held("north", HoldReason::OnRequest).await;
    assert_eq!(w.state(later).await, State::Held);
    w.nothing_to_lease().await;
}

async fn a_release_of_all_and_one_of_a_queue_do_not_count_twice(w: &mut World) {
    w.held("north", HoldReason::OnRequest).await;
    w.held("south", HoldReason::OnRequest).await;
    assert_eq!(w.release("north", HoldReason::OnRequest).await, 1);
    let all = Release { scope: ReleaseScope::All, ..w.release_of("any", HoldReason::OnRequest) };
    assert_eq!(w.store.release(&all).await.unwrap(), 1, "what was released is not freed again");
    assert_eq!(w.release("south", HoldReason::OnRequest).await, 0);
    assert_eq!(w.counts().await, Counts { due: 2, ..Counts::default() });
    let held = w.held("north", HoldReason::OnRequest).await;
    assert_eq!(w.counts().await, Counts { due: 2, held: 1, ..Counts::default() });
    assert_eq!(w.release("north", HoldReason::OnRequest).await, 1);
    assert_eq!(w.state(held).await, State::Due);
}

async fn released_mail_is_leased_in_priority_order(w: &mut World) {
    w.mode("north", Some(HoldReason::OnRequest)).await;
    let mut expected = Vec::new();
    for priority in [4, 0, 9] {
        let mut letter = w.letter("north", "hop");
        letter.entries[0].priority = priority;
        expected.push((priority, w.post(&letter).await));
    }
    expected.sort_unstable();
    w.release("north", HoldReason::OnRequest).await;
    let expected: Vec<_> = expected.into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids(&w.lease(10).await), expected);
}

/// Holds this many entries of a queue, each in a lane of its own thousand.
async fn hold_many(w: &mut World, queue: &str, entries: u32) {
    w.mode(queue, Some(HoldReason::OnRequest)).await;
    let mut left = entries;
    while left > 0 {
        let count = left.min(1_000);
        let mut letter = w.letter(queue, "hop");
        let entry = letter.entries[0].clone();
        letter.entries = (0..count)
            .map(|place| posthouse_queue::NewEntry { source: format!("{place}"), ..entry.clone() })
            .collect();
        letter.named = count;
        w.post(&letter).await;
        left -= count;
    }
}

async fn a_large_queue_is_released_and_leased_whole(w: &mut World) {
    hold_many(w, "north", 3_000).await;
    assert_eq!(w.release("north", HoldReason::OnRequest).await, 3_000);
    assert_eq!(w.counts().await, Counts { due: 3_000, ..Counts::default() });
    // A bounded part is moved at a time, so an answer may be short, but not empty while there is something.
    let mut found = 0;
    loop {
        let leased = w.lease(1_000).await.len();
        found += leased;
        if leased == 0 {
            break;
        }
    }
    assert_eq!(found, 3_000);
}

async fn a_release_takes_no_longer_for_more_mail(w: &mut World) {
    hold_many(w, "small", 1).await;
    hold_many(w, "large", 10_000).await;
    let release = w.release_of("large", HoldReason::OnRequest);
    let begun = Instant::now();
    assert_eq!(w.store.release(&release).await.unwrap(), 10_000);
    // Moving 10,000 entries would take 18 ms inside Redis and more here; one record is far below this generous bound on any machine.
    let took = begun.elapsed();
    assert!(took.as_millis() < 500, "a release of 10,000 entries took {took:?}");
    assert_eq!(w.counts().await, Counts { due: 10_000, held: 1, ..Counts::default() });
}
