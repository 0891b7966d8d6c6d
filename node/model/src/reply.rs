//! Replies of SMTP and LMTP: code, enhanced status, lines of text (RFC 5321 §4.2, RFC 2034).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    status::{EnhancedStatus, StatusClass},
    text,
};

/// What the first digit of a reply code says (RFC 5321 §4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// 2: done.
    Completed,
    /// 3: go on.
    Intermediate,
    /// 4: not now.
    Transient,
    /// 5: not at all.
    Permanent,
}

/// A reply code: three digits, the first 2 to 5 (RFC 5321 §4.2). The second digit is not checked further: servers in the field use more than
/// the six values of the grammar.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyCode(u16);

/// A text that is no reply code or no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseReplyError {
    /// The code is not three digits from 200 to 599.
    #[error("a reply starts with three digits, the first 2 to 5")]
    Code,
    /// Neither a space, a hyphen nor the end follows the code.
    #[error("a space or a hyphen follows the code of a reply")]
    Separator,
    /// The lines have different codes, or the last is marked as followed by another, or a middle one as the last.
    #[error("the lines of a reply do not belong together")]
    Lines,
}

impl ReplyCode {
    /// 211: system status or help.
    pub const SYSTEM_STATUS: Self = Self(211);
    /// 214: help.
    pub const HELP: Self = Self(214);
    /// 220: ready, the greeting.
    pub const READY: Self = Self(220);
    /// 221: closing.
    pub const CLOSING: Self = Self(221);
    /// 250: done.
    pub const OK: Self = Self(250);
    /// 252: cannot verify, but will try.
    pub const CANNOT_VERIFY: Self = Self(252);
    /// 354: send the content.
    pub const START_CONTENT: Self = Self(354);
    /// 421: not available, closing.
    pub const NOT_AVAILABLE: Self = Self(421);
    /// 450: mailbox not available now.
    pub const MAILBOX_BUSY: Self = Self(450);
    /// 451: error in processing.
    pub const LOCAL_ERROR: Self = Self(451);
    /// 452: not enough room.
    pub const NO_ROOM: Self = Self(452);
    /// 454: temporary authentication failure, or TLS not available (RFC 4954 §6, RFC 3207 §4).
    pub const TEMPORARY_AUTH_FAILURE: Self = Self(454);
    /// 500: syntax error, command not recognised.
    pub const SYNTAX_ERROR: Self = Self(500);
    /// 501: syntax error in arguments.
    pub const ARGUMENT_ERROR: Self = Self(501);
    /// 502: command not implemented.
    pub const NOT_IMPLEMENTED: Self = Self(502);
    /// 503: bad sequence of commands.
    pub const BAD_SEQUENCE: Self = Self(503);
    /// 530: authentication or encryption required (RFC 4954 §6, RFC 3207 §4).
    pub const AUTH_REQUIRED: Self = Self(530);
    /// 550: mailbox not available.
    pub const MAILBOX_UNAVAILABLE: Self = Self(550);
    /// 552: too much.
    pub const TOO_MUCH: Self = Self(552);
    /// 553: mailbox name not allowed.
    pub const NAME_NOT_ALLOWED: Self = Self(553);
    /// 554: transaction failed, or no service here.
    pub const FAILED: Self = Self(554);
    /// 555: parameters not recognised.
    pub const PARAMETERS_UNKNOWN: Self = Self(555);

    /// A code from its number: 200 to 599.
    pub const fn new(number: u16) -> Result<Self, ParseReplyError> {
        if number >= 200 && number <= 599 { Ok(Self(number)) } else { Err(ParseReplyError::Code) }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// What the first digit says.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self.0 / 100 {
            2 => Severity::Completed,
            3 => Severity::Intermediate,
            4 => Severity::Transient,
            _ => Severity::Permanent,
        }
    }
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ReplyCode {
    type Err = ParseReplyError;

    fn from_str(text: &str) -> Result<Self, ParseReplyError> {
        if text.len() != 3 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParseReplyError::Code);
        }
        Self::new(text.parse().map_err(|_| ParseReplyError::Code)?)
    }
}

/// A reply: a code, an enhanced status of the same class or none, and at least one line of text (it may be empty) without control characters.
///
/// Its text form is the wire's with line feeds between the lines and none at the end: `550 5.1.1 no such user`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reply {
    code: ReplyCode,
    status: Option<EnhancedStatus>,
    lines: Vec<Box<str>>,
}

impl Reply {
    /// A reply of one or more lines (a line feed starts another). Control characters become `?`. A status of another class than the code is
    /// dropped (RFC 2034 §4: they must agree); without a status, one at the head of the text is taken as the status, as a receiver would.
    #[must_use]
    pub fn new(code: ReplyCode, status: Option<EnhancedStatus>, text: &str) -> Self {
        Self::from_lines(code, status, text.split('\n'))
    }

