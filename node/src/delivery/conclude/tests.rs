//! Conclusions as the store takes them: the report is born in the same step as the outcome.

use std::time::Duration;

use bytes::Bytes;
use posthouse_model::{MessageId, Notify, ShardId, Transport};
use posthouse_queue::{
    Content, EntryRecipient, LeaseRequest, MessageMeta, NewContent, NewEntry, NewMessage, QueueMode, Settled,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    activator::Activator,
    delivery::{Delivery, expansion, settler::Settler},
    intake::entries::tests::{named, policy},
    metrics::Metrics,
    presence::Presence,
    stores,
};

const CONTENT: &[u8] = b"Subject: x\r\n\r\nhello\r\n";

struct Bench {
    node: Arc<Node>,
    policy: Policy,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = stores::embedded(folder.path()).await.unwrap();
        let presence = Arc::new(Presence::new(Arc::clone(&store)));
        presence.begin().await.unwrap();
        let metrics = Arc::new(Metrics::new());
        let settler = Settler::new(Arc::clone(&store), Arc::clone(&presence), Arc::clone(&metrics));
        let (activator, work) = Activator::new();
        tokio::spawn(work.run(Arc::clone(&store), Arc::clone(&presence)));
        let delivery = Delivery::new(settler, CancellationToken::new());
        let node = Node::new(store, presence, metrics, delivery, activator);
        node.delivery.attach(&node);
        Self { node, policy: policy("held.example"), _folder: folder }
    }

    fn now(&self) -> Timestamp {
        self.node.presence.now()
    }

    /// A message accepted so long ago, for one recipient with these wishes.
    fn message(&self, age: Duration, notify: Notify) -> NewMessage {
        let leased = judge::tests::leased("<s@src.example>", Transport::Smtp, &[notify]);
        let entry = &leased.entry;
        let received_at = self.now().before(age);
        NewMessage {
            id: MessageId::new(received_at.0, ShardId(0), 7),
            meta: MessageMeta {
                size: CONTENT.len() as u64,
                crc32: crc32fast::hash(CONTENT),
                received_at,
                ..(*leased.message).clone()
            },
            content: NewContent::Inline(Bytes::from_static(CONTENT)),
            named: 1,
            entries: vec![NewEntry {
                queue: entry.queue.clone(),
                mode: QueueMode { hold: None, generation: 0 },
                route: entry.route.clone(),
                source: String::new(),
                snapshot: entry.snapshot,
                recipients: entry.recipients.clone(),
                transforms: Vec::new(),
                priority: 4,
                urgent: false,
                attend_at: received_at.after(Duration::from_hours(4)),
            }],
        }
    }

    async fn enqueue(&self, message: NewMessage) {
        let (who, id) = (self.node.presence.life().incarnation(), message.id);
        self.node.store.enqueue(who, message, &[], self.now()).await.unwrap();
        self.node.store.activate(&[id], self.now()).await.unwrap();
    }

    async fn lease(&self) -> Vec<Leased> {
        let who = self.node.presence.life().incarnation();
        let request = LeaseRequest { who, max: 10, max_per_lane: 10, skip: Vec::new(), claim: None };
        self.node.store.lease(&request, self.now()).await.unwrap()
    }

    fn of<'l>(&self, leased: &'l Leased) -> Lease<'l> {
        Lease { leased, who: self.node.presence.life().incarnation() }
    }

    async fn settle(&self, settlement: &Settlement) {
        assert_eq!(self.node.store.settle(settlement, self.now()).await.unwrap(), Settled::Done);
    }
}

fn text(leased: &Leased) -> String {
    let Content::Inline(content) = &leased.content else { panic!("small") };
    String::from_utf8(content.to_vec()).unwrap()
}

/// The report among what was leased, and the rest.
fn report_and_rest(leased: Vec<Leased>) -> (Vec<String>, Vec<Leased>) {
    let (reports, rest): (Vec<_>, Vec<_>) =
        leased.into_iter().partition(|leased| leased.message.envelope.reverse_path.is_null());
    (reports.iter().map(text).collect(), rest)
}

