//! Modes: what holds a queue's mail, told by generations of the snapshot, each with the release of what it holds no longer.

use posthouse_model::EntryId;
use posthouse_queue::{Counts, HoldReason, QueueMode, Remainder, Settlement, State, StoreError};

use super::{Sentence, sentence};
use crate::contract::world::{World, queue_name};

const HELD: Option<HoldReason> = Some(HoldReason::OnRequest);

pub(super) fn sentences() -> Vec<Sentence> {
    vec![
        sentence(an_older_generation_neither_sets_nor_releases),
        sentence(the_same_generation_again_neither_sets_nor_releases),
        sentence(setting_online_frees_what_was_held_once_and_what_a_later_mode_holds_stays),
        sentence(a_telling_that_was_cut_off_is_completed_by_repeating_it),
        sentence(a_mode_frees_what_is_held_for_the_reasons_of_other_modes_only),
        sentence(a_telling_frees_its_queues_only),
        sentence(what_a_mode_frees_was_held_until_then),
        sentence(what_is_given_back_to_a_hold_that_its_queue_no_longer_has_is_free),
        sentence(what_a_session_claimed_is_free_when_its_claim_ends),
        sentence(a_queue_that_is_not_named_keeps_its_mode_as_of_the_generation_that_was_told),
        sentence(a_letter_of_an_older_snapshot_follows_what_was_told_any_other_its_own),
        sentence(a_letter_to_a_queue_that_was_never_told_follows_its_own_mode),
        sentence(a_failed_attempt_waits_as_was_told_last),
        sentence(what_was_told_survives_a_restart),
        sentence(a_queue_that_is_named_twice_has_its_first_mode),
        sentence(too_many_queues_in_one_telling_are_refused),
    ]
}

/// Due or held, and nothing else.
async fn due_and_held(w: &World, due: u64, held: u64) {
    assert_eq!(w.counts().await, Counts { due, held, ..Counts::default() });
}

/// A letter whose snapshot has this mode.
async fn letter_of(w: &mut World, queue: &str, hold: Option<HoldReason>, generation: u64) -> EntryId {
    let mut letter = w.letter(queue, "hop");
    letter.entries[0].mode = QueueMode { hold, generation };
    w.post(&letter).await
}

async fn an_older_generation_neither_sets_nor_releases(w: &mut World) {
    assert_eq!(w.tell(9, &[("north", HELD)]).await, 0);
    let entry = w.due("north", "hop").await;
    assert_eq!(w.tell(8, &[("north", None), ("south", HELD)]).await, 9, "it is told that it is too late");
    assert_eq!(w.state(entry).await, State::Held);
    let later = w.due("north", "hop").await;
    assert_eq!(w.state(later).await, State::Held);
    let other = w.due("south", "hop").await;
    assert_eq!(w.state(other).await, State::Due, "nor does it hold a queue of which nothing was told");
    assert_eq!(w.tell(10, &[]).await, 9, "and it does not become the newest");
}

async fn the_same_generation_again_neither_sets_nor_releases(w: &mut World) {
    w.tell(9, &[("north", HELD)]).await;
    w.due("north", "hop").await;
    assert_eq!(w.tell(9, &[("north", None)]).await, 9);
    w.due("north", "hop").await;
    due_and_held(w, 0, 2).await;
}

async fn setting_online_frees_what_was_held_once_and_what_a_later_mode_holds_stays(w: &mut World) {
    w.tell(1, &[("north", HELD)]).await;
    let first = w.due("north", "hop").await;
    w.tell(2, &[("north", None)]).await;
    due_and_held(w, 1, 0).await;
    let queue = queue_name("north");
    assert_eq!(w.store.counts(Some(&queue)).await.unwrap(), Counts { due: 1, ..Counts::default() });
    assert_eq!(w.store.held(&queue, HoldReason::OnRequest).await.unwrap(), 0);
    w.tell(3, &[("north", HELD)]).await;
    let second = w.due("north", "hop").await;
    w.tell(2, &[("north", None)]).await;
    w.tell(3, &[("north", None)]).await;
    due_and_held(w, 1, 1).await;
    w.nothing_but(&[first]).await;
    assert_eq!(w.state(second).await, State::Held);
}

async fn a_telling_that_was_cut_off_is_completed_by_repeating_it(w: &mut World) {
    w.tell(1, &[("north", HELD), ("south", HELD)]).await;
    let north = w.due("north", "hop").await;
    let south = w.due("south", "hop").await;
    w.tell(2, &[("north", None)]).await; // and no further
    assert_eq!((w.state(north).await, w.state(south).await), (State::Due, State::Held));
    // Somebody with a newer snapshot enqueues before that one is told.
    let newer = letter_of(w, "north", HELD, 3).await;
    assert_eq!(w.tell(2, &[("north", None), ("south", None)]).await, 2);
    assert_eq!((w.state(north).await, w.state(south).await), (State::Due, State::Due));
    assert_eq!(w.state(newer).await, State::Held, "what was done is not done again");
}

async fn a_mode_frees_what_is_held_for_the_reasons_of_other_modes_only(w: &mut World) {
    let modes = [None, HELD, Some(HoldReason::Scheduled), Some(HoldReason::Connectivity)];
    for (place, new) in modes.into_iter().enumerate() {
        let queue = format!("queue{place}");
        let mut entries = Vec::new();
        for reason in HoldReason::ALL {
            entries.push((reason, letter_of(w, &queue, Some(reason), u64::MAX >> 12).await));
        }
        w.mode(&queue, new).await;
        for (reason, entry) in entries {
            let free = HoldReason::OF_MODES.contains(&reason) && new != Some(reason);
            let expected = if free { State::Due } else { State::Held };
            assert_eq!(w.state(entry).await, expected, "held for {reason:?}, then {new:?}");
        }
    }
}