    fn from_lines<'t>(
        code: ReplyCode,
        status: Option<EnhancedStatus>,
        lines: impl Iterator<Item = &'t str>,
    ) -> Self {
        let status = status.filter(|status| agrees(code, *status));
        let mut lines: Vec<Box<str>> = lines.map(clean).collect();
        if lines.is_empty() {
            lines.push("".into());
        }
        if status.is_none()
            && let Some((found, _)) = lines.first().and_then(|line| split_status(code, line))
        {
            for line in &mut lines {
                if let Some((_, rest)) = split_status(code, line).filter(|(status, _)| *status == found) {
                    *line = rest.into();
                }
            }
            return Self { code, status: Some(found), lines };
        }
        Self { code, status, lines }
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> ReplyCode {
        self.code
    }

    /// The enhanced status, if there is one.
    #[must_use]
    pub fn status(&self) -> Option<EnhancedStatus> {
        self.status
    }

    /// The lines of text, without code and status; at least one.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = &str> {
        self.lines.iter().map(AsRef::as_ref)
    }

    /// All text in one line, for logs.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }

    /// What the first digit of the code says.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// Whether the code is 2yz or 3yz.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        matches!(self.severity(), Severity::Completed | Severity::Intermediate)
    }

    /// The same reply without its enhanced status: for greetings and answers to HELO and EHLO (RFC 2034 §4).
    #[must_use]
    pub fn without_status(mut self) -> Self {
        self.status = None;
        self
    }
}

fn agrees(code: ReplyCode, status: EnhancedStatus) -> bool {
    matches!(
        (code.severity(), status.class()),
        (Severity::Completed, StatusClass::Success)
            | (Severity::Transient, StatusClass::Transient)
            | (Severity::Permanent, StatusClass::Permanent)
    )
}

/// The status at the head of a line, if it agrees with the code, and the text behind it.
fn split_status(code: ReplyCode, line: &str) -> Option<(EnhancedStatus, &str)> {
    let (head, rest) = line.split_once(' ').unwrap_or((line, ""));
    let status = head.parse().ok().filter(|status| agrees(code, *status))?;
    Some((status, rest))
}

/// RFC 5321 §4.2: a line of text has no control characters but the tab; what cannot be shown becomes a question mark.
fn clean(line: &str) -> Box<str> {
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.chars().any(|c| c.is_control() && c != '\t') {
        line.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect()
    } else {
        line.into()
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.lines.len().saturating_sub(1);
        self.lines.iter().enumerate().try_for_each(|(place, line)| {
            write!(f, "{}{}", self.code, if place < last { '-' } else { ' ' })?;
            if let Some(status) = self.status {
                write!(f, "{status} ")?;
            }
            f.write_str(line)?;
            if place < last { f.write_str("\n") } else { Ok(()) }
        })
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Reply {
    type Err = ParseReplyError;

    /// Reads the wire form; lines end with LF or CRLF, the end of the last is optional.
    fn from_str(text: &str) -> Result<Self, ParseReplyError> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let mut code = None;
        let mut finished = false;
        let mut lines = Vec::new();
        for line in text.split('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line);
            let (digits, rest) = line.split_at_checked(3).ok_or(ParseReplyError::Code)?;
            let this: ReplyCode = digits.parse()?;
            if finished || code.is_some_and(|code| code != this) {
                return Err(ParseReplyError::Lines);
            }
            code = Some(this);
            finished = !rest.starts_with('-');
            lines.push(match rest.strip_prefix(['-', ' ']) {
                Some(line) => line,
                None if rest.is_empty() => "",
                None => return Err(ParseReplyError::Separator),
            });
        }
        match code {
            Some(code) if finished => Ok(Self::from_lines(code, None, lines.into_iter())),
            _ => Err(ParseReplyError::Lines),
        }
    }
}

impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Reply {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

impl Serialize for ReplyCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for ReplyCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_status_is_read_from_every_line_and_written_on_every_line() {
        // RFC 2034 §4
        let text = "550-5.1.1 no such\n550 5.1.1 user";
        let reply: Reply = text.parse().unwrap();
        assert_eq!(reply.status(), Some(EnhancedStatus::permanent(1, 1)));
        assert_eq!(reply.lines().collect::<Vec<_>>(), ["no such", "user"]);
        assert_eq!(reply.to_string(), text);
    }

    #[test]
    fn a_status_of_another_class_is_text() {
        let reply: Reply = "250 5.1.1 odd".parse().unwrap();
        assert_eq!((reply.status(), reply.text()), (None, "5.1.1 odd".to_owned()));
        assert_eq!(Reply::new(ReplyCode::OK, Some(EnhancedStatus::permanent(1, 1)), "x").status(), None);
        assert_eq!("250".parse::<Reply>().unwrap().text(), "");
    }

    #[test]
    fn lines_that_do_not_belong_together_are_refused() {
        // RFC 5321 §4.2.1
        for text in ["250-a\n550 b", "250-a", "250 a\n250 b", "25", "250x", "199 a", "600 a", ""] {
            assert!(text.parse::<Reply>().is_err(), "{text}");
        }
    }

    #[test]
    fn control_characters_never_reach_the_wire() {
        assert_eq!(Reply::new(ReplyCode::OK, None, "a\rb\0c\nd").to_string(), "250-a?b?c\n250 d");
    }

    proptest! {
        #[test]
        fn a_reply_survives_its_text(
            code in 200u16..600,
            status in proptest::option::of((0u8..30, 0u8..30)),
            text in "(([245]\\.[0-9]\\.[0-9] ?)?[ -~]{0,20}\\PC{0,5}(\r|\n)?){1,4}",
        ) {
            let code = ReplyCode::new(code).unwrap();
            let status = status.map(|(s, d)| match code.severity() {
                Severity::Transient => EnhancedStatus::transient(s, d),
                Severity::Permanent => EnhancedStatus::permanent(s, d),
                _ => EnhancedStatus::success(s, d),
            });
            let reply = Reply::new(code, status, &text);
            prop_assert_eq!(reply.to_string().parse::<Reply>().unwrap(), reply);
        }
    }
}
