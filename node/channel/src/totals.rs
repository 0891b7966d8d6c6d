//! What waits in the queues of a gateway: a node counts it, the operator says it in statuses. Plain data, its bounds and its encoding. Pure.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    mem,
    time::Duration,
};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use posthouse_model::{QueueName, Timestamp};
use serde::{Deserialize, Serialize};

/// The most queues that are told of: the largest. Of 10,000 domains each can have mail that waits.
pub const MOST_QUEUES: usize = 10_000;

/// The most octets of a document, before it is deflated as after: as many queues, each with the longest of names.
pub(crate) const TOTALS_LENGTH: usize = 4 << 20;

/// Totals that are later by more than this are of a clock that was set back since: they stand in nobody's way.
const CLOCK_WAS_SET_BACK: Duration = Duration::from_mins(1);

/// What waits in the queues of a gateway. Each replaces the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// When counting began, by the store's clock.
    pub at: Timestamp,
    /// Queues that have mail that waits.
    pub queues: BTreeMap<QueueName, Waiting>,
    /// How many more there are, none of them larger.
    #[serde(default)]
    pub left_out: u64,
}

/// What waits in one queue, counted in entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// For a release.
    #[serde(default)]
    pub held: u64,
    /// For another attempt.
    #[serde(default)]
    pub deferred: u64,
    /// When the oldest of them was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Timestamp>,
}

impl Totals {
    /// Nothing waits.
    #[must_use]
    pub fn new(at: Timestamp) -> Self {
        Self { at, queues: BTreeMap::new(), left_out: 0 }
    }

    /// Takes more queues in; the smallest are left out where there are too many. What comes twice counts as it came last.
    pub fn extend(&mut self, queues: impl IntoIterator<Item = (QueueName, Waiting)>) {
        self.queues.extend(queues.into_iter().filter(|(_, waiting)| waiting.entries() > 0));
        let over = self.queues.len().saturating_sub(MOST_QUEUES);
        if over > 0 {
            let mut all: Vec<_> = mem::take(&mut self.queues).into_iter().collect();
            // By name among those of one size: every node leaves out the same.
            all.sort_by_key(|(_, waiting)| Reverse(waiting.entries()));
            all.truncate(MOST_QUEUES);
            self.queues.extend(all);
            self.left_out = self.left_out.saturating_add(u64::try_from(over).unwrap_or(u64::MAX));
        }
    }

    /// What waits in a queue; none where that is not known, for it may be one of those that are left out.
    #[must_use]
    pub fn of(&self, queue: &QueueName) -> Option<Waiting> {
        self.queues.get(queue).copied().or_else(|| (self.left_out == 0).then(Waiting::default))
    }

    /// Whether a status would say the same of every queue.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let Self { at: _, queues, left_out } = self;
        let is_same = |((name, waiting), (other_name, other)): ((_, &Waiting), (_, &Waiting))| {
            name == other_name && waiting.says_the_same(*other)
        };
        two_digits(*left_out) == two_digits(other.left_out)
            && queues.len() == other.queues.len()
            && queues.iter().zip(&other.queues).all(is_same)
    }

    /// The document, deflated.
    pub(crate) fn encode(&self) -> io::Result<Vec<u8>> {
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflated.write_all(&serde_json::to_vec(self)?)?;
        deflated.finish()
    }

    /// What [`encode`](Self::encode) wrote; none where it is something else.
    pub(crate) fn decode(deflated: &[u8]) -> Option<Self> {
        let mut text = Vec::new();
        let readable = u64::try_from(TOTALS_LENGTH).unwrap_or(u64::MAX);
        DeflateDecoder::new(deflated).take(readable).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

impl Waiting {
    /// How many entries.
    fn entries(self) -> u64 {
        self.held.saturating_add(self.deferred)
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            held: self.held.saturating_add(other.held),
            deferred: self.deferred.saturating_add(other.deferred),
            oldest: self.oldest.into_iter().chain(other.oldest).min(),
        }
    }

    /// Whether a status would say the same: the numbers in two significant digits, the time to the minute.
    #[must_use]
    pub fn says_the_same(self, other: Self) -> bool {
        let said = |Self { held, deferred, oldest }: Self| {
            (two_digits(held), two_digits(deferred), oldest.map(|oldest| oldest.0 / 60_000))
        };
        said(self) == said(other)
    }
}

/// Whether totals of this time give way to others: they are older, or of a clock that was set back since.
#[must_use]
pub fn give_way(there: Timestamp, to: Timestamp) -> bool {
    there < to || there.since(to) > CLOCK_WAS_SET_BACK
}

