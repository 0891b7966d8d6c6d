//! What holds of the report that a sender gets, whatever the sender, its client and the far ends said: it travels (only CRLF, no long line, 7-bit
//! but where that cannot be), it is what RFC 6522 and RFC 3464 say it is to a parser of other people, its fields read back as what was put in,
//! nothing foreign begins a field or a part of its own, and what comes back is as it was. Pure.
//!
//! An input: an octet of flags, an octet that says how many recipients, and texts between [`NEXT`]: to whom, ENVID, the client; for each recipient
//! its address, its ORCPT, what became of it (a letter) with the reply, the host; and at last the content.

use std::borrow::Cow;

use mail_parser::{Encoding, Message, MessageParser, MimeHeaders, PartType, decoders::quoted_printable};
use posthouse_model::{Envid, Mailbox, MessageId, OriginalRecipient, Reply, ReversePath, ShardId, Timestamp};
use posthouse_node::delivery::{
    conclude::their_words,
    dsn::{Became, Dsn, Original, Reported, Written},
};
use posthouse_queue::{BodyType, EntryRecipient, Envelope, LastReply, MessageMeta, Origin};

/// Between two texts of an input.
const NEXT: u8 = 0x1e;

/// RFC 5322 §2.1.1
const LINE: usize = 998;

/// Which law an input breaks, if it breaks one; nothing if the input stands for nothing.
pub(crate) fn broken(input: &[u8]) -> Option<Result<(), String>> {
    let facts = Facts::read(input)?;
    let written = facts.write();
    let law = facts.travels(&written).and_then(|()| facts.is_a_report(&written));
    Some(law.map_err(|law| format!("{law} in\n{}", String::from_utf8_lossy(&written.content))))
}

struct Facts {
    message: MessageMeta,
    recipients: Vec<Reported>,
    content: Vec<u8>,
    is_whole: bool,
    to: Mailbox,
}

impl Facts {
    fn read(input: &[u8]) -> Option<Self> {
        let (&[flags, count], rest) = input.split_first_chunk::<2>()?;
        let count = usize::from(count % 3) + 1;
        let mut texts = rest.splitn(3 + 4 * count + 1, |octet| *octet == NEXT);
        let mut text = || str::from_utf8(texts.next()?).ok();
        let to: Mailbox = text()?.parse().ok()?;
        let envid = text()?.parse().ok().map(|envid: Envid| envid.to_string());
        let client = text()?.to_owned();
        let recipients = (0..count)
            .map(|_| {
                let address = text()?.parse().ok()?;
                let orcpt = text()?.parse().ok().map(|orcpt: OriginalRecipient| orcpt.to_string());
                let (letter, reply) = text()?.split_at_checked(1)?;
                let host = text()?;
                let last = reply.parse().ok().map(|reply: Reply| their_words(Timestamp(1), &reply, host));
                let recipient = EntryRecipient { address, expanded_from: None, orcpt, notify: 0, last };
                Some(Reported { recipient, became: became(letter) })
            })
            .collect::<Option<Vec<_>>>()?;
        let content = texts.next().unwrap_or_default().to_vec();
        let is = |bit: u8| flags & 1 << bit != 0;
        let envelope = Envelope {
            reverse_path: ReversePath::from(to.clone()),
            body: match () {
                () if is(4) => BodyType::BinaryMime,
                () if content.is_ascii() => BodyType::SevenBit,
                () => BodyType::EightBitMime,
            },
            smtputf8: is(0),
            ret_full: is(1).then_some(is(2)),
            envid,
            client,
            login: None,
        };
        let size = content.len() as u64;
        let received_at = Timestamp(1_700_000_000_000);
        let message = MessageMeta { envelope, origin: Origin::Accepted, size, crc32: 0, received_at };
        Some(Self { message, recipients, content, is_whole: is(3), to })
    }

    fn write(&self) -> Written {
        Dsn {
            hostname: "mail.example.com",
            id: MessageId::new(5, ShardId(0), 9),
            original: MessageId::new(1, ShardId(0), 1),
            message: &self.message,
            received_from: Some(&self.message.envelope.client),
            recipients: &self.recipients,
            content: Original { octets: &self.content, is_whole: self.is_whole },
            to: &self.to,
            at: Timestamp(1_700_000_200_000),
        }
        .write()
    }

