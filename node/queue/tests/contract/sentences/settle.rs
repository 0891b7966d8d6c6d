//! Settling: every outcome, every remainder, and what is born in the same step.

use posthouse_model::Timestamp;
use posthouse_queue::{
    Accounting, Counts, HoldReason, LastReply, Leased, NewMessage, Origin, Outcome, QueueMode, Remainder,
    Settlement, State, StoreError,
};

use super::{Sentence, sentence};
use crate::contract::world::{World, in_chunks, new_entry, queue_name, recipient};

pub(super) fn sentences() -> Vec<Sentence> {
    vec![
        sentence(every_outcome_is_counted_where_it_belongs),
        sentence(a_settled_recipient_leaves_and_the_others_stay),
        sentence(a_message_goes_with_its_last_entry),
        sentence(a_settle_happens_once),
        sentence(what_is_given_back_is_due_without_an_attempt),
        sentence(what_was_held_and_is_given_back_keeps_its_hold_sequence),
        sentence(what_is_deferred_counts_the_attempt),
        sentence(what_is_held_again_waits_for_the_next_release),
        sentence(what_is_held_again_in_an_online_queue_is_deferred),
        sentence(what_cannot_be_used_is_held_for_quarantine),
        sentence(a_split_keeps_recipients_attempts_and_clock),
        sentence(a_split_with_other_recipients_is_refused_and_changes_nothing),
        sentence(a_settlement_without_an_outcome_for_each_recipient_is_refused),
        sentence(a_last_reply_stays_with_its_recipient),
        sentence(a_child_is_born_in_the_same_step),
        sentence(a_repeated_settle_bears_no_second_child),
        sentence(a_child_that_is_wrong_refuses_the_whole_step),
        sentence(a_child_may_have_its_content_stored_before),
        sentence(a_child_is_held_where_its_queue_is),
        sentence(a_child_may_be_born_while_the_entry_stays),
        sentence(a_stale_settle_bears_no_child),
    ]
}

/// A leased entry of these recipients.
async fn leased_with(w: &mut World, locals: &[&str]) -> Leased {
    let mut letter = w.letter("north", "hop");
    letter.entries[0].recipients = locals.iter().map(|local| recipient(local, "north")).collect();
    letter.named = u32::try_from(locals.len()).unwrap();
    w.post(&letter).await;
    w.lease_one().await
}

/// A DSN to the sender.
fn dsn(w: &mut World) -> Box<NewMessage> {
    let mut dsn = w.letter("origin", "back");
    dsn.meta.origin = Origin::Generated;
    dsn.meta.envelope.reverse_path = posthouse_model::ReversePath::Null;
    Box::new(dsn)
}

async fn every_outcome_is_counted_where_it_belongs(w: &mut World) {
    let leased = leased_with(w, &["a", "b", "c", "d", "e", "f", "g"]).await;
    let outcomes = vec![
        Outcome::Delivered,
        Outcome::Relayed,
        Outcome::Failed,
        Outcome::Expired,
        Outcome::Fetched,
        Outcome::Deleted,
        Outcome::Discarded,
    ];
    w.settle(&Settlement { outcomes, ..w.delivered(&leased) }).await;
    let expected = Accounting {
        accepted: 7,
        delivered: 1,
        relayed: 1,
        failed: 2,
        fetched: 1,
        deleted: 1,
        discarded: 1,
        ..Accounting::default()
    };
    assert_eq!(w.store.accounting().await.unwrap(), expected);
    assert_eq!(w.counts().await, Counts::default());
}

async fn a_settled_recipient_leaves_and_the_others_stay(w: &mut World) {
    let leased = leased_with(w, &["a", "b", "c"]).await;
    let later = Timestamp(w.now.0 + 1_000);
    let outcomes = vec![Outcome::Deferred(None), Outcome::Relayed, Outcome::Deferred(None)];
    w.settle(&Settlement { outcomes, ..w.deferred(&leased, Remainder::Defer(later)) }).await;
    let expected = Accounting { accepted: 3, relayed: 1, queued: 2, ..Accounting::default() };
    assert_eq!(w.store.accounting().await.unwrap(), expected);
    w.pass(1_000).await;
    let again = w.lease_one().await;
    assert_eq!(again.entry.recipients, [recipient("a", "north"), recipient("c", "north")]);
    assert_eq!(again.entry.id, leased.entry.id);
}

async fn a_message_goes_with_its_last_entry(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    letter.entries.push(new_entry("south", "other", &["one"], w.now));
    letter.named = 2;
    let id = w.post(&letter).await.message;
    let leased = w.lease(10).await;
    w.settle(&w.delivered(&leased[0])).await;
    assert!(w.store.show(leased[0].entry.id).await.unwrap().is_none());
    assert!(w.store.show(leased[1].entry.id).await.unwrap().is_some());
    w.settle(&w.delivered(&leased[1])).await;
    assert!(w.list().await.is_empty());
    w.store.activate(&[id], w.now).await.unwrap();
    assert_eq!(w.store.accounting().await.unwrap().accepted, 2);
}

