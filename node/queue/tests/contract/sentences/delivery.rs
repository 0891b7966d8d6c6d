//! The fast path: who accepts may deliver at once, but never before others that wait.

use posthouse_model::Timestamp;
use posthouse_queue::{
    Accounting, Counts, HoldReason, LaneSignal, QueueMode, Remainder, Settlement, State, Withdrawn,
};

use super::{Sentence, sentence};
use crate::contract::world::{World, new_entry};

pub(super) fn sentences() -> Vec<Sentence> {
    vec![
        sentence(the_fast_path_leases_at_once_and_only_what_was_asked_for),
        sentence(a_fast_lease_is_active_and_counts_only_when_confirmed),
        sentence(the_first_settle_confirms_the_message),
        sentence(a_fast_lease_can_be_withdrawn_and_its_settle_is_stale),
        sentence(a_held_queue_refuses_the_fast_path),
        sentence(a_backed_off_lane_refuses_the_fast_path),
        sentence(older_due_entries_refuse_the_fast_path),
        sentence(a_lane_whose_entries_are_all_leased_grants_the_fast_path),
        sentence(a_fast_lease_that_is_given_back_is_due),
        sentence(an_entry_carries_all_that_was_said_of_it),
    ]
}

async fn the_fast_path_leases_at_once_and_only_what_was_asked_for(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    letter.entries.push(new_entry("south", "other", &["one"], w.now));
    letter.entries.push(new_entry("east", "third", &["one"], w.now));
    letter.named = 3;
    let enqueued = w.store.enqueue(w.node, letter.clone(), &[0, 2], w.now).await.unwrap();
    let granted: Vec<bool> = enqueued.leases.iter().map(Option::is_some).collect();
    assert_eq!(granted, [true, false, true]);
    assert_ne!(enqueued.leases[0], enqueued.leases[2], "each lease has a token of its own");
    assert_eq!(w.counts().await, Counts { incoming: 1, active: 2, ..Counts::default() });
}

async fn a_fast_lease_is_active_and_counts_only_when_confirmed(w: &mut World) {
    let letter = w.letter("north", "hop");
    let enqueued = w.store.enqueue(w.node, letter.clone(), &[0], w.now).await.unwrap();
    let token = enqueued.leases[0].expect("the fast path is open");
    assert_eq!(w.state(letter.id.entry(0)).await, State::Active);
    assert_eq!(w.store.accounting().await.unwrap(), Accounting::default());
    w.store.activate(&[letter.id], w.now).await.unwrap();
    let accepted = Accounting { accepted: 1, queued: 1, ..Accounting::default() };
    assert_eq!(w.store.accounting().await.unwrap(), accepted);
    assert_eq!(w.state(letter.id.entry(0)).await, State::Active);
    let leased = w.fast_lease(letter.id.entry(0), token).await;
    w.settle(&w.delivered(&leased)).await;
    let delivered = Accounting { accepted: 1, delivered: 1, ..Accounting::default() };
    assert_eq!(w.store.accounting().await.unwrap(), delivered);
}

async fn the_first_settle_confirms_the_message(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    letter.entries.push(new_entry("south", "other", &["one"], w.now));
    letter.named = 2;
    let enqueued = w.store.enqueue(w.node, letter.clone(), &[0], w.now).await.unwrap();
    let leased = w.fast_lease(letter.id.entry(0), enqueued.leases[0].unwrap()).await;
    w.settle(&w.delivered(&leased)).await;
    let expected = Accounting { accepted: 2, delivered: 1, queued: 1, ..Accounting::default() };
    assert_eq!(w.store.accounting().await.unwrap(), expected);
    w.store.activate(&[letter.id], w.now).await.unwrap();
    assert_eq!(w.store.accounting().await.unwrap(), expected, "confirmed once");
    assert_eq!(w.state(letter.id.entry(1)).await, State::Due);
}

async fn a_fast_lease_can_be_withdrawn_and_its_settle_is_stale(w: &mut World) {
    let letter = w.letter("north", "hop");
    let enqueued = w.store.enqueue(w.node, letter.clone(), &[0], w.now).await.unwrap();
    let leased = w.fast_lease(letter.id.entry(0), enqueued.leases[0].unwrap()).await;
    assert_eq!(w.store.withdraw(letter.id, w.now).await.unwrap(), Withdrawn::Removed);
    w.stale(&w.delivered(&leased)).await;
    assert_eq!(w.store.accounting().await.unwrap(), Accounting::default());
    assert_eq!(w.counts().await, Counts::default());
}

async fn a_held_queue_refuses_the_fast_path(w: &mut World) {
    w.mode("stored", Some(HoldReason::Scheduled)).await;
    let stored = w.letter("stored", "hop");
    let mut own = w.letter("own", "hop");
    own.entries[0].mode = QueueMode { hold: Some(HoldReason::OnRequest), generation: 3 };
    for letter in [stored, own] {
        let enqueued = w.store.enqueue(w.node, letter.clone(), &[0], w.now).await.unwrap();
        assert_eq!(enqueued.leases, [None]);
        assert_eq!(w.state(letter.id.entry(0)).await, State::Incoming);
        w.store.activate(&[letter.id], w.now).await.unwrap();
        assert_eq!(w.state(letter.id.entry(0)).await, State::Held);
    }
}

