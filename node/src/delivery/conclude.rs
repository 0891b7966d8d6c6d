//! The end of an attempt: from what the far end said of each recipient to one settlement, with the notification that is owed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use posthouse_model::{
    EnhancedStatus, ForwardPath, HostPort, Incarnation, Mailbox, MessageId, NextHop, Notify, Reply,
    ReversePath, Route, Timestamp, Transport,
};
use posthouse_queue::{
    BodyType, CHUNK_SIZE, Content, EntryRecipient, Envelope, LaneSignal, LastReply, Leased, MessageMeta,
    NewContent, NewEntry, NewMessage, Origin, Outcome, QueueMode, Remainder, Settlement,
};
use posthouse_routing::{Decision, Source};
use tokio::time;

use super::{
    dsn::{Dsn, dsn_id},
    retry::EntryClock,
};
use crate::{
    events,
    intake::entries::{self, Named, attend_at},
    node::Node,
    policy::Policy,
};

/// Between two tries to store a notification while the store is away.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// The longest text of a reply that is kept.
const KEPT_TEXT: usize = 512;

/// `NOTIFY=NEVER` in [`EntryRecipient::notify`] (RFC 3461 §4.1).
const NOTIFY_NEVER: u8 = 1;

/// What an attempt led to, for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The far end took it.
    Taken {
        /// With these words.
        said: LastReply,
        /// It has also taken over what the sender asked to be told (RFC 3461 §5.2.1). If not, and the sender asked for SUCCESS, a "relayed" notification is
        /// due from this side (§5.2.2 (b)).
        dsn: bool,
    },
    /// Another attempt is pointless.
    Permanent(LastReply),
    /// Another attempt may do better.
    Transient(LastReply),
    /// Its time is over.
    Expired(LastReply),
    /// The far end takes only so many at once, and was not asked for this one (RFC 9422): no attempt was made.
    NotTried,
}

/// A lease, with whose it is: it is settled for who took it, even if the node is another incarnation by then.
#[derive(Clone, Copy)]
pub struct Lease<'l> {
    /// The lease.
    pub leased: &'l Leased,
    /// Whose it is.
    pub who: Incarnation,
}

/// What is settled: the outcome for the store and what the logs say of it.
pub struct Conclusion {
    /// For the store.
    pub settlement: Settlement,
    /// Some recipients stay.
    pub stays: bool,
}

/// Something of ours to say about a recipient: no reply of the far end.
#[must_use]
pub fn own_words(at: Timestamp, status: EnhancedStatus, text: &str, host: &str) -> LastReply {
    LastReply { at, code: 0, status: status.to_string(), text: cut(text), host: host.to_owned() }
}

