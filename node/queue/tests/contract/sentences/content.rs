//! Content: what came in goes out, octet by octet (I8), and goes with the last entry.

use bytes::Bytes;
use posthouse_queue::{CHUNK_SIZE, Content, NewContent, ORPHAN_CHUNK_LIFE_MS, StoreError, Withdrawn};

use super::{Sentence, sentence};
use crate::contract::world::{World, in_chunks, new_entry};

pub(super) fn sentences() -> Vec<Sentence> {
    vec![
        sentence(inline_content_comes_with_the_lease_octet_by_octet),
        sentence(content_of_no_octets_is_content_too),
        sentence(chunks_come_back_in_order_octet_by_octet),
        sentence(a_chunk_may_be_stored_twice),
        sentence(a_missing_chunk_refuses_the_message),
        sentence(a_chunk_too_many_refuses_the_message),
        sentence(chunks_of_another_length_or_checksum_refuse_the_message),
        sentence(a_short_chunk_in_the_middle_refuses_the_message),
        sentence(dropped_chunks_are_gone),
        sentence(the_chunks_of_an_enqueued_message_are_not_dropped),
        sentence(chunks_that_are_never_enqueued_go_away),
        sentence(the_chunks_of_an_enqueued_message_stay_for_ever),
        sentence(content_goes_with_the_last_entry),
        sentence(a_withdrawn_message_takes_its_chunks_along),
    ]
}

/// Stores a letter's chunks.
async fn store_chunks(w: &World, letter: &posthouse_queue::NewMessage, chunks: &[Bytes]) {
    for (index, chunk) in (0..).zip(chunks) {
        w.store.put_chunk(letter.id, index, chunk.clone(), w.now).await.unwrap();
    }
}

async fn refused(w: &World, letter: &posthouse_queue::NewMessage, what: &str) {
    let refused = w.store.enqueue(w.node, letter.clone(), &[], w.now).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{what}: {refused:?}");
    assert_eq!(w.counts().await.incoming, 0, "{what}");
}

async fn inline_content_comes_with_the_lease_octet_by_octet(w: &mut World) {
    let content: Vec<u8> = (0..CHUNK_SIZE).map(|place| u8::try_from(place % 256).unwrap()).collect();
    let mut letter = w.letter("north", "hop");
    letter.meta.size = content.len() as u64;
    letter.meta.crc32 = crc32fast::hash(&content);
    letter.content = NewContent::Inline(content.clone().into());
    w.post(&letter).await;
    let leased = w.lease_one().await;
    assert_eq!(leased.content, Content::Inline(content.into()));
    assert_eq!(*leased.message, letter.meta);
}

async fn content_of_no_octets_is_content_too(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    letter.meta.size = 0;
    letter.meta.crc32 = 0;
    letter.content = NewContent::Inline(Bytes::new());
    w.post(&letter).await;
    assert_eq!(w.lease_one().await.content, Content::Inline(Bytes::new()));
}

async fn chunks_come_back_in_order_octet_by_octet(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    let chunks = in_chunks(&mut letter, 2 * CHUNK_SIZE + 17);
    store_chunks(w, &letter, &chunks).await;
    w.post(&letter).await;
    let leased = w.lease_one().await;
    assert_eq!(leased.content, Content::Chunks(3));
    for (index, chunk) in (0..).zip(&chunks) {
        assert_eq!(w.store.chunk(letter.id, index).await.unwrap().as_ref(), Some(chunk), "chunk {index}");
    }
    assert_eq!(w.store.chunk(letter.id, 3).await.unwrap(), None);
}

async fn a_chunk_may_be_stored_twice(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    let chunks = in_chunks(&mut letter, CHUNK_SIZE + 5);
    store_chunks(w, &letter, &chunks).await;
    store_chunks(w, &letter, &chunks).await;
    w.post(&letter).await;
    assert_eq!(w.store.chunk(letter.id, 1).await.unwrap().as_ref(), chunks.last());
}

async fn a_missing_chunk_refuses_the_message(w: &mut World) {
    for missing in 0..3 {
        let mut letter = w.letter("north", "hop");
        let chunks = in_chunks(&mut letter, 2 * CHUNK_SIZE + 5);
        for (index, chunk) in (0..).zip(chunks).filter(|(index, _)| *index != missing) {
            w.store.put_chunk(letter.id, index, chunk, w.now).await.unwrap();
        }
        refused(w, &letter, &format!("without chunk {missing}")).await;
    }
}

async fn a_chunk_too_many_refuses_the_message(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    let mut chunks = in_chunks(&mut letter, CHUNK_SIZE + 5);
    chunks.push(Bytes::from_static(b"more"));
    store_chunks(w, &letter, &chunks).await;
    refused(w, &letter, "a chunk too many").await;
}

