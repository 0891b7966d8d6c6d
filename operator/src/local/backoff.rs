//! How long a dead node stays dead. Pure.

use std::time::Duration;

/// After a death in work: well within the 500 ms that clients may have to wait, and no busy loop.
const AT_ONCE: Duration = Duration::from_millis(50);

/// After the first death before Ready.
const FIRST: Duration = Duration::from_millis(250);

/// The longest wait: whatever keeps it from starting, it is tried six times a minute.
const LONGEST: Duration = Duration::from_secs(10);

/// The wait before the next start, after so many deaths before Ready in a row; none means that it had been Ready.
pub(super) fn delay(deaths_before_ready: u32) -> Duration {
    let Some(doublings) = deaths_before_ready.checked_sub(1) else { return AT_ONCE };
    2_u32
        .checked_pow(doublings)
        .and_then(|factor| FIRST.checked_mul(factor))
        .map_or(LONGEST, |delay| delay.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_was_ready_is_back_within_500_ms() {
        assert!(delay(0) < Duration::from_millis(500));
    }

    #[test]
    fn deaths_before_ready_back_off_to_ten_seconds_and_no_further() {
        let delays: Vec<_> = (1..=9).map(|deaths| delay(deaths).as_millis()).collect();
        assert_eq!(delays, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000]);
        assert_eq!(delay(u32::MAX), LONGEST);
    }
}