/// What the far end said about a recipient.
#[must_use]
pub fn their_words(at: Timestamp, reply: &Reply, host: &str) -> LastReply {
    let status = reply.status().unwrap_or(match reply.severity() {
        posthouse_model::Severity::Permanent => EnhancedStatus::permanent(0, 0),
        posthouse_model::Severity::Transient => EnhancedStatus::transient(0, 0),
        _ => EnhancedStatus::success(0, 0),
    });
    LastReply {
        at,
        code: reply.code().number(),
        status: status.to_string(),
        text: cut(&reply.text()),
        host: host.to_owned(),
    }
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(KEPT_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// Concludes an attempt. `found` has one element per recipient of the entry.
pub async fn conclude(
    node: &Node,
    policy: &Policy,
    lease: Lease<'_>,
    found: Vec<Found>,
    lane: LaneSignal,
) -> Conclusion {
    let Lease { leased, who } = lease;
    let now = node.presence.now();
    let entry = &leased.entry;
    let clock =
        EntryClock { received_at: leased.message.received_at, held: Duration::from_millis(entry.held_ms) };
    let next_attempt = policy.retry.next_attempt(entry.attempts.saturating_add(1), clock, now);
    let taken = match entry.route.next_hop.transport {
        Transport::Smtp => Outcome::Relayed,
        Transport::Lmtp | Transport::Maildrop => Outcome::Delivered,
    };
    let mut outcomes = Vec::with_capacity(found.len());
    let mut reported = Vec::new();
    let mut waits = false;
    for (recipient, found) in entry.recipients.iter().zip(found) {
        let (outcome, last) = match found {
            Found::Taken { said, dsn: _ } => (taken.clone(), said),
            Found::Permanent(last) => {
                reported.push(EntryRecipient { last: Some(last.clone()), ..recipient.clone() });
                (Outcome::Failed, last)
            }
            Found::Expired(last) => {
                reported.push(EntryRecipient { last: Some(last.clone()), ..recipient.clone() });
                (Outcome::Expired, last)
            }
            Found::Transient(last) if next_attempt.is_none() => {
                reported.push(EntryRecipient { last: Some(last.clone()), ..recipient.clone() });
                (Outcome::Expired, last)
            }
            Found::Transient(last) => {
                waits = true;
                (Outcome::Deferred(Some(last.clone())), last)
            }
            Found::NotTried => {
                outcomes.push(Outcome::Deferred(None));
                continue;
            }
        };
        let again = matches!(outcome, Outcome::Deferred(_)).then_some(next_attempt).flatten();
        events::Attempted {
            id: entry.id,
            to: &recipient.address,
            outcome: &outcome,
            origin: &entry.route.origin,
            next_hop: &entry.route.next_hop.to_string(),
            host: &last.host,
            reply: &spoken(&last),
            next_attempt: again.map(|at| at.0),
        }
        .emit(&node.metrics);
        outcomes.push(outcome);
    }
    let child = match reported.as_slice() {
        [] => None,
        reported => notification(node, policy, leased, reported, now).await,
    };
    let stays = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Deferred(_)));
    let remainder = match next_attempt {
        Some(at) if waits => Remainder::HoldAgain(at), // in a queue that is Online: deferred until then
        _ => Remainder::GiveBack,
    };
    let settlement = Settlement {
        who,
        entry: Arc::clone(entry),
        token: leased.token,
        outcomes,
        remainder,
        lane,
        attend_at: attend_at(policy, &entry.queue, clock, now),
        delay_warned: entry.delay_warned,
        child,
    };
    Conclusion { settlement, stays }
}

/// Gives a lease back untouched.
#[must_use]
pub fn give_back(node: &Node, policy: &Policy, lease: Lease<'_>, lane: LaneSignal) -> Settlement {
    rest(node, policy, lease, Remainder::GiveBack, lane)
}

/// Settles a lease without an attempt: every recipient stays.
#[must_use]
pub fn rest(
    node: &Node,
    policy: &Policy,
    lease: Lease<'_>,
    remainder: Remainder,
    lane: LaneSignal,
) -> Settlement {
    let Lease { leased, who } = lease;
    let entry = &leased.entry;
    let clock =
        EntryClock { received_at: leased.message.received_at, held: Duration::from_millis(entry.held_ms) };
    Settlement {
        who,
        entry: Arc::clone(entry),
        token: leased.token,
        outcomes: vec![Outcome::Deferred(None); entry.recipients.len()],
        remainder,
        lane,
        attend_at: attend_at(policy, &entry.queue, clock, node.presence.now()),
        delay_warned: entry.delay_warned,
        child: None,
    }
}

/// The notification to the sender, if one is owed and can be sent.
async fn notification(
    node: &Node,
    policy: &Policy,
    leased: &Leased,
    reported: &[EntryRecipient],
    now: Timestamp,
) -> Option<Box<NewMessage>> {
    // RFC 5321 §6.1: never about mail that is a notification itself.
    let ReversePath::Mailbox(to) = &leased.message.envelope.reverse_path else { return None };
    let reported: Vec<EntryRecipient> =
        reported.iter().filter(|recipient| recipient.notify & NOTIFY_NEVER == 0).cloned().collect();
    if reported.is_empty() {
        return None;
    }
    let entry_id = leased.entry.id;
    let entries = match notification_entries(policy, to, now) {
        Ok(entries) => entries,
        Err(reply) => {
            events::DsnUndeliverable { about: entry_id, to, reason: &reply.to_string() }.emit();
            return None;
        }
    };
    let start = match &leased.content {
        Content::Inline(content) => content.clone(),
        // The headers are a courtesy: a notification without them is better than none.
        Content::Chunks(_) => node.store.chunk(entry_id.message, 0).await.ok().flatten().unwrap_or_default(),
    };
    let id = dsn_id(entry_id, leased.token);
    let content = Dsn {
        hostname: policy.snapshot.gateway.hostname.as_str(),
        id,
        original: entry_id.message,
        message: &leased.message,
        recipients: &reported,
        content_start: &start,
        to: &to.to_string(),
        at: now,
    }
    .to_content();
    events::DsnMade { id, about: entry_id, to }.emit();
    let meta = MessageMeta {
        envelope: Envelope {
            reverse_path: ReversePath::Null,
            body: if content.is_ascii() { BodyType::SevenBit } else { BodyType::EightBitMime },
            smtputf8: false,
            ret_full: None,
            envid: None,
            client: String::new(),
            login: None,
        },
        origin: Origin::Generated,
        size: content.len() as u64,
        crc32: crc32fast::hash(&content),
        received_at: now,
    };
    let content = store_content(node, id, content.into()).await;
    Some(Box::new(NewMessage { id, meta, content, named: 1, entries }))
}

