//! Reading what the index only points to: envelopes, recipients, content. Blocking file I/O, outside the lock.

use std::{io, sync::Arc};

use posthouse_model::{EntryId, Mailbox, NextHop, QueueName, ReversePath, Route, Transport};

use super::{
    effect::{Location, Position, Stored},
    log::segments::Segments,
    state::{lease::View, people::Listed},
};
use crate::{
    accounting::EntrySummary,
    entry::{Entry, EntryRecipient},
    message::{Content, Envelope, MessageMeta},
    record::{self, EntryBody, RecordError},
};

/// Why something cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// The record is damaged or newer: it stays so.
    #[error("{0}")]
    Record(#[from] RecordError),
    /// The content is not what was stored: it stays so.
    #[error("the content's checksum is wrong")]
    Content,
    /// The disk failed: perhaps not the next time.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl View {
    /// The end of what has to be in the log's files before it can be read.
    pub(crate) fn end(&self) -> Position {
        let content = match self.content {
            Stored::Log(content) => content,
            Stored::File { .. } => Location::default(),
        };
        let end = |place: Location| Position {
            segment: place.segment,
            offset: place.offset.saturating_add(place.len),
        };
        [self.body, self.meta, content].into_iter().map(end).max().unwrap_or_default()
    }
}

/// The envelope of a message.
pub(crate) fn meta(segments: &Segments, view: &View) -> Result<MessageMeta, Unreadable> {
    Ok(record::decode(&segments.read(view.meta)?)?)
}

/// An entry.
pub(crate) fn entry(segments: &Segments, view: &View) -> Result<Entry, Unreadable> {
    let body: EntryBody = record::decode(&segments.read(view.body)?)?;
    let EntryBody {
        queue,
        route,
        source,
        snapshot,
        recipients,
        transforms,
        attempts,
        delay_warned,
        received_at: _,
    } = body;
    Ok(Entry {
        id: view.id,
        queue,
        route,
        source,
        snapshot,
        recipients,
        transforms,
        priority: view.head.priority,
        urgent: view.head.urgent,
        attempts,
        delay_warned,
        attend_at: view.head.attend_at,
        held_ms: view.head.held_ms,
    })
}

/// The content of a message, as a lease hands it out.
pub(crate) fn content(segments: &Segments, view: &View, meta: &MessageMeta) -> Result<Content, Unreadable> {
    match view.content {
        Stored::File { chunks } => Ok(Content::Chunks(chunks)),
        Stored::Log(place) => {
            let content = segments.read(place)?;
            if crc32fast::hash(&content) == meta.crc32 {
                Ok(Content::Inline(content.into()))
            } else {
                Err(Unreadable::Content)
            }
        }
    }
}

/// An entry in a list. What cannot be read of it is left out.
pub(crate) fn summary(segments: &Segments, listed: &Listed) -> EntrySummary {
    let view = &listed.view;
    let meta = meta(segments, view);
    EntrySummary {
        entry: entry(segments, view).ok(),
        id: view.id,
        state: listed.state,
        received_at: view.received_at,
        size: meta.as_ref().map_or(0, |meta| meta.size),
        reverse_path: meta.map_or(ReversePath::Null, |meta| meta.envelope.reverse_path),
        next_attempt: listed.next_attempt,
        hold: listed.hold,
    }
}

/// What stands for an entry whose record cannot be read, so that a person can delete it: as many recipients as it had, at no address.
pub(crate) fn placeholder(view: &View, queue: QueueName) -> Option<Arc<Entry>> {
    let address: Mailbox = "unreadable@invalid".parse().ok()?; // RFC 2606 §2: never a real domain
    let recipient = EntryRecipient { address, expanded_from: None, orcpt: None, notify: 0, last: None };
    let route = Route {
        next_hop: NextHop::new(Transport::Maildrop, Vec::new()),
        origin: "unreadable".to_owned(),
        waits: None,
    };
    let id: EntryId = view.id;
    Some(Arc::new(Entry {
        id,
        queue,
        route,
        source: String::new(),
        snapshot: [0; 16],
        recipients: vec![recipient; view.recipients as usize],
        transforms: Vec::new(),
        priority: view.head.priority,
        urgent: view.head.urgent,
        attempts: 0,
        delay_warned: false,
        attend_at: view.head.attend_at,
        held_ms: view.head.held_ms,
    }))
}

/// What stands for an envelope that cannot be read: nobody is told of it.
pub(crate) fn placeholder_meta(view: &View) -> MessageMeta {
    MessageMeta {
        envelope: Envelope {
            reverse_path: ReversePath::Null,
            body: crate::message::BodyType::default(),
            smtputf8: false,
            ret_full: None,
            envid: None,
            client: String::new(),
            login: None,
        },
        origin: view.origin,
        size: 0,
        crc32: 0,
        received_at: view.received_at,
    }
}
