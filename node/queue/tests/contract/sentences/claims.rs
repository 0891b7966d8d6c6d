//! Claims: a session has the held mail of a queue for itself, and gives it back as it was.

use posthouse_model::Timestamp;
use posthouse_queue::{
    Act, Acted, ClaimId, HoldReason, LeaseRequest, Outcome, Remainder, Settlement, State, StoreError,
};

use super::{Sentence, sentence};
use crate::contract::world::{World, ids, queue_name};

pub(super) fn sentences() -> Vec<Sentence> {
    vec![
        sentence(a_claim_lists_what_is_held_for_request_or_schedule_in_hold_order),
        sentence(a_claim_lists_at_most_what_was_asked_for),
        sentence(a_claim_of_an_empty_queue_is_a_claim),
        sentence(another_session_does_not_get_a_claimed_queue),
        sentence(the_same_claim_again_answers_anew),
        sentence(claimed_entries_are_leased_by_the_claim_in_hold_order),
        sentence(nobody_else_leases_what_is_claimed),
        sentence(mail_held_after_a_claim_is_not_in_it),
        sentence(what_was_released_before_is_not_claimed),
        sentence(a_release_during_a_claim_takes_effect_at_its_end),
        sentence(what_a_claim_did_not_lease_is_held_as_before),
        sentence(a_fetched_entry_leaves_and_the_next_session_sees_the_rest),
        sentence(a_claim_dies_with_its_incarnation),
        sentence(what_is_given_back_by_a_claim_is_still_in_it),
        sentence(people_do_not_touch_what_is_claimed),
        sentence(an_unknown_claim_ends_without_a_word),
        sentence(someone_without_a_heartbeat_claims_nothing),
        sentence(claims_of_different_queues_do_not_meet),
    ]
}

const ATRN: ClaimId = ClaimId([1; 16]);
const POP3: ClaimId = ClaimId([2; 16]);

/// Claims what must be free to claim.
async fn claim(w: &World, id: ClaimId) -> posthouse_queue::Claim {
    let claim = w.store.claim(w.node, id, &queue_name("north"), 100, w.now).await.unwrap();
    let claim = claim.expect("no other session has it");
    assert_eq!((claim.id, claim.who, claim.queue.as_str()), (id, w.node, "north"));
    claim
}

fn by_claim(w: &World, id: ClaimId) -> LeaseRequest {
    LeaseRequest { claim: Some(id), ..w.request(10) }
}

async fn a_claim_lists_what_is_held_for_request_or_schedule_in_hold_order(w: &mut World) {
    let first = w.held("north", HoldReason::Scheduled).await;
    w.held("north", HoldReason::Administrator).await;
    w.held("north", HoldReason::Connectivity).await;
    w.held("north", HoldReason::Quarantine).await;
    w.held("south", HoldReason::OnRequest).await;
    w.due("north", "hop").await;
    let second = w.held("north", HoldReason::OnRequest).await;
    let third = w.held("north", HoldReason::Scheduled).await;
    assert_eq!(claim(w, ATRN).await.entries, [first, second, third]);
}

async fn a_claim_lists_at_most_what_was_asked_for(w: &mut World) {
    let first = w.held("north", HoldReason::OnRequest).await;
    let second = w.held("north", HoldReason::OnRequest).await;
    w.held("north", HoldReason::OnRequest).await;
    let claim = w.store.claim(w.node, ATRN, &queue_name("north"), 2, w.now).await.unwrap().unwrap();
    assert_eq!(claim.entries, [first, second]);
}

async fn a_claim_of_an_empty_queue_is_a_claim(w: &mut World) {
    assert!(claim(w, ATRN).await.entries.is_empty());
    let other = w.store.claim(w.node, POP3, &queue_name("north"), 10, w.now).await.unwrap();
    assert!(other.is_none());
}

async fn another_session_does_not_get_a_claimed_queue(w: &mut World) {
    w.held("north", HoldReason::OnRequest).await;
    claim(w, ATRN).await;
    let other = w.another_node().await;
    for who in [w.node, other] {
        let denied = w.store.claim(who, POP3, &queue_name("north"), 10, w.now).await.unwrap();
        assert!(denied.is_none(), "{denied:?}");
    }
    w.store.unclaim(ATRN, &queue_name("north")).await.unwrap();
    assert!(w.store.claim(other, POP3, &queue_name("north"), 10, w.now).await.unwrap().is_some());
}

