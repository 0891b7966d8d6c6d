//! A node that delivers from an embedded store, on a clock that stands still but for what the saboteurs let pass: what takes minutes on the wire takes none
//! here, and nothing is lost to a slow machine.

use std::{
    sync::{Arc, mpsc as blocking},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use posthouse_config::{
    AuthenticationMethod, ClientTls, Credentials, Gateway, Match, RelayRule, RuleTarget, Secret, Snapshot,
    SnapshotHash, Tier, TlsMode,
};
use posthouse_model::{
    HopTls, HostPort, MessageId, NextHop, Notify, QueueName, Route, Security, Timestamp, Transport,
};
use posthouse_node::{
    activator::Activator,
    delivery::{Delivery, scheduler, settler::Settler},
    metrics::Metrics,
    node::Node,
    policy::Policy,
    presence::Presence,
};
use posthouse_queue::{
    Accounting, BodyType, CHUNK_SIZE, EntryRecipient, EntrySummary, Envelope, ListFilter, MessageMeta,
    NewContent, NewEntry, NewMessage, Origin, QueueMode, Store, embedded::EmbeddedStore,
};
use posthouse_tests::{saboteur::Clock, wait::SOON};
use tempfile::TempDir;
use tokio::{sync::mpsc, task, time};
use tokio_util::sync::CancellationToken;

/// Between two looks at the store, in real time.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Between two heartbeats, in real time: leases live by it.
const BEAT_EVERY: Duration = Duration::from_secs(2);

/// Who gets the notifications. They wait, and are counted.
const SENDER: &str = "a@src.test";

/// Time that is to pass, and who waits for it.
struct Order {
    span: Duration,
    done: blocking::Sender<()>,
}

/// The node.
pub(crate) struct World {
    pub(crate) node: Arc<Node>,
    store: Arc<dyn Store>,
    policy: Arc<Policy>,
    orders: mpsc::UnboundedReceiver<Order>,
    clock: Clock,
    beaten: Instant,
    messages: u64,
    stop: CancellationToken,
    /// While this is there, the clock does not go by itself.
    _standstill: blocking::Sender<()>,
    _folder: TempDir,
}

/// A message to send.
pub(crate) struct Letter<'l> {
    /// The hosts of its next hop.
    pub(crate) hosts: Vec<HostPort>,
    pub(crate) transport: Transport,
    /// By the rule, which has a login.
    pub(crate) login: bool,
    pub(crate) tls: HopTls,
    /// Local parts of its recipients, at `dst.test`.
    pub(crate) to: &'l [&'l str],
    pub(crate) body: BodyType,
    /// Octets of content.
    pub(crate) size: usize,
}

/// A message on its way.
#[derive(Clone)]
pub(crate) struct Sent {
    queue: QueueName,
}

impl World {
    /// A node that works; in a runtime of one thread, whose clock was paused.
    pub(crate) async fn new() -> Self {
        let (standstill, end) = blocking::channel::<()>();
        // tokio's clock goes by itself as long as nothing blocks.
        task::spawn_blocking(move || end.recv());
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
        let (metrics, stop) = (Arc::new(Metrics::new()), CancellationToken::new());
        let presence = Arc::new(Presence::new(Arc::clone(&store)));
        let settler = Settler::new(Arc::clone(&store), Arc::clone(&presence), Arc::clone(&metrics));
        let delivery = Delivery::new(settler, stop.clone());
        let presence_of_node = Arc::clone(&presence);
        let node = Node::new(Arc::clone(&store), presence_of_node, metrics, delivery, Activator::new().0);
        node.delivery.attach(&node);
        let policy = Arc::new(Policy::of(Arc::new(snapshot("right")), SnapshotHash::of(b"1"), None).unwrap());
        node.set_policy(Arc::clone(&policy));
        tokio::spawn(Arc::clone(&presence).keep(stop.clone()));
        while !presence.answers() {
            task::yield_now().await;
        }
        tokio::spawn(scheduler::run(Arc::clone(&node)));
        let (clock, orders) = clock();
        Self {
            node,
            store,
            policy,
            orders,
            clock,
            beaten: Instant::now(),
            messages: 0,
            stop,
            _standstill: standstill,
            _folder: folder,
        }
    }

