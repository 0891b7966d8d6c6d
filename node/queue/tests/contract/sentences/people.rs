//! What people do and see: one entry, a whole queue, counts and lists.

use posthouse_model::Timestamp;
use posthouse_queue::{Act, Acted, Counts, HoldReason, LaneSignal, ListFilter, Remainder, Settlement, State};

use super::{Sentence, sentence};
use crate::contract::world::{World, list_all, new_entry, queue_name};

pub(super) fn sentences() -> Vec<Sentence> {
    vec![
        sentence(a_person_holds_one_entry),
        sentence(a_person_releases_one_entry_whatever_its_reason_but_quarantine),
        sentence(a_person_retries_one_entry_and_opens_its_lane),
        sentence(an_act_on_what_is_not_there_says_so),
        sentence(an_act_on_what_is_under_way_says_busy),
        sentence(an_act_that_was_done_already_is_done),
        sentence(what_a_person_holds_no_etrn_frees),
        sentence(a_retry_makes_every_deferred_entry_of_a_queue_due),
        sentence(a_retry_of_all_queues_opens_their_lanes),
        sentence(a_retry_opens_the_backed_off_lanes_of_what_is_due),
        sentence(a_person_retries_what_is_due_and_opens_its_lane),
        sentence(a_retry_does_not_touch_what_is_held),
        sentence(counts_are_by_state_and_queue),
        sentence(a_list_shows_every_entry_once_when_nothing_changes),
        sentence(a_list_shows_only_what_its_filter_says),
        sentence(an_entry_is_shown_with_all_that_a_person_asks),
        sentence(what_is_not_there_is_not_shown),
    ]
}

async fn act(w: &World, id: posthouse_model::EntryId, act: Act) -> Acted {
    w.store.act(id, act, w.now).await.unwrap()
}

async fn a_person_holds_one_entry(w: &mut World) {
    let due = w.due("north", "hop").await;
    let other = w.due("north", "hop").await;
    assert_eq!(act(w, due, Act::Hold).await, Acted::Done);
    assert_eq!(w.summary(due).await.hold, Some(HoldReason::Administrator));
    assert_eq!(w.lease_one().await.entry.id, other);
    assert_eq!(w.release("north", HoldReason::Administrator).await, 1);
    assert_eq!(w.lease_one().await.entry.id, due);
}

async fn a_person_releases_one_entry_whatever_its_reason_but_quarantine(w: &mut World) {
    for reason in HoldReason::ALL {
        let entry = w.held("north", reason).await;
        w.pass(2_000).await;
        let (expected, state) = if reason == HoldReason::Quarantine {
            (Acted::NotApplicable, State::Held)
        } else {
            (Acted::Done, State::Due)
        };
        assert_eq!(act(w, entry, Act::Release).await, expected, "{reason:?}");
        assert_eq!(w.state(entry).await, state, "{reason:?}");
        if state == State::Due {
            w.pass(1_000).await;
            assert_eq!(w.lease_one().await.entry.held_ms, 2_000, "its hold ended with the act");
        }
    }
    let due = w.due("north", "hop").await;
    assert_eq!(act(w, due, Act::Release).await, Acted::NotApplicable, "it is not held");
}

async fn a_person_retries_one_entry_and_opens_its_lane(w: &mut World) {
    w.due("north", "hop").await;
    let entry = w.back_off(w.now.0 + 60_000).await;
    let behind = w.due("north", "hop").await;
    w.nothing_to_lease().await;
    assert_eq!(act(w, entry, Act::Retry).await, Acted::Done);
    let leased = w.lease(10).await;
    let mut found: Vec<_> = leased.iter().map(|leased| leased.entry.id).collect();
    found.sort_unstable();
    assert_eq!(found, [entry, behind]);
    assert!(leased.iter().all(|leased| !leased.probe && !leased.attend));
}

async fn an_act_on_what_is_not_there_says_so(w: &mut World) {
    let id = w.new_id().entry(0);
    for what in [Act::Hold, Act::Release, Act::Retry] {
        assert_eq!(act(w, id, what).await, Acted::NotThere);
    }
}

async fn an_act_on_what_is_under_way_says_busy(w: &mut World) {
    let active = w.due("north", "hop").await;
    w.lease_one().await;
    let letter = w.letter("north", "hop");
    let incoming = w.enqueue(&letter).await.entry(0);
    for what in [Act::Hold, Act::Release, Act::Retry] {
        assert_eq!(act(w, active, what).await, Acted::Busy);
        assert_eq!(act(w, incoming, what).await, Acted::Busy);
    }
    assert_eq!(w.counts().await, Counts { active: 1, incoming: 1, ..Counts::default() });
}

