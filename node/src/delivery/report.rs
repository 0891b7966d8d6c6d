//! Reports to senders on their way into the queue: reads what of the message comes back, writes the report, routes it. That one is owed has been
//! decided.

use std::{fmt::Display, net::IpAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use posthouse_model::{
    ForwardPath, HostPort, Mailbox, MessageId, NextHop, Notify, QueueName, Reply, ReversePath, Route,
    Timestamp, Transport,
};
use posthouse_queue::{
    CHUNK_SIZE, Content, EntryRecipient, Envelope, Leased, MessageMeta, NewContent, NewEntry, NewMessage,
    Origin, QueueMode,
};
use posthouse_routing::{Decision, Source};
use tokio::time;

use super::{
    dsn::{self, Dsn, Original, Reported, Written, dsn_id},
    retry::EntryClock,
};
use crate::{
    events,
    intake::entries::{self, Named, attend_at},
    node::Node,
    policy::Policy,
};

/// Between two tries to store a report while the store is away.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// A message that is reported on.
#[derive(Clone, Copy)]
pub struct About<'a> {
    /// Its id.
    pub id: MessageId,
    /// What is known of it.
    pub message: &'a MessageMeta,
    /// Its content.
    pub content: &'a Content,
    /// What the logs call it.
    pub name: &'a (dyn Display + Sync),
}

/// The report of an attempt, as the child of its settlement; none if there is nothing to tell, or nobody to tell it to.
pub async fn of_attempt(
    node: &Node,
    policy: &Policy,
    leased: &Leased,
    reported: &[Reported],
    now: Timestamp,
) -> Option<Box<NewMessage>> {
    let entry = leased.entry.id;
    let about = About { id: entry.message, message: &leased.message, content: &leased.content, name: &entry };
    let report = write(node, policy, dsn_id(entry, leased.token), about, reported, now).await?;
    Some(Box::new(report))
}

/// Writes a report; none if there is nothing to tell, or nobody to tell it to. Large content of it is stored when this returns.
pub async fn write(
    node: &Node,
    policy: &Policy,
    id: MessageId,
    about: About<'_>,
    reported: &[Reported],
    now: Timestamp,
) -> Option<NewMessage> {
    // RFC 5321 §4.5.5, §6.1: never about mail that is a notification itself.
    let ReversePath::Mailbox(to) = &about.message.envelope.reverse_path else { return None };
    if reported.is_empty() {
        return None;
    }
    let entries = match entries_to(policy, to, now) {
        Ok(entries) => entries,
        Err(reply) => {
            events::DsnUndeliverable { about: about.name, to, reason: &reply.to_string() }.emit();
            return None;
        }
    };
    let (octets, is_whole) = original(node, about, reported).await;
    let Written { content, body, smtputf8 } = Dsn {
        hostname: policy.snapshot.gateway.hostname.as_str(),
        id,
        original: about.id,
        message: about.message,
        received_from: shown_client(policy, &about.message.envelope.client),
        recipients: reported,
        content: Original { octets: &octets, is_whole },
        to,
        at: now,
    }
    .write();
    events::DsnMade { id, about: about.name, to }.emit();
    let envelope = Envelope {
        reverse_path: ReversePath::Null,
        body,
        smtputf8,
        ret_full: None,
        envid: None,
        client: String::new(),
        login: None,
    };
    let meta = MessageMeta {
        envelope,
        origin: Origin::Generated,
        size: content.len() as u64,
        crc32: crc32fast::hash(&content),
        received_at: now,
    };
    let content = store_content(node, id, content.into()).await;
    Some(NewMessage { id, meta, content, named: 1, entries })
}

/// What of the content is needed, and whether it is all of it.
async fn original(node: &Node, about: About<'_>, reported: &[Reported]) -> (Bytes, bool) {
    let chunks = match about.content {
        Content::Inline(content) => return (content.clone(), true),
        Content::Chunks(chunks) => *chunks,
    };
    let wanted = if dsn::needs_whole(about.message, reported) { chunks } else { 1 };
    let mut octets = BytesMut::new();
    for index in 0..wanted {
        // What comes back is a courtesy: a report without it is better than none.
        match node.store.chunk(about.id, index).await {
            Ok(Some(chunk)) => octets.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    let is_whole = octets.len() as u64 == about.message.size;
    (octets.freeze(), is_whole)
}

/// The client that a message came from, unless its network is one whose addresses are not shown ([16], as in `Received`).
fn shown_client<'c>(policy: &Policy, client: &'c str) -> Option<&'c str> {
    let address: IpAddr = client.parse().ok()?;
    let control = policy.snapshot.gateway.relay_control.as_ref();
    let is_own = control.is_some_and(|control| {
        control.networks.iter().any(|network| network.contains(&address.to_canonical()))
    });
    (!is_own).then_some(client)
}

/// A report about very many recipients, or with a whole message, is larger than a chunk: its content is stored before the settlement that names
/// it. While the store is away there is nothing else to do than to wait for it: neither the outcome nor the report may be lost.
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

/// Where a report goes: as routing says; where it cannot say now, it waits and is routed again at each lease.
fn entries_to(policy: &Policy, to: &Mailbox, now: Timestamp) -> Result<Vec<NewEntry>, Reply> {
    let forward_path = ForwardPath::Mailbox(to.clone());
    match policy.router.route(&ReversePath::Null, &forward_path, Source::Gateway, now) {
        Decision::Accepted(acceptance) => {
            let named = [Named {
                forward_path,
                notify: Notify::NEVER, // RFC 3461 §6.1: no report about a report
                orcpt: None,
                deliveries: acceptance.deliveries,
            }];
            Ok(entries::entries(&named, &ReversePath::Null, policy, now))
        }
        Decision::Refused(refusal) if refusal.is_transient() => Ok(vec![waiting_entry(policy, to, now)]),
        Decision::Refused(refusal) => Err(refusal.reply),
    }
}

fn waiting_entry(policy: &Policy, to: &Mailbox, now: Timestamp) -> NewEntry {
    let host = to.domain().to_lowercase();
    // A domain is a valid queue name but for an address literal, whose brackets are graphic characters as well.
    let queue = QueueName::new(&host).unwrap_or_else(|_| policy_queue());
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
            notify: Notify::NEVER.bits(),
            last: None,
        }],
        transforms: Vec::new(),
        priority: 4,
        urgent: false,
        attend_at: attend_at(policy, &queue, clock, false, now),
        queue,
    }
}

#[allow(clippy::expect_used)] // a constant that is a valid name
fn policy_queue() -> QueueName {
    QueueName::new("notifications").expect("a valid name")
}
