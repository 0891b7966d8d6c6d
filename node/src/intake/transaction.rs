//! One transaction: what has been agreed on since MAIL, and what becomes of it. Decides by the policy in force at its MAIL, to its end (no
//! mixed decision inside a transaction).

use std::{net::IpAddr, sync::Arc, time::Instant};

use posthouse_model::{
    EnhancedStatus, ForwardPath, MessageId, OriginalRecipient, Reply, ReplyCode, Ret, ReversePath, ShardId,
    Timestamp,
};
use posthouse_queue::{
    BodyType, Enqueued, Envelope, MessageMeta, NewContent, NewMessage, Origin, StoreError, Withdrawn,
};
use posthouse_routing::{Client, Decision, Source};
use posthouse_smtp::{content::Mark, reply as smtp_reply, server};

use super::{
    content::{ContentWriter, Written},
    entries::{self, Named},
    memory::{Memory, Share},
    reply,
};
use crate::{
    budget::{NoRoom, Reservation},
    delivery::{expansion, offer::Offer},
    events,
    node::Node,
    own_hops::MOST_PASSAGES,
    policy::Policy,
    presence::Life,
    received::Received,
};

/// `Received` fields above which a message is taken to go round in circles (RFC 5321 §6.3: at least 100).
const MOST_HOPS: u32 = 100;

/// Recipients of one message after groups and aliases.
const MOST_DELIVERIES: usize = 10_000;

/// Recipients that a session has memory of its own for: most messages have fewer.
const FEW_RECIPIENTS: usize = 10;

/// Memory for what one recipient leads to, beside its address: about what is kept of it.
const DELIVERY_OCTETS: usize = 256;

/// A transaction between MAIL and its end.
pub struct Transaction {
    policy: Arc<Policy>,
    id: MessageId,
    mail: server::Mail,
    named: Vec<Named>,
    /// Recipients named again.
    repeated: u32,
    /// How many get the mail for all of them.
    deliveries: usize,
    /// The largest message that sender and recipients so far allow.
    size_limit: u64,
    content: Option<ContentWriter>,
    content_began: Option<Instant>,
    /// What went wrong while content was written: said at the final dot.
    trouble: Option<StoreError>,
    _room: Reservation,
    /// Memory for more than a few recipients.
    share: Option<Share>,
}

/// What the session knows of its client.
pub struct Peer {
    /// For routing.
    pub client: Client,
    /// Its address.
    pub address: IpAddr,
    /// Whether the session is encrypted.
    pub encrypted: bool,
}

impl Transaction {
    /// MAIL: begins a transaction, or says why not.
    pub async fn begin(node: &Node, mail: server::Mail) -> Result<Self, Reply> {
        let policy = node.policy().ok_or_else(reply::no_service_now)?;
        if !node.presence.is_writable() {
            return Err(reply::store_away());
        }
        if policy.snapshot.gateway.suspended {
            return Err(reply::suspended());
        }
        let limit = policy.router.sent_size(&mail.reverse_path);
        let expected = mail.size.unwrap_or(limit);
        if expected > limit {
            return Err(reply::too_large(limit));
        }
        let reserve = policy.snapshot.gateway.queue.reserve;
        let room = match node.budget.reserve(expected, reserve).await {
            Ok(room) => room,
            Err(NoRoom::Full) => return Err(reply::no_room()),
            Err(NoRoom::Store(error)) => {
                events::StoreTrouble { doing: "reserve room for a message", error: &error }.emit();
                return Err(reply::store_away());
            }
        };
        let id = MessageId::new(node.presence.now().0, ShardId(0), rand::random());
        Ok(Self {
            policy,
            id,
            mail,
            named: Vec::new(),
            repeated: 0,
            deliveries: 0,
            size_limit: limit,
            content: None,
            content_began: None,
            trouble: None,
            _room: room,
            share: None,
        })
    }

    /// RCPT: adds a recipient, or says why not.
    pub fn add(&mut self, node: &Node, peer: &Peer, rcpt: server::Rcpt, now: Timestamp) -> Result<(), Reply> {
        let server::Rcpt { forward_path, notify, orcpt } = rcpt;
        if self.named.iter().any(|named| named.forward_path == forward_path) {
            self.repeated += 1; // nobody gets a message twice: it is accepted, and counts as discarded
            return Ok(());
        }
        let source = Source::Client(&peer.client);
        let decision = self.policy.router.route(&self.mail.reverse_path, &forward_path, source, now);
        match decision {
            Decision::Refused(refusal) => Err(refusal.reply),
            Decision::Accepted(acceptance) => {
                if self.mail.size.is_some_and(|size| size > acceptance.message_size) {
                    return Err(reply::too_large(acceptance.message_size));
                }
                // What groups and aliases lead to is bounded as a whole: a message is one record and one atomic step.
                if self.deliveries + acceptance.deliveries.len() > MOST_DELIVERIES {
                    return Err(smtp_reply::too_many_recipients());
                }
                self.hold(&node.memory, &forward_path, orcpt.as_ref(), acceptance.deliveries.len())?;
                for unreachable in &acceptance.unreachable {
                    let (member, reply) = (&unreachable.recipient, &unreachable.refusal.reply);
                    events::MemberUnreachable { id: self.id, group: &forward_path, member, reply }.emit();
                }
                self.deliveries += acceptance.deliveries.len();
                self.size_limit = self.size_limit.min(acceptance.message_size);
                self.named.push(Named { forward_path, notify, orcpt, deliveries: acceptance.deliveries });
                Ok(())
            }
        }
    }