async fn a_telling_frees_its_queues_only(w: &mut World) {
    w.tell(1, &[("north", HELD), ("south", HELD)]).await;
    let north = w.due("north", "hop").await;
    w.due("south", "hop").await;
    w.tell(2, &[("north", None)]).await;
    due_and_held(w, 1, 1).await;
    w.nothing_but(&[north]).await;
}

async fn what_a_mode_frees_was_held_until_then(w: &mut World) {
    w.tell(1, &[("north", HELD)]).await;
    w.due("north", "hop").await;
    w.pass(40_000).await;
    w.tell(2, &[("north", None)]).await;
    w.pass(25_000).await;
    w.tell(3, &[("north", None)]).await;
    assert_eq!(w.lease_one().await.entry.held_ms, 40_000);
}

async fn what_is_given_back_to_a_hold_that_its_queue_no_longer_has_is_free(w: &mut World) {
    w.tell(1, &[("north", HELD)]).await;
    let entry = w.due("north", "hop").await;
    let leased = w.store.lease_entry(w.node, entry, w.now).await.unwrap().expect("it is there");
    w.tell(2, &[("north", None)]).await;
    w.settle(&w.deferred(&leased, Remainder::GiveBack)).await;
    due_and_held(w, 1, 0).await;
    w.nothing_but(&[entry]).await;
}

async fn what_a_session_claimed_is_free_when_its_claim_ends(w: &mut World) {
    w.tell(1, &[("north", HELD)]).await;
    let entry = w.due("north", "hop").await;
    let (id, queue) = (posthouse_queue::ClaimId([7; 16]), queue_name("north"));
    let claim = w.store.claim(w.node, id, &queue, 10, w.now).await.unwrap().expect("nobody else has it");
    assert_eq!(claim.entries, [entry]);
    w.tell(2, &[("north", None)]).await;
    w.nothing_to_lease().await;
    w.store.unclaim(id, &queue).await.unwrap();
    w.nothing_but(&[entry]).await;
}

async fn a_queue_that_is_not_named_keeps_its_mode_as_of_the_generation_that_was_told(w: &mut World) {
    w.tell(5, &[("north", None), ("south", HELD)]).await;
    // Generation 10 leaves both as they are; whoever tells only what changed names neither.
    assert_eq!(w.tell(10, &[]).await, 5);
    let held = w.due("south", "hop").await;
    assert_eq!(w.tell(7, &[("north", HELD), ("south", None)]).await, 10);
    assert_eq!(w.state(held).await, State::Held, "not released by what is older than the mode is");
    let due = letter_of(w, "north", HELD, 7).await;
    assert_eq!(w.state(due).await, State::Due, "what 7 held, nobody would free");
}

async fn a_letter_of_an_older_snapshot_follows_what_was_told_any_other_its_own(w: &mut World) {
    w.tell(5, &[("held", HELD), ("online", None)]).await;
    for (queue, own, generation, expected) in [
        ("held", None, 4, State::Held),
        ("held", None, 6, State::Due),
        ("online", HELD, 4, State::Due),
        ("online", HELD, 6, State::Held),
    ] {
        let entry = letter_of(w, queue, own, generation).await;
        let summary = w.summary(entry).await;
        assert_eq!(summary.state, expected, "{queue}, {generation}");
        assert_eq!(summary.hold.is_some(), expected == State::Held, "{queue}, {generation}");
    }
}

async fn a_letter_to_a_queue_that_was_never_told_follows_its_own_mode(w: &mut World) {
    w.tell(5, &[("north", None)]).await;
    let entry = letter_of(w, "relayed", Some(HoldReason::Connectivity), 4).await;
    assert_eq!(w.summary(entry).await.hold, Some(HoldReason::Connectivity));
}

async fn a_failed_attempt_waits_as_was_told_last(w: &mut World) {
    w.tell(5, &[("north", None)]).await;
    w.tell(10, &[]).await;
    w.tell(7, &[("north", HELD)]).await;
    let entry = w.due("north", "hop").await;
    let leased = w.lease_one().await;
    let later = posthouse_model::Timestamp(w.now.0 + 1_000);
    let failed: Settlement = w.deferred(&leased, Remainder::HoldAgain(later));
    w.settle(&failed).await;
    assert_eq!(w.state(entry).await, State::Deferred);
}

async fn what_was_told_survives_a_restart(w: &mut World) {
    w.tell(5, &[("north", HELD), ("south", HELD)]).await;
    let free = w.due("north", "hop").await;
    let held = w.due("south", "hop").await;
    w.tell(6, &[("north", None)]).await;
    w.tell(9, &[]).await;
    w.restart().await;
    assert_eq!((w.state(free).await, w.state(held).await), (State::Due, State::Held));
    assert_eq!(w.tell(8, &[("south", None)]).await, 9);
    assert_eq!(w.state(held).await, State::Held);
}

async fn a_queue_that_is_named_twice_has_its_first_mode(w: &mut World) {
    w.tell(1, &[("north", HELD)]).await;
    w.due("north", "hop").await;
    w.tell(2, &[("north", HELD), ("north", None)]).await;
    w.due("north", "hop").await;
    due_and_held(w, 0, 2).await;
}

async fn too_many_queues_in_one_telling_are_refused(w: &mut World) {
    let modes: Vec<_> = (0..1_001).map(|place| (queue_name(&format!("queue{place}")), HELD)).collect();
    let refused = w.store.set_queue_modes(5, &modes, w.now).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert_eq!(w.tell(1, &[]).await, 0, "it did not happen");
    w.store.set_queue_modes(5, &modes[..1_000], w.now).await.unwrap();
    let entry = w.due("queue999", "hop").await;
    assert_eq!(w.state(entry).await, State::Held);
}
