//! The part for people (RFC 6522 §3): who, why, what happens next, and until when. Pure.

use std::fmt::Write as _;

use super::{Became, Dsn, Reported, returned::Shown, status, text};
use crate::date;

/// Where a line is broken if it can be: fits a terminal.
const WIDTH: usize = 76;

/// The text, lines ended by CRLF. `utf8`: addresses and replies may be in UTF-8.
pub(super) fn notice(dsn: &Dsn<'_>, shown: Shown, utf8: bool) -> String {
    let mut notice = Notice { text: String::new(), utf8 };
    let date = date::rfc5322(dsn.message.received_at);
    notice.paragraph(&format!(
        "This is the mail gateway {}. It reports on your message of {date}.",
        dsn.hostname
    ));
    for kind in KINDS {
        let recipients: Vec<&Reported> =
            dsn.recipients.iter().filter(|reported| kind.is_of(&reported.became)).collect();
        if recipients.is_empty() {
            continue;
        }
        notice.paragraph(kind.says());
        for reported in recipients {
            notice.recipient(reported);
        }
        notice.text.push_str("\r\n");
        notice.paragraph(kind.what_next());
    }
    if let Some(until) = dsn.recipients.iter().find_map(|reported| reported.became.until()) {
        notice.paragraph(&format!(
            "If it cannot be delivered by {}, it is given up, and you are told.",
            date::rfc5322(until)
        ));
    }
    notice.paragraph(shown.says());
    notice.lines("", &format!("For who looks into it: queue id {}.", dsn.original));
    notice.text
}

/// What can be said of several recipients at once, the worst first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Failed,
    Expired,
    Delayed,
    Expanded,
    Relayed,
    Delivered,
}

const KINDS: [Kind; 6] =
    [Kind::Failed, Kind::Expired, Kind::Delayed, Kind::Expanded, Kind::Relayed, Kind::Delivered];

impl Kind {
    fn is_of(self, became: &Became) -> bool {
        self == match became {
            Became::Failed => Self::Failed,
            Became::Expired => Self::Expired,
            Became::Delayed { .. } => Self::Delayed,
            Became::Expanded => Self::Expanded,
            Became::Relayed => Self::Relayed,
            Became::Delivered => Self::Delivered,
        }
    }

    fn says(self) -> &'static str {
        match self {
            Self::Failed => "It could not be delivered to:",
            Self::Expired => "It could not be delivered in the time allowed, and was given up for:",
            Self::Delayed => "It has not been delivered yet to:",
            Self::Expanded => "It is on its way to the members of:",
            Self::Relayed => "It was handed over for:",
            Self::Delivered => "It was delivered to:",
        }
    }

    fn what_next(self) -> &'static str {
        match self {
            Self::Failed => {
                "This is final: it is not tried again. When the cause is mended, send your message again."
            }
            Self::Expired => {
                "It is not tried again. The cause may pass: you can send your message again later."
            }
            Self::Delayed => "You need not do anything, and need not send it again: it is tried again.",
            Self::Expanded => "You asked to be told. Of each member you hear only if something goes wrong.",
            Self::Relayed => {
                "You asked to be told. The server that took it reports no delivery, so you hear of it again only if something goes wrong."
            }
            Self::Delivered => "You asked to be told. There is nothing more to do.",
        }
    }
}

struct Notice {
    text: String,
    utf8: bool,
}

impl Notice {
    fn paragraph(&mut self, says: &str) {
        self.lines("", says);
        self.text.push_str("\r\n");
    }

    fn recipient(&mut self, reported: &Reported) {
        let Reported { recipient, became } = reported;
        self.lines("  ", &format!("<{}>", recipient.address));
        if let Some(named) = &recipient.expanded_from {
            self.lines("    ", &format!("You wrote to <{named}>, which leads there."));
        }
        if !became.is_trouble() {
            return;
        }
        let Some(last) = &recipient.last else {
            return self.lines("    ", "No attempt has been made yet.");
        };
        if last.code == 0 {
            return self.lines("    ", &format!("The gateway says: {}", last.text));
        }
        if let Some(meaning) = meaning(&last.status) {
            self.lines("    ", meaning);
        }
        let host = Some(status::said_by(&last.host)).filter(|host| !host.is_empty());
        let said = status::diagnostic(last);
        self.lines("    ", &format!("{} said: {said}", host.unwrap_or("The server there")));
    }

    fn lines(&mut self, indent: &str, says: &str) {
        let says = if self.utf8 { text::in_one_line(says) } else { text::ascii(says) };
        let _ = write!(self.text, "{indent}"); // writing to a String cannot fail
        text::wrap_to(&mut self.text, &says, WIDTH - indent.len(), &format!("\r\n{indent}"));
        self.text.push_str("\r\n");
    }
}

/// What a status means (RFC 3463 §3), in words for who sent the message; none where the reply itself is all that there is.
fn meaning(status: &str) -> Option<&'static str> {
    let (_, detail) = status.split_once('.')?;
    Some(match detail {
        "1.1" | "1.6" => "There is no such address there. Is it spelled right?",
        "1.2" | "1.10" | "4.4" => "No server that takes mail is known for the domain of this address.",
        "1.3" => "The address is not well-formed.",
        "1.7" | "1.8" => "Your own address is not accepted there.",
        "2.1" => "The mailbox is closed at present.",
        "2.2" => "The mailbox is full.",
        "2.3" | "3.4" => "The message is too large.",
        "3.1" => "The server there has no room at present.",
        "4.1" => "The server there does not answer.",
        "4.2" => "The connection to the server there was lost.",
        "4.6" => "The message went round in circles.",
        "4.7" => "There was no success within the time allowed.",
        "6.3" | "6.7" | "6.9" => {
            "The server there cannot take a message of this kind: it needs characters that it does not know."
        }
        detail if detail.starts_with("7.") => {
            "The server there does not want it, for reasons of policy or security."
        }
        _ => return None,
    })
}