/// By how many milliseconds totals have to be later to give way all the same: for the function in Redis.
pub(crate) fn clock_was_set_back_ms() -> u64 {
    u64::try_from(CLOCK_WAS_SET_BACK.as_millis()).unwrap_or(u64::MAX)
}

/// A number rounded down to two significant digits.
fn two_digits(number: u64) -> u64 {
    let mut unit = 1;
    while number / unit >= 100 {
        unit *= 10;
    }
    number / unit * unit
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;

    fn waiting(held: u64, deferred: u64, oldest: u64) -> Waiting {
        Waiting { held, deferred, oldest: Some(Timestamp(oldest)) }
    }

    fn queue(number: usize) -> QueueName {
        QueueName::new(&format!("d{number:05}.example")).unwrap()
    }

    #[test]
    fn two_significant_digits_are_left_of_a_number() {
        let cases = [(0, 0), (9, 9), (10, 10), (99, 99), (100, 100), (109, 100), (110, 110), (1_999, 1_900)];
        for (number, rounded) in cases {
            assert_eq!(two_digits(number), rounded);
        }
        assert_eq!(two_digits(u64::MAX), 18_000_000_000_000_000_000);
    }

    #[test]
    fn what_a_status_would_not_show_is_no_news() {
        let said = waiting(1_234, 0, 60_000);
        assert!(said.says_the_same(waiting(1_299, 0, 119_999)));
        for other in [waiting(1_300, 0, 60_000), waiting(1_234, 1, 60_000), waiting(1_234, 0, 120_000)] {
            assert!(!said.says_the_same(other), "{other:?}");
        }
        assert!(!said.says_the_same(Waiting { oldest: None, ..said }));
        let totals = |at, number, held| {
            let mut totals = Totals::new(Timestamp(at));
            totals.extend([(queue(number), waiting(held, 0, 60_000))]);
            totals
        };
        assert!(totals(1, 1, 100).says_the_same(&totals(2, 1, 101)), "when it was counted is not said");
        for other in [totals(1, 2, 100), totals(1, 1, 110), totals(1, 1, 0)] {
            assert!(!totals(1, 1, 100).says_the_same(&other), "{other:?}");
        }
    }

    #[test]
    fn of_too_many_queues_the_smallest_are_left_out_and_counted() {
        let mut totals = Totals::new(Timestamp(1));
        for page in 0..4 {
            let numbers = page * 3_000..(page + 1) * 3_000;
            totals.extend(numbers.map(|number| {
                let held = if number >= 11_000 { 1_000 } else { 1 };
                (queue(number), waiting(held, 0, 0))
            }));
        }
        assert_eq!((totals.queues.len(), totals.left_out), (MOST_QUEUES, 2_000));
        assert!((11_000..12_000).all(|number| totals.queues.contains_key(&queue(number))));
        assert_eq!(totals.of(&queue(11_000)).unwrap().held, 1_000);
        assert_eq!(totals.of(&queue(10_999)), None, "it may have mail or not");
        assert_eq!(Totals::new(Timestamp(1)).of(&queue(1)), Some(Waiting::default()));
        let encoded = totals.encode().unwrap();
        assert!(encoded.len() < 200_000, "{}", encoded.len());
        assert_eq!(Totals::decode(&encoded), Some(totals));
    }

    #[test]
    fn a_document_has_room_for_the_longest_names_and_no_more_is_read() {
        let mut totals = Totals::new(Timestamp(u64::MAX));
        let name = |number| QueueName::new(&format!("{number:0>255}")).unwrap();
        totals.extend(
            (0..MOST_QUEUES).map(|number| (name(number), waiting(u64::MAX / 4, u64::MAX / 4, u64::MAX))),
        );
        assert_eq!(Totals::decode(&totals.encode().unwrap()), Some(totals));
        let mut bomb = DeflateEncoder::new(Vec::new(), Compression::best());
        bomb.write_all(&vec![b' '; TOTALS_LENGTH + 1]).unwrap();
        bomb.write_all(br#"{"at":1,"queues":{}}"#).unwrap();
        assert_eq!(Totals::decode(&bomb.finish().unwrap()), None);
        assert_eq!(Totals::decode(b"something else"), None);
    }

    #[test]
    fn later_totals_stay_unless_their_clock_was_set_back() {
        let at = |seconds: u64| Timestamp(seconds * 1_000);
        assert!(give_way(at(100), at(101)));
        assert!(!give_way(at(100), at(100)) && !give_way(at(160), at(100)));
        assert!(give_way(at(161), at(100)));
    }
}
