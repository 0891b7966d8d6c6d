//! The store as a whole: what a crash leaves, what a compaction keeps, what a full disk still allows.

mod damage;
mod index;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use bytes::Bytes;
use posthouse_model::{Incarnation, MessageId, QueueName, ReversePath, Route, Timestamp};

use super::{EmbeddedStore, Options, SHARD};
use crate::{
    BodyType, Content, Counts, EntryRecipient, Envelope, LaneSignal, LeaseRequest, Leased, MessageMeta,
    NewContent, NewEntry, NewMessage, Origin, Outcome, QueueMode, Reaped, Remainder, Settled, Settlement,
    Store, StoreError,
};

const NODE: Incarnation = Incarnation([7; 16]);
const NEXT: Incarnation = Incarnation([8; 16]);
const NOW: Timestamp = Timestamp(1_000_000);
const SMALL: Options = Options { segment_size: 1 << 20, quota: None };

impl EmbeddedStore {
    /// Ends the store as a killed process would: nothing more is written.
    fn crash(mut self) {
        self.end(false);
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

fn id(number: u64) -> MessageId {
    MessageId::new(NOW.0, SHARD, number)
}

fn letter(number: u64, content: &[u8]) -> NewMessage {
    let recipient = EntryRecipient {
        address: "user@example.org".parse().unwrap(),
        expanded_from: None,
        orcpt: None,
        notify: 0,
        last: None,
    };
    NewMessage {
        id: id(number),
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
            crc32: crc32fast::hash(content),
            received_at: NOW,
        },
        content: NewContent::Inline(Bytes::copy_from_slice(content)),
        named: 1,
        entries: vec![NewEntry {
            queue: QueueName::new("example.org").unwrap(),
            mode: QueueMode::default(),
            route: Route {
                next_hop: "smtp:mx.example.org:25".parse().unwrap(),
                origin: "a rule".to_owned(),
                waits: None,
            },
            source: String::new(),
            snapshot: [0; 16],
            recipients: vec![recipient],
            transforms: Vec::new(),
            priority: 4,
            urgent: false,
            attend_at: Timestamp(u64::MAX),
        }],
    }
}

fn settlement(leased: &Leased, outcome: Outcome) -> Settlement {
    Settlement {
        who: NODE,
        entry: Arc::clone(&leased.entry),
        token: leased.token,
        outcomes: vec![outcome],
        remainder: Remainder::Defer(Timestamp(NOW.0 + 60_000)),
        lane: LaneSignal::None,
        attend_at: Timestamp(u64::MAX),
        delay_warned: false,
        child: None,
    }
}

async fn lease_all(store: &EmbeddedStore) -> Vec<Leased> {
    lease(store, NODE, 1_000).await
}

async fn lease(store: &EmbeddedStore, who: Incarnation, max: u32) -> Vec<Leased> {
    let request = LeaseRequest { who, max, max_per_lane: max, skip: Vec::new(), claim: None };
    store.lease(&request, NOW).await.unwrap()
}

fn open(folder: &Path, options: Options) -> EmbeddedStore {
    open_as(NODE, folder, options)
}

fn open_as(who: Incarnation, folder: &Path, options: Options) -> EmbeddedStore {
    let store = EmbeddedStore::open_with(folder, options).unwrap();
    run(store.heartbeat(who, NOW)).unwrap();
    store
}

/// Takes over what those before had: reaps until a call has nothing to do.
fn reap(store: &EmbeddedStore) -> Reaped {
    let mut all = Reaped::default();
    loop {
        let reaped = run(store.reap(Timestamp(NOW.0 + 1_000))).unwrap();
        if reaped == Reaped::default() {
            return all;
        }
        all.incarnations += reaped.incarnations;
        all.leases += reaped.leases;
        all.activated += reaped.activated;
    }
}

fn first_segment(folder: &Path) -> std::path::PathBuf {
    folder.join("log/0000000001.seg")
}

/// Three messages: one relayed, one deferred, one not confirmed.
fn three(folder: &Path) {
    let store = open(folder, SMALL);
    run(async {
        for number in 0..3 {
            store.enqueue(NODE, letter(number, b"hello\r\n"), &[], NOW).await.unwrap();
        }
        store.activate(&[id(0), id(1)], NOW).await.unwrap();
        let leased = lease_all(&store).await;
        assert_eq!(leased.len(), 2);
        assert!(matches!(&leased[0].content, Content::Inline(content) if content == b"hello\r\n".as_slice()));
        store.settle(&settlement(&leased[0], Outcome::Relayed), NOW).await.unwrap();
        store.settle(&settlement(&leased[1], Outcome::Deferred(None)), NOW).await.unwrap();
    });
    store.crash();
}

#[test]
fn after_a_crash_everything_that_was_answered_is_there() {
    let folder = tempfile::tempdir().unwrap();
    three(folder.path());
    let store = open(folder.path(), SMALL);
    let counts = run(store.counts(None)).unwrap();
    assert_eq!(counts, Counts { incoming: 1, deferred: 1, ..Counts::default() });
    let accounting = run(store.accounting()).unwrap();
    assert_eq!((accounting.accepted, accounting.relayed, accounting.queued), (2, 1, 1));
    assert_eq!(reap(&store), Reaped { incarnations: 1, leases: 0, activated: 1 });
    let counts = run(store.counts(None)).unwrap();
    assert_eq!(counts, Counts { due: 1, deferred: 1, ..Counts::default() });
    let accounting = run(store.accounting()).unwrap();
    assert!(accounting.balances(), "{accounting:?}");
    assert_eq!((accounting.accepted, accounting.relayed, accounting.queued), (3, 1, 2));
}

/// Leased in every way there is, and a lease that was given back; then the store ends. What was under way is found so, twice.
fn leased_is_found_after(end: fn(EmbeddedStore)) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), SMALL);
    let given = run(async {
        for number in 0..4 {
            store.enqueue(NODE, letter(number, b"x"), &[], NOW).await.unwrap();
            store.activate(&[id(number)], NOW).await.unwrap();
        }
        let lanes = lease(&store, NODE, 2).await;
        let entry = store.lease_entry(NODE, id(2).entry(0), NOW).await.unwrap().unwrap();
        let back =
            Settlement { remainder: Remainder::GiveBack, ..settlement(&entry, Outcome::Deferred(None)) };
        assert_eq!(store.settle(&back, NOW).await.unwrap(), Settled::Done);
        store.lease_entry(NODE, id(3).entry(0), NOW).await.unwrap().unwrap();
        lanes
    });
    let mut fast = letter(4, b"x");
    fast.entries[0].route.next_hop = "smtp:mx.example.net:25".parse().unwrap();
    assert!(run(store.enqueue(NODE, fast, &[0], NOW)).unwrap().leases[0].is_some());
    run(store.enqueue(NODE, letter(5, b"x"), &[], NOW)).unwrap();
    end(store);

    let found = Counts { active: 4, due: 1, incoming: 1, ..Counts::default() };
    for _ in 0..2 {
        let store = EmbeddedStore::open_with(folder.path(), SMALL).unwrap();
        assert_eq!(run(store.counts(None)).unwrap(), found);
        end(store);
    }
    let store = open_as(NEXT, folder.path(), SMALL);
    assert!(matches!(run(store.heartbeat(NODE, NOW)), Err(StoreError::Departed)));
    let settled = run(store.settle(&settlement(&given[0], Outcome::Relayed), NOW)).unwrap();
    assert_eq!(settled, Settled::Stale, "nobody settles for the process of before");
    assert_eq!(run(store.reap(Timestamp(NOW.0 + 999))).unwrap(), Reaped::default());
    assert_eq!(run(store.counts(None)).unwrap(), found);
    let reaped = reap(&store);
    assert_eq!((reaped.leases, reaped.activated), (4, 1));
    assert_eq!(run(store.counts(None)).unwrap(), Counts { due: 6, ..Counts::default() });
    let accounting = run(store.accounting()).unwrap();
    assert!(accounting.balances() && accounting.accepted == 6, "{accounting:?}");
    end(store);
    let store = open_as(NEXT, folder.path(), SMALL);
    assert_eq!(run(store.counts(None)).unwrap(), Counts { due: 6, ..Counts::default() }, "once is enough");
}