    /// Time as the node knows it.
    pub(crate) fn clock(&self) -> Clock {
        Arc::clone(&self.clock)
    }

    /// Queues a message: it is attempted at once.
    pub(crate) async fn send(&mut self, letter: &Letter<'_>) -> Sent {
        let now = self.node.presence.now();
        self.messages += 1;
        let id = MessageId::new(now.0, self.store.shards()[0], self.messages);
        let queue = QueueName::new(&format!("q{}.test", self.messages)).unwrap();
        let content = content(letter.size);
        let meta = MessageMeta {
            envelope: Envelope {
                reverse_path: format!("<{SENDER}>").parse().unwrap(),
                body: letter.body,
                smtputf8: false,
                ret_full: None,
                envid: None,
                client: String::new(),
                login: None,
            },
            origin: Origin::Accepted,
            size: content.len() as u64,
            crc32: crc32fast::hash(&content),
            received_at: now,
        };
        let content = self.stored(id, content).await;
        let named = u32::try_from(letter.to.len()).unwrap();
        let entries = vec![self.entry(queue.clone(), letter, now)];
        let who = self.node.presence.life().incarnation();
        let message = NewMessage { id, meta, content, named, entries };
        self.store.enqueue(who, message, &[], now).await.unwrap();
        self.store.activate(&[id], now).await.unwrap();
        Sent { queue }
    }

    /// Waits until nothing is attempted any more, and lets that time pass which saboteurs want to pass.
    pub(crate) async fn settled(&mut self, sent: &Sent) {
        let until = Instant::now() + SOON * 2;
        loop {
            let counts = self.store.counts(Some(&sent.queue)).await.unwrap();
            if counts.incoming + counts.due + counts.active == 0 {
                return;
            }
            assert!(Instant::now() < until, "still {counts:?}");
            self.moment().await;
        }
    }

    /// Waits for what a saboteur does.
    pub(crate) async fn until(&mut self, is_so: impl Fn() -> bool) {
        let until = Instant::now() + SOON;
        while !is_so() {
            assert!(Instant::now() < until, "it does not do it");
            self.moment().await;
        }
    }

    /// Has what is deferred attempted again, and waits until that is over.
    pub(crate) async fn retry(&mut self, sent: &Sent) {
        self.store.retry(Some(&sent.queue), self.node.presence.now()).await.unwrap();
        self.settled(sent).await;
    }

    /// What is still in the queue of a message.
    pub(crate) async fn entries(&self, sent: &Sent) -> Vec<EntrySummary> {
        let filter = ListFilter { queue: Some(sent.queue.clone()), state: None };
        let (mut entries, mut from) = (Vec::new(), Some(0));
        while let Some(place) = from {
            let page = self.store.list(&filter, place, 100).await.unwrap();
            entries.extend(page.entries);
            from = page.next;
        }
        entries
    }

    pub(crate) async fn accounting(&self) -> Accounting {
        self.store.accounting().await.unwrap()
    }

    /// Lets time pass until every connection that rests has said QUIT.
    pub(crate) async fn part(&mut self) {
        for _ in 0..6 {
            time::advance(Duration::from_secs(1)).await;
            self.moment().await;
        }
    }

    /// Puts other credentials in force.
    pub(crate) fn change_password(&mut self, password: &str) {
        let snapshot = Arc::new(snapshot(password));
        let policy = Policy::of(snapshot, SnapshotHash::of(b"1"), Some(&self.policy)).unwrap();
        self.policy = Arc::new(policy);
        self.node.set_policy(Arc::clone(&self.policy));
    }

