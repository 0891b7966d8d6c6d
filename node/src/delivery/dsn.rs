//! Delivery status notifications: the message that tells a sender what became of recipients (RFC 3461 §6, RFC 3464, RFC 6522, RFC 6533). Pure:
//! facts in, content out. When one is owed is decided elsewhere.
//!
//! A report has the null reverse-path: if a next hop refuses it, nobody hears of it. So it is made such that any next hop takes it: 7-bit, what is not
//! being encoded, but for two cases. A message that comes back whole is as 8-bit as it came, and to a sender whose address is beyond ASCII nothing can
//! go without SMTPUTF8 anyway.

mod notice;
mod part;
mod returned;
mod status;
mod text;

use std::borrow::Cow;

use posthouse_model::{EntryId, Mailbox, MessageId, Timestamp};
use posthouse_queue::{BodyType, EntryRecipient, LeaseToken, MessageMeta};
use sha2::{Digest, Sha256};

use self::part::Part;
pub use self::returned::{RETURNED_HEADER_OCTETS, RETURNED_OCTETS, needs_whole};
use crate::date;

/// What tells the report of an attempt from others.
const ATTEMPT: u8 = 1;

/// What tells the report of an expansion from others.
const EXPANSION: u8 = 2;

/// The facts of one report.
pub struct Dsn<'a> {
    /// This gateway's name: the reporting MTA.
    pub hostname: &'a str,
    /// The id of the report itself.
    pub id: MessageId,
    /// The message it is about.
    pub original: MessageId,
    /// What is known of that message.
    pub message: &'a MessageMeta,
    /// The client that it came from, if the sender may know.
    pub received_from: Option<&'a str>,
    /// The recipients it is about; at least one.
    pub recipients: &'a [Reported],
    /// The original content.
    pub content: Original<'a>,
    /// To whom: the reverse-path of the original.
    pub to: &'a Mailbox,
    /// When.
    pub at: Timestamp,
}

/// The original content, or its beginning.
#[derive(Clone, Copy, Debug)]
pub struct Original<'a> {
    /// The octets.
    pub octets: &'a [u8],
    /// They are all of it.
    pub is_whole: bool,
}

/// A recipient in a report, with the last reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// The recipient.
    pub recipient: EntryRecipient,
    /// What became of it.
    pub became: Became,
}

/// What became of a recipient (the actions of RFC 3464 §2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// `failed`: refused for good.
    Failed,
    /// `failed`: its time is over.
    Expired,
    /// `delayed`: it still waits.
    Delayed {
        /// When it is given up.
        until: Timestamp,
    },
    /// `delivered`: by LMTP or into a maildrop.
    Delivered,
    /// `relayed`: to a next hop that knows no DSN.
    Relayed,
    /// `expanded`: into its members.
    Expanded,
}

/// A report that is written.
#[derive(Debug)]
pub struct Written {
    /// The whole content, lines ended by CRLF.
    pub content: Vec<u8>,
    /// What it is declared as.
    pub body: BodyType,
    /// A header of it, at some level, is beyond ASCII: it needs SMTPUTF8.
    pub smtputf8: bool,
}

/// The id of the report of an attempt: made from its lease, so that a settlement that is repeated makes no second one (queue.md).
#[must_use]
pub fn dsn_id(entry: EntryId, token: LeaseToken) -> MessageId {
    derived_id(entry.message, &[&entry.index.to_be_bytes(), &token.0.to_be_bytes(), &[ATTEMPT]])
}

/// The id of the report of the expansions of a message: there is one at most.
#[must_use]
pub fn expansion_id(message: MessageId) -> MessageId {
    derived_id(message, &[&[EXPANSION]])
}