async fn an_act_that_was_done_already_is_done(w: &mut World) {
    let entry = w.due("north", "hop").await;
    assert_eq!(act(w, entry, Act::Retry).await, Acted::Done, "it is due");
    assert_eq!(act(w, entry, Act::Hold).await, Acted::Done);
    assert_eq!(act(w, entry, Act::Hold).await, Acted::Done);
    assert_eq!(w.store.held(&queue_name("north"), HoldReason::Administrator).await.unwrap(), 1);
}

async fn what_a_person_holds_no_etrn_frees(w: &mut World) {
    let entry = w.held("north", HoldReason::OnRequest).await;
    assert_eq!(act(w, entry, Act::Hold).await, Acted::Done);
    assert_eq!(w.release("north", HoldReason::OnRequest).await, 0);
    w.nothing_to_lease().await;
    assert_eq!(w.summary(entry).await.hold, Some(HoldReason::Administrator));
}

/// An entry that is deferred in a lane that is backed off, both for a minute.
async fn deferred(w: &mut World, queue: &str, hop: &str) -> posthouse_model::EntryId {
    w.due(queue, hop).await;
    w.back_off(w.now.0 + 60_000).await
}

async fn a_retry_makes_every_deferred_entry_of_a_queue_due(w: &mut World) {
    let first = deferred(w, "north", "a").await;
    let second = deferred(w, "north", "b").await;
    let other = deferred(w, "south", "a").await;
    assert_eq!(w.store.retry(Some(&queue_name("north")), w.now).await.unwrap(), 2);
    let leased = w.lease(10).await;
    let mut found: Vec<_> = leased.iter().map(|leased| leased.entry.id).collect();
    found.sort_unstable();
    assert_eq!(found, [first, second]);
    assert!(leased.iter().all(|leased| !leased.probe));
    assert_eq!(w.state(other).await, State::Deferred);
}

async fn a_retry_of_all_queues_opens_their_lanes(w: &mut World) {
    deferred(w, "north", "a").await;
    deferred(w, "south", "a").await;
    w.due("south", "a").await;
    assert_eq!(w.store.retry(None, w.now).await.unwrap(), 3, "two deferred, and one that waited behind");
    assert_eq!(w.counts().await, Counts { due: 3, ..Counts::default() });
    assert_eq!(w.lease(10).await.len(), 3);
}

/// An entry that is due in a lane that is backed off for a minute.
async fn due_behind_back_off(w: &mut World, queue: &str, hop: &str) -> posthouse_model::EntryId {
    let entry = w.due(queue, hop).await;
    let leased = w.lease_one().await;
    let lane = LaneSignal::BackOff(Timestamp(w.now.0 + 60_000));
    w.settle(&Settlement { lane, ..w.deferred(&leased, Remainder::GiveBack) }).await;
    entry
}

async fn a_retry_opens_the_backed_off_lanes_of_what_is_due(w: &mut World) {
    let south = due_behind_back_off(w, "south", "dead").await;
    let first = due_behind_back_off(w, "north", "dead").await;
    let second = w.due("north", "dead").await;
    let open = w.due("north", "hop").await;
    let mended = w.store.retry(Some(&queue_name("north")), w.now).await.unwrap();
    assert_eq!(mended, 2, "what was due in an open lane does not count");
    let leased = w.lease(10).await;
    let mut found: Vec<_> = leased.iter().map(|leased| leased.entry.id).collect();
    found.sort_unstable();
    assert_eq!(found, [first, second, open]);
    assert!(leased.iter().all(|leased| !leased.probe));
    assert_eq!(w.store.retry(None, w.now).await.unwrap(), 1);
    assert_eq!(w.lease_one().await.entry.id, south);
}

async fn a_person_retries_what_is_due_and_opens_its_lane(w: &mut World) {
    let entry = due_behind_back_off(w, "north", "dead").await;
    w.nothing_to_lease().await;
    assert_eq!(act(w, entry, Act::Retry).await, Acted::Done);
    let leased = w.lease_one().await;
    assert_eq!((leased.entry.id, leased.probe), (entry, false));
}

async fn a_retry_does_not_touch_what_is_held(w: &mut World) {
    w.held("north", HoldReason::OnRequest).await;
    w.held("north", HoldReason::Quarantine).await;
    assert_eq!(w.store.retry(Some(&queue_name("north")), w.now).await.unwrap(), 0);
    assert_eq!(w.counts().await, Counts { held: 2, ..Counts::default() });
}