async fn a_settle_happens_once(w: &mut World) {
    for remainder in [Remainder::GiveBack, Remainder::Defer(w.now), Remainder::Quarantine] {
        let leased = leased_with(w, &["a", "b"]).await;
        let outcomes = vec![Outcome::Relayed, Outcome::Deferred(None)];
        let settlement = Settlement { outcomes, ..w.deferred(&leased, remainder) };
        w.settle(&settlement).await;
        let before = (w.store.accounting().await.unwrap(), w.counts().await);
        w.stale(&settlement).await;
        assert_eq!((w.store.accounting().await.unwrap(), w.counts().await), before);
        if let Some(rest) = w.store.lease_entry(w.node, leased.entry.id, w.now).await.unwrap() {
            w.stale(&settlement).await;
            w.settle(&w.delivered(&rest)).await;
        }
    }
    let leased = leased_with(w, &["a"]).await;
    w.settle(&w.delivered(&leased)).await;
    w.stale(&w.delivered(&leased)).await;
}

async fn what_is_given_back_is_due_without_an_attempt(w: &mut World) {
    let leased = leased_with(w, &["a"]).await;
    w.settle(&w.deferred(&leased, Remainder::GiveBack)).await;
    assert_eq!(w.counts().await, Counts { due: 1, ..Counts::default() });
    let again = w.lease_one().await;
    assert_eq!(again.entry, leased.entry);
}

async fn what_was_held_and_is_given_back_keeps_its_hold_sequence(w: &mut World) {
    let first = w.held("north", HoldReason::OnRequest).await;
    let leased = w.store.lease_entry(w.node, first, w.now).await.unwrap().unwrap();
    // Released while it is leased, and given back after: it was held before the release, so it is free.
    w.release("north", HoldReason::OnRequest).await;
    w.settle(&w.deferred(&leased, Remainder::GiveBack)).await;
    assert_eq!(w.lease_one().await.entry.id, first);
    let second = w.held("north", HoldReason::OnRequest).await;
    let leased = w.store.lease_entry(w.node, second, w.now).await.unwrap().unwrap();
    w.settle(&w.deferred(&leased, Remainder::GiveBack)).await;
    assert_eq!(w.state(second).await, State::Held, "no release came");
    w.nothing_to_lease().await;
}

async fn what_is_deferred_counts_the_attempt(w: &mut World) {
    leased_with(w, &["a"]).await;
    let dead = w.node;
    w.node = w.another_node().await;
    w.dies(dead).await;
    for attempts in 0..3 {
        let leased = w.lease_one().await;
        assert_eq!(leased.entry.attempts, attempts, "an expired lease counts no attempt, a deferral does");
        let later = Timestamp(w.now.0 + 1_000);
        w.settle(&w.deferred(&leased, Remainder::Defer(later))).await;
        w.pass(1_000).await;
    }
}

async fn what_is_held_again_waits_for_the_next_release(w: &mut World) {
    w.mode("north", Some(HoldReason::OnRequest)).await;
    let entry = w.due("north", "hop").await;
    assert_eq!(w.release("north", HoldReason::OnRequest).await, 1);
    let leased = w.lease_one().await;
    let later = Timestamp(w.now.0 + 1_000);
    w.settle(&w.deferred(&leased, Remainder::HoldAgain(later))).await;
    let summary = w.summary(entry).await;
    assert_eq!((summary.state, summary.hold), (State::Held, Some(HoldReason::OnRequest)));
    w.pass(2_000).await;
    w.nothing_to_lease().await;
    assert_eq!(w.release("north", HoldReason::OnRequest).await, 1);
    let again = w.lease_one().await;
    assert_eq!((again.entry.id, again.entry.attempts), (entry, 1));
}

async fn what_is_held_again_in_an_online_queue_is_deferred(w: &mut World) {
    w.mode("north", Some(HoldReason::OnRequest)).await;
    let entry = w.due("north", "hop").await;
    w.release("north", HoldReason::OnRequest).await;
    let leased = w.lease_one().await;
    w.mode("north", None).await;
    let later = Timestamp(w.now.0 + 1_000);
    w.settle(&w.deferred(&leased, Remainder::HoldAgain(later))).await;
    assert_eq!(w.state(entry).await, State::Deferred);
    w.pass(1_000).await;
    assert_eq!(w.lease_one().await.entry.attempts, 1);
}

