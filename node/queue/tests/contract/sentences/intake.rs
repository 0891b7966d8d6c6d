//! Enqueue, confirm, withdraw: what is accepted is there once, and what was taken back never comes.

use posthouse_model::{MessageId, ShardId};
use posthouse_queue::{
    Accounting, Counts, HoldReason, MAX_ENTRIES, NewMessage, Origin, State, StoreError, TOMBSTONE_LIFE_MS,
    Withdrawn,
};

use super::{Sentence, sentence};
use crate::contract::world::{World, new_entry, recipient};

pub(super) fn sentences() -> Vec<Sentence> {
    vec![
        sentence(an_enqueued_message_is_incoming_and_nobody_leases_it),
        sentence(an_enqueue_is_idempotent_by_message_id),
        sentence(an_enqueue_repeated_after_activation_changes_nothing),
        sentence(a_message_that_is_wrong_in_itself_is_refused_and_writes_nothing),
        sentence(a_message_of_the_most_entries_is_taken),
        sentence(activation_makes_a_message_due_and_counts_it_as_accepted),
        sentence(activation_passes_unknown_and_activated_ids),
        sentence(recipients_beyond_the_named_count_as_expanded),
        sentence(recipients_that_were_merged_count_as_discarded),
        sentence(recipients_of_what_is_born_here_count_as_generated),
        sentence(an_unconfirmed_message_can_be_withdrawn_and_never_counts),
        sentence(a_withdrawn_id_is_refused_from_then_on),
        sentence(an_id_that_was_never_there_can_be_withdrawn_as_well),
        sentence(a_tombstone_goes_when_its_time_is_over),
        sentence(an_activated_message_is_not_withdrawn),
        sentence(a_message_that_has_been_settled_in_part_is_not_withdrawn),
        sentence(activation_after_a_withdrawal_does_nothing),
        sentence(the_mode_at_activation_decides_not_that_at_enqueue),
        sentence(someone_without_a_heartbeat_does_not_enqueue),
        sentence(a_message_of_an_unknown_shard_is_refused),
    ]
}

async fn an_enqueued_message_is_incoming_and_nobody_leases_it(w: &mut World) {
    let letter = w.letter("north", "hop");
    let id = w.enqueue(&letter).await;
    assert_eq!(w.counts().await, Counts { incoming: 1, ..Counts::default() });
    assert_eq!(w.state(id.entry(0)).await, State::Incoming);
    w.nothing_to_lease().await;
    assert!(w.store.lease_entry(w.node, id.entry(0), w.now).await.unwrap().is_none());
    assert_eq!(w.store.accounting().await.unwrap(), Accounting::default());
}

async fn an_enqueue_is_idempotent_by_message_id(w: &mut World) {
    let letter = w.letter("north", "hop");
    w.enqueue(&letter).await;
    let again = w.store.enqueue(w.node, letter, &[0], w.now).await.unwrap();
    assert!(again.duplicate);
    assert!(again.leases.iter().all(Option::is_none), "no lease is given for a duplicate");
    assert_eq!(w.counts().await, Counts { incoming: 1, ..Counts::default() });
}

async fn an_enqueue_repeated_after_activation_changes_nothing(w: &mut World) {
    let letter = w.letter("north", "hop");
    let entry = w.post(&letter).await;
    let before = w.store.accounting().await.unwrap();
    assert!(w.store.enqueue(w.node, letter, &[], w.now).await.unwrap().duplicate);
    w.store.activate(&[entry.message], w.now).await.unwrap();
    assert_eq!(w.store.accounting().await.unwrap(), before);
    assert_eq!(w.counts().await, Counts { due: 1, ..Counts::default() });
}

/// Makes a message wrong.
type Spoil = fn(&mut NewMessage);

