//! The store against a real server: what the contract suite, which knows only the contract, cannot see.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use posthouse_model::{
    EntryId, Incarnation, Mailbox, MessageId, QueueName, ReversePath, Route, ShardId, Timestamp,
};
use redis::Commands;
use tempfile::TempDir;

use super::{RedisStore, Settings};
use crate::{
    Act, Acted, BodyType, Counts, EntryRecipient, Envelope, HoldReason, LaneSignal, LeaseRequest, Leased,
    ListFilter, MessageMeta, NewContent, NewEntry, NewMessage, Origin, Outcome, QueueMode, Remainder,
    Settled, Settlement, State, Store, StoreError, Withdrawn,
};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const NODE: Incarnation = Incarnation([7; 16]);

/// A server with a socket in a folder of its own.
struct Server {
    folder: TempDir,
    more: Vec<&'static str>,
    child: Option<Child>,
}

impl Server {
    fn start(more: &[&'static str]) -> Self {
        let folder = tempfile::Builder::new().prefix("ph-redis-").tempdir().unwrap();
        let mut server = Self { folder, more: more.to_vec(), child: None };
        server.start_again();
        server
    }

    fn start_again(&mut self) {
        let folder = self.folder.path();
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
        command.args(["--maxmemory-policy", "noeviction", "--unixsocket"]).arg(self.socket());
        command.arg("--dir").arg(folder).args(&self.more);
        self.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.raw().is_none() {
            assert!(Instant::now() < deadline, "the server does not answer");
            std::thread::yield_now();
        }
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn socket(&self) -> std::path::PathBuf {
        Path::join(self.folder.path(), "s")
    }

    fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A connection past the store.
    fn raw(&self) -> Option<redis::Connection> {
        let mut connection = redis::Client::open(self.url()).ok()?.get_connection().ok()?;
        redis::cmd("PING").query::<String>(&mut connection).ok().map(|_| connection)
    }

    async fn store(&self) -> RedisStore {
        let settings = Settings { timeout: Duration::from_secs(30), ..Settings::default() };
        let store = RedisStore::connect(&self.url(), "test", settings).await.unwrap();
        store.heartbeat(NODE, NOW).await.unwrap();
        store
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn letter(number: u64, hop: &str) -> NewMessage {
    let content = Bytes::from(format!("Subject: {number}\r\n\r\nLate again.\r\n"));
    NewMessage {
        id: MessageId::new(NOW.0, ShardId(0), number),
        meta: MessageMeta {
            envelope: Envelope {
                reverse_path: ReversePath::Null,
                body: BodyType::SevenBit,
                smtputf8: false,
                ret_full: None,
                envid: None,
                client: "192.0.2.7".to_owned(),
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
            queue: QueueName::new("north.example").unwrap(),
            mode: QueueMode::default(),
            route: Route {
                next_hop: format!("smtp:{hop}:25").parse().unwrap(),
                origin: "MailDomain mail/north".to_owned(),
                waits: None,
            },
            source: String::new(),
            snapshot: [1; 16],
            recipients: vec![EntryRecipient {
                address: "b@north.example".parse::<Mailbox>().unwrap(),
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

async fn due(store: &RedisStore, number: u64, hop: &str) -> EntryId {
    let letter = letter(number, hop);
    let id = letter.id;
    store.enqueue(NODE, letter, &[], NOW).await.unwrap();
    store.activate(&[id], NOW).await.unwrap();
    id.entry(0)
}

async fn lease(store: &RedisStore) -> Vec<Leased> {
    let request = LeaseRequest { who: NODE, max: 100, max_per_lane: 100, skip: Vec::new(), claim: None };
    store.lease(&request, NOW).await.unwrap()
}

fn settlement(leased: &Leased, outcome: Outcome) -> Settlement {
    Settlement {
        who: NODE,
        entry: leased.entry.clone(),
        token: leased.token,
        outcomes: vec![outcome; leased.entry.recipients.len()],
        remainder: Remainder::GiveBack,
        lane: LaneSignal::None,
        attend_at: leased.entry.attend_at,
        delay_warned: false,
        child: None,
    }
}

/// Overwrites part of the stored record of an entry.
fn spoil(server: &Server, id: EntryId, spoil: impl FnOnce(&mut Vec<u8>)) {
    let mut connection = server.raw().unwrap();
    let key = format!("ph:{{test.0}}:b:{}", id.message.to_bytes()[15] % 16);
    let field = super::wire::entry_key(id);
    let mut record: Vec<u8> = connection.hget(&key, &field[..]).unwrap();
    spoil(&mut record);
    let () = connection.hset(&key, &field[..], record).unwrap();
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_put_aside_and_its_lane_goes_on() {
    let server = Server::start(&[]);
    let store = server.store().await;
    let damaged_body = due(&store, 1, "hop").await;
    let newer_head = due(&store, 2, "hop").await;
    let cut_short = due(&store, 3, "hop").await;
    let sound = due(&store, 4, "hop").await;
    spoil(&server, damaged_body, |record| *record.last_mut().unwrap() ^= 1);
    spoil(&server, newer_head, |record| record[0] = 2);
    spoil(&server, cut_short, |record| record.truncate(20));

    let leased = lease(&store).await;
    assert_eq!(leased.iter().map(|leased| leased.entry.id).collect::<Vec<_>>(), [sound]);
    assert_eq!(lease(&store).await.len(), 0, "they do not come again");
    assert_eq!(store.counts(None).await.unwrap(), Counts { held: 3, active: 1, ..Counts::default() });
    assert_eq!(store.accounting().await.unwrap().queued, 4, "what is put aside counts as queued");
    for id in [damaged_body, newer_head, cut_short] {
        let shown = store.show(id).await.unwrap().unwrap();
        assert_eq!((shown.state, shown.hold, shown.entry), (State::Held, Some(HoldReason::Quarantine), None));
        assert_eq!(store.act(id, Act::Release, NOW).await.unwrap(), Acted::NotApplicable);
    }
    let listed = store.list(&ListFilter::default(), 0, 100).await.unwrap();
    assert_eq!((listed.entries.len(), listed.next), (4, None));
}

#[tokio::test]
async fn a_message_without_its_content_is_put_aside() {
    let server = Server::start(&[]);
    let store = server.store().await;
    let id = due(&store, 1, "hop").await;
    let () = server.raw().unwrap().del("ph:{test.0}:k:1").unwrap();
    assert_eq!(lease(&store).await.len(), 0);
    assert_eq!(store.show(id).await.unwrap().unwrap().hold, Some(HoldReason::Quarantine));
}

#[tokio::test]
async fn a_queue_of_a_newer_format_is_refused_and_says_so() {
    let server = Server::start(&[]);
    let () = server.raw().unwrap().hset("ph:{test.0}:meta", "format", 99).unwrap();
    let refused = RedisStore::connect(&server.url(), "test", Settings::default()).await.unwrap_err();
    assert!(refused.to_string().contains("format 99"), "{refused}");
    assert!(matches!(refused, StoreError::Refused(_)));
}

#[tokio::test]
async fn a_url_that_cannot_be_used_is_refused_and_shows_no_password() {
    for url in ["rediss://u:secret@store.example", "http://u:secret@store.example"] {
        let refused = RedisStore::connect(url, "test", Settings::default()).await.unwrap_err();
        assert!(matches!(&refused, StoreError::Refused(why) if !why.contains("secret")), "{refused}");
    }
    for id in ["", "a{b", "a b"] {
        let refused = RedisStore::connect("redis://127.0.0.1:1", id, Settings::default()).await.unwrap_err();
        assert!(matches!(refused, StoreError::Refused(_)), "{id}");
    }
}

#[tokio::test]
async fn while_the_server_is_away_operations_fail_soon_and_afterwards_all_is_there() {
    let mut server = Server::start(&[]);
    let store = server.store().await;
    let id = due(&store, 1, "hop").await;
    server.stop();
    let began = Instant::now();
    for number in 2..20 {
        let away = store.enqueue(NODE, letter(number, "hop"), &[], NOW).await;
        assert!(matches!(away, Err(StoreError::Unavailable(_))), "{away:?}");
        assert!(matches!(store.counts(None).await, Err(StoreError::Unavailable(_))));
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    server.start_again();
    let deadline = Instant::now() + Duration::from_secs(30);
    while store.withdraw(letter(2, "hop").id, NOW).await.is_err() {
        assert!(Instant::now() < deadline, "the store does not come back");
        tokio::task::yield_now().await;
    }
    while store.counts(None).await.is_err() {
        assert!(Instant::now() < deadline, "the store does not come back");
        tokio::task::yield_now().await;
    }
    assert_eq!(store.withdraw(letter(2, "hop").id, NOW).await.unwrap(), Withdrawn::NotThere);
    assert_eq!(lease(&store).await[0].entry.id, id);
}

#[tokio::test]
async fn functions_that_were_flushed_are_loaded_again() {
    let server = Server::start(&[]);
    let store = server.store().await;
    for number in 1..4 {
        let () = redis::cmd("SCRIPT").arg("FLUSH").query(&mut server.raw().unwrap()).unwrap();
        due(&store, number, "hop").await;
    }
    let () = redis::cmd("SCRIPT").arg("FLUSH").query(&mut server.raw().unwrap()).unwrap();
    assert_eq!(lease(&store).await.len(), 3);
}

#[tokio::test]
async fn nothing_counts_until_the_replicas_have_confirmed() {
    let server = Server::start(&[]);
    let settings =
        Settings { confirm_replicas: 1, confirm_timeout: Duration::from_millis(50), ..Settings::default() };
    let store = RedisStore::connect(&server.url(), "test", settings).await.unwrap();
    store.heartbeat(NODE, NOW).await.unwrap();
    for _ in 0..2 {
        // The second time nothing is written, and that must not count as confirmed either.
        let short = store.enqueue(NODE, letter(1, "hop"), &[], NOW).await;
        assert!(matches!(short, Err(StoreError::Unavailable(_))), "{short:?}");
    }
    assert!(store.check().await.unwrap().iter().any(|finding| finding.message.contains("0 replicas")));
}

#[tokio::test]
async fn a_full_store_refuses_new_mail_and_still_drains() {
    let server = Server::start(&["--maxmemory", "0"]);
    let store = server.store().await;
    assert_eq!(store.heartbeat(NODE, NOW).await.unwrap().room, None);
    due(&store, 1, "hop").await;
    let () =
        redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(1024).query(&mut server.raw().unwrap()).unwrap();
    assert_eq!(store.heartbeat(NODE, NOW).await.unwrap().room, Some(0));
    let full = store.enqueue(NODE, letter(2, "hop"), &[], NOW).await;
    assert!(matches!(full, Err(StoreError::Full(_))), "{full:?}");
    let full = store.put_chunk(letter(3, "hop").id, 0, Bytes::from_static(b"x"), NOW).await;
    assert!(matches!(full, Err(StoreError::Full(_))), "{full:?}");
    let leased = lease(&store).await;
    let settled = store.settle(&settlement(&leased[0], Outcome::Relayed), NOW).await;
    assert_eq!(settled.unwrap(), Settled::Done);
    assert_eq!(store.counts(None).await.unwrap(), Counts::default());
}

#[tokio::test]
async fn a_wake_up_comes_when_mail_becomes_due() {
    let server = Server::start(&[]);
    let (store, other) = (server.store().await, server.store().await);
    let mut told = other.wakeups();
    told.wait_for(|count| *count > 0).await.unwrap(); // it listens now
    told.mark_unchanged();
    due(&store, 1, "hop").await;
    told.changed().await.unwrap();
}

/// How many commands the server has run, those inside functions included.
fn commands(server: &Server) -> u64 {
    let text: String = redis::cmd("INFO").arg("commandstats").query(&mut server.raw().unwrap()).unwrap();
    let ours = [
        "hget",
        "hset",
        "hmget",
        "hdel",
        "zadd",
        "zrem",
        "zrangebyscore",
        "zrangebylex",
        "publish",
        "zlexcount",
    ];
    text.lines()
        .filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="))
        .filter(|(name, _)| ours.contains(name))
        .filter_map(|(_, rest)| rest.split(',').next()?.parse::<u64>().ok())
        .sum()
}

#[tokio::test]
async fn a_message_costs_at_most_six_commands_each_way() {
    let server = Server::start(&[]);
    let store = server.store().await;
    let before = commands(&server);
    let many = (0..640).map(|number| store.enqueue(NODE, letter(number, "hop"), &[0], NOW));
    let enqueued = futures::future::join_all(many).await;
    let enqueues = commands(&server) - before;
    assert!(enqueues <= 6 * 640, "{enqueues} commands for 640 messages");

    let mut leased = Vec::new();
    for (number, enqueued) in (0..640).zip(enqueued) {
        let token = enqueued.unwrap().leases[0].unwrap();
        let entry = store.show(letter(number, "hop").id.entry(0)).await.unwrap().unwrap().entry.unwrap();
        leased.push((entry, token));
    }
    let before = commands(&server);
    let settlements: Vec<Settlement> = leased
        .into_iter()
        .map(|(entry, token)| Settlement {
            who: NODE,
            token,
            outcomes: vec![Outcome::Relayed],
            remainder: Remainder::GiveBack,
            lane: LaneSignal::Works,
            attend_at: entry.attend_at,
            delay_warned: false,
            child: None,
            entry: entry.into(),
        })
        .collect();
    let settled =
        futures::future::join_all(settlements.iter().map(|settlement| store.settle(settlement, NOW))).await;
    assert!(settled.iter().all(|settled| *settled.as_ref().unwrap() == Settled::Done));
    let settles = commands(&server) - before;
    assert!(settles <= 6 * 640, "{settles} commands for 640 settles");
    assert_eq!(store.counts(None).await.unwrap(), Counts::default());
    let left: Vec<String> = server.raw().unwrap().keys("*").unwrap();
    let kept = ["meta", "cnt", "hb"].map(|name| format!("ph:{{test.0}}:{name}"));
    assert!(left.iter().all(|key| kept.contains(key)), "an empty queue leaves nothing behind: {left:?}");
}
