//! The third part: what of the message comes back to its sender (RFC 3461 §4.3, §6.2, RFC 6522 §3, RFC 6533 §4). Its octets are never changed, at most
//! encoded. Pure.

use posthouse_queue::{BodyType, MessageMeta};

use super::{Became, Dsn, Reported, part};

/// The most octets of a header that come back.
pub const RETURNED_HEADER_OCTETS: usize = 32 * 1024;

/// The largest message that comes back whole. RFC 3461 §6.2 leaves the bound to us: a report is kept in memory while it is made, and a sender
/// knows a large message by its header.
pub const RETURNED_OCTETS: u64 = 256 * 1024;

/// What comes back.
pub(super) struct Returned<'r> {
    /// Its media type.
    pub(super) kind: &'static str,
    /// What it is.
    pub(super) description: &'static str,
    /// The octets.
    pub(super) octets: &'r [u8],
    /// What is said of it.
    pub(super) shown: Shown,
}

/// What is said of what comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// The whole message.
    Whole,
    /// Its header, as is usual.
    Header,
    /// Its header, since it is too large.
    TooLarge,
    /// Its header, since its content is no text lines.
    Binary,
    /// Nothing: it has no header, or its content could not be read.
    Nothing,
}

impl Shown {
    pub(super) fn says(self) -> &'static str {
        match self {
            Self::Whole => "Your message is attached.",
            Self::Header => "The header of your message is attached.",
            Self::TooLarge => {
                "The header of your message is attached. The whole message, as you wanted it, is too large to come back."
            }
            Self::Binary => {
                "The header of your message is attached. The whole message, as you wanted it, is binary and cannot come back this way."
            }
            Self::Nothing => "Nothing of your message is attached: its header could not be read.",
        }
    }
}

/// What of the message comes back. `utf8`: the sender knows UTF-8 in headers.
pub(super) fn returned<'r>(dsn: &Dsn<'r>, utf8: bool) -> Returned<'r> {
    let whole = dsn.content.octets;
    let header = header(whole);
    // RFC 6532 §3.7: a message with UTF-8 in any of its headers has a type of its own.
    let is_global =
        utf8 && std::str::from_utf8(header).is_ok() && (dsn.message.envelope.smtputf8 || !header.is_ascii());
    let shown = match () {
        () if !is_wanted_whole(dsn.message, dsn.recipients) => Shown::Header,
        () if dsn.message.size > RETURNED_OCTETS => Shown::TooLarge,
        () if dsn.message.envelope.body == BodyType::BinaryMime => Shown::Binary,
        () if !dsn.content.is_whole || !has_body(whole) => Shown::Header,
        () if !part::has_mail_lines(whole) => Shown::Binary,
        () => Shown::Whole,
    };
    if shown == Shown::Whole {
        let kind = if is_global { "message/global" } else { "message/rfc822" };
        return Returned { kind, description: "the message", octets: whole, shown };
    }
    let is_text = !header.is_ascii() && std::str::from_utf8(header).is_ok();
    let kind = match (is_global && !header.is_ascii(), is_text) {
        (true, _) => "message/global-headers",
        // A charset is only named where it must be right.
        (false, true) => "text/rfc822-headers; charset=utf-8",
        (false, false) => "text/rfc822-headers",
    };
    let shown = if header.is_empty() { Shown::Nothing } else { shown };
    Returned { kind, description: "the header of the message", octets: header, shown }
}

/// RFC 3461 §4.3, §6.2: RET=FULL is for failures; other reports bring back the header alone.
fn is_wanted_whole(message: &MessageMeta, recipients: &[Reported]) -> bool {
    let failed = |became: Became| matches!(became, Became::Failed | Became::Expired);
    message.envelope.ret_full == Some(true) && recipients.iter().any(|reported| failed(reported.became))
}

/// Whether the whole content is needed to write a report: otherwise its beginning is enough.
#[must_use]
pub fn needs_whole(message: &MessageMeta, recipients: &[Reported]) -> bool {
    is_wanted_whole(message, recipients)
        && message.size <= RETURNED_OCTETS
        && message.envelope.body != BodyType::BinaryMime
}

/// Whether a header ends in the content. If not, the delimiter of the next part would be read as a field of it.
fn has_body(content: &[u8]) -> bool {
    content.starts_with(b"\r\n") || content.windows(4).any(|window| window == b"\r\n\r\n")
}

/// The header that content begins with, bounded, of whole lines.
pub(super) fn header(content: &[u8]) -> &[u8] {
    if content.starts_with(b"\r\n") {
        return &[]; // no field at all
    }
    let end = content
        .windows(4)
        .take(RETURNED_HEADER_OCTETS)
        .position(|window| window == b"\r\n\r\n")
        .map_or(content.len(), |end| end + 2);
    let bounded = content.get(..end.min(RETURNED_HEADER_OCTETS)).unwrap_or(content);
    // Cut at a line end, so that the part stays a header.
    let whole_lines = bounded.windows(2).rposition(|window| window == b"\r\n").map_or(0, |last| last + 2);
    bounded.get(..whole_lines).unwrap_or_default()
}

/// The message's own id, for the field `References` of the report; none if it is not one that can stand there.
pub(super) fn message_id(content: &[u8]) -> Option<&str> {
    const FIELD: &[u8] = b"message-id:";

    let header = header(content);
    let line = header
        .split(|octet| *octet == b'\n')
        .find(|line| line.get(..FIELD.len()).is_some_and(|name| name.eq_ignore_ascii_case(FIELD)))?;
    let id = std::str::from_utf8(line.get(FIELD.len()..)?).ok()?.trim();
    let inside = id.strip_prefix('<')?.strip_suffix('>')?;
    // RFC 5322 §3.6.4, and short enough for one line.
    let is_id = id.len() <= 512 && inside.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>'));
    is_id.then_some(id)
}
