//! Waiting for a condition, within a bound. It does no I/O of its own; the condition may.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a condition rests between two looks. Short enough not to be felt, long enough to leave the processor to what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The bound for anything that takes a fraction of a second on an idle machine: generous, because test machines are shared.
pub const SOON: Duration = Duration::from_secs(30);

/// Looks until `condition` yields a value, and fails after `bound` with `what` was waited for.
///
/// Only for conditions that cannot tell of themselves (a file that appears, a counter on a page); what can be read or joined is read or joined.
pub fn until<T>(what: &str, bound: Duration, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + bound;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s in vain for {what}", bound.as_secs_f32());
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_never_holds_fails_with_its_name() {
        let error = until::<()>("the moon", Duration::from_millis(1), || Ok(None)).unwrap_err();
        assert!(error.to_string().contains("the moon"));
    }

    #[test]
    fn a_condition_that_errs_ends_the_wait_at_once() {
        let error = until::<()>("the moon", SOON, || bail!("no sky")).unwrap_err();
        assert_eq!(error.to_string(), "no sky");
    }
}