#[tokio::test]
async fn a_warning_is_given_once_and_the_entry_waits_on() {
    // RFC 3461 §5.2.5; queue.md: "delay warned" is recorded in the settlement whose child the warning is.
    let bench = Bench::new().await;
    bench.enqueue(bench.message(Duration::from_hours(5), Notify::ABSENT)).await;
    let leased = bench.lease().await.remove(0);
    assert!(leased.attend, "it was due to be looked at after four hours");
    let settlement = warn(&bench.node, &bench.policy, bench.of(&leased)).await;
    bench.settle(&settlement).await;

    let (reports, rest) = report_and_rest(bench.lease().await);
    assert_eq!((reports.len(), rest.len()), (1, 1));
    assert!(reports[0].contains("Action: delayed\r\n") && reports[0].contains("Will-Retry-Until: "));
    let entry = &rest[0].entry;
    assert!(entry.delay_warned && entry.attempts == 0 && !rest[0].attend);
    assert_eq!(entry.attend_at, rest[0].message.received_at.after(Duration::from_secs(120 * 3600 + 5)));

    let found = vec![Found::Transient(own_words(bench.now(), EnhancedStatus::transient(4, 1), "away", ""))];
    let later = conclude(&bench.node, &bench.policy, bench.of(&rest[0]), found, LaneSignal::None).await;
    assert!(later.settlement.child.is_none() && later.settlement.delay_warned, "once");
}

#[tokio::test]
async fn an_attempt_of_late_mail_that_fails_warns_as_well() {
    let bench = Bench::new().await;
    bench.enqueue(bench.message(Duration::from_hours(5), Notify::DELAY)).await;
    let leased = bench.lease().await.remove(0);
    let found = vec![Found::Transient(own_words(bench.now(), EnhancedStatus::transient(4, 1), "away", ""))];
    let conclusion = conclude(&bench.node, &bench.policy, bench.of(&leased), found, LaneSignal::None).await;
    assert!(conclusion.settlement.delay_warned && conclusion.stays);
    bench.settle(&conclusion.settlement).await;
    let (reports, rest) = report_and_rest(bench.lease().await);
    assert_eq!((reports.len(), rest.len()), (1, 0), "the report is due, the rest waits for its next attempt");
}

#[tokio::test]
async fn who_wants_no_warning_is_not_looked_at_for_one() {
    let bench = Bench::new().await;
    bench.enqueue(bench.message(Duration::from_hours(5), Notify::FAILURE)).await;
    let leased = bench.lease().await.remove(0);
    let settlement = give_back(&bench.node, &bench.policy, bench.of(&leased), LaneSignal::None);
    assert_eq!(settlement.attend_at, leased.message.received_at.after(Duration::from_secs(120 * 3600 + 5)));
}

#[tokio::test]
async fn a_relayed_message_is_reported_unless_the_next_hop_reports_it() {
    // RFC 3461 §5.2.1, §5.2.2 (b)
    for dsn in [false, true] {
        let bench = Bench::new().await;
        bench.enqueue(bench.message(Duration::ZERO, Notify::SUCCESS)).await;
        let leased = bench.lease().await.remove(0);
        let said = own_words(bench.now(), EnhancedStatus::success(0, 0), "ok", "mx.example:25");
        let found = vec![Found::Taken { said, dsn }];
        let conclusion =
            conclude(&bench.node, &bench.policy, bench.of(&leased), found, LaneSignal::Works).await;
        bench.settle(&conclusion.settlement).await;
        let (reports, rest) = report_and_rest(bench.lease().await);
        assert_eq!((reports.len(), rest.len()), (usize::from(!dsn), 0));
        assert!(reports.iter().all(|report| report.contains("Action: relayed\r\n")));
    }
}

