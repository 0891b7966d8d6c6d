//! A span of time as manifests write it: `5d`, `1h30m`, `90s`. Pure.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Days, hours, minutes, seconds, in this order, each at most once. The Kubernetes form (Go's) has no days, which mail is counted in.
pub const PATTERN: &str = "^([0-9]{1,5}d)?([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$";

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Digits of one number: with five, even all four units stay far from overflow.
const DIGITS: usize = 5;

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseDurationError(String);

impl fmt::Display for ParseDurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a duration: write days, hours, minutes and seconds in this order, such as 5d or 1h30m",
            self.0
        )
    }
}

impl std::error::Error for ParseDurationError {}

/// A span of time in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

impl Duration {
    /// This many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Whole seconds.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        Self::from_secs(duration.0)
    }
}

impl FromStr for Duration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, ParseDurationError> {
        let refused = || ParseDurationError(text.chars().take(40).collect());
        let mut rest = text;
        let mut seconds = 0;
        for (unit, length) in UNITS {
            let Some((number, after)) = rest.split_once(unit) else { continue };
            let digits = (1..=DIGITS).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
            if !digits {
                return Err(refused());
            }
            let number: u64 = number.parse().map_err(|_| refused())?;
            seconds += number * length; // at most 99,999 days: no overflow
            rest = after;
        }
        if text.is_empty() || !rest.is_empty() { Err(refused()) } else { Ok(Self(seconds)) }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, length) in UNITS {
            let number = rest / length;
            rest %= length;
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PATTERN, "minLength": 2, "maxLength": 24 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_hours_minutes_and_seconds_add_up() {
        for (text, seconds) in
            [("5d", 432_000), ("1h30m", 5_400), ("1d1h1m1s", 90_061), ("0s", 0), ("90s", 90)]
        {
            assert_eq!(text.parse::<Duration>(), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn a_duration_is_written_as_it_would_be_read() {
        for text in ["0s", "5d", "1h30m", "1d1h1m1s", "7d"] {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), text);
        }
        assert_eq!("90m".parse::<Duration>().unwrap().to_string(), "1h30m");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "5", "d", "1m1h", "1h1h", "-1s", "1.5h", "1 h", "100000d", "5D", "1w", "1ms"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }
}