fn derived_id(message: MessageId, parts: &[&[u8]]) -> MessageId {
    let mut hash = Sha256::new();
    hash.update(message.to_bytes());
    for part in parts {
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let unique = digest.first_chunk().map_or(0, |octets| u64::from_be_bytes(*octets));
    MessageId::new(message.time_ms(), message.shard(), unique)
}

impl Dsn<'_> {
    /// Writes it: a text for people, fields for programs, and what of the message comes back (RFC 6522 §3).
    #[must_use]
    pub fn write(&self) -> Written {
        // RFC 6533 §3, §4: the forms beyond ASCII are for who knows them: who said SMTPUTF8, or has such an address.
        let utf8 = self.knows_utf8();
        let eight_bit = utf8 && self.to.to_ascii().is_none();
        let returned = returned::returned(self, utf8);
        let notice = notice::notice(self, returned.shown, true);
        let fields = status::fields(self, utf8);
        let whole_message = returned.kind == "message/rfc822";
        let parts = [
            Part {
                kind: if notice.is_ascii() {
                    "text/plain; charset=us-ascii"
                } else {
                    "text/plain; charset=utf-8"
                },
                description: "what happened, for people",
                octets: notice.as_bytes(),
            },
            Part {
                kind: if fields.is_ascii() {
                    "message/delivery-status"
                } else {
                    "message/global-delivery-status"
                },
                description: "what happened, for programs",
                octets: fields.as_bytes(),
            },
            Part { kind: returned.kind, description: returned.description, octets: returned.octets },
        ];
        let boundary = self.boundary(&parts);
        let mut body = Vec::with_capacity(returned.octets.len() + fields.len() + notice.len() + 1024);
        for part in parts.iter().filter(|part| !part.octets.is_empty()) {
            // RFC 2046 §5.2.1: a message is not encoded.
            let is_message = whole_message && part.kind == returned.kind;
            part.append_to(&mut body, &boundary, eight_bit || is_message);
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());

        // RFC 2045 §6.4: 8-bit parts make the whole 8-bit.
        let encoding = if body.is_ascii() { "" } else { "Content-Transfer-Encoding: 8bit\r\n" };
        let header = self.header(&boundary, encoding);
        let smtputf8 = eight_bit && !(header.is_ascii() && fields.is_ascii() && returned.octets.is_ascii());
        let body_type =
            if body.is_ascii() && header.is_ascii() { BodyType::SevenBit } else { BodyType::EightBitMime };
        let mut content = header.into_bytes();
        content.append(&mut body);
        Written { content, body: body_type, smtputf8 }
    }

    fn header(&self, boundary: &str, encoding: &str) -> String {
        let host = self.hostname;
        let references = returned::message_id(self.content.octets)
            .map(|id| format!("References: {id}\r\n"))
            .unwrap_or_default();
        format!(
            "From: Mail Delivery System <postmaster@{host}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: {date}\r\n\
             Message-ID: <{id}@{host}>\r\n{references}Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n{encoding}\
             Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n\r\n",
            to = self.to.to_ascii().unwrap_or(Cow::Borrowed(self.to)),
            subject = self.subject(),
            date = date::rfc5322(self.at),
            id = self.id,
        )
    }

    /// By the worst of what happened.
    fn subject(&self) -> &'static str {
        match self.recipients.iter().map(|reported| reported.became.rank()).max() {
            Some(2) => "Your message could not be delivered",
            Some(1) => "Your message is delayed",
            _ => "Your message is on its way or delivered",
        }
    }

    /// What no part has anywhere: some parsers look for it within lines too.
    fn boundary(&self, parts: &[Part<'_>]) -> String {
        let mut boundary = format!("posthouse-{}", self.id);
        let has = |part: &Part<'_>, text: &str| {
            part.octets.windows(text.len()).any(|window| window == text.as_bytes())
        };
        while parts.iter().any(|part| has(part, &boundary)) {
            boundary.push('-');
        }
        boundary
    }

    /// Whether the sender knows UTF-8 in addresses and headers: the client said SMTPUTF8, or there would be no such header or address.
    fn knows_utf8(&self) -> bool {
        let named_so = |reported: &Reported| {
            let EntryRecipient { address, expanded_from, orcpt, .. } = &reported.recipient;
            !expanded_from.as_ref().unwrap_or(address).is_ascii()
                || orcpt.as_ref().is_some_and(|orcpt| !orcpt.is_ascii())
        };
        self.message.envelope.smtputf8 || !self.to.is_ascii() || self.recipients.iter().any(named_so)
    }
}

impl Reported {
    /// RFC 3464 §2.3.4: the status, of the class that its action has.
    fn status(&self) -> Cow<'_, str> {
        let said = self.recipient.last.as_ref().map_or("", |last| last.status.as_str());
        let is_of = |class: &str| said.starts_with(class);
        match self.became {
            Became::Failed if is_of("5.") => said.into(),
            Became::Failed => "5.0.0".into(),
            // RFC 3463 §2, §3.5: 4.y.z in a failure says that sending later may do better; the actual trouble goes before 4.4.7.
            Became::Expired if is_of("4.") && said != "4.0.0" => said.into(),
            Became::Expired => "4.4.7".into(),
            Became::Delayed { .. } if is_of("4.") => said.into(),
            Became::Delayed { .. } => "4.0.0".into(),
            Became::Delivered | Became::Relayed if is_of("2.") => said.into(),
            Became::Delivered | Became::Relayed => "2.0.0".into(),
            // RFC 3463 §3.2: the address is valid.
            Became::Expanded => "2.1.5".into(),
        }
    }
}

impl Became {
    /// RFC 3464 §2.3.3
    fn action(self) -> &'static str {
        match self {
            Self::Failed | Self::Expired => "failed",
            Self::Delayed { .. } => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
        }
    }

    /// Whether something went wrong.
    fn is_trouble(self) -> bool {
        self.rank() > 0
    }

    fn rank(self) -> u8 {
        match self {
            Self::Failed | Self::Expired => 2,
            Self::Delayed { .. } => 1,
            Self::Delivered | Self::Relayed | Self::Expanded => 0,
        }
    }

    fn until(self) -> Option<Timestamp> {
        match self {
            Self::Delayed { until } => Some(until),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
