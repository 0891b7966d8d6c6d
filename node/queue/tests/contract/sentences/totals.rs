//! Totals: what each queue that has mail has, and since when it waits, without a look at its entries.

use std::collections::BTreeMap;

use posthouse_model::Timestamp;
use posthouse_queue::{Counts, HoldReason, QueueTotals, Remainder};

use super::{Sentence, sentence};
use crate::contract::world::{World, all_totals, queue_name};

pub(super) fn sentences() -> Vec<Sentence> {
    vec![
        sentence(totals_are_by_queue_and_only_of_queues_that_have_mail),
        sentence(totals_have_every_queue_however_many_there_are),
        sentence(the_oldest_of_a_queue_is_the_one_that_was_accepted_first_and_waits),
        sentence(what_is_leased_or_settled_is_the_oldest_no_longer),
        sentence(a_long_name_is_told_whole),
        sentence(totals_survive_a_restart),
    ]
}

async fn totals(w: &World) -> BTreeMap<String, QueueTotals> {
    let all = all_totals(&*w.store).await.unwrap();
    all.into_iter().map(|(name, totals)| (name.as_str().to_owned(), totals)).collect()
}

async fn oldest(w: &World, queue: &str) -> Option<Timestamp> {
    totals(w).await[queue].oldest
}

async fn totals_are_by_queue_and_only_of_queues_that_have_mail(w: &mut World) {
    assert!(totals(w).await.is_empty());
    w.due("gone", "hop").await;
    let leased = w.lease_one().await;
    w.settle(&w.delivered(&leased)).await;
    w.due("north", "slow").await;
    w.back_off(w.now.0 + 60_000).await;
    w.due("north", "hop").await;
    w.lease_one().await;
    w.due("north", "hop").await;
    w.held("north", HoldReason::OnRequest).await;
    w.held("north", HoldReason::Administrator).await;
    w.held("released", HoldReason::OnRequest).await;
    w.release("released", HoldReason::OnRequest).await;
    let letter = w.letter("incoming", "hop");
    w.enqueue(&letter).await;
    w.mode("quiet", Some(HoldReason::OnRequest)).await;
    let found: Vec<(String, Counts)> =
        totals(w).await.into_iter().map(|(name, totals)| (name, totals.counts)).collect();
    assert_eq!(
        found,
        [
            ("incoming".to_owned(), Counts { incoming: 1, ..Counts::default() }),
            ("north".to_owned(), Counts { incoming: 0, due: 1, deferred: 1, held: 2, active: 1 }),
            ("released".to_owned(), Counts { due: 1, ..Counts::default() }),
        ]
    );
}

async fn totals_have_every_queue_however_many_there_are(w: &mut World) {
    let mut letter = w.letter("queue0", "hop");
    let entry = letter.entries[0].clone();
    letter.entries = (0..900)
        .map(|place| posthouse_queue::NewEntry {
            queue: queue_name(&format!("queue{place}")),
            ..entry.clone()
        })
        .collect();
    letter.named = 900;
    w.post(&letter).await;
    for max in [1, 100, 10_000] {
        let (mut found, mut from) = (Vec::new(), 0);
        loop {
            let page = w.store.queue_totals(from, max).await.unwrap();
            assert!(page.queues.iter().all(|totals| totals.counts == Counts { due: 1, ..Counts::default() }));
            found.extend(page.queues.into_iter().map(|totals| totals.queue));
            match page.next {
                Some(next) => from = next,
                None => break,
            }
        }
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 900, "{max} a page");
    }
}

async fn the_oldest_of_a_queue_is_the_one_that_was_accepted_first_and_waits(w: &mut World) {
    // Accepted first, and due: it does not wait for anything.
    w.due("north", "hop").await;
    assert_eq!(oldest(w, "north").await, None);
    let leased = w.lease_one().await;
    w.pass(1_000).await;
    let held_at = w.now;
    w.held("north", HoldReason::OnRequest).await;
    w.pass(1_000).await;
    w.held("north", HoldReason::Administrator).await;
    w.held("south", HoldReason::OnRequest).await;
    assert_eq!(oldest(w, "north").await, Some(held_at));
    assert_eq!(oldest(w, "south").await, Some(w.now));
    // Deferred last, but accepted first.
    let later = Timestamp(w.now.0 + 60_000);
    w.settle(&w.deferred(&leased, Remainder::Defer(later))).await;
    assert_eq!(oldest(w, "north").await, Some(Timestamp(leased.entry.id.message.time_ms())));
}

async fn what_is_leased_or_settled_is_the_oldest_no_longer(w: &mut World) {
    w.held("north", HoldReason::OnRequest).await;
    w.pass(1_000).await;
    let second = w.now;
    w.held("north", HoldReason::Scheduled).await;
    w.release("north", HoldReason::OnRequest).await;
    let leased = w.lease_one().await;
    assert_eq!(oldest(w, "north").await, Some(second));
    w.settle(&w.delivered(&leased)).await;
    assert_eq!(oldest(w, "north").await, Some(second));
    w.release("north", HoldReason::Scheduled).await;
    w.lease_one().await;
    assert_eq!(oldest(w, "north").await, None);
}

async fn a_long_name_is_told_whole(w: &mut World) {
    for length in [1, 127, 128, 255] {
        let name = "n".repeat(length);
        let mut letter = w.letter("north", "hop");
        letter.entries[0].queue = queue_name(&name);
        w.post(&letter).await;
        assert!(totals(w).await.contains_key(&name), "{length}");
    }
}

async fn totals_survive_a_restart(w: &mut World) {
    w.held("north", HoldReason::OnRequest).await;
    w.due("south", "hop").await;
    let before = totals(w).await;
    assert_eq!(before.len(), 2);
    w.restart().await;
    assert_eq!(totals(w).await, before);
}
