//! When to read after an edit: not in the middle of it. Pure but for the wait itself.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// So long must pass without another hint: editors and `cp` write in several steps.
const QUIET: Duration = Duration::from_millis(50);

/// But no longer than this after the first: a folder that never rests is read all the same.
const PATIENCE: Duration = Duration::from_secs(1);

/// Hints that have come and were not followed yet.
#[derive(Debug, Default)]
pub(super) struct Edits {
    first: Option<Instant>,
    due: Option<Instant>,
}

impl Edits {
    /// Something may have changed.
    pub(super) fn hint(&mut self, now: Instant) {
        let first = *self.first.get_or_insert(now);
        self.due = Some((now + QUIET).min(first + PATIENCE));
    }

    /// Look once more at this time, unless hints say when.
    pub(super) fn look_again(&mut self, at: Instant) {
        self.due.get_or_insert(at);
    }

    /// It was looked.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns when it is time to look.
    pub(super) async fn settled(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_waits_for_quiet_but_not_for_ever() {
        let (mut edits, start) = (Edits::default(), Instant::now());
        edits.hint(start);
        assert_eq!(edits.due, Some(start + QUIET));
        for step in 1..100 {
            edits.hint(start + step * QUIET / 2);
        }
        assert_eq!(edits.due, Some(start + PATIENCE));
        edits.clear();
        edits.look_again(start);
        assert_eq!(edits.due, Some(start));
    }
}
