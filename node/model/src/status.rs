//! Enhanced status codes (RFC 3463; the registry is RFC 5248).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text;

/// The first number of an enhanced status: how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatusClass {
    /// 2: success.
    Success,
    /// 4: persistent transient failure; a later attempt may do better.
    Transient,
    /// 5: permanent failure.
    Permanent,
}

impl StatusClass {
    /// The digit on the wire.
    #[must_use]
    pub const fn digit(self) -> u8 {
        match self {
            Self::Success => 2,
            Self::Transient => 4,
            Self::Permanent => 5,
        }
    }
}

/// An enhanced status: `5.1.1`. Subject and detail have up to three digits (RFC 3463 §2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnhancedStatus {
    class: StatusClass,
    subject: u16,
    detail: u16,
}

/// A text that is no enhanced status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an enhanced status (2, 4 or 5, subject and detail of at most three digits)")]
pub struct ParseStatusError;

impl EnhancedStatus {
    /// `2.subject.detail`
    #[must_use]
    pub const fn success(subject: u8, detail: u8) -> Self {
        Self { class: StatusClass::Success, subject: subject as u16, detail: detail as u16 }
    }

    /// `4.subject.detail`
    #[must_use]
    pub const fn transient(subject: u8, detail: u8) -> Self {
        Self { class: StatusClass::Transient, subject: subject as u16, detail: detail as u16 }
    }

    /// `5.subject.detail`
    #[must_use]
    pub const fn permanent(subject: u8, detail: u8) -> Self {
        Self { class: StatusClass::Permanent, subject: subject as u16, detail: detail as u16 }
    }

    /// How it ended.
    #[must_use]
    pub const fn class(self) -> StatusClass {
        self.class
    }

    /// What it is about: 1 addressing, 2 mailbox, 3 system, 4 network, 5 protocol, 6 content, 7 policy (RFC 3463 §3).
    #[must_use]
    pub const fn subject(self) -> u16 {
        self.subject
    }

    /// The detail within the subject.
    #[must_use]
    pub const fn detail(self) -> u16 {
        self.detail
    }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class.digit(), self.subject, self.detail)
    }
}

impl fmt::Debug for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EnhancedStatus {
    type Err = ParseStatusError;

    fn from_str(text: &str) -> Result<Self, ParseStatusError> {
        let mut parts = text.splitn(3, '.');
        let (Some(class), Some(subject), Some(detail)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ParseStatusError);
        };
        let class = match class {
            "2" => StatusClass::Success,
            "4" => StatusClass::Transient,
            "5" => StatusClass::Permanent,
            _ => return Err(ParseStatusError),
        };
        Ok(Self { class, subject: parse_number(subject)?, detail: parse_number(detail)? })
    }
}

fn parse_number(text: &str) -> Result<u16, ParseStatusError> {
    // RFC 3463 §2: no leading zeros, so that a status has one text
    let canonical = (1..=3).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().map_err(|_| ParseStatusError) } else { Err(ParseStatusError) }
}

impl Serialize for EnhancedStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for EnhancedStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_survives_its_text_and_has_only_one() {
        // RFC 3463 §2
        for text in ["2.0.0", "4.7.1", "5.1.1", "5.999.999"] {
            assert_eq!(text.parse::<EnhancedStatus>().unwrap().to_string(), text);
        }
        for text in ["", "3.0.0", "5.1", "5.1.1.1", "5.01.1", "5.1.1000", "5..1", "5.1.+1", "5.1.1 "] {
            assert_eq!(text.parse::<EnhancedStatus>(), Err(ParseStatusError), "{text}");
        }
        assert_eq!(EnhancedStatus::permanent(1, 1), "5.1.1".parse().unwrap());
    }
}
