//! The part for programs: `message/delivery-status` (RFC 3464 §2), with the address forms of RFC 6533 §3. Pure.

use std::{fmt::Write as _, net::IpAddr};

use posthouse_model::{Envid, Mailbox, OriginalRecipient};
use posthouse_queue::LastReply;

use super::{Became, Dsn, Reported, text};
use crate::date;

/// RFC 5322 §2.1.1: where a field is folded if it can be.
const FOLD_AT: usize = 78;

/// The fields of the report. `utf8`: addresses and replies may be in UTF-8; otherwise all is ASCII.
pub(super) fn fields(dsn: &Dsn<'_>, utf8: bool) -> String {
    let mut fields = Fields { text: String::new(), utf8 };
    let envelope = &dsn.message.envelope;
    // RFC 3464 §2.2: once for the message.
    if let Some(envid) = &envelope.envid {
        // RFC 3461 §6.3: xtext is decoded.
        let decoded = envid.parse().map(|envid: Envid| envid.decoded());
        fields.add("Original-Envelope-Id", decoded.as_deref().unwrap_or(envid));
    }
    fields.add("Reporting-MTA", &format!("dns; {}", dsn.hostname));
    if let Some(client) = dsn.received_from {
        fields.add("Received-From-MTA", &format!("dns; {}", host_name(client)));
    }
    fields.add("Arrival-Date", &date::rfc5322(dsn.message.received_at));
    for reported in dsn.recipients {
        recipient(&mut fields, reported);
    }
    fields.text
}

/// RFC 3464 §2.3: once for each recipient.
fn recipient(fields: &mut Fields, reported: &Reported) {
    let Reported { recipient, became } = reported;
    fields.text.push_str("\r\n");
    // RFC 3461 §6.3: only what the sender gave as ORCPT.
    if let Some(orcpt) = &recipient.orcpt {
        let original = original_recipient(orcpt, fields.utf8);
        fields.add("Original-Recipient", &original);
    }
    let final_recipient = address(&recipient.address, fields.utf8);
    fields.add("Final-Recipient", &final_recipient);
    fields.add("Action", became.action());
    fields.add("Status", &reported.status());
    if let Some(last) = &recipient.last {
        last_attempt(fields, last, became.is_trouble());
    }
    if let Became::Delayed { until } = became {
        fields.add("Will-Retry-Until", &date::rfc5322(*until));
    }
}

fn last_attempt(fields: &mut Fields, last: &LastReply, is_trouble: bool) {
    let is_remote = last.code > 0;
    if is_remote && !last.host.is_empty() {
        fields.add("Remote-MTA", &format!("dns; {}", host_name(said_by(&last.host))));
    }
    // RFC 3464 §2.3.6: of failures and delays, and only what the far end said.
    if is_remote && is_trouble {
        fields.add("Diagnostic-Code", &format!("smtp; {}", diagnostic(last)));
    }
    if !last.host.is_empty() {
        fields.add("Last-Attempt-Date", &date::rfc5322(last.at));
    }
}

struct Fields {
    text: String,
    utf8: bool,
}

impl Fields {
    /// One field, folded, of one line's worth of characters: nothing foreign begins a field or a part of its own.
    fn add(&mut self, name: &str, value: &str) {
        let value = if self.utf8 { text::in_one_line(value) } else { text::ascii(value) };
        let _ = write!(self.text, "{name}: "); // writing to a String cannot fail, here and below
        let indent = name.len() + 2;
        text::wrap_to(&mut self.text, &value, FOLD_AT.saturating_sub(indent), "\r\n\t");
        self.text.push_str("\r\n");
    }
}

/// RFC 3464 §2.3.2, RFC 6533 §3: `rfc822` for what can be said in ASCII, `utf-8` for the rest.
fn address(mailbox: &Mailbox, utf8: bool) -> String {
    match mailbox.to_ascii() {
        _ if utf8 && !mailbox.is_ascii() => format!("utf-8; {mailbox}"),
        Some(ascii) => format!("rfc822; {ascii}"),
        None => format!("utf-8; {}", escaped(&mailbox.to_string())),
    }
}

/// RFC 3464 §2.3.1: the address as the sender meant it, out of its xtext.
fn original_recipient(orcpt: &str, utf8: bool) -> String {
    let Ok(original) = orcpt.parse::<OriginalRecipient>() else { return orcpt.replacen(';', "; ", 1) };
    let (kind, address) = (original.address_type(), original.address());
    // RFC 6533 §3, §4.1: in ASCII the characters beyond it are escaped; in UTF-8 nothing is.
    if !utf8 && (kind.eq_ignore_ascii_case("utf-8") || !address.is_ascii()) {
        return format!("utf-8; {}", escaped(&address));
    }
    format!("{kind}; {address}")
}

/// `utf-8-addr-xtext` of RFC 6533 §3.
fn escaped(address: &str) -> String {
    let mut text = String::with_capacity(address.len() * 2);
    for c in address.chars() {
        if c.is_ascii_graphic() && !matches!(c, '\\' | '+' | '=') {
            text.push(c);
        } else {
            let _ = write!(text, "\\x{{{:02X}}}", u32::from(c));
        }
    }
    text
}

/// RFC 3464 §2.3.6: the reply as it was given. A status that ends in .0.0 is ours, for a far end that gave none. So is its class where a refusal for good was
/// taken as one for now; the class that was said is that of the code (RFC 2034 §4).
pub(super) fn diagnostic(last: &LastReply) -> String {
    let LastReply { code, status, text, .. } = last;
    match status.split_once('.') {
        Some((_, detail)) if detail != "0.0" => format!("{code} {}.{detail} {text}", code / 100),
        _ => format!("{code} {text}"),
    }
}

/// The host of a record: its port says nothing to the sender.
pub(super) fn said_by(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    }
}

/// RFC 3461 §9.3, RFC 5321 §4.1.3: an address is written as a literal.
fn host_name(host: &str) -> String {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse() {
        Ok(IpAddr::V4(address)) => format!("[{address}]"),
        Ok(IpAddr::V6(address)) => format!("[IPv6:{address}]"),
        Err(_) => host.to_owned(),
    }
}