    /// Any next hop takes it as it is declared.
    fn travels(&self, written: &Written) -> Result<(), String> {
        let Written { content, body, smtputf8 } = written;
        for line in content.split_inclusive(|octet| *octet == b'\n') {
            let inner = line.strip_suffix(b"\r\n").ok_or("a line does not end with CRLF")?;
            if inner.len() > LINE || inner.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0)) {
                return Err("a line is no line of mail".to_owned());
            }
        }
        if *body == BodyType::BinaryMime || (*body == BodyType::SevenBit) != content.is_ascii() {
            return Err(format!("it is not {body:?}"));
        }
        let header = content.windows(4).position(|end| end == b"\r\n\r\n").ok_or("no header ends")?;
        if *smtputf8 && self.to.to_ascii().is_some() {
            return Err("SMTPUTF8 is asked for, and need not be".to_owned());
        }
        if !*smtputf8 && !content.get(..header).is_some_and(<[u8]>::is_ascii) {
            return Err("a header beyond ASCII is not declared".to_owned());
        }
        Ok(())
    }

    /// A parser of other people sees what was meant.
    fn is_a_report(&self, written: &Written) -> Result<(), String> {
        let content = written.content.as_slice();
        let message = MessageParser::default().parse(content).ok_or("no message")?;
        once_each(&message)?;
        let kind = message.content_type().ok_or("no type")?;
        let is_report = kind.ctype() == "multipart" && kind.subtype() == Some("report");
        if !is_report || kind.attribute("report-type") != Some("delivery-status") {
            return Err("it is no report".to_owned());
        }
        let PartType::Multipart(ids) = &message.root_part().body else { return Err("no parts".to_owned()) };
        let parts: Vec<_> = ids.iter().filter_map(|id| part(&message, content, *id)).collect();
        let kinds: Vec<&str> = parts.iter().map(|(kind, _)| kind.as_str()).collect();
        let returned = match kinds.as_slice() {
            ["text/plain", "message/delivery-status" | "message/global-delivery-status"] => None,
            ["text/plain", "message/delivery-status" | "message/global-delivery-status", returned] => {
                Some(*returned)
            }
            _ => return Err(format!("the parts are {kinds:?}")),
        };
        let comes_whole = match returned {
            None | Some("text/rfc822-headers" | "message/global-headers") => false,
            Some("message/rfc822" | "message/global") => true,
            Some(other) => return Err(format!("what comes back is {other}")),
        };
        if self.to.to_ascii().is_some() && !comes_whole && written.body != BodyType::SevenBit {
            return Err("it is 8-bit without need".to_owned());
        }
        if let Some((_, octets)) = parts.get(2) {
            self.comes_back(octets, comes_whole)?;
        }
        let (_, fields) = parts.get(1).ok_or("no fields")?;
        self.reads_back(str::from_utf8(fields).map_err(|_| "the fields are no text")?)
    }

    /// What comes back is what was sent, as far as it goes; and not more of it than was wanted.
    fn comes_back(&self, octets: &[u8], whole: bool) -> Result<(), String> {
        if !self.content.starts_with(octets) || whole && self.content != octets {
            return Err("what comes back is not what was sent".to_owned());
        }
        let failed = |reported: &Reported| matches!(reported.became, Became::Failed | Became::Expired);
        let is_wanted = self.message.envelope.ret_full == Some(true) && self.recipients.iter().any(failed);
        if whole && !(is_wanted && self.is_whole) {
            return Err("more comes back than was wanted".to_owned());
        }
        let has_empty_line = octets.starts_with(b"\r\n") || octets.windows(4).any(|end| end == b"\r\n\r\n");
        if !whole && has_empty_line { Err("a body comes back".to_owned()) } else { Ok(()) }
    }

    /// The fields say what was put in, once each, in one block for the message and one for each recipient (RFC 3464 §2.1).
    fn reads_back(&self, fields: &str) -> Result<(), String> {
        let unfolded = fields.replace("\r\n\t", " ");
        let mut blocks = unfolded.trim_end_matches("\r\n").split("\r\n\r\n");
        let of_message = Block::read(blocks.next().unwrap_or_default(), OF_MESSAGE)?;
        let envid = self.message.envelope.envid.as_ref().and_then(|envid| envid.parse::<Envid>().ok());
        of_message.is("Original-Envelope-Id", envid.map(|envid| envid.decoded()).as_deref())?;
        of_message.is("Reporting-MTA", Some("dns; mail.example.com"))?;
        let mut count = 0;
        for (block, reported) in blocks.by_ref().zip(&self.recipients) {
            of_recipient(&Block::read(block, OF_RECIPIENT)?, reported)?;
            count += 1;
        }
        if count == self.recipients.len() && blocks.next().is_none() {
            Ok(())
        } else {
            Err(format!("{count} blocks for {} recipients", self.recipients.len()))
        }
    }
}

fn became(letter: &str) -> Became {
    match letter {
        "E" => Became::Expired,
        "D" => Became::Delayed { until: Timestamp(1_700_400_000_000) },
        "L" => Became::Delivered,
        "R" => Became::Relayed,
        "X" => Became::Expanded,
        _ => Became::Failed,
    }
}

/// RFC 3464 §2.2
const OF_MESSAGE: &[&str] = &["Original-Envelope-Id", "Reporting-MTA", "Received-From-MTA", "Arrival-Date"];

/// RFC 3464 §2.3
const OF_RECIPIENT: &[&str] = &[
    "Original-Recipient",
    "Final-Recipient",
    "Action",
    "Status",
    "Remote-MTA",
    "Diagnostic-Code",
    "Last-Attempt-Date",
    "Will-Retry-Until",
];

/// What the header of the report has; nothing else begins a field.
const HEADER: &[&str] = &[
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "References",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Transfer-Encoding",
    "Content-Type",
];