    /// Takes memory for a recipient, or says that there is none now.
    fn hold(
        &mut self,
        memory: &Memory,
        forward_path: &ForwardPath,
        orcpt: Option<&OriginalRecipient>,
        deliveries: usize,
    ) -> Result<(), Reply> {
        if self.deliveries + deliveries <= FEW_RECIPIENTS {
            return Ok(());
        }
        let named = forward_path.to_string().len() + orcpt.map_or(0, |orcpt| orcpt.to_string().len());
        let more = memory.try_take(named + deliveries * DELIVERY_OCTETS).ok_or_else(reply::no_room)?;
        match &mut self.share {
            Some(share) => share.grow(more),
            None => self.share = Some(more),
        }
        Ok(())
    }

    /// DATA: opens the content with the trace header.
    pub async fn open(&mut self, node: &Node, peer: &Peer, hello: &server::Client) -> Result<(), Reply> {
        if !node.presence.is_writable() {
            return Err(reply::store_away());
        }
        let only = match self.named.as_slice() {
            // RFC 6531 §3.7.1: an address beyond ASCII would make a header beyond ASCII of a message that needs none.
            [only] => only.forward_path.mailbox().filter(|only| only.is_ascii()).map(ToString::to_string),
            _ => None,
        };
        let own_hops = self.policy.own_hops.as_ref();
        let mark = own_hops.map(|own_hops| own_hops.mark(self.id, self.recipients()));
        let header = Received {
            helo: &hello.name,
            client: (!self.policy.router.is_own_network(&peer.client)).then_some(peer.address),
            hostname: self.policy.snapshot.gateway.hostname.as_str(),
            protocol: hello.protocol.with_clause(peer.encrypted, self.mail.smtputf8),
            id: self.id,
            mark: mark.as_deref(),
            recipient: only.as_deref(),
            at: node.presence.now(),
        }
        .to_header();
        let mut content = ContentWriter::new(Arc::clone(&node.store), self.id, node.memory.clone());
        // A header is far below a chunk: this cannot wait for the store.
        content.push(header.as_bytes(), node.presence.now()).await.map_err(|_| reply::store_away())?;
        self.content = Some(content);
        self.content_began = Some(Instant::now());
        Ok(())
    }

    /// A piece of content.
    pub async fn push(&mut self, node: &Node, piece: &[u8]) {
        if self.trouble.is_some() {
            return; // what comes after a failure is swallowed: the reply is due at the final dot
        }
        if let Some(content) = &mut self.content
            && let Err(error) = content.push(piece, node.presence.now()).await
        {
            self.trouble = Some(error);
            if let Some(content) = self.content.take() {
                content.drop_content().await;
            }
        }
    }

    /// The final dot: queues the message; the reply is what the client is told.
    pub async fn finish(mut self, node: &Node, peer: &Peer, summary: server::ContentSummary) -> Reply {
        match self.queue(node, peer, summary).await {
            Ok(id) => smtp_reply::queued(&id.to_string()),
            Err(reply) => reply,
        }
    }

    /// The transaction ends without its message.
    pub async fn abandon(mut self) {
        if let Some(content) = self.content.take() {
            content.drop_content().await;
        }
    }

    async fn queue(
        &mut self,
        node: &Node,
        peer: &Peer,
        summary: server::ContentSummary,
    ) -> Result<MessageId, Reply> {
        if let Some(error) = self.trouble.take() {
            return Err(refusal(&error));
        }
        let Some(content) = self.content.take() else { return Err(reply::store_away()) };
        let refused = if summary.received >= MOST_HOPS {
            Some(reply::too_many_hops())
        } else if self.passages(&summary.marks) > MOST_PASSAGES {
            Some(reply::comes_again())
        } else if summary.size > self.size_limit {
            Some(reply::too_large(self.size_limit))
        } else {
            None
        };
        if let Some(reply) = refused {
            content.drop_content().await;
            return Err(reply);
        }
        let now = node.presence.now();
        let written = match content.finish(now).await {
            Ok(written) => written,
            Err((content, error)) => {
                content.drop_content().await;
                return Err(refusal(&error));
            }
        };
        let message = self.message(peer, written, summary.utf8_header, now);
        let recipients = message.entries.iter().map(|entry| entry.recipients.len()).sum();
        let size = message.meta.size;
        let expanded = expansion::owed(node, &self.policy, &self.named, &message).await;
        self.enqueue(node, message).await?;
        expansion::queue(node, expanded).await;
        events::Accepted {
            id: self.id,
            client: peer.address,
            from: &self.mail.reverse_path,
            recipients,
            size,
            seconds: self.content_began.map_or(0.0, |began| began.elapsed().as_secs_f64()),
        }
        .emit(&node.metrics);
        Ok(self.id)
    }