#[test]
fn what_was_leased_when_the_process_was_killed_is_active_until_it_is_reaped() {
    leased_is_found_after(|store| {
        // Nothing of a lease is waited for: the kill comes when it is in the file.
        let ((), done) = store.shared.step(super::core::Until::Written, |_| Ok(())).unwrap();
        if let Some(done) = done {
            done.blocking_recv().unwrap().unwrap();
        }
        store.crash();
    });
}

#[test]
fn a_checkpoint_forgets_no_lease() {
    leased_is_found_after(drop);
}

#[test]
fn a_log_that_is_cut_or_torn_anywhere_opens_and_balances() {
    let folder = tempfile::tempdir().unwrap();
    three(folder.path());
    let whole = fs::read(first_segment(folder.path())).unwrap();
    let end = whole.iter().rposition(|octet| *octet != 0).unwrap() + 1;
    for (torn, cut) in (64..end).step_by(41).flat_map(|cut| [(false, cut), (true, cut)]) {
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(copy.path().join("log")).unwrap();
        fs::copy(folder.path().join("index.redb"), copy.path().join("index.redb")).unwrap();
        let mut octets = whole.clone();
        octets[cut..].fill(if torn { 0x5a } else { 0 });
        fs::write(first_segment(copy.path()), octets).unwrap();
        let store = open_as(NEXT, copy.path(), SMALL);
        let accounting = run(store.accounting()).unwrap();
        assert!(accounting.balances(), "cut at {cut}: {accounting:?}");
        reap(&store);
        let accounting = run(store.accounting()).unwrap();
        assert!(accounting.balances(), "cut at {cut}, reaped: {accounting:?}");
        assert_eq!(run(store.counts(None)).unwrap().active, 0, "cut at {cut}");
        run(store.enqueue(NEXT, letter(9, b"after"), &[], NOW)).unwrap();
        store.crash();
        let store = EmbeddedStore::open_with(copy.path(), SMALL).unwrap();
        assert!(run(store.show(id(9).entry(0))).unwrap().is_some(), "cut at {cut}");
    }
}