async fn a_backed_off_lane_refuses_the_fast_path(w: &mut World) {
    w.due("north", "hop").await;
    w.back_off(w.now.0 + 60_000).await;
    let letter = w.letter("north", "hop");
    let enqueued = w.store.enqueue(w.node, letter, &[0], w.now).await.unwrap();
    assert_eq!(enqueued.leases, [None]);
    let elsewhere = w.letter("north", "other");
    let enqueued = w.store.enqueue(w.node, elsewhere, &[0], w.now).await.unwrap();
    assert!(enqueued.leases[0].is_some(), "another lane of the queue is open");
}

async fn older_due_entries_refuse_the_fast_path(w: &mut World) {
    w.due("north", "hop").await;
    let letter = w.letter("north", "hop");
    let enqueued = w.store.enqueue(w.node, letter, &[0], w.now).await.unwrap();
    assert_eq!(enqueued.leases, [None]);
}

async fn a_lane_whose_entries_are_all_leased_grants_the_fast_path(w: &mut World) {
    w.due("north", "hop").await;
    w.lease_one().await;
    let letter = w.letter("north", "hop");
    let enqueued = w.store.enqueue(w.node, letter, &[0], w.now).await.unwrap();
    assert!(enqueued.leases[0].is_some());
}

async fn a_fast_lease_that_is_given_back_is_due(w: &mut World) {
    let letter = w.letter("north", "hop");
    let enqueued = w.store.enqueue(w.node, letter.clone(), &[0], w.now).await.unwrap();
    let leased = w.fast_lease(letter.id.entry(0), enqueued.leases[0].unwrap()).await;
    w.settle(&w.deferred(&leased, Remainder::GiveBack)).await;
    assert_eq!(w.state(letter.id.entry(0)).await, State::Due);
    let again = w.lease_one().await;
    assert_eq!((again.entry.id, again.entry.attempts), (letter.id.entry(0), 0));
    assert!(Some(again.token) > enqueued.leases[0]);
}

async fn an_entry_carries_all_that_was_said_of_it(w: &mut World) {
    use posthouse_queue::{LastReply, Transform};
    let mut letter = w.letter("north", "hop");
    let said = &mut letter.entries[0];
    said.source = "203.0.113.9".into();
    said.snapshot = [0xab; 16];
    said.transforms = vec![
        Transform::Footer("mail/example-com".into()),
        Transform::Sign("mail/key".into()),
        Transform::EnvelopeTo,
    ];
    (said.priority, said.urgent) = (2, true);
    said.recipients[0].expanded_from = Some("list@north.example".parse().unwrap());
    said.recipients[0].orcpt = Some("rfc822;list@north.example".into());
    said.recipients[0].notify = 12;
    letter.meta.envelope.envid = Some("QQ314159".into());
    letter.meta.envelope.ret_full = Some(false);
    letter.meta.envelope.login = Some("customer".into());
    letter.meta.envelope.smtputf8 = true;
    w.post(&letter).await;
    let leased = w.lease_one().await;
    let (said, kept) = (&letter.entries[0], &*leased.entry);
    assert_eq!(kept.lane(), said.lane());
    assert_eq!((&kept.queue, &kept.route, &kept.source), (&said.queue, &said.route, &said.source));
    assert_eq!((kept.snapshot, &kept.recipients), (said.snapshot, &said.recipients));
    assert_eq!((&kept.transforms, kept.priority, kept.urgent), (&said.transforms, 2, true));
    assert_eq!((kept.attempts, kept.delay_warned, kept.held_ms), (0, false, 0));
    assert_eq!(kept.attend_at, said.attend_at);
    assert_eq!(*leased.message, letter.meta);
    let reply = LastReply {
        at: w.now,
        code: 451,
        status: "4.7.1".into(),
        text: "Greylisted".into(),
        host: "hop.example:25".into(),
    };
    let later = Timestamp(w.now.0 + 5_000);
    w.settle(&Settlement {
        outcomes: vec![posthouse_queue::Outcome::Deferred(Some(reply.clone()))],
        attend_at: Timestamp(w.now.0 + 777_000),
        delay_warned: true,
        lane: LaneSignal::Works,
        ..w.deferred(&leased, Remainder::Defer(later))
    })
    .await;
    w.pass(5_000).await;
    let again = w.lease_one().await;
    assert_eq!(again.entry.recipients[0].last, Some(reply));
    assert_eq!((again.entry.attempts, again.entry.delay_warned), (1, true));
    assert_eq!(again.entry.attend_at.0, w.now.0 + 772_000);
}
