//! The world of a sentence: a fresh store, a clock that only the test moves, letters, and short words for what nodes do.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use bytes::Bytes;
use posthouse_model::{EntryId, Incarnation, MessageId, QueueName, ReversePath, Route, ShardId, Timestamp};
use posthouse_queue::{
    BodyType, CHUNK_SIZE, Content, Counts, EntryRecipient, EntrySummary, Envelope, HoldReason, LaneSignal,
    LeaseRequest, LeaseToken, Leased, ListFilter, MessageMeta, NewContent, NewEntry, NewMessage, Origin,
    Outcome, QueueMode, QueueTotals, Release, ReleaseId, ReleaseScope, Remainder, Settled, Settlement, State,
    Store,
};

/// A store that a test has for itself.
#[async_trait]
pub(crate) trait Fixture: Send {
    /// The store, empty.
    async fn fresh(&mut self) -> Arc<dyn Store>;

    /// Ends the store and begins it again on what it has kept. Nobody uses the old one any more.
    async fn restart(&mut self, ended: Arc<dyn Store>) -> Arc<dyn Store>;
}

/// How a target makes fixtures.
pub(crate) type MakeFixture = Arc<dyn Fn() -> Box<dyn Fixture> + Send + Sync>;

/// Far enough that nothing of a test happens after it by chance.
pub(crate) const FAR: u64 = 1_000_000_000;

/// What a sentence works with.
pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) now: Timestamp,
    /// A node with a live heartbeat.
    pub(crate) node: Incarnation,
    fixture: Box<dyn Fixture>,
    names: u64,
    incarnations: Vec<Incarnation>,
}

impl World {
    pub(crate) async fn begin(mut fixture: Box<dyn Fixture>) -> Self {
        let store = fixture.fresh().await;
        let now = store.time().await.unwrap();
        let mut world =
            Self { store, now, node: Incarnation([0; 16]), fixture, names: 0, incarnations: Vec::new() };
        world.node = world.another_node().await;
        world
    }

    /// Ends the store and begins it again.
    pub(crate) async fn restart(&mut self) {
        let ended = std::mem::replace(&mut self.store, Arc::new(super::model::Model::new()));
        self.store = self.fixture.restart(ended).await;
    }

    /// Time passes, and every node that lives keeps living. A long time passes at one go: nobody reaps meanwhile, so nobody is dead.
    pub(crate) async fn pass(&mut self, ms: u64) {
        let mut left = ms;
        while left > 0 {
            let step = if left > 100_000 { left } else { left.min(9_000) };
            self.now.0 += step;
            left -= step;
            for who in &self.incarnations {
                self.store.heartbeat(*who, self.now).await.unwrap();
            }
        }
    }

    /// Time passes and nobody's heart beats.
    pub(crate) fn silence(&mut self, ms: u64) {
        self.now.0 += ms;
    }

    /// One more node with a live heartbeat.
    pub(crate) async fn another_node(&mut self) -> Incarnation {
        let who = Incarnation(u128::from(self.name()).to_be_bytes());
        self.store.heartbeat(who, self.now).await.unwrap();
        self.incarnations.push(who);
        who
    }

    /// A node's heart stops, and somebody notices.
    pub(crate) async fn dies(&mut self, who: Incarnation) -> posthouse_queue::Reaped {
        self.forget(who);
        self.pass(posthouse_queue::HEARTBEAT_LIFE_MS + 1).await;
        self.reap().await
    }

    /// A node ends in good order.
    pub(crate) async fn departs(&mut self, who: Incarnation) -> posthouse_queue::Reaped {
        self.forget(who);
        self.store.depart(who, self.now).await.unwrap()
    }

    /// A node's heart beats no more.
    pub(crate) fn forget(&mut self, who: Incarnation) {
        self.incarnations.retain(|other| *other != who);
    }

    /// Reaps until there is nothing left to do.
    pub(crate) async fn reap(&mut self) -> posthouse_queue::Reaped {
        reap_all(&*self.store, self.now).await.unwrap()
    }

    /// A number that was not used before.
    pub(crate) fn name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    pub(crate) fn new_id(&mut self) -> MessageId {
        MessageId::new(self.now.0, ShardId(0), self.name())
    }