/// A notification about very many recipients is larger than a chunk: its content is stored before the settlement that names it. While the
/// store is away there is nothing else to do than to wait for it: neither the outcome nor the notification may be lost.
async fn store_content(node: &Node, id: MessageId, content: Bytes) -> NewContent {
    if content.len() <= CHUNK_SIZE {
        return NewContent::Inline(content);
    }
    let mut rest = content;
    let mut chunks = 0;
    while !rest.is_empty() {
        let chunk = rest.split_to(rest.len().min(CHUNK_SIZE));
        while let Err(error) = node.store.put_chunk(id, chunks, chunk.clone(), node.presence.now()).await {
            events::StoreTrouble { doing: "store a notification", error: &error }.emit();
            time::sleep(AGAIN_AFTER).await;
        }
        chunks += 1;
    }
    NewContent::Chunks(chunks)
}

/// Where a notification goes: as routing says; where it cannot say now, it waits and is routed again at each lease.
fn notification_entries(policy: &Policy, to: &Mailbox, now: Timestamp) -> Result<Vec<NewEntry>, Reply> {
    let forward_path = ForwardPath::Mailbox(to.clone());
    match policy.router.route(&ReversePath::Null, &forward_path, Source::Gateway, now) {
        Decision::Accepted(acceptance) => {
            let named = [Named {
                forward_path,
                notify: Notify::NEVER,
                orcpt: None,
                deliveries: acceptance.deliveries,
            }];
            Ok(entries::entries(&named, policy, now))
        }
        Decision::Refused(refusal) if refusal.is_transient() => Ok(vec![waiting_entry(policy, to, now)]),
        Decision::Refused(refusal) => Err(refusal.reply),
    }
}

fn waiting_entry(policy: &Policy, to: &Mailbox, now: Timestamp) -> NewEntry {
    let host = to.domain().to_lowercase();
    // A domain is a valid queue name but for an address literal, whose brackets are graphic characters as well.
    let queue = posthouse_model::QueueName::new(&host).unwrap_or_else(|_| policy_queue());
    let next_hop = NextHop::new(Transport::Smtp, vec![HostPort { host, port: None }]);
    let clock = EntryClock { received_at: now, held: Duration::ZERO };
    NewEntry {
        mode: QueueMode { hold: None, generation: policy.snapshot.generation },
        route: Route { next_hop, origin: "direct delivery".to_owned(), waits: None },
        source: String::new(),
        snapshot: [0; 16], // no snapshot routed it: the next lease does
        recipients: vec![EntryRecipient {
            address: to.clone(),
            expanded_from: None,
            orcpt: None,
            notify: 0,
            last: None,
        }],
        transforms: Vec::new(),
        priority: 4,
        urgent: false,
        attend_at: attend_at(policy, &queue, clock, now),
        queue,
    }
}

#[allow(clippy::expect_used)] // a constant that is a valid name
fn policy_queue() -> posthouse_model::QueueName {
    posthouse_model::QueueName::new("notifications").expect("a valid name")
}

fn spoken(last: &LastReply) -> String {
    if last.code == 0 {
        format!("{} {}", last.status, last.text)
    } else {
        format!("{} {} {}", last.code, last.status, last.text)
    }
}