    /// A moment of real time; the clock goes on by what is asked for meanwhile.
    async fn moment(&mut self) {
        if self.beaten.elapsed() > BEAT_EVERY {
            self.node.presence.begin().await.unwrap();
            self.beaten = Instant::now();
        }
        let real = task::spawn_blocking(|| thread::sleep(LOOK_EVERY));
        tokio::pin!(real);
        loop {
            tokio::select! {
                biased;
                Some(order) = self.orders.recv() => {
                    if order.span.is_zero() {
                        // The runtime has nothing to do then, and so looks at its sockets.
                        task::spawn_blocking(|| thread::sleep(LOOK_EVERY)).await.unwrap();
                    }
                    time::advance(order.span).await;
                    let _ = order.done.send(()); // the saboteur may have ended
                }
                _ = &mut real => return,
            }
        }
    }

    async fn stored(&self, id: MessageId, content: Bytes) -> NewContent {
        if content.len() <= CHUNK_SIZE {
            return NewContent::Inline(content);
        }
        let mut chunks = 0;
        for chunk in content.chunks(CHUNK_SIZE) {
            let (chunk, now) = (Bytes::copy_from_slice(chunk), self.node.presence.now());
            self.store.put_chunk(id, chunks, chunk, now).await.unwrap();
            chunks += 1;
        }
        NewContent::Chunks(chunks)
    }

    fn entry(&self, queue: QueueName, letter: &Letter<'_>, now: Timestamp) -> NewEntry {
        let rule = letter.login.then(|| "mail/rule".into());
        let security = Security { tls: letter.tls, rule, ..Security::default() };
        let next_hop = NextHop { security, ..NextHop::new(letter.transport, letter.hosts.clone()) };
        let recipient = |name: &&str| EntryRecipient {
            address: format!("{name}@dst.test").parse().unwrap(),
            expanded_from: None,
            orcpt: None,
            notify: Notify::ABSENT.bits(),
            last: None,
        };
        NewEntry {
            mode: QueueMode { hold: None, generation: self.policy.snapshot.generation },
            queue,
            route: Route { next_hop, origin: "RelayRule mail/rule".to_owned(), waits: None },
            source: String::new(),
            snapshot: self.policy.hash.prefix(),
            recipients: letter.to.iter().map(recipient).collect(),
            transforms: Vec::new(),
            priority: 4,
            urgent: false,
            attend_at: now.after(Duration::from_hours(24)),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A clock that goes on when [`World::moment`] lets it.
fn clock() -> (Clock, mpsc::UnboundedReceiver<Order>) {
    let (orders, taken) = mpsc::unbounded_channel();
    let clock = move |span| {
        let (done, is_done) = blocking::channel();
        if orders.send(Order { span, done }).is_ok() {
            let _ = is_done.recv(); // the test may have ended
        }
    };
    (Arc::new(clock), taken)
}

fn snapshot(password: &str) -> Snapshot {
    let gateway = Gateway::new("mail/edge".parse().unwrap(), "edge.test".parse().unwrap());
    let mut snapshot = Snapshot::new(gateway);
    snapshot.rules = [RelayRule {
        origin: "mail/rule".parse().unwrap(),
        tier: Tier::First,
        order: 0,
        suspended: false,
        matches: Match::Always,
        target: RuleTarget::Direct,
        credentials: Some(Credentials { username: Secret::new("joe"), password: Secret::new(password) }),
        method: AuthenticationMethod::Auto,
        tls: ClientTls { mode: TlsMode::StartTls, verified: false, roots: None },
        guarded: false,
        // What is routed anew waits: the notifications.
        unsupported: ["relay (refused)".into()].into(),
    }]
    .into();
    snapshot
}

/// Lines of so many octets in all, with a dot in front now and then.
fn content(size: usize) -> Bytes {
    let head = b"Subject: hi\r\n\r\n";
    let lines = b"..a line that begins with dots\r\na line that does not\r\n";
    let body = lines.iter().cycle().take(size.saturating_sub(head.len() + 2));
    let mut content: Vec<u8> = head.iter().chain(body).copied().collect();
    content.extend_from_slice(b"\r\n");
    content.into()
}
