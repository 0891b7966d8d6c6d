//! When to read after an edit: at once where what was edited is whole, and not in the middle of it where it is not. Pure but for the wait itself.

use std::{collections::BTreeSet, ffi::OsString, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::watch::Hint;

/// So long must pass without another hint where something is unfinished: a program that writes a file in several steps, a file that was taken
/// away to be replaced. And so long after a look, for many files that change one after the other are one edit: the first of them is followed at
/// once, those after it together.
const QUIET: Duration = Duration::from_millis(50);

/// But no longer than this after the first: a folder that never rests is read all the same.
const PATIENCE: Duration = Duration::from_secs(1);

/// Hints that have come and were not followed yet.
#[derive(Debug, Default)]
pub(super) struct Edits {
    first: Option<Instant>,
    due: Option<Instant>,
    unfinished: BTreeSet<OsString>,
    /// When it was looked last.
    looked: Option<Instant>,
}

impl Edits {
    /// Something may have changed.
    pub(super) fn hint(&mut self, hint: Hint, now: Instant) {
        match hint {
            Hint::Whole(name) => {
                self.unfinished.remove(&name);
            }
            Hint::Unfinished(name) => {
                self.unfinished.insert(name);
            }
        }
        let first = *self.first.get_or_insert(now);
        let is_burst = self.looked.is_some_and(|looked| now < looked + QUIET);
        let wait = if is_burst || !self.unfinished.is_empty() { QUIET } else { Duration::ZERO };
        self.due = Some((now + wait).min(first + PATIENCE));
    }

    /// Look once more at this time, unless hints say when.
    pub(super) fn look_again(&mut self, at: Instant) {
        self.due.get_or_insert(at);
    }

    /// It was looked.
    pub(super) fn clear(&mut self, now: Instant) {
        *self = Self { looked: Some(now), ..Self::default() };
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

    fn whole(name: &str) -> Hint {
        Hint::Whole(name.into())
    }

    fn unfinished(name: &str) -> Hint {
        Hint::Unfinished(name.into())
    }

    #[tokio::test]
    async fn it_waits_for_quiet_but_not_for_ever() {
        let (mut edits, start) = (Edits::default(), Instant::now());
        edits.hint(unfinished("a.yaml"), start);
        assert_eq!(edits.due, Some(start + QUIET));
        for step in 1..100 {
            edits.hint(unfinished("a.yaml"), start + step * QUIET / 2);
        }
        assert_eq!(edits.due, Some(start + PATIENCE));
        edits.clear(start);
        edits.look_again(start);
        assert_eq!(edits.due, Some(start));
    }

    #[tokio::test]
    async fn a_file_that_is_whole_is_read_at_once_unless_another_one_is_not() {
        let (mut edits, start) = (Edits::default(), Instant::now());
        edits.hint(whole("a.yaml"), start);
        assert_eq!(edits.due, Some(start));
        edits.clear(start);
        let later = start + 2 * QUIET;
        edits.hint(unfinished("a.yaml"), later);
        edits.hint(whole("b.yaml"), later);
        assert_eq!(edits.due, Some(later + QUIET));
        edits.hint(whole("a.yaml"), later);
        assert_eq!(edits.due, Some(later));
    }

    #[tokio::test]
    async fn of_many_edits_the_first_is_followed_at_once_and_the_rest_together() {
        let (mut edits, start) = (Edits::default(), Instant::now());
        edits.hint(whole("a.yaml"), start);
        edits.clear(start);
        edits.hint(whole("b.yaml"), start + QUIET / 2);
        edits.hint(whole("c.yaml"), start + QUIET * 3 / 4);
        assert_eq!(edits.due, Some(start + QUIET * 7 / 4));
    }
}
