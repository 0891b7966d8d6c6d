//! Answers kept for as long as their TTL says, within bounds. Pure: time is a parameter.
//!
//! hickory's own cache is switched off: under validation it forgets how long an absence may be kept, it keeps whole messages, signatures
//! and all, and it keeps no failures (decision 0009).

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    answer::{Answer, Cause, Content, Question},
    settings::CacheBounds,
};

/// What is kept of a question.
pub(crate) type Kept = Result<Arc<Answer>, Cause>;

#[derive(Debug)]
pub(crate) struct Cache {
    bounds: CacheBounds,
    entries: HashMap<Question, Entry>,
}

#[derive(Debug)]
struct Entry {
    kept: Kept,
    until: Instant,
}

impl Cache {
    pub(crate) fn new(bounds: CacheBounds) -> Self {
        Self { bounds, entries: HashMap::new() }
    }

    pub(crate) fn find(&self, question: &Question, now: Instant) -> Option<Kept> {
        self.entries.get(question).filter(|entry| now < entry.until).map(|entry| entry.kept.clone())
    }

    /// Keeps what was found. `ttl` is what the records or the SOA of the absence say; without one it is not known (RFC 2308 §5).
    pub(crate) fn keep(&mut self, question: Question, kept: Kept, ttl: Option<Duration>, now: Instant) {
        let ttl = self.bounded(&kept, ttl);
        if ttl.is_zero() || self.bounds.entries == 0 {
            return;
        }
        if self.entries.len() >= self.bounds.entries && !self.entries.contains_key(&question) {
            self.make_room(now);
        }
        self.entries.insert(question, Entry { kept, until: now + ttl });
    }

    fn bounded(&self, kept: &Kept, ttl: Option<Duration>) -> Duration {
        let range = match kept {
            // RFC 9520 §3.2: failures are kept as well, or a dead zone is asked for again by every message.
            Err(_) => return self.bounds.failure_ttl,
            Ok(answer) => match answer.content {
                Content::Exchangers(_) | Content::Addresses(_) => &self.bounds.ttl,
                Content::NoRecords | Content::NoSuchName => &self.bounds.negative_ttl,
            },
        };
        ttl.unwrap_or(Duration::ZERO).max(*range.start()).min(*range.end())
    }

    /// Forgets what is over, and an eighth more of those that end soonest if that is not enough: the search is paid for by many entries.
    fn make_room(&mut self, now: Instant) {
        self.entries.retain(|_, entry| now < entry.until);
        let keep = self.bounds.entries - self.bounds.entries.div_ceil(8);
        if self.entries.len() <= keep {
            return;
        }
        let surplus = self.entries.len() - keep;
        let mut ends: Vec<Instant> = self.entries.values().map(|entry| entry.until).collect();
        ends.sort_unstable();
        let Some(limit) = ends.get(surplus.saturating_sub(1)).copied() else { return };
        let mut left = surplus;
        self.entries.retain(|_, entry| {
            let goes = entry.until <= limit && left > 0;
            left -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Kind;

    fn question(number: usize) -> Question {
        Question { name: format!("n{number}.example").parse().unwrap(), kind: Kind::A }
    }

    fn answer(content: Content) -> Arc<Answer> {
        Arc::new(Answer { content, secure: false })
    }

    fn bounds() -> CacheBounds {
        let seconds = Duration::from_secs;
        CacheBounds {
            entries: 16,
            ttl: seconds(2)..=seconds(10),
            negative_ttl: seconds(1)..=seconds(5),
            failure_ttl: seconds(3),
        }
    }

    #[test]
    fn each_kind_of_answer_is_kept_within_its_bounds() {
        let found = Ok(answer(Content::Addresses(vec!["192.0.2.1".parse().unwrap()])));
        let absent = Ok(answer(Content::NoRecords));
        for (kept, ttl, seconds) in [
            (&found, Some(0), 2),
            (&found, Some(7), 7),
            (&found, Some(1000), 10),
            (&absent, None, 1),
            (&absent, Some(3), 3),
            (&absent, Some(1000), 5),
            (&Err(Cause::ServerFailed), None, 3),
            (&Err(Cause::Bogus), Some(1000), 3),
        ] {
            let (mut cache, now) = (Cache::new(bounds()), Instant::now());
            cache.keep(question(0), kept.clone(), ttl.map(Duration::from_secs), now);
            let at = |millis: u64| cache.find(&question(0), now + Duration::from_millis(millis));
            assert_eq!(at(seconds * 1000 - 1).as_ref(), Some(kept), "{kept:?} {ttl:?}");
            assert_eq!(at(seconds * 1000), None, "{kept:?} {ttl:?}");
        }
    }

    #[test]
    fn it_never_holds_more_than_it_may_and_forgets_first_what_ends_first() {
        let (mut cache, now) = (Cache::new(bounds()), Instant::now());
        for number in 0..100 {
            let ttl = Duration::from_millis(2000 + 10 * number as u64);
            cache.keep(question(number), Ok(answer(Content::NoRecords)), Some(ttl), now);
            assert!(cache.entries.len() <= 16);
            assert!(cache.find(&question(number), now).is_some());
        }
        assert!(cache.find(&question(98), now).is_some());
        assert!(cache.find(&question(0), now).is_none());
    }

    #[test]
    fn nothing_is_kept_where_nothing_may_be() {
        let none = CacheBounds { entries: 0, ..bounds() };
        let (mut cache, now) = (Cache::new(none), Instant::now());
        cache.keep(question(0), Ok(answer(Content::NoRecords)), Some(Duration::from_secs(5)), now);
        assert!(cache.find(&question(0), now).is_none());
    }
}