async fn the_same_claim_again_answers_anew(w: &mut World) {
    let first = w.held("north", HoldReason::OnRequest).await;
    let second = w.held("north", HoldReason::OnRequest).await;
    assert_eq!(claim(w, ATRN).await.entries, [first, second]);
    assert_eq!(claim(w, ATRN).await.entries, [first, second]);
}

async fn claimed_entries_are_leased_by_the_claim_in_hold_order(w: &mut World) {
    let mut urgent = w.letter("north", "hop");
    let first = w.held("north", HoldReason::OnRequest).await;
    let second = w.held("north", HoldReason::OnRequest).await;
    urgent.entries[0].priority = 0;
    urgent.entries[0].mode.hold = Some(HoldReason::OnRequest);
    urgent.entries[0].mode.generation = 1;
    let third = w.post(&urgent).await;
    claim(w, ATRN).await;
    w.pass(3_000).await;
    let request = LeaseRequest { max: 2, ..by_claim(w, ATRN) };
    let leased = w.store.lease(&request, w.now).await.unwrap();
    assert_eq!(ids(&leased), [first, second]);
    assert_eq!(leased[0].entry.held_ms, 3_000);
    assert!(leased.iter().all(|leased| !leased.held), "what a claim leases is to be attempted");
    assert_eq!(ids(&w.store.lease(&request, w.now).await.unwrap()), [third]);
    assert!(w.store.lease(&request, w.now).await.unwrap().is_empty());
}

async fn nobody_else_leases_what_is_claimed(w: &mut World) {
    let entry = w.held("north", HoldReason::OnRequest).await;
    let mut letter = w.letter("north", "hop");
    letter.entries[0].mode.hold = Some(HoldReason::OnRequest);
    letter.entries[0].mode.generation = 1;
    letter.entries[0].attend_at = Timestamp(w.now.0 + 1_000);
    w.post(&letter).await;
    claim(w, ATRN).await;
    w.release("north", HoldReason::OnRequest).await;
    w.pass(2_000).await;
    w.nothing_to_lease().await;
    assert!(w.store.lease_entry(w.node, entry, w.now).await.unwrap().is_none());
}

async fn mail_held_after_a_claim_is_not_in_it(w: &mut World) {
    let before = w.held("north", HoldReason::OnRequest).await;
    claim(w, ATRN).await;
    let after = w.held("north", HoldReason::OnRequest).await;
    assert_eq!(ids(&w.store.lease(&by_claim(w, ATRN), w.now).await.unwrap()), [before]);
    w.release("north", HoldReason::OnRequest).await;
    assert_eq!(w.lease_one().await.entry.id, after, "it is in no claim, so its release counts at once");
}

async fn what_was_released_before_is_not_claimed(w: &mut World) {
    let released = w.held("north", HoldReason::OnRequest).await;
    w.release("north", HoldReason::OnRequest).await;
    let held = w.held("north", HoldReason::OnRequest).await;
    assert_eq!(claim(w, ATRN).await.entries, [held]);
    assert_eq!(w.lease_one().await.entry.id, released);
}

async fn a_release_during_a_claim_takes_effect_at_its_end(w: &mut World) {
    let first = w.held("north", HoldReason::OnRequest).await;
    let second = w.held("north", HoldReason::OnRequest).await;
    claim(w, ATRN).await;
    w.release("north", HoldReason::OnRequest).await;
    w.nothing_to_lease().await;
    let request = LeaseRequest { max: 1, ..by_claim(w, ATRN) };
    let leased = w.store.lease(&request, w.now).await.unwrap();
    assert_eq!(ids(&leased), [first], "the session goes on with what it has");
    w.settle(&w.deferred(&leased[0], Remainder::GiveBack)).await;
    w.store.unclaim(ATRN, &queue_name("north")).await.unwrap();
    let mut found = ids(&w.lease(10).await);
    found.sort_unstable();
    assert_eq!(found, [first, second]);
}

async fn what_a_claim_did_not_lease_is_held_as_before(w: &mut World) {
    let entry = w.held("north", HoldReason::OnRequest).await;
    claim(w, ATRN).await;
    w.store.unclaim(ATRN, &queue_name("north")).await.unwrap();
    assert_eq!(w.state(entry).await, State::Held);
    w.nothing_to_lease().await;
    assert_eq!(w.release("north", HoldReason::OnRequest).await, 1);
    assert_eq!(w.lease_one().await.entry.id, entry);
}