async fn chunks_of_another_length_or_checksum_refuse_the_message(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    let chunks = in_chunks(&mut letter, CHUNK_SIZE + 5);
    store_chunks(w, &letter, &chunks).await;
    let mut longer = letter.clone();
    longer.meta.size += 1;
    refused(w, &longer, "another length").await;
    let mut other = letter.clone();
    other.meta.crc32 ^= 1;
    refused(w, &other, "another checksum").await;
    w.enqueue(&letter).await;
}

async fn a_short_chunk_in_the_middle_refuses_the_message(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    let whole = in_chunks(&mut letter, 2 * CHUNK_SIZE).concat();
    let parts =
        [&whole[..CHUNK_SIZE - 1], &whole[CHUNK_SIZE - 1..2 * CHUNK_SIZE - 1], &whole[2 * CHUNK_SIZE - 1..]];
    letter.content = NewContent::Chunks(3);
    store_chunks(w, &letter, &parts.map(Bytes::copy_from_slice)).await;
    refused(w, &letter, "a short chunk in the middle").await;
}

async fn dropped_chunks_are_gone(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    let chunks = in_chunks(&mut letter, CHUNK_SIZE + 5);
    store_chunks(w, &letter, &chunks).await;
    w.store.drop_chunks(letter.id).await.unwrap();
    w.store.drop_chunks(letter.id).await.unwrap();
    refused(w, &letter, "dropped chunks").await;
}

async fn the_chunks_of_an_enqueued_message_are_not_dropped(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    let chunks = in_chunks(&mut letter, CHUNK_SIZE + 5);
    store_chunks(w, &letter, &chunks).await;
    w.enqueue(&letter).await;
    w.store.drop_chunks(letter.id).await.unwrap();
    assert_eq!(w.store.chunk(letter.id, 0).await.unwrap().as_ref(), chunks.first());
}

async fn chunks_that_are_never_enqueued_go_away(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    let chunks = in_chunks(&mut letter, CHUNK_SIZE + 5);
    w.store.put_chunk(letter.id, 0, chunks[0].clone(), w.now).await.unwrap();
    w.pass(ORPHAN_CHUNK_LIFE_MS - 1_000).await;
    w.reap().await;
    // Each chunk that is written gives the whole set its time again.
    w.store.put_chunk(letter.id, 1, chunks[1].clone(), w.now).await.unwrap();
    w.pass(ORPHAN_CHUNK_LIFE_MS - 1_000).await;
    w.reap().await;
    assert!(w.store.enqueue(w.node, letter, &[], w.now).await.is_ok(), "still there");
    let mut other = w.letter("north", "hop");
    let chunks = in_chunks(&mut other, CHUNK_SIZE + 5);
    store_chunks(w, &other, &chunks).await;
    w.pass(ORPHAN_CHUNK_LIFE_MS + 1_000).await;
    w.reap().await;
    let late = w.store.enqueue(w.node, other, &[], w.now).await;
    assert!(matches!(late, Err(StoreError::Refused(_))), "gone by now: {late:?}");
}

async fn the_chunks_of_an_enqueued_message_stay_for_ever(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    let chunks = in_chunks(&mut letter, CHUNK_SIZE + 5);
    store_chunks(w, &letter, &chunks).await;
    w.enqueue(&letter).await;
    w.pass(10 * ORPHAN_CHUNK_LIFE_MS).await;
    w.reap().await;
    assert_eq!(w.store.chunk(letter.id, 1).await.unwrap().as_ref(), chunks.last());
}

async fn content_goes_with_the_last_entry(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    letter.entries.push(new_entry("south", "other", &["one"], w.now));
    let chunks = in_chunks(&mut letter, CHUNK_SIZE + 5);
    store_chunks(w, &letter, &chunks).await;
    w.post(&letter).await;
    let leased = w.lease(10).await;
    assert_eq!(leased.len(), 2);
    w.settle(&w.delivered(&leased[0])).await;
    assert_eq!(w.store.chunk(letter.id, 0).await.unwrap().as_ref(), chunks.first());
    w.settle(&w.delivered(&leased[1])).await;
    assert_eq!(w.store.chunk(letter.id, 0).await.unwrap(), None);
    assert_eq!(w.store.chunk(letter.id, 1).await.unwrap(), None);
    assert!(w.list().await.is_empty());
}

async fn a_withdrawn_message_takes_its_chunks_along(w: &mut World) {
    let mut letter = w.letter("north", "hop");
    let chunks = in_chunks(&mut letter, CHUNK_SIZE + 5);
    store_chunks(w, &letter, &chunks).await;
    w.enqueue(&letter).await;
    assert_eq!(w.store.withdraw(letter.id, w.now).await.unwrap(), Withdrawn::Removed);
    assert_eq!(w.store.chunk(letter.id, 0).await.unwrap(), None);
}