#[tokio::test]
async fn a_group_is_reported_once_with_its_message() {
    // RFC 3461 §5.2.7.3 (c)
    let bench = Bench::new().await;
    let message = bench.message(Duration::ZERO, Notify::NEVER);
    let names = [named("team@a.example", Notify::SUCCESS, &["x@b.example", "y@b.example"])];
    for _ in 0..2 {
        let owed = expansion::owed(&bench.node, &bench.policy, &names, &message).await;
        assert!(owed.is_some());
        expansion::queue(&bench.node, owed).await;
    }
    bench.node.store.activate(&[super::super::dsn::expansion_id(message.id)], bench.now()).await.unwrap();
    let (reports, _) = report_and_rest(bench.lease().await);
    assert_eq!(reports.len(), 1, "what is repeated is the same");
    assert!(
        reports[0]
            .contains("Final-Recipient: rfc822; team@a.example\r\nAction: expanded\r\nStatus: 2.1.5\r\n")
    );
    let asked_nothing = [named("team@a.example", Notify::ABSENT, &["x@b.example", "y@b.example"])];
    assert!(expansion::owed(&bench.node, &bench.policy, &asked_nothing, &message).await.is_none());
}

#[tokio::test]
async fn a_whole_message_in_chunks_comes_back_whole() {
    // RFC 3461 §4.3
    let bench = Bench::new().await;
    let content: Bytes =
        ["Subject: large\r\n\r\n", &"0123456789\r\n".repeat(10_000)].concat().into_bytes().into();
    let mut message = bench.message(Duration::ZERO, Notify::ABSENT);
    message.meta.envelope.ret_full = Some(true);
    (message.meta.size, message.meta.crc32) = (content.len() as u64, crc32fast::hash(&content));
    let mut chunks = 0;
    for chunk in content.chunks(posthouse_queue::CHUNK_SIZE) {
        let chunk = Bytes::copy_from_slice(chunk);
        bench.node.store.put_chunk(message.id, chunks, chunk, bench.now()).await.unwrap();
        chunks += 1;
    }
    message.content = NewContent::Chunks(chunks);
    bench.enqueue(message).await;
    let leased = bench.lease().await.remove(0);
    let said = own_words(bench.now(), EnhancedStatus::permanent(1, 1), "nobody", "");
    let found = vec![Found::Permanent(said)];
    let conclusion = conclude(&bench.node, &bench.policy, bench.of(&leased), found, LaneSignal::Works).await;
    bench.settle(&conclusion.settlement).await;
    let report = bench.lease().await.remove(0);
    let mut whole = Vec::new();
    let Content::Chunks(chunks) = report.content else { panic!("it is large") };
    for index in 0..chunks {
        let chunk = bench.node.store.chunk(report.entry.id.message, index).await.unwrap().unwrap();
        whole.extend_from_slice(&chunk);
    }
    assert_eq!(whole.len() as u64, report.message.size);
    assert!(whole.windows(content.len()).any(|window| window == content));
}

/// The null reverse-path is never told anything.
#[tokio::test]
async fn mail_without_a_sender_is_never_reported() {
    // RFC 5321 §4.5.5, §6.1
    let bench = Bench::new().await;
    let mut message = bench.message(Duration::from_hours(5), Notify::ABSENT);
    message.meta.envelope.reverse_path = posthouse_model::ReversePath::Null;
    let recipient =
        EntryRecipient { notify: Notify::SUCCESS.bits(), ..message.entries[0].recipients[0].clone() };
    message.entries[0]
        .recipients
        .push(EntryRecipient { address: "z@dst.example".parse().unwrap(), ..recipient });
    bench.enqueue(message).await;
    let leased = bench.lease().await.remove(0);
    let said = || own_words(bench.now(), EnhancedStatus::permanent(1, 1), "", "");
    for found in [Found::Permanent(said()), Found::Expired(said()), Found::Taken { said: said(), dsn: false }]
    {
        let found = vec![found; 2];
        let lease = bench.of(&leased);
        assert!(
            conclude(&bench.node, &bench.policy, lease, found, LaneSignal::None)
                .await
                .settlement
                .child
                .is_none()
        );
    }
}