async fn a_fetched_entry_leaves_and_the_next_session_sees_the_rest(w: &mut World) {
    w.held("north", HoldReason::OnRequest).await;
    let second = w.held("north", HoldReason::OnRequest).await;
    claim(w, ATRN).await;
    let request = LeaseRequest { max: 1, ..by_claim(w, ATRN) };
    let leased = w.store.lease(&request, w.now).await.unwrap();
    w.settle(&Settlement { outcomes: vec![Outcome::Fetched], ..w.delivered(&leased[0]) }).await;
    w.store.unclaim(ATRN, &queue_name("north")).await.unwrap();
    assert_eq!(claim(w, POP3).await.entries, [second]);
    assert_eq!(w.store.accounting().await.unwrap().fetched, 1);
}

async fn a_claim_dies_with_its_incarnation(w: &mut World) {
    let first = w.held("north", HoldReason::OnRequest).await;
    let second = w.held("north", HoldReason::OnRequest).await;
    claim(w, ATRN).await;
    let request = LeaseRequest { max: 1, ..by_claim(w, ATRN) };
    assert_eq!(ids(&w.store.lease(&request, w.now).await.unwrap()), [first]);
    let dead = w.node;
    w.node = w.another_node().await;
    w.dies(dead).await;
    assert_eq!(claim(w, POP3).await.entries, [first, second], "an expired lease keeps its sequence");
    let departing = w.node;
    w.node = w.another_node().await;
    w.departs(departing).await;
    assert_eq!(claim(w, ATRN).await.entries, [first, second]);
}

async fn what_is_given_back_by_a_claim_is_still_in_it(w: &mut World) {
    let entry = w.held("north", HoldReason::OnRequest).await;
    claim(w, ATRN).await;
    let leased = w.store.lease(&by_claim(w, ATRN), w.now).await.unwrap();
    w.settle(&w.deferred(&leased[0], Remainder::GiveBack)).await;
    assert_eq!(ids(&w.store.lease(&by_claim(w, ATRN), w.now).await.unwrap()), [entry]);
}

async fn people_do_not_touch_what_is_claimed(w: &mut World) {
    let entry = w.held("north", HoldReason::OnRequest).await;
    claim(w, ATRN).await;
    for act in [Act::Hold, Act::Release] {
        assert_eq!(w.store.act(entry, act, w.now).await.unwrap(), Acted::NotApplicable, "{act:?}");
    }
    assert_eq!(w.state(entry).await, State::Held);
    w.store.unclaim(ATRN, &queue_name("north")).await.unwrap();
    assert_eq!(w.store.act(entry, Act::Release, w.now).await.unwrap(), Acted::Done);
    assert_eq!(w.lease_one().await.entry.id, entry);
}

async fn an_unknown_claim_ends_without_a_word(w: &mut World) {
    w.held("north", HoldReason::OnRequest).await;
    claim(w, ATRN).await;
    w.store.unclaim(POP3, &queue_name("north")).await.unwrap();
    w.store.unclaim(ATRN, &queue_name("south")).await.unwrap();
    let other = w.store.claim(w.node, POP3, &queue_name("north"), 10, w.now).await.unwrap();
    assert!(other.is_none(), "the claim was not ended by another's name or queue");
}

async fn someone_without_a_heartbeat_claims_nothing(w: &mut World) {
    let who = posthouse_model::Incarnation([0xee; 16]);
    let refused = w.store.claim(who, ATRN, &queue_name("north"), 10, w.now).await;
    assert!(matches!(refused, Err(StoreError::Departed)), "{refused:?}");
}

async fn claims_of_different_queues_do_not_meet(w: &mut World) {
    let north = w.held("north", HoldReason::OnRequest).await;
    let south = w.held("south", HoldReason::OnRequest).await;
    claim(w, ATRN).await;
    let other = w.store.claim(w.node, POP3, &queue_name("south"), 10, w.now).await.unwrap().unwrap();
    assert_eq!(other.entries, [south]);
    assert_eq!(ids(&w.store.lease(&by_claim(w, ATRN), w.now).await.unwrap()), [north]);
    assert_eq!(ids(&w.store.lease(&by_claim(w, POP3), w.now).await.unwrap()), [south]);
}
