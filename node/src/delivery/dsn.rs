//! Delivery status notifications: the message that tells a sender what became of a recipient (RFC 3464, RFC 6522). Pure: facts in, content out.

use std::fmt::Write as _;

use posthouse_model::{EntryId, MessageId, Timestamp};
use posthouse_queue::{EntryRecipient, LastReply, LeaseToken, MessageMeta};
use sha2::{Digest, Sha256};

use crate::date;

/// What tells this kind of notification from others about the same attempt.
const FAILURE: u8 = 1;

/// The most octets of the original header that are returned. RFC 3461 §4.3 lets us return headers only; this bounds them.
pub const RETURNED_HEADER_OCTETS: usize = 32 * 1024;

/// The facts of one notification.
pub struct Dsn<'a> {
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
pub fn dsn_id(entry: EntryId, token: LeaseToken) -> MessageId {
    let mut hash = Sha256::new();
    hash.update(entry.message.to_bytes());
    hash.update(entry.index.to_be_bytes());
    hash.update(token.0.to_be_bytes());
    hash.update([FAILURE]);
    let digest: [u8; 32] = hash.finalize().into();
    let unique = digest.first_chunk().map_or(0, |octets| u64::from_be_bytes(*octets));
    MessageId::new(entry.message.time_ms(), entry.shard(), unique)
}

impl Dsn<'_> {
    /// The whole content, lines ended by CRLF, 7-bit but for the original header, which is returned as it is.
    #[must_use]
    pub fn to_content(&self) -> Vec<u8> {
        let boundary = format!("posthouse-{}", self.id);
        let header = returned_header(self.content_start);
        // RFC 2045 §6.2, §6.4: 8-bit octets are declared where they are and in every entity around them. What they mean is the sender's affair:
        // a charset is only named where it must be right (RFC 6533 §3).
        let (returned_type, encoding) = match (header.is_ascii(), std::str::from_utf8(header)) {
            (true, _) => ("text/rfc822-headers", ""),
            (false, Ok(_)) => ("text/rfc822-headers; charset=utf-8", EIGHT_BIT),
            (false, Err(_)) => ("text/rfc822-headers", EIGHT_BIT),
        };
        let mut text = self.own_header(&boundary, encoding);
        self.notice(&mut text, &boundary);
        self.delivery_status(&mut text, &boundary);
        let _ = write!(
            text,
            "--{boundary}\r\nContent-Type: {returned_type}\r\n{encoding}Content-Description: headers of the returned message\r\n\r\n"
        ); // writing to a String cannot fail, here and below
        let mut content = text.into_bytes();
        content.extend_from_slice(header);
        if !header.ends_with(b"\r\n") {
            content.extend_from_slice(b"\r\n");
        }
        content.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        content
    }

    fn own_header(&self, boundary: &str, encoding: &str) -> String {
        format!(
            "From: Mail Delivery System <postmaster@{host}>\r\nTo: <{to}>\r\nSubject: Undelivered mail returned to sender\r\n\
             Date: {date}\r\nMessage-ID: <{id}@{host}>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n{encoding}\
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
             This is the mail gateway {}.\r\n\r\n",
            self.hostname
        );
        let (expired, failed): (Vec<_>, Vec<_>) = self.recipients.iter().partition(|one| is_expired(one));
        let why = [
            ("Your message could not be delivered to:", failed),
            ("Your message could not be delivered in the time allowed. It was given up for:", expired),
        ];
        for (why, recipients) in why.into_iter().filter(|(_, recipients)| !recipients.is_empty()) {
            let _ = write!(text, "{why}\r\n\r\n");
            for recipient in recipients {
                let _ = write!(text, "  <{}>\r\n", recipient.address);
                match &recipient.last {
                    Some(last) if last.code > 0 => {
                        let (host, said) = (said_by(&last.host), diagnostic(last));
                        let _ = write!(text, "    {host} said: {said}\r\n");
                    }
                    Some(last) => {
                        let _ = write!(text, "    {}\r\n", ascii(&last.text));
                    }
                    None => {}
                }
            }
            text.push_str("\r\n");
        }
        let _ = write!(text, "Queue id: {}. Its headers are attached.\r\n\r\n", self.original);
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
                status(recipient)
            );
            if let Some(last) = &recipient.last {
                if last.code > 0 {
                    if !last.host.is_empty() {
                        let _ = write!(text, "Remote-MTA: dns; {}\r\n", said_by(&last.host));
                    }
                    let _ = write!(text, "Diagnostic-Code: smtp; {}\r\n", diagnostic(last));
                }
                let _ = write!(text, "Last-Attempt-Date: {}\r\n", date::rfc5322(last.at));
            }
        }
        text.push_str("\r\n");
    }
}

/// RFC 3464 §2.3.4: the status of a failed recipient is a 5.x.x; what only stayed transient until the end is 4.4.7 made permanent.
fn status(recipient: &EntryRecipient) -> &str {
    match &recipient.last {
        Some(last) if last.status.starts_with("5.") => &last.status,
        _ => "5.4.7",
    }
}

/// RFC 3464 §2.3.6: the reply as it was given. A status that ends in .0.0 is ours, for a far end that gave none.
fn diagnostic(last: &LastReply) -> String {
    if last.status.ends_with(".0.0") {
        format!("{} {}", last.code, ascii(&last.text))
    } else {
        format!("{} {} {}", last.code, ascii(&last.status), ascii(&last.text))
    }
}

/// Whether its time was over, and nobody refused it for good.
fn is_expired(recipient: &EntryRecipient) -> bool {
    status(recipient) == "5.4.7"
}

/// For a part with octets above 127.
const EIGHT_BIT: &str = "Content-Transfer-Encoding: 8bit\r\n";

/// The header of the original, bounded (RFC 6522 §3).
fn returned_header(content_start: &[u8]) -> &[u8] {
    let end = content_start
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map_or(content_start.len(), |end| end + 2);
    let bounded = content_start.get(..end.min(RETURNED_HEADER_OCTETS)).unwrap_or(content_start);
    // Cut at a line end, so that the part stays a header.
    let whole_lines = bounded.windows(2).rposition(|window| window == b"\r\n").map_or(0, |last| last + 2);
    bounded.get(..whole_lines).unwrap_or_default()
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
