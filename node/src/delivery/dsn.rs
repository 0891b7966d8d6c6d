//! Delivery status notifications: the message that tells a sender what became of a recipient (RFC 3464, RFC 6522). Pure: facts in, content out.

use std::fmt::Write as _;

use posthouse_model::{EntryId, MessageId, Timestamp};
use posthouse_queue::{EntryRecipient, LeaseToken, MessageMeta};
use sha2::{Digest, Sha256};

use crate::date;

/// The most octets of the original header that are returned. RFC 3461 §4.3 lets us return headers only; this bounds them.
pub const RETURNED_HEADER_OCTETS: usize = 32 * 1024;

/// Why the notification is sent: the `Action` field of RFC 3464 §2.3.3 follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DsnKind {
    /// Refused for good, or a person gave it up.
    Failed,
    /// Its time is over.
    Expired,
}

impl DsnKind {
    fn number(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Expired => 2,
        }
    }
}

/// The facts of one notification.
pub struct Dsn<'a> {
    /// Why.
    pub kind: DsnKind,
    /// This gateway's name: the reporting MTA.
    pub hostname: &'a str,
    /// The id of the notification itself.
    pub id: MessageId,
    /// The message it is about.
    pub original: MessageId,
    /// What is known of that message.
    pub message: &'a MessageMeta,
    /// The recipients it is about, each with its last reply; at least one.
    pub recipients: &'a [EntryRecipient],
    /// The first octets of the original content; what lies behind the header is not returned.
    pub content_start: &'a [u8],
    /// To whom: the reverse-path of the original.
    pub to: &'a str,
    /// When.
    pub at: Timestamp,
}

/// The id of a notification: made from the attempt that it reports, so that a settlement that is repeated makes no second one (queue.md).
#[must_use]
pub fn dsn_id(entry: EntryId, token: LeaseToken, kind: DsnKind) -> MessageId {
    let mut hash = Sha256::new();
    hash.update(entry.message.to_bytes());
    hash.update(entry.index.to_be_bytes());
    hash.update(token.0.to_be_bytes());
    hash.update([kind.number()]);
    let digest: [u8; 32] = hash.finalize().into();
    let unique = digest.first_chunk().map_or(0, |octets| u64::from_be_bytes(*octets));
    MessageId::new(entry.message.time_ms(), entry.shard(), unique)
}