fn once_each(message: &Message<'_>) -> Result<(), String> {
    let names: Vec<_> = message.headers().iter().map(|header| header.name().to_owned()).collect();
    for (place, name) in names.iter().enumerate() {
        let is_known = HEADER.iter().any(|known| known.eq_ignore_ascii_case(name));
        if !is_known || names.iter().take(place).any(|before| before.eq_ignore_ascii_case(name)) {
            return Err(format!("{name} is in the header once too often"));
        }
    }
    Ok(())
}

/// A part with its type, decoded.
fn part(message: &Message<'_>, content: &[u8], id: u32) -> Option<(String, Vec<u8>)> {
    let part = message.part(id)?;
    let raw = content.get(usize::try_from(part.offset_body).ok()?..usize::try_from(part.offset_end).ok()?)?;
    let octets = match part.encoding {
        Encoding::QuotedPrintable => quoted_printable::quoted_printable_decode(raw)?,
        Encoding::None => raw.to_vec(),
        Encoding::Base64 => return None,
    };
    let kind = part.content_type()?;
    Some((format!("{}/{}", kind.ctype(), kind.subtype()?), octets))
}

/// Some fields, each of them there once at most.
struct Block<'f> {
    fields: Vec<(&'f str, &'f str)>,
}

impl<'f> Block<'f> {
    fn read(text: &'f str, known: &[&str]) -> Result<Self, String> {
        let mut fields: Vec<(&str, &str)> = Vec::new();
        for line in text.split("\r\n").filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").ok_or_else(|| format!("{line:?} is no field"))?;
            if !known.contains(&name) || fields.iter().any(|(other, _)| *other == name) {
                return Err(format!("{name} is there once too often"));
            }
            fields.push((name, value));
        }
        Ok(Self { fields })
    }

    fn value(&self, name: &str) -> Option<&'f str> {
        self.fields.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }

    fn is(&self, name: &str, expected: Option<&str>) -> Result<(), String> {
        let found = self.value(name);
        if found == expected { Ok(()) } else { Err(format!("{name} is {found:?} instead of {expected:?}")) }
    }
}

fn of_recipient(block: &Block<'_>, reported: &Reported) -> Result<(), String> {
    let Reported { recipient, became } = reported;
    let (action, class, is_trouble) = match became {
        Became::Failed => ("failed", "5.", true),
        Became::Expired => ("failed", "4.", true),
        Became::Delayed { .. } => ("delayed", "4.", true),
        Became::Delivered => ("delivered", "2.", false),
        Became::Relayed => ("relayed", "2.", false),
        Became::Expanded => ("expanded", "2.", false),
    };
    block.is("Action", Some(action))?;
    let status = block.value("Status").unwrap_or_default();
    if !status.starts_with(class) || status.parse::<posthouse_model::EnhancedStatus>().is_err() {
        return Err(format!("the status is {status:?}"));
    }
    let (kind, named) = typed(block.value("Final-Recipient"))?;
    if named.parse::<Mailbox>().ok().as_ref() != Some(&recipient.address) {
        return Err(format!("the recipient is {kind:?} {named:?}"));
    }
    let meant = recipient.orcpt.as_ref().and_then(|orcpt| orcpt.parse::<OriginalRecipient>().ok());
    match (&meant, block.value("Original-Recipient")) {
        (None, None) => {}
        (Some(meant), value) => {
            let (kind, address) = typed(value)?;
            let is_kind = kind.eq_ignore_ascii_case(meant.address_type())
                || kind == "utf-8" && !meant.address().is_ascii();
            if !is_kind || address != meant.address() {
                return Err(format!("{meant} is {kind:?} {address:?}"));
            }
        }
        (None, Some(value)) => return Err(format!("{value:?} was not given")),
    }
    diagnostic(block, recipient.last.as_ref().filter(|_| is_trouble))
}

/// RFC 3464 §2.3.6: there where the far end refused or put off, as it was said.
fn diagnostic(block: &Block<'_>, last: Option<&LastReply>) -> Result<(), String> {
    let found = block.value("Diagnostic-Code");
    match last {
        Some(last) if last.code > 0 => {
            let expected = format!("smtp; {} ", last.code);
            let said = found.and_then(|found| found.strip_prefix(&expected)).ok_or("no diagnostic")?;
            let is_plain = last.text.bytes().all(|octet| octet == b' ' || octet.is_ascii_graphic());
            if is_plain && !said.ends_with(&last.text) {
                Err(format!("{said:?} was not said"))
            } else {
                Ok(())
            }
        }
        _ if found.is_some() => Err("a diagnostic of nobody".to_owned()),
        _ => Ok(()),
    }
}

/// A type and an address, whose escapes are read if it has any (RFC 6533 §3).
fn typed(value: Option<&str>) -> Result<(&str, Cow<'_, str>), String> {
    let (kind, address) = value.and_then(|value| value.split_once("; ")).ok_or("no address")?;
    if kind.eq_ignore_ascii_case("utf-8") && address.contains("\\x{") {
        let escaped: OriginalRecipient =
            format!("utf-8;{address}").parse().map_err(|error| format!("{address:?}: {error}"))?;
        return Ok((kind, escaped.address().into()));
    }
    Ok((kind, address.into()))
}
