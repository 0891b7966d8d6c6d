//! When a recipient is tried again, and when its time is over. Pure: settings and clocks in, decision out.

use std::time::Duration;

use posthouse_config::Retry;
use posthouse_model::Timestamp;

/// The retry settings of a gateway (`queue.retry`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySchedule {
    /// Waits between attempts; the last one repeats. Never empty, each at least a second.
    pub intervals: Vec<Duration>,
    /// How old an entry may get, hold time not counted.
    pub expire_after: Duration,
    /// How old an entry may get before its sender is told that it still waits, hold time not counted.
    pub warn_after: Duration,
}

/// The clock of one entry: hold time does not run.
#[derive(Clone, Copy, Debug)]
pub struct EntryClock {
    /// When its message was accepted.
    pub received_at: Timestamp,
    /// How long it was held in all.
    pub held: Duration,
}

impl EntryClock {
    /// Its age at `now`, hold time taken off.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        now.since(self.received_at).saturating_sub(self.held)
    }
}

impl RetrySchedule {
    /// As a snapshot says it.
    #[must_use]
    pub fn of(retry: &Retry) -> Self {
        let Retry { intervals, expire_after, warn_after } = retry;
        Self {
            intervals: intervals.iter().map(|interval| interval.duration()).collect(),
            expire_after: expire_after.duration(),
            warn_after: warn_after.duration(),
        }
    }

    /// The wait after the attempt with this number (1 is the first).
    #[must_use]
    pub fn interval(&self, attempt: u32) -> Duration {
        let place = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
        self.intervals.get(place).or(self.intervals.last()).copied().unwrap_or(Duration::from_mins(5))
    }

    /// When an entry expires.
    #[must_use]
    pub fn expiry(&self, clock: EntryClock) -> Timestamp {
        clock.received_at.after(clock.held).after(self.expire_after)
    }

    /// When the sender is told that an entry still waits; never if it is given up by then.
    #[must_use]
    pub fn warning(&self, clock: EntryClock) -> Option<Timestamp> {
        (self.warn_after < self.expire_after)
            .then(|| clock.received_at.after(clock.held).after(self.warn_after))
    }

    /// Whether an entry's time is over.
    #[must_use]
    pub fn is_expired(&self, clock: EntryClock, now: Timestamp) -> bool {
        clock.age(now) >= self.expire_after
    }

    /// When to try again after the attempt with this number, or `None` if the entry expires before: RFC 5321 §4.5.4.1 gives up after days.
    /// A last attempt is made at the expiry, not long before it.
    #[must_use]
    pub fn next_attempt(&self, attempt: u32, clock: EntryClock, now: Timestamp) -> Option<Timestamp> {
        if self.is_expired(clock, now) {
            return None;
        }
        Some(now.after(self.interval(attempt)).min(self.expiry(clock)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule() -> RetrySchedule {
        RetrySchedule {
            intervals: [300, 900].map(Duration::from_secs).to_vec(),
            expire_after: Duration::from_hours(1),
            warn_after: Duration::from_mins(20),
        }
    }

    fn clock(received: u64, held: u64) -> EntryClock {
        EntryClock { received_at: Timestamp(received * 1000), held: Duration::from_secs(held) }
    }

    #[test]
    fn intervals_are_used_in_order_and_the_last_repeats() {
        let waits = [1, 2, 3, 100].map(|attempt| schedule().interval(attempt).as_secs());
        assert_eq!(waits, [300, 900, 900, 900]);
    }

    #[test]
    fn the_last_attempt_is_at_the_expiry_and_none_follows() {
        let (schedule, clock) = (schedule(), clock(0, 0));
        assert_eq!(schedule.next_attempt(2, clock, Timestamp(1_000_000)), Some(Timestamp(1_900_000)));
        assert_eq!(schedule.next_attempt(5, clock, Timestamp(3_000_000)), Some(Timestamp(3_600_000)));
        assert_eq!(schedule.next_attempt(6, clock, Timestamp(3_600_000)), None);
    }

    #[test]
    fn the_warning_comes_before_the_expiry_or_not_at_all() {
        let mut schedule = schedule();
        assert_eq!(schedule.warning(clock(100, 0)), Some(Timestamp(1_300_000)));
        assert_eq!(schedule.warning(clock(100, 60)), Some(Timestamp(1_360_000)), "held time does not count");
        schedule.warn_after = schedule.expire_after;
        assert_eq!(schedule.warning(clock(100, 0)), None);
    }

    #[test]
    fn hold_burns_neither_retry_nor_expiry() {
        let (schedule, held) = (schedule(), clock(0, 86_400));
        assert!(!schedule.is_expired(held, Timestamp(86_400_000 + 3_599_000)));
        assert!(schedule.is_expired(held, Timestamp(86_400_000 + 3_600_000)));
    }
}
