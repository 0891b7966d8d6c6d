//! The embedded store with 1,000,000 queued entries in 10,000 queues and lanes: time and memory of a start, of counts, of a release of all, of
//! leases. Run by hand: `cargo bench -p posthouse-queue --bench million [-- ENTRIES [QUEUES]]`. It writes about 1 KiB for each entry into a
//! temporary folder (`TMPDIR`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use posthouse_model::{Incarnation, MessageId, QueueName, ReversePath, Route, ShardId, Timestamp};
use posthouse_queue::{
    BodyType, EntryRecipient, Envelope, HoldReason, LeaseRequest, MessageMeta, NewContent, NewEntry,
    NewMessage, Origin, QueueMode, Release, ReleaseId, ReleaseScope, Store, embedded::EmbeddedStore,
};
use tokio::task::JoinSet;

const NOW: Timestamp = Timestamp(1_000_000);

/// Sessions that enqueue at the same time: they share syncs.
const SESSIONS: u64 = 256;

/// Every second entry is held, so that a release has as much to free as there is to lease at once.
const HELD: QueueMode = QueueMode { hold: Some(HoldReason::Scheduled), generation: 1 };

fn main() {
    if !std::env::args().any(|word| word == "--bench") {
        return; // `cargo test --benches` runs it too
    }
    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse::<u64>().ok());
    let (entries, queues) = (numbers.next().unwrap_or(1_000_000), numbers.next().unwrap_or(10_000));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();

    let store = open(folder.path(), "a new store");
    runtime.block_on(fill(&store, entries, queues));
    tell("filled", None);
    let end = Instant::now();
    drop(store);
    tell("closed", Some(end));

    let store = open(folder.path(), "opened from the index");
    runtime.block_on(ask(&store, queues));
}

fn open(folder: &std::path::Path, what: &str) -> Arc<EmbeddedStore> {
    let begun = Instant::now();
    let store = EmbeddedStore::open(folder).unwrap();
    tell(what, Some(begun));
    Arc::new(store)
}

async fn fill(store: &Arc<EmbeddedStore>, entries: u64, queues: u64) {
    let who = Incarnation([1; 16]);
    store.heartbeat(who, NOW).await.unwrap();
    let begun = Instant::now();
    let mut sessions = JoinSet::new();
    for session in 0..SESSIONS {
        let store = Arc::clone(store);
        sessions.spawn(async move {
            for number in (session..entries).step_by(usize::try_from(SESSIONS).unwrap()) {
                let id = MessageId::new(NOW.0, ShardId(0), number);
                store.enqueue(who, letter(id, number, queues), &[], NOW).await.unwrap();
                store.activate(&[id], NOW).await.unwrap();
            }
        });
    }
    while let Some(ended) = sessions.join_next().await {
        ended.unwrap();
    }
    tell("enqueued and activated", Some(begun));
}

async fn ask(store: &EmbeddedStore, queues: u64) {
    let who = Incarnation([2; 16]);
    store.heartbeat(who, NOW).await.unwrap();
    for what in ["counts of all", "counts of all, again"] {
        let begun = Instant::now();
        let counts = store.counts(None).await.unwrap();
        tell(what, Some(begun));
        println!("    {counts:?}");
    }
    let begun = Instant::now();
    store.counts(Some(&queue(queues / 2))).await.unwrap();
    tell("counts of one queue", Some(begun));

    lease(store, who, "1,000 leased").await;
    lease(store, who, "1,000 more").await;
    for (number, scope) in
        [ReleaseScope::Queue(queue(1)), ReleaseScope::All, ReleaseScope::All].into_iter().enumerate()
    {
        let id = ReleaseId([u8::try_from(number).unwrap(); 16]);
        let what = format!("released {scope:?}");
        let begun = Instant::now();
        let freed =
            store.release(&Release { id, scope, reason: HoldReason::Scheduled, at: NOW }).await.unwrap();
        tell(&what, Some(begun));
        println!("    {freed} freed");
    }
    let begun = Instant::now();
    let counts = store.counts(None).await.unwrap();
    tell("counts after the release", Some(begun));
    println!("    {counts:?}");
    for _ in 0..3 {
        lease(store, who, "1,000 leased after the release").await;
    }
}

async fn lease(store: &EmbeddedStore, who: Incarnation, what: &str) {
    let request = LeaseRequest { who, max: 1_000, max_per_lane: 10, skip: Vec::new(), claim: None };
    let begun = Instant::now();
    let leased = store.lease(&request, NOW).await.unwrap();
    tell(what, Some(begun));
    assert_eq!(leased.len(), 1_000, "{what}");
}

fn queue(number: u64) -> QueueName {
    QueueName::new(&format!("q{number}.example.org")).unwrap()
}

fn letter(id: MessageId, number: u64, queues: u64) -> NewMessage {
    let content = Bytes::from_static(b"Subject: one of many\r\n\r\nhello\r\n");
    let of = number % queues;
    NewMessage {
        id,
        meta: MessageMeta {
            envelope: Envelope {
                reverse_path: ReversePath::Null,
                body: BodyType::SevenBit,
                smtputf8: false,
                ret_full: None,
                envid: None,
                client: String::new(),
                login: None,
            },
            origin: Origin::Accepted,
            size: content.len() as u64,
            crc32: crc32fast::hash(&content),
            received_at: NOW,
        },
        content: NewContent::Inline(content),
        named: 1,
        entries: vec![NewEntry {
            queue: queue(of),
            mode: if number / queues % 2 == 1 { HELD } else { QueueMode::default() },
            route: Route {
                next_hop: format!("smtp:mx{of}.example.org:25").parse().unwrap(),
                origin: "a rule".to_owned(),
                waits: None,
            },
            source: String::new(),
            snapshot: [0; 16],
            recipients: vec![EntryRecipient {
                address: format!("user{number}@q{of}.example.org").parse().unwrap(),
                expanded_from: None,
                orcpt: None,
                notify: 0,
                last: None,
            }],
            transforms: Vec::new(),
            priority: 4,
            urgent: false,
            attend_at: Timestamp(u64::MAX),
        }],
    }
}

/// What was done, how long it took, and the memory of this process (`VmRSS`).
fn tell(what: &str, begun: Option<Instant>) {
    let took = begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64() * 1e3);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).map_or("?", str::trim);
    println!("{took:10.2} ms  {memory:>12}  {what}");
}