impl Dsn<'_> {
    /// The whole content, lines ended by CRLF, 7-bit but for the original header, which is returned as it is.
    #[must_use]
    pub fn to_content(&self) -> Vec<u8> {
        let boundary = format!("posthouse-{}", self.id);
        let (header, returned_type) = returned_header(self.content_start);
        let mut text = self.own_header(&boundary);
        self.notice(&mut text, &boundary);
        self.delivery_status(&mut text, &boundary);
        let _ = write!(
            text,
            "--{boundary}\r\nContent-Type: {returned_type}\r\nContent-Description: headers of the returned message\r\n\r\n"
        ); // writing to a String cannot fail, here and below
        let mut content = text.into_bytes();
        content.extend_from_slice(header);
        if !header.ends_with(b"\r\n") {
            content.extend_from_slice(b"\r\n");
        }
        content.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        content
    }

    fn own_header(&self, boundary: &str) -> String {
        format!(
            "From: Mail Delivery System <postmaster@{host}>\r\nTo: <{to}>\r\nSubject: Undelivered mail returned to sender\r\n\
             Date: {date}\r\nMessage-ID: <{id}@{host}>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n\r\n",
            host = self.hostname,
            to = self.to,
            date = date::rfc5322(self.at),
            id = self.id,
        )
    }

    /// The part for people (RFC 6522 §3).
    fn notice(&self, text: &mut String, boundary: &str) {
        let _ = write!(
            text,
            "--{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\nContent-Description: notification\r\n\r\n\
             This is the mail gateway {host}.\r\n\r\n{why}\r\n\r\n",
            host = self.hostname,
            why = match self.kind {
                DsnKind::Failed => "Your message could not be delivered to:",
                DsnKind::Expired =>
                    "Your message could not be delivered in the time allowed. It was given up for:",
            }
        );
        for recipient in self.recipients {
            let _ = write!(text, "  <{}>\r\n", recipient.address);
            match &recipient.last {
                Some(last) if last.code > 0 => {
                    let _ = write!(
                        text,
                        "    {} said: {} {}\r\n",
                        said_by(&last.host),
                        last.code,
                        ascii(&last.text)
                    );
                }
                Some(last) => {
                    let _ = write!(text, "    {}\r\n", ascii(&last.text));
                }
                None => {}
            }
        }
        let _ = write!(text, "\r\nQueue id: {}. Its headers are attached.\r\n\r\n", self.original);
    }

    /// The part for programs (RFC 3464 §2).
    fn delivery_status(&self, text: &mut String, boundary: &str) {
        let _ = write!(
            text,
            "--{boundary}\r\nContent-Type: message/delivery-status\r\nContent-Description: delivery report\r\n\r\n\
             Reporting-MTA: dns; {}\r\n",
            self.hostname
        );
        if let Some(envid) = &self.message.envelope.envid {
            let _ = write!(text, "Original-Envelope-Id: {}\r\n", ascii(envid));
        }
        let _ = write!(text, "Arrival-Date: {}\r\n", date::rfc5322(self.message.received_at));
        for recipient in self.recipients {
            text.push_str("\r\n");
            if let Some(orcpt) = &recipient.orcpt {
                let _ = write!(text, "Original-Recipient: {}\r\n", ascii(&orcpt.replacen(';', "; ", 1)));
            } else if let Some(named) = &recipient.expanded_from {
                let _ = write!(text, "Original-Recipient: rfc822; {named}\r\n");
            }
            let _ = write!(
                text,
                "Final-Recipient: rfc822; {}\r\nAction: failed\r\nStatus: {}\r\n",
                recipient.address,
                self.status(recipient)
            );
            if let Some(last) = &recipient.last {
                if last.code > 0 {
                    if !last.host.is_empty() {
                        let _ = write!(text, "Remote-MTA: dns; {}\r\n", said_by(&last.host));
                    }
                    let _ = write!(text, "Diagnostic-Code: smtp; {} {}\r\n", last.code, ascii(&last.text));
                }
                let _ = write!(text, "Last-Attempt-Date: {}\r\n", date::rfc5322(last.at));
            }
        }
        text.push_str("\r\n");
    }

    /// RFC 3464 §2.3.4: the status of a failed recipient is a 5.x.x; what only stayed transient until the end is 4.4.7 made permanent.
    fn status(&self, recipient: &EntryRecipient) -> String {
        match &recipient.last {
            Some(last) if self.kind == DsnKind::Failed && last.status.starts_with("5.") => {
                last.status.clone()
            }
            _ if self.kind == DsnKind::Expired => "5.4.7".to_owned(),
            _ => "5.0.0".to_owned(),
        }
    }
}

/// The header of the original, bounded, and the media type to return it as (RFC 6522 §3, RFC 6533 §3 for what is not ASCII).
fn returned_header(content_start: &[u8]) -> (&[u8], &'static str) {
    let end = content_start
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map_or(content_start.len(), |end| end + 2);
    let bounded = content_start.get(..end.min(RETURNED_HEADER_OCTETS)).unwrap_or(content_start);
    // Cut at a line end, so that the part stays a header.
    let whole_lines = bounded.windows(2).rposition(|window| window == b"\r\n").map_or(0, |last| last + 2);
    let header = bounded.get(..whole_lines).unwrap_or_default();
    if header.is_ascii() {
        (header, "text/rfc822-headers")
    } else {
        (header, "text/rfc822-headers; charset=utf-8")
    }
}

fn said_by(host: &str) -> &str {
    // The name is recorded as host:port; the port says nothing to the sender.
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// Foreign text made safe for a header field: printable ASCII, everything else a question mark.
fn ascii(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests;