    /// A letter of one recipient to this queue by this next hop, urgent to nobody, with nothing to attend to for a long time.
    pub(crate) fn letter(&mut self, queue_name: &str, hop: &str) -> NewMessage {
        let id = self.new_id();
        let content = format!("Subject: letter {id}\r\n\r\nThe post is late again.\r\n");
        let entry = new_entry(queue_name, hop, &["resident"], self.now);
        message(id, content.into_bytes(), vec![entry], self.now)
    }

    /// Enqueues; the entries are incoming.
    pub(crate) async fn enqueue(&mut self, message: &NewMessage) -> MessageId {
        let enqueued = self.store.enqueue(self.node, message.clone(), &[], self.now).await.unwrap();
        assert!(!enqueued.duplicate, "{} was there already", message.id);
        assert_eq!(enqueued.leases, vec![None; message.entries.len()], "no fast path was asked for");
        message.id
    }

    /// Enqueues and confirms; answers the first entry.
    pub(crate) async fn post(&mut self, message: &NewMessage) -> EntryId {
        let id = self.enqueue(message).await;
        self.store.activate(&[id], self.now).await.unwrap();
        id.entry(0)
    }

    /// A letter that is due.
    pub(crate) async fn due(&mut self, queue: &str, hop: &str) -> EntryId {
        let letter = self.letter(queue, hop);
        self.post(&letter).await
    }

    /// A letter that is held for this reason, by its own mode.
    pub(crate) async fn held(&mut self, queue: &str, reason: HoldReason) -> EntryId {
        let mut letter = self.letter(queue, "hop");
        letter.entries[0].mode = QueueMode { hold: Some(reason), generation: 1 };
        self.post(&letter).await
    }

    /// Sets the queue's mode in the store, under a generation newer than any letter's.
    pub(crate) async fn mode(&mut self, queue: &str, hold: Option<HoldReason>) {
        let generation = 1_000 + self.name();
        self.tell(generation, &[(queue, hold)]).await;
    }

    /// Tells the modes of queues under this generation; answers the one that was told before.
    pub(crate) async fn tell(&self, generation: u64, modes: &[(&str, Option<HoldReason>)]) -> u64 {
        let modes: Vec<_> = modes.iter().map(|(queue, hold)| (queue_name(queue), *hold)).collect();
        self.store.set_queue_modes(generation, &modes, self.now).await.unwrap()
    }

    pub(crate) fn request(&self, max: u32) -> LeaseRequest {
        LeaseRequest { who: self.node, max, max_per_lane: max, skip: Vec::new(), claim: None }
    }

    pub(crate) async fn lease(&self, max: u32) -> Vec<Leased> {
        self.store.lease(&self.request(max), self.now).await.unwrap()
    }

    /// Leases what must be exactly one entry.
    pub(crate) async fn lease_one(&self) -> Leased {
        let mut leased = self.lease(10).await;
        assert_eq!(leased.len(), 1, "one entry is to be leased: {:?}", ids(&leased));
        leased.remove(0)
    }

    pub(crate) async fn nothing_to_lease(&self) {
        let leased = self.lease(10).await;
        assert!(leased.is_empty(), "nothing is to be leased, but {:?} were", ids(&leased));
    }