async fn a_message_that_is_wrong_in_itself_is_refused_and_writes_nothing(w: &mut World) {
    let faults: [(&str, Spoil); 9] = [
        ("no entries", |m| m.entries.clear()),
        ("too many entries", |m| m.entries = vec![m.entries[0].clone(); MAX_ENTRIES + 1]),
        ("no recipients", |m| m.entries[0].recipients.clear()),
        ("a second entry without recipients", |m| {
            let mut entry = m.entries[0].clone();
            entry.recipients.clear();
            m.entries.push(entry);
        }),
        ("another size", |m| m.meta.size += 1),
        ("another checksum", |m| m.meta.crc32 ^= 1),
        ("a priority beyond 9", |m| m.entries[0].priority = 10),
        ("too long a source", |m| m.entries[0].source = "s".repeat(256)),
        ("too much content for the inside", |m| {
            let content = vec![b'x'; posthouse_queue::CHUNK_SIZE + 1];
            m.meta.size = content.len() as u64;
            m.meta.crc32 = crc32fast::hash(&content);
            m.content = posthouse_queue::NewContent::Inline(content.into());
        }),
    ];
    for (what, spoil) in faults {
        let mut letter = w.letter("north", "hop");
        spoil(&mut letter);
        let refused = w.store.enqueue(w.node, letter.clone(), &[], w.now).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{what}: {refused:?}");
        assert_eq!(w.counts().await, Counts::default(), "{what}");
        assert_eq!(w.store.withdraw(letter.id, w.now).await.unwrap(), Withdrawn::NotThere, "{what}");
    }
}

async fn a_message_of_the_most_entries_is_taken(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    letter.entries = (0..MAX_ENTRIES)
        .map(|place| new_entry("north", &format!("hop{place}"), &["resident"], w.now))
        .collect();
    letter.named = u32::try_from(MAX_ENTRIES).unwrap();
    w.post(&letter).await;
    assert_eq!(w.counts().await.due, MAX_ENTRIES as u64);
}

async fn activation_makes_a_message_due_and_counts_it_as_accepted(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    letter.entries.push(new_entry("south", "other", &["one", "two"], w.now));
    letter.named = 3;
    let id = w.enqueue(&letter).await;
    w.store.activate(&[id], w.now).await.unwrap();
    assert_eq!(w.counts().await, Counts { due: 2, ..Counts::default() });
    let expected = Accounting { accepted: 3, queued: 3, ..Accounting::default() };
    assert_eq!(w.store.accounting().await.unwrap(), expected);
}

async fn activation_passes_unknown_and_activated_ids(w: &mut World) {
    let entry = w.due("north", "hop").await;
    let unknown = w.new_id();
    let letter = w.letter("north", "hop");
    let fresh = w.enqueue(&letter).await;
    w.store.activate(&[unknown, entry.message, fresh, entry.message], w.now).await.unwrap();
    assert_eq!(w.counts().await, Counts { due: 2, ..Counts::default() });
    assert_eq!(w.store.accounting().await.unwrap().accepted, 2);
}

async fn recipients_beyond_the_named_count_as_expanded(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    letter.entries[0].recipients = ["a", "b", "c"].map(|local| recipient(local, "north")).to_vec();
    letter.named = 1;
    w.post(&letter).await;
    let expected = Accounting { accepted: 1, expanded: 2, queued: 3, ..Accounting::default() };
    assert_eq!(w.store.accounting().await.unwrap(), expected);
}

async fn recipients_that_were_merged_count_as_discarded(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    letter.named = 3;
    w.post(&letter).await;
    let expected = Accounting { accepted: 3, discarded: 2, queued: 1, ..Accounting::default() };
    assert_eq!(w.store.accounting().await.unwrap(), expected);
}

async fn recipients_of_what_is_born_here_count_as_generated(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    letter.meta.origin = Origin::Generated;
    w.post(&letter).await;
    let expected = Accounting { generated: 1, queued: 1, ..Accounting::default() };
    assert_eq!(w.store.accounting().await.unwrap(), expected);
}

async fn an_unconfirmed_message_can_be_withdrawn_and_never_counts(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    letter.entries.push(new_entry("south", "other", &["one"], w.now));
    let id = w.enqueue(&letter).await;
    assert_eq!(w.store.withdraw(id, w.now).await.unwrap(), Withdrawn::Removed);
    assert_eq!(w.counts().await, Counts::default());
    assert_eq!(w.store.accounting().await.unwrap(), Accounting::default());
    assert!(w.store.show(id.entry(0)).await.unwrap().is_none());
}

