//! How fast figures are written: mail comes and goes all the time, and an API server has more to do. Who has waited longest is next. Pure: time is
//! a parameter.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use posthouse_compiler::ObjectKey;

use super::observation::ResourceId;

/// Between two writes of one gateway's figures, at this pace: five a second.
const BETWEEN: Duration = Duration::from_millis(200);

/// So many at once, after a rest.
const AT_ONCE: u32 = 5;

/// The pace of every gateway.
#[derive(Debug, Default)]
pub(super) struct Pace {
    gateways: BTreeMap<ObjectKey, Line>,
}

/// Those that wait for one gateway's next write.
#[derive(Debug, Default)]
struct Line {
    since: HashMap<ResourceId, Instant>,
    bucket: Bucket,
}

/// A bucket of tokens, known by when it is full again.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    full_at: Option<Instant>,
}

impl Pace {
    /// Which of those that have news may be written now, and when to look again for the others. Whoever has none any more leaves the line.
    pub(super) fn admit(
        &mut self,
        news: impl IntoIterator<Item = (ObjectKey, ResourceId)>,
        now: Instant,
    ) -> (Vec<ResourceId>, Option<Instant>) {
        let mut wanted: BTreeMap<ObjectKey, Vec<ResourceId>> = BTreeMap::new();
        for (gateway, id) in news {
            wanted.entry(gateway).or_default().push(id);
        }
        self.gateways.retain(|gateway, line| {
            let is_wanted = wanted.contains_key(gateway);
            if !is_wanted {
                line.since.clear();
            }
            is_wanted || !line.bucket.is_full(now)
        });
        let (mut admitted, mut next) = (Vec::new(), None);
        for (gateway, ids) in wanted {
            let again = self.gateways.entry(gateway).or_default().admit(ids, now, &mut admitted);
            next = next.into_iter().chain(again).min();
        }
        (admitted, next)
    }
}

impl Line {
    fn admit(
        &mut self,
        ids: Vec<ResourceId>,
        now: Instant,
        admitted: &mut Vec<ResourceId>,
    ) -> Option<Instant> {
        let before = std::mem::take(&mut self.since);
        let mut waiting: Vec<(Instant, ResourceId)> =
            ids.into_iter().map(|id| (before.get(&id).copied().unwrap_or(now), id)).collect();
        waiting.sort();
        let mut waiting = waiting.into_iter();
        while waiting.len() > 0 && self.bucket.take(now) {
            admitted.extend(waiting.next().map(|(_, id)| id));
        }
        self.since = waiting.map(|(since, id)| (id, since)).collect();
        // Five at one look cost less than five looks: all that there is is judged at each.
        if self.since.is_empty() { None } else { self.bucket.full_at }
    }
}

impl Bucket {
    fn is_full(self, now: Instant) -> bool {
        self.full_at.is_none_or(|full_at| full_at <= now)
    }

    /// Takes a token, if there is one.
    fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + BETWEEN;
        let has_one = full_at - now <= BETWEEN * AT_ONCE;
        if has_one {
            self.full_at = Some(full_at);
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use posthouse_crds::Kind;

    use super::*;

    fn domains(gateway: &str, numbers: std::ops::Range<usize>) -> Vec<(ObjectKey, ResourceId)> {
        let one = |number| {
            let domain = ObjectKey::new("mail", format!("{gateway}-{number:02}"));
            (ObjectKey::new("mail", gateway), (Kind::MailDomain, domain))
        };
        numbers.map(one).collect()
    }

    fn names(admitted: &[ResourceId]) -> Vec<&str> {
        admitted.iter().map(|(_, key)| key.name.as_str()).collect()
    }

    #[test]
    fn five_are_written_each_second_and_everybody_gets_a_turn() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let mut seen = Vec::new();
        // All of twelve have news at every look, as where mail comes and goes.
        let mut now = start;
        for _ in 0..24 {
            let (admitted, next) = pace.admit(domains("edge", 0..12), now);
            seen.extend(names(&admitted).into_iter().map(str::to_owned));
            assert_eq!((admitted.len(), next), (5, Some(now + Duration::from_secs(1))));
            now = next.unwrap_or(now);
        }
        for (_, domain) in domains("edge", 0..12) {
            let written = seen.iter().filter(|name| **name == domain.1.name).count();
            assert!((8..=12).contains(&written), "{written} of 120 are {}", domain.1.name);
        }
    }

    #[test]
    fn who_leaves_the_line_loses_his_place() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.admit(domains("edge", 0..6), start);
        pace.admit(Vec::new(), start);
        let (admitted, _) = pace.admit(domains("edge", 0..6), start + Duration::from_secs(1));
        assert_eq!(names(&admitted), ["edge-00", "edge-01", "edge-02", "edge-03", "edge-04"]);
    }

    #[test]
    fn between_two_full_seconds_there_is_what_time_has_earned() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.admit(domains("edge", 0..3), start).0.len(), 3);
        let (admitted, next) = pace.admit(domains("edge", 3..9), start + Duration::from_millis(100));
        assert_eq!(
            (names(&admitted), next),
            (vec!["edge-03", "edge-04"], Some(start + Duration::from_secs(1)))
        );
        let (admitted, _) = pace.admit(domains("edge", 5..9), start + Duration::from_millis(450));
        assert_eq!(names(&admitted), ["edge-05", "edge-06"]);
        let (admitted, next) = pace.admit(domains("edge", 7..9), start + Duration::from_hours(1));
        assert_eq!(
            (names(&admitted), next),
            (vec!["edge-07", "edge-08"], None),
            "a long rest earns no more than a short one"
        );
        assert_eq!(pace.admit(domains("edge", 0..9), start + Duration::from_hours(1)).0.len(), 3);
    }

    #[test]
    fn gateways_do_not_wait_for_each_other() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let all = [domains("edge", 0..7), domains("other", 0..2)].concat();
        let (admitted, next) = pace.admit(all, now);
        assert_eq!((admitted.len(), next), (7, Some(now + Duration::from_secs(1))));
        assert_eq!(pace.admit(Vec::new(), now), (vec![], None));
        assert_eq!(pace.admit(domains("edge", 0..1), now).0.len(), 0, "who rests a moment has not rested");
        pace.admit(Vec::new(), now + Duration::from_secs(1));
        assert!(pace.gateways.is_empty(), "nothing is kept of who rests");
    }
}
