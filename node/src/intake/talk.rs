//! The node's part of a conversation: answers what the protocol's session asks, and holds the transaction meanwhile.

use posthouse_model::Reply;
use posthouse_smtp::{
    reply as smtp_reply,
    server::{self, ClosedBy, Event},
};

use super::transaction::{Peer, Transaction};
use crate::{events, node::Node, tls::server::ServerTls};

/// The node's part of the conversation.
pub(super) struct Talk<'n> {
    node: &'n Node,
    listener: &'n str,
    /// The client.
    pub(super) peer: Peer,
    /// STARTTLS was answered with 220: what the handshake is made with.
    pub(super) starts_tls: Option<ServerTls>,
    transaction: Option<Transaction>,
    ended: Option<ClosedBy>,
}

impl<'n> Talk<'n> {
    /// Nothing was said yet.
    pub(super) fn new(node: &'n Node, listener: &'n str, peer: Peer) -> Self {
        Self { node, listener, peer, starts_tls: None, transaction: None, ended: None }
    }

    /// Who ended the session, as far as that was the session itself.
    pub(super) fn ended(&self) -> Option<&'static str> {
        self.ended.map(closed_by)
    }

    /// Takes the next event; false if there is none.
    pub(super) async fn step(&mut self, session: &mut server::Session) -> bool {
        let hello = session.client().cloned();
        let Some(event) = session.next_event() else { return false };
        // What takes its time is boxed: otherwise each session had room for the largest of it from its beginning, and most are idle.
        let answer = match event {
            Event::Mail(mail) => Some(Box::pin(self.mail(mail)).await),
            Event::StartTls => Some(self.start_tls()),
            Event::Rcpt(rcpt) => Some(self.rcpt(rcpt)),
            Event::Data => Some(Box::pin(self.data(hello.as_ref())).await),
            Event::Content(piece) => {
                if let Some(transaction) = &mut self.transaction {
                    Box::pin(transaction.push(self.node, piece)).await;
                }
                None
            }
            Event::ContentEnd(summary) => Some(Box::pin(self.end(summary)).await),
            Event::Hello(_) | Event::Reset | Event::Discarded(_) => {
                Box::pin(self.forget()).await;
                None
            }
            Event::Refused(reply) => {
                self.refused("session", &"", &reply);
                None
            }
            Event::Closed(by) => {
                self.ended = Some(by);
                None
            }
        };
        if let Some(reply) = answer {
            session.answer(&reply);
        }
        true
    }

    /// With the certificates of now: a session may be older than they are.
    fn start_tls(&mut self) -> Reply {
        let policy = self.node.policy();
        self.starts_tls = policy.and_then(|policy| policy.listener_tls(self.listener).cloned());
        match &self.starts_tls {
            Some(_) => smtp_reply::ready_for_tls(),
            None => smtp_reply::tls_not_available(),
        }
    }

    async fn mail(&mut self, mail: server::Mail) -> Reply {
        self.forget().await;
        let from = mail.reverse_path.clone();
        match Transaction::begin(self.node, mail).await {
            Ok(transaction) => {
                self.transaction = Some(transaction);
                smtp_reply::sender_accepted()
            }
            Err(reply) => {
                self.refused("mail", &from, &reply);
                reply
            }
        }
    }

    fn rcpt(&mut self, rcpt: server::Rcpt) -> Reply {
        let Some(transaction) = &mut self.transaction else { return smtp_reply::bad_sequence("MAIL first") };
        let to = rcpt.forward_path.clone();
        match transaction.add(self.node, &self.peer, rcpt, self.node.presence.now()) {
            Ok(()) => smtp_reply::recipient_accepted(),
            Err(reply) => {
                self.refused("rcpt", &to, &reply);
                reply
            }
        }
    }

    async fn data(&mut self, hello: Option<&server::Client>) -> Reply {
        let (Some(transaction), Some(hello)) = (&mut self.transaction, hello) else {
            return smtp_reply::bad_sequence("MAIL first");
        };
        match transaction.open(self.node, &self.peer, hello).await {
            Ok(()) => smtp_reply::start_content(),
            Err(reply) => {
                self.refused("data", &"", &reply);
                self.forget().await;
                reply
            }
        }
    }

    async fn end(&mut self, summary: server::ContentSummary) -> Reply {
        let Some(transaction) = self.transaction.take() else {
            return smtp_reply::bad_sequence("MAIL first");
        };
        let from = transaction.reverse_path().clone();
        let reply = transaction.finish(self.node, &self.peer, summary).await;
        if !reply.is_positive() {
            self.refused("content", &from, &reply);
        }
        reply
    }

    /// Drops the transaction, if there is one.
    pub(super) async fn forget(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            transaction.abandon().await;
        }
    }

    fn refused(&self, stage: &'static str, subject: &dyn std::fmt::Display, reply: &Reply) {
        events::Refused { client: self.peer.address, stage, subject, reply }.emit(&self.node.metrics);
    }
}

fn closed_by(by: ClosedBy) -> &'static str {
    match by {
        ClosedBy::Client => "client",
        ClosedBy::Server => "server",
        ClosedBy::Timeout => "timeout",
        ClosedBy::Failures => "failures",
        ClosedBy::Violation => "violation",
    }
}