async fn a_withdrawn_id_is_refused_from_then_on(w: &mut World) {
    let letter = w.letter("north", "hop");
    w.enqueue(&letter).await;
    assert_eq!(w.store.withdraw(letter.id, w.now).await.unwrap(), Withdrawn::Removed);
    assert_eq!(w.store.withdraw(letter.id, w.now).await.unwrap(), Withdrawn::NotThere);
    w.pass(60_000).await;
    w.reap().await;
    let late = w.store.enqueue(w.node, letter, &[], w.now).await;
    assert!(matches!(late, Err(StoreError::Withdrawn)), "{late:?}");
    assert_eq!(w.counts().await, Counts::default());
}

async fn an_id_that_was_never_there_can_be_withdrawn_as_well(w: &mut World) {
    let letter = w.letter("north", "hop");
    assert_eq!(w.store.withdraw(letter.id, w.now).await.unwrap(), Withdrawn::NotThere);
    let late = w.store.enqueue(w.node, letter, &[], w.now).await;
    assert!(matches!(late, Err(StoreError::Withdrawn)), "{late:?}");
}

async fn a_tombstone_goes_when_its_time_is_over(w: &mut World) {
    let letter = w.letter("north", "hop");
    w.store.withdraw(letter.id, w.now).await.unwrap();
    w.pass(TOMBSTONE_LIFE_MS + 1).await;
    w.reap().await;
    w.enqueue(&letter).await;
}

async fn an_activated_message_is_not_withdrawn(w: &mut World) {
    let entry = w.due("north", "hop").await;
    assert_eq!(w.store.withdraw(entry.message, w.now).await.unwrap(), Withdrawn::TooLate);
    assert_eq!(w.lease_one().await.entry.id, entry);
}

async fn a_message_that_has_been_settled_in_part_is_not_withdrawn(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    letter.entries.push(new_entry("south", "other", &["one"], w.now));
    let enqueued = w.store.enqueue(w.node, letter.clone(), &[0], w.now).await.unwrap();
    let token = enqueued.leases[0].expect("the fast path is open");
    let leased = w.fast_lease(letter.id.entry(0), token).await;
    w.settle(&w.delivered(&leased)).await;
    assert_eq!(w.store.withdraw(letter.id, w.now).await.unwrap(), Withdrawn::TooLate);
}

async fn activation_after_a_withdrawal_does_nothing(w: &mut World) {
    let letter = w.letter("north", "hop");
    w.enqueue(&letter).await;
    w.store.withdraw(letter.id, w.now).await.unwrap();
    w.store.activate(&[letter.id], w.now).await.unwrap();
    assert_eq!(w.store.accounting().await.unwrap(), Accounting::default());
}

async fn the_mode_at_activation_decides_not_that_at_enqueue(w: &mut World) {
    let letter = w.letter("north", "hop");
    let id = w.enqueue(&letter).await;
    w.mode("north", Some(HoldReason::Scheduled)).await;
    w.store.activate(&[id], w.now).await.unwrap();
    let summary = w.summary(id.entry(0)).await;
    assert_eq!((summary.state, summary.hold), (State::Held, Some(HoldReason::Scheduled)));
}

async fn someone_without_a_heartbeat_does_not_enqueue(w: &mut World) {
    let letter = w.letter("north", "hop");
    let unknown = posthouse_model::Incarnation([0xee; 16]);
    let refused = w.store.enqueue(unknown, letter.clone(), &[], w.now).await;
    assert!(matches!(refused, Err(StoreError::Departed)), "{refused:?}");
    w.silence(posthouse_queue::HEARTBEAT_LIFE_MS + 1);
    let refused = w.store.enqueue(w.node, letter, &[], w.now).await;
    assert!(matches!(refused, Err(StoreError::Departed)), "{refused:?}");
    assert_eq!(w.counts().await, Counts::default());
}

async fn a_message_of_an_unknown_shard_is_refused(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    letter.id = MessageId::new(letter.id.time_ms(), ShardId(60_000), 1);
    let refused = w.store.enqueue(w.node, letter, &[], w.now).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
}