    /// Leases exactly these entries, in whatever order.
    pub(crate) async fn nothing_but(&self, expected: &[EntryId]) {
        let mut found = ids(&self.lease(100).await);
        found.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "what is to be leased");
    }

    /// What a node has in hand of an entry that it leased as it enqueued it.
    pub(crate) async fn fast_lease(&mut self, id: EntryId, token: LeaseToken) -> Leased {
        let entry = self.summary(id).await.entry.expect("its record can be read");
        let like = self.letter("like", "it");
        let NewContent::Inline(content) = like.content else { unreachable!() };
        Leased {
            entry: Arc::new(entry),
            message: Arc::new(like.meta),
            content: Content::Inline(content),
            token,
            attend: false,
            probe: false,
            held: false,
        }
    }

    /// All recipients delivered.
    pub(crate) fn delivered(&self, leased: &Leased) -> Settlement {
        Settlement {
            outcomes: vec![Outcome::Delivered; leased.entry.recipients.len()],
            ..self.deferred(leased, Remainder::GiveBack)
        }
    }

    /// No recipient settled, and this with the rest.
    pub(crate) fn deferred(&self, leased: &Leased, remainder: Remainder) -> Settlement {
        Settlement {
            who: self.node,
            entry: Arc::clone(&leased.entry),
            token: leased.token,
            outcomes: vec![Outcome::Deferred(None); leased.entry.recipients.len()],
            remainder,
            lane: LaneSignal::None,
            attend_at: leased.entry.attend_at,
            delay_warned: leased.entry.delay_warned,
            child: None,
        }
    }

    pub(crate) async fn settle(&self, settlement: &Settlement) {
        assert_eq!(self.store.settle(settlement, self.now).await.unwrap(), Settled::Done);
    }

    pub(crate) async fn stale(&self, settlement: &Settlement) {
        assert_eq!(self.store.settle(settlement, self.now).await.unwrap(), Settled::Stale);
    }

    /// Attempts what must be the one entry to lease, and backs its lane off until then.
    pub(crate) async fn back_off(&self, until: u64) -> EntryId {
        let leased = self.lease_one().await;
        let until = Timestamp(until);
        let settlement = Settlement {
            lane: LaneSignal::BackOff(until),
            ..self.deferred(&leased, Remainder::Defer(until))
        };
        self.settle(&settlement).await;
        leased.entry.id
    }

    /// A release of one queue.
    pub(crate) fn release_of(&mut self, queue: &str, reason: HoldReason) -> Release {
        let scope = ReleaseScope::Queue(queue_name(queue));
        Release { id: ReleaseId(u128::from(self.name()).to_be_bytes()), scope, reason, at: self.now }
    }

    pub(crate) async fn release(&mut self, queue: &str, reason: HoldReason) -> u64 {
        let release = self.release_of(queue, reason);
        self.store.release(&release).await.unwrap()
    }

    pub(crate) async fn counts(&self) -> Counts {
        self.store.counts(None).await.unwrap()
    }

    pub(crate) async fn summary(&self, id: EntryId) -> EntrySummary {
        self.store.show(id).await.unwrap().expect("the entry is there")
    }

    pub(crate) async fn state(&self, id: EntryId) -> State {
        self.summary(id).await.state
    }

    pub(crate) async fn list(&self) -> Vec<EntrySummary> {
        list_all(&*self.store, &ListFilter::default()).await.unwrap()
    }

    /// I1 at the end of a sentence: it balances, and what is said to be queued is what is there, once all is confirmed.
    pub(crate) async fn recount(&mut self) {
        let listed = self.list().await;
        let messages: BTreeSet<MessageId> = listed.iter().map(|summary| summary.id.message).collect();
        let messages: Vec<MessageId> = messages.into_iter().collect();
        assert!(self.store.accounting().await.unwrap().balances());
        self.store.activate(&messages, self.now).await.unwrap();
        let accounting = self.store.accounting().await.unwrap();
        assert!(accounting.balances(), "{accounting:?}");
        let listed = self.list().await;
        let recipients =
            listed.iter().filter_map(|summary| Some(summary.entry.as_ref()?.recipients.len() as u64));
        assert_eq!(accounting.queued, recipients.sum::<u64>(), "queued, recounted");
        let counts = self.counts().await;
        let Counts { incoming, due, deferred, held, active } = counts;
        assert_eq!(incoming, 0, "all is confirmed: {counts:?}");
        assert_eq!(due + deferred + held + active, listed.len() as u64, "entries, recounted: {counts:?}");
    }
}

/// Reaps until a call has nothing to do.
pub(crate) async fn reap_all(
    store: &dyn Store,
    now: Timestamp,
) -> Result<posthouse_queue::Reaped, posthouse_queue::StoreError> {
    let mut all = posthouse_queue::Reaped::default();
    loop {
        let reaped = store.reap(now).await?;
        if reaped == posthouse_queue::Reaped::default() {
            return Ok(all);
        }
        all.incarnations += reaped.incarnations;
        all.leases += reaped.leases;
        all.activated += reaped.activated;
    }
}

