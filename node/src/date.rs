//! Dates in the forms that mail and people use. Pure: time is a parameter.

use jiff::Timestamp as Instant;
use posthouse_model::Timestamp;

/// A date-time of RFC 5322 §3.3, in UTC: `Tue, 14 Nov 2023 22:13:20 +0000`.
#[must_use]
pub fn rfc5322(at: Timestamp) -> String {
    instant(at).strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// A date-time of RFC 3339, in UTC, to the second.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    instant(at).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn instant(at: Timestamp) -> Instant {
    // A time beyond the calendar's end can only come from a damaged record; the epoch then stands for "unknown".
    i64::try_from(at.0).ok().and_then(|ms| Instant::from_millisecond(ms).ok()).unwrap_or(Instant::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_utc_and_never_panic() {
        assert_eq!(rfc5322(Timestamp(0)), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(rfc3339(Timestamp(1_700_000_000_000)), "2023-11-14T22:13:20Z");
        assert_eq!(rfc5322(Timestamp(u64::MAX)), rfc5322(Timestamp(0)));
    }
}