    /// Who gets the message, as the client named them.
    fn recipients(&self) -> impl Iterator<Item = &ForwardPath> {
        self.named.iter().map(|named| &named.forward_path)
    }

    /// How often the message was here for the same recipients.
    fn passages(&self, marks: &[Mark]) -> usize {
        self.policy.own_hops.as_ref().map_or(0, |own_hops| own_hops.passages(marks, self.recipients()))
    }

    fn message(&self, peer: &Peer, written: Written, utf8_header: bool, now: Timestamp) -> NewMessage {
        let Written { content, size, crc32 } = written;
        let body = match self.mail.body {
            Some(server::Body::BinaryMime) => BodyType::BinaryMime,
            Some(server::Body::EightBitMime) => BodyType::EightBitMime,
            Some(server::Body::SevenBit) | None => BodyType::SevenBit,
        };
        let envelope = Envelope {
            reverse_path: self.mail.reverse_path.clone(),
            body,
            smtputf8: utf8_header,
            ret_full: self.mail.ret.map(|ret| ret == Ret::Full),
            envid: self.mail.envid.as_ref().map(ToString::to_string),
            client: peer.address.to_string(),
            login: None,
        };
        NewMessage {
            id: self.id,
            meta: MessageMeta { envelope, origin: Origin::Accepted, size, crc32, received_at: now },
            content,
            named: u32::try_from(self.named.len()).unwrap_or(u32::MAX).saturating_add(self.repeated),
            entries: entries::entries(&self.named, &self.mail.reverse_path, &self.policy, now),
        }
    }

    /// Makes the message durable; on any doubt takes it back before the client is told to try again.
    async fn enqueue(&self, node: &Node, message: NewMessage) -> Result<(), Reply> {
        // What was routed by a snapshot that does not hold any more is routed again at its lease, and so not leased here.
        let is_current = node.policy().is_some_and(|current| current.hash == self.policy.hash);
        let offer = if is_current { node.delivery.offer(&message, &self.policy) } else { Offer::default() };
        let kept = offer.keep(&message);
        let chunked = matches!(message.content, NewContent::Chunks(_));
        let life = node.presence.life();
        match node.store.enqueue(life.incarnation(), message, offer.indexes(), node.presence.now()).await {
            Ok(Enqueued { leases, duplicate: _ }) => {
                if leases.iter().any(Option::is_none) {
                    node.activator.activate(self.id).await;
                }
                node.delivery.start(offer, kept, &life, &leases);
                Ok(())
            }
            Err(error) => {
                let certain = !matches!(error, StoreError::Unavailable(_));
                if !certain {
                    if self.withdraw(node, life).await == Some(Withdrawn::TooLate) {
                        // Others took this node for dead and sent the message on its way: it is in the queue, and stays there.
                        return Ok(());
                    }
                } else if chunked {
                    let _ = node.store.drop_chunks(self.id).await; // they go away by themselves if this fails
                }
                events::StoreTrouble { doing: "queue a message", error: &error }.emit();
                Err(refusal(&error))
            }
        }
    }

    /// queue.md: otherwise the client's retry and the stored copy would both be delivered. One that cannot be confirmed counts as an attempt
    /// in flight; it is repeated in the background, and `None` here.
    async fn withdraw(&self, node: &Node, life: Arc<Life>) -> Option<Withdrawn> {
        match node.store.withdraw(self.id, node.presence.now()).await {
            Ok(withdrawn) => Some(withdrawn),
            Err(error) => {
                events::StoreTrouble { doing: "withdraw a message in doubt", error: &error }.emit();
                node.activator.withdraw(self.id, life).await;
                None
            }
        }
    }
}

/// What the client is told of a failed store: 452 if there is no room, 451 otherwise. Nothing of the store's text leaves the house.
fn refusal(error: &StoreError) -> Reply {
    match error {
        StoreError::Full(_) => reply::no_room(),
        StoreError::Refused(_) => Reply::new(
            ReplyCode::LOCAL_ERROR,
            Some(EnhancedStatus::transient(3, 0)),
            "the message could not be queued",
        ),
        StoreError::Unavailable(_) | StoreError::Withdrawn | StoreError::Departed => reply::store_away(),
    }
}

/// The reverse-path of a transaction, for logs.
impl Transaction {
    /// Who sends.
    #[must_use]
    pub fn reverse_path(&self) -> &ReversePath {
        &self.mail.reverse_path
    }
}