#[test]
fn tokens_grow_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..4 {
        let who = Incarnation(u128::from(round + 1).to_be_bytes());
        let store = open_as(who, folder.path(), SMALL);
        run(store.enqueue(who, letter(round, b"x"), &[], NOW)).unwrap();
        run(store.activate(&[id(round)], NOW)).unwrap();
        let token = run(lease(&store, who, 10)).iter().map(|leased| leased.token.0).min().unwrap();
        assert!(token > last);
        last = token;
        if round % 2 == 0 { store.crash() } else { drop(store) }
    }
}

#[test]
fn segments_are_freed_and_what_little_is_left_in_one_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let content = vec![b'x'; 40_000];
    let store = open(folder.path(), SMALL);
    run(async {
        for number in 0..200 {
            store.enqueue(NODE, letter(number, &content), &[], NOW).await.unwrap();
            store.activate(&[id(number)], NOW).await.unwrap();
            if number % 20 != 0 {
                let leased = store.lease_entry(NODE, id(number).entry(0), NOW).await.unwrap().unwrap();
                store.settle(&settlement(&leased, Outcome::Relayed), NOW).await.unwrap();
            }
        }
    });
    drop(store);
    // A clean close took a checkpoint; the housekeeper compacts at the next one.
    let opened = super::recovery::open(folder.path(), SMALL).unwrap();
    let shared = Arc::new(opened.shared);
    let (committing, current) = (shared.clone(), opened.current);
    let committer = std::thread::spawn(move || super::committer::run(&committing, current));
    let before = shared.segments.numbers().len();
    super::compaction::run(&shared).unwrap();
    super::housekeeper::checkpoint(&shared, &opened.index).unwrap();
    super::compaction::run(&shared).unwrap();
    let after = shared.segments.numbers().len();
    assert!(after < before, "{before} segments, then {after}");
    shared.lock_anyway().stopping = true;
    shared.work.notify_one();
    committer.join().unwrap();
    drop((shared, opened.index, opened.lock));
    let store = open(folder.path(), SMALL);
    let leased = run(lease_all(&store));
    assert_eq!(leased.len(), 10);
    assert!(leased.iter().all(|leased| leased.content == Content::Inline(content.clone().into())));
}

#[test]
fn a_full_disk_refuses_mail_and_still_settles() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), Options { quota: Some(2 << 20), ..SMALL });
    run(async {
        let content = vec![b'x'; 40_000];
        let mut taken = 0;
        let refused = loop {
            match store.enqueue(NODE, letter(taken, &content), &[], NOW).await {
                Ok(_) => taken += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, StoreError::Full(_)) && taken > 20, "{taken}: {refused}");
        let ids: Vec<MessageId> = (0..taken).map(id).collect();
        store.activate(&ids, NOW).await.unwrap();
        for leased in lease_all(&store).await {
            let settled = store.settle(&settlement(&leased, Outcome::Relayed), NOW).await.unwrap();
            assert_eq!(settled, Settled::Done);
        }
        assert_eq!(store.counts(None).await.unwrap(), Counts::default());
    });
}

#[test]
fn one_folder_is_one_process_and_nobody_elses_to_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), SMALL);
    let second = EmbeddedStore::open_with(folder.path(), SMALL).err().unwrap().to_string();
    assert!(second.contains(folder.path().to_str().unwrap()) && second.contains("in use"), "{second}");
    for (name, mode) in
        [("", 0o700), ("log", 0o700), ("content", 0o700), ("index.redb", 0o600), ("lock", 0o600)]
    {
        let found = folder.path().join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }
    drop(store);
    drop(open(folder.path(), SMALL));
}