async fn what_cannot_be_used_is_held_for_quarantine(w: &mut World) {
    let leased = leased_with(w, &["a"]).await;
    w.settle(&w.deferred(&leased, Remainder::Quarantine)).await;
    let summary = w.summary(leased.entry.id).await;
    assert_eq!((summary.state, summary.hold), (State::Held, Some(HoldReason::Quarantine)));
    assert_eq!(w.store.held(&queue_name("north"), HoldReason::Quarantine).await.unwrap(), 1);
    assert_eq!(w.store.accounting().await.unwrap().queued, 1, "quarantined counts as queued");
    for reason in [HoldReason::OnRequest, HoldReason::Administrator] {
        assert_eq!(w.release("north", reason).await, 0);
    }
    w.nothing_to_lease().await;
}

async fn a_split_keeps_recipients_attempts_and_clock(w: &mut World) {
    let leased = leased_with(w, &["a", "b", "c"]).await;
    let later = Timestamp(w.now.0 + 1_000);
    w.settle(&w.deferred(&leased, Remainder::Defer(later))).await;
    w.pass(1_000).await;
    let leased = w.lease_one().await;
    let mut one = new_entry("north", "east", &["c"], w.now);
    one.recipients = vec![recipient("c", "north")];
    let mut two = new_entry("south", "west", &["a"], w.now);
    two.recipients = vec![recipient("a", "north")];
    let outcomes = vec![Outcome::Deferred(None), Outcome::Relayed, Outcome::Deferred(None)];
    let split = Remainder::Split(vec![one, two]);
    w.settle(&Settlement { outcomes, delay_warned: true, ..w.deferred(&leased, split) }).await;
    let parts = w.lease(10).await;
    assert_eq!(parts.len(), 2);
    let mut hops: Vec<String> = parts.iter().map(|part| part.entry.route.next_hop.to_string()).collect();
    hops.sort_unstable();
    assert_eq!(hops, ["smtp:east.example:25", "smtp:west.example:25"]);
    for part in &parts {
        assert_eq!(part.entry.id.message, leased.entry.id.message);
        assert_eq!((part.entry.attempts, part.entry.delay_warned), (1, true));
        assert_eq!(part.entry.recipients.len(), 1);
        assert_eq!(part.message, leased.message, "received when it was received");
    }
    assert_ne!(parts[0].entry.id, parts[1].entry.id);
    assert!(
        w.store
            .show(leased.entry.id)
            .await
            .unwrap()
            .is_none_or(|summary| { parts.iter().any(|part| part.entry.id == summary.id) })
    );
    let expected = Accounting { accepted: 3, relayed: 1, queued: 2, ..Accounting::default() };
    assert_eq!(w.store.accounting().await.unwrap(), expected);
    for part in &parts {
        w.settle(&w.delivered(part)).await;
    }
    assert!(w.list().await.is_empty());
}

async fn a_split_with_other_recipients_is_refused_and_changes_nothing(w: &mut World) {
    let leased = leased_with(w, &["a", "b"]).await;
    let only_one = Remainder::Split(vec![new_entry("north", "east", &["a"], w.now)]);
    let other = Remainder::Split(vec![new_entry("north", "east", &["a", "x"], w.now)]);
    for split in [only_one, other] {
        let refused = w.store.settle(&w.deferred(&leased, split), w.now).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
        assert_eq!(w.counts().await, Counts { active: 1, ..Counts::default() });
    }
    w.settle(&w.delivered(&leased)).await;
}

async fn a_settlement_without_an_outcome_for_each_recipient_is_refused(w: &mut World) {
    let leased = leased_with(w, &["a", "b"]).await;
    let short = Settlement { outcomes: vec![Outcome::Delivered], ..w.delivered(&leased) };
    let refused = w.store.settle(&short, w.now).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    w.settle(&w.delivered(&leased)).await;
}

async fn a_last_reply_stays_with_its_recipient(w: &mut World) {
    let leased = leased_with(w, &["a", "b"]).await;
    let reply = LastReply {
        at: w.now,
        code: 450,
        status: "4.2.0".into(),
        text: "busy".into(),
        host: "hop.example:25".into(),
    };
    let outcomes = vec![Outcome::Deferred(Some(reply.clone())), Outcome::Deferred(None)];
    w.settle(&Settlement { outcomes, ..w.deferred(&leased, Remainder::Defer(w.now)) }).await;
    let again = w.lease_one().await;
    assert_eq!(again.entry.recipients[0].last, Some(reply.clone()));
    assert_eq!(again.entry.recipients[1].last, None);
    w.settle(&w.deferred(&again, Remainder::Defer(w.now))).await;
    assert_eq!(w.lease_one().await.entry.recipients[0].last, Some(reply), "kept where there is no newer one");
}