/// Reads the totals of all queues, some at a time, by name.
pub(crate) async fn all_totals(
    store: &dyn Store,
) -> Result<BTreeMap<QueueName, QueueTotals>, posthouse_queue::StoreError> {
    let (mut all, mut from) = (BTreeMap::new(), 0);
    loop {
        let page = store.queue_totals(from, 2).await?;
        all.extend(page.queues.into_iter().map(|totals| (totals.queue.clone(), totals)));
        match page.next {
            Some(next) => from = next,
            None => return Ok(all),
        }
    }
}

/// Reads a whole list, some entries at a time; each entry once.
pub(crate) async fn list_all(
    store: &dyn Store,
    filter: &ListFilter,
) -> Result<Vec<EntrySummary>, posthouse_queue::StoreError> {
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let page = store.list(filter, from, 97).await?;
        all.extend(page.entries);
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    all.sort_by_key(|summary| summary.id);
    all.dedup_by_key(|summary| summary.id);
    Ok(all)
}

pub(crate) fn ids(leased: &[Leased]) -> Vec<EntryId> {
    leased.iter().map(|leased| leased.entry.id).collect()
}

pub(crate) fn queue_name(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

pub(crate) fn recipient(local: &str, domain: &str) -> EntryRecipient {
    EntryRecipient {
        address: format!("{local}@{domain}.example").parse().unwrap(),
        expanded_from: None,
        orcpt: None,
        notify: 0,
        last: None,
    }
}

pub(crate) fn new_entry(queue: &str, hop: &str, recipients: &[&str], now: Timestamp) -> NewEntry {
    NewEntry {
        queue: queue_name(queue),
        mode: QueueMode::default(),
        route: Route {
            next_hop: format!("smtp:{hop}.example:25").parse().unwrap(),
            origin: format!("MailDomain mail/{queue}"),
            waits: None,
        },
        source: String::new(),
        snapshot: [7; 16],
        recipients: recipients.iter().map(|local| recipient(local, queue)).collect(),
        transforms: Vec::new(),
        priority: 4,
        urgent: false,
        attend_at: Timestamp(now.0 + FAR),
    }
}

pub(crate) fn message(id: MessageId, content: Vec<u8>, entries: Vec<NewEntry>, now: Timestamp) -> NewMessage {
    let named = entries.iter().map(|entry| entry.recipients.len()).sum::<usize>();
    NewMessage {
        id,
        meta: MessageMeta {
            envelope: Envelope {
                reverse_path: ReversePath::from(
                    "sender@origin.example".parse::<posthouse_model::Mailbox>().unwrap(),
                ),
                body: BodyType::SevenBit,
                smtputf8: false,
                ret_full: None,
                envid: None,
                client: "192.0.2.7".into(),
                login: None,
            },
            origin: Origin::Accepted,
            size: content.len() as u64,
            crc32: crc32fast::hash(&content),
            received_at: now,
        },
        content: NewContent::Inline(content.into()),
        named: u32::try_from(named).unwrap(),
        entries,
    }
}

/// Turns a letter's content into this much that has to be stored in chunks before; answers the chunks.
pub(crate) fn in_chunks(letter: &mut NewMessage, octets: usize) -> Vec<Bytes> {
    let content: Vec<u8> = (0..octets).map(|place| b' ' + u8::try_from(place % 90).unwrap()).collect();
    letter.meta.size = content.len() as u64;
    letter.meta.crc32 = crc32fast::hash(&content);
    let chunks: Vec<Bytes> = content.chunks(CHUNK_SIZE).map(Bytes::copy_from_slice).collect();
    letter.content = NewContent::Chunks(u32::try_from(chunks.len()).unwrap());
    chunks
}

/// Runs one future on a runtime of its own.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    // One thread: trials run beside each other already, and handing every reply from thread to thread takes longer than the store.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(future);
    runtime.shutdown_timeout(Duration::from_secs(5));
    outcome
}

/// The wall clock, for seeds and for a base that stores with a clock of their own agree with.
pub(crate) fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}