async fn counts_are_by_state_and_queue(w: &mut World) {
    deferred(w, "north", "slow").await;
    w.due("north", "hop").await;
    w.lease_one().await;
    w.due("north", "hop").await;
    w.due("south", "hop").await;
    w.held("north", HoldReason::OnRequest).await;
    w.held("north", HoldReason::OnRequest).await;
    let letter = w.letter("south", "hop");
    w.enqueue(&letter).await;
    let north = Counts { incoming: 0, due: 1, deferred: 1, held: 2, active: 1 };
    let south = Counts { incoming: 1, due: 1, ..Counts::default() };
    assert_eq!(w.store.counts(Some(&queue_name("north"))).await.unwrap(), north);
    assert_eq!(w.store.counts(Some(&queue_name("south"))).await.unwrap(), south);
    assert_eq!(w.store.counts(Some(&queue_name("nowhere"))).await.unwrap(), Counts::default());
    let all = Counts { incoming: 1, due: 2, deferred: 1, held: 2, active: 1 };
    assert_eq!(w.counts().await, all);
}

async fn a_list_shows_every_entry_once_when_nothing_changes(w: &mut World) {
    let mut expected = Vec::new();
    for place in 0..60_u64 {
        let mut letter = w.letter("north", "hop");
        letter.entries.push(new_entry("south", &format!("hop{place}"), &["one"], w.now));
        letter.named = 2;
        let id = w.enqueue(&letter).await;
        expected.extend([id.entry(0), id.entry(1)]);
    }
    expected.sort_unstable();
    for max in [1, 7, 1_000] {
        let (mut found, mut from) = (Vec::new(), 0);
        loop {
            let page = w.store.list(&ListFilter::default(), from, max).await.unwrap();
            found.extend(page.entries.into_iter().map(|summary| summary.id));
            match page.next {
                Some(next) => from = next,
                None => break,
            }
        }
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, expected, "{max} a page");
    }
}

async fn a_list_shows_only_what_its_filter_says(w: &mut World) {
    let due = w.due("north", "hop").await;
    let held = w.held("north", HoldReason::OnRequest).await;
    let other = w.due("south", "hop").await;
    let north = Some(queue_name("north"));
    let cases = [
        (ListFilter { queue: north.clone(), state: None }, vec![due, held]),
        (ListFilter { queue: None, state: Some(State::Due) }, vec![due, other]),
        (ListFilter { queue: north.clone(), state: Some(State::Held) }, vec![held]),
        (ListFilter { queue: north, state: Some(State::Active) }, vec![]),
    ];
    for (filter, expected) in cases {
        let found: Vec<_> =
            list_all(&*w.store, &filter).await.unwrap().iter().map(|summary| summary.id).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

async fn an_entry_is_shown_with_all_that_a_person_asks(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    letter.entries[0].urgent = true;
    let received_at = w.now;
    let id = w.enqueue(&letter).await.entry(0);
    w.pass(5_000).await;
    let summary = w.summary(id).await;
    assert_eq!((summary.id, summary.state, summary.hold), (id, State::Incoming, None));
    assert_eq!((summary.received_at, summary.size), (received_at, letter.meta.size));
    assert_eq!(summary.reverse_path, letter.meta.envelope.reverse_path);
    let entry = summary.entry.expect("its record can be read");
    assert_eq!((entry.id, entry.queue.as_str(), entry.urgent), (id, "north", true));
    assert_eq!(entry.recipients, letter.entries[0].recipients);
    w.store.activate(&[id.message], w.now).await.unwrap();
    assert_eq!(w.summary(id).await.next_attempt, None, "at once");
    let leased = w.lease_one().await;
    let later = Timestamp(w.now.0 + 9_000);
    w.settle(&w.deferred(&leased, Remainder::Defer(later))).await;
    let summary = w.summary(id).await;
    assert_eq!((summary.state, summary.next_attempt), (State::Deferred, Some(later)));
    assert_eq!(w.list().await, [summary]);
}

async fn what_is_not_there_is_not_shown(w: &mut World) {
    let entry = w.due("north", "hop").await;
    let unknown = w.new_id().entry(0);
    assert!(w.store.show(unknown).await.unwrap().is_none());
    assert!(w.store.show(entry.message.entry(1)).await.unwrap().is_none());
    let leased = w.lease_one().await;
    w.settle(&w.delivered(&leased)).await;
    assert!(w.store.show(entry).await.unwrap().is_none());
}