async fn a_child_is_born_in_the_same_step(w: &mut World) {
    let leased = leased_with(w, &["a"]).await;
    let child = dsn(w);
    let id = child.id;
    let meta = child.meta.clone();
    let outcomes = vec![Outcome::Failed];
    w.settle(&Settlement { outcomes, child: Some(child), ..w.delivered(&leased) }).await;
    let expected = Accounting { accepted: 1, generated: 1, failed: 1, queued: 1, ..Accounting::default() };
    assert_eq!(w.store.accounting().await.unwrap(), expected);
    let born = w.lease_one().await;
    assert_eq!(born.entry.id, id.entry(0));
    assert_eq!(*born.message, meta);
    w.settle(&w.delivered(&born)).await;
}

async fn a_repeated_settle_bears_no_second_child(w: &mut World) {
    let leased = leased_with(w, &["a"]).await;
    let outcomes = vec![Outcome::Failed];
    let settlement = Settlement { outcomes, child: Some(dsn(w)), ..w.delivered(&leased) };
    w.settle(&settlement).await;
    w.stale(&settlement).await;
    assert_eq!(w.store.accounting().await.unwrap().generated, 1);
    let born = w.lease_one().await;
    w.settle(&w.delivered(&born)).await;
    w.stale(&settlement).await;
    assert!(w.list().await.is_empty(), "not even after the first has gone");
}

async fn a_child_that_is_wrong_refuses_the_whole_step(w: &mut World) {
    let leased = leased_with(w, &["a"]).await;
    let mut child = dsn(w);
    child.meta.crc32 ^= 1;
    let outcomes = vec![Outcome::Failed];
    let settlement = Settlement { outcomes, child: Some(child), ..w.delivered(&leased) };
    let refused = w.store.settle(&settlement, w.now).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert_eq!(w.counts().await, Counts { active: 1, ..Counts::default() });
    assert_eq!(w.store.accounting().await.unwrap().failed, 0);
    w.settle(&w.delivered(&leased)).await;
}

async fn a_child_may_have_its_content_stored_before(w: &mut World) {
    let leased = leased_with(w, &["a"]).await;
    let mut child = dsn(w);
    let chunks = in_chunks(&mut child, posthouse_queue::CHUNK_SIZE + 3);
    for (index, chunk) in (0..).zip(&chunks) {
        w.store.put_chunk(child.id, index, chunk.clone(), w.now).await.unwrap();
    }
    let id = child.id;
    let outcomes = vec![Outcome::Failed];
    w.settle(&Settlement { outcomes, child: Some(child), ..w.delivered(&leased) }).await;
    w.pass(2 * posthouse_queue::ORPHAN_CHUNK_LIFE_MS).await;
    w.reap().await;
    assert_eq!(w.store.chunk(id, 1).await.unwrap().as_ref(), chunks.last());
    let born = w.lease_one().await;
    w.settle(&w.delivered(&born)).await;
    assert_eq!(w.store.chunk(id, 1).await.unwrap(), None);
}

async fn a_child_is_held_where_its_queue_is(w: &mut World) {
    let leased = leased_with(w, &["a"]).await;
    let mut child = dsn(w);
    child.entries[0].mode = QueueMode { hold: Some(HoldReason::Scheduled), generation: 4 };
    let id = child.id;
    let outcomes = vec![Outcome::Failed];
    w.settle(&Settlement { outcomes, child: Some(child), ..w.delivered(&leased) }).await;
    assert_eq!(w.summary(id.entry(0)).await.hold, Some(HoldReason::Scheduled));
}

async fn a_child_may_be_born_while_the_entry_stays(w: &mut World) {
    let leased = leased_with(w, &["a", "b"]).await;
    let child = dsn(w);
    let later = Timestamp(w.now.0 + 1_000);
    let outcomes = vec![Outcome::Failed, Outcome::Deferred(None)];
    let remainder = Remainder::Defer(later);
    let settlement =
        Settlement { outcomes, child: Some(child), delay_warned: true, ..w.deferred(&leased, remainder) };
    w.settle(&settlement).await;
    assert_eq!(w.counts().await, Counts { due: 1, deferred: 1, ..Counts::default() });
    let expected = Accounting { accepted: 2, generated: 1, failed: 1, queued: 2, ..Accounting::default() };
    assert_eq!(w.store.accounting().await.unwrap(), expected);
}

async fn a_stale_settle_bears_no_child(w: &mut World) {
    let leased = leased_with(w, &["a"]).await;
    let slow = w.node;
    w.node = w.another_node().await;
    w.dies(slow).await;
    let outcomes = vec![Outcome::Failed];
    let late = Settlement { who: slow, outcomes, child: Some(dsn(w)), ..w.delivered(&leased) };
    w.stale(&late).await;
    assert_eq!(w.store.accounting().await.unwrap().generated, 0);
    assert_eq!(w.counts().await, Counts { due: 1, ..Counts::default() });
}
