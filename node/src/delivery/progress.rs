//! One attempt that may need several transactions, for a far end takes only so many recipients at once (RFC 9422): who has an outcome, who is still to be
//! asked for, and when that is left to the next lease. Pure.

use std::sync::Arc;

use posthouse_smtp::client::Delivery;

/// Transactions in a row that may end without an outcome for anybody: the first ends a session that was spent, the second one that takes nobody.
const MOST_BARREN: u32 = 2;

/// The outcomes of an attempt so far.
#[derive(Debug)]
pub struct Progress {
    outcomes: Vec<Option<(Delivery, Arc<str>)>>,
    barren: u32,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Settle; who has no outcome goes back untouched.
    Settle,
    /// Settle; who has no outcome was refused for now, for the far end takes nobody.
    GiveUp,
    /// Another transaction first.
    GoOn,
}

impl Progress {
    /// Nobody of so many recipients was asked for.
    #[must_use]
    pub fn new(recipients: usize) -> Self {
        Self { outcomes: vec![None; recipients], barren: 0 }
    }

    /// The places of those who have no outcome.
    #[must_use]
    pub fn open(&self) -> Vec<usize> {
        let open = self.outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_none());
        open.map(|(place, _)| place).collect()
    }

    /// Whether anybody has an outcome.
    #[must_use]
    pub fn has_any(&self) -> bool {
        self.outcomes.iter().any(Option::is_some)
    }

    /// Takes the deliveries of one transaction for these places, by this host; says what is next.
    pub fn take(&mut self, places: &[usize], deliveries: Vec<Delivery>, host: &Arc<str>) -> Next {
        let mut has_gained = false;
        for (place, delivery) in places.iter().zip(deliveries) {
            if delivery == Delivery::NotTried {
                continue;
            }
            if let Some(outcome) = self.outcomes.get_mut(*place) {
                *outcome = Some((delivery, Arc::clone(host)));
                has_gained = true;
            }
        }
        self.barren = if has_gained { 0 } else { self.barren + 1 };
        if self.takes_nobody() {
            return Next::GiveUp;
        }
        // What is done is settled before more is sent, so that little is in doubt. Only together with those that must wait would the others have to
        // wait too, each time again: they are seen to at once.
        let waits = self.outcomes.iter().flatten().any(|(delivery, _)| !is_done(delivery));
        if self.open().is_empty() || (self.has_any() && !waits) { Next::Settle } else { Next::GoOn }
    }

    /// Whether the far end takes nobody at all.
    #[must_use]
    pub fn takes_nobody(&self) -> bool {
        self.barren >= MOST_BARREN
    }

    /// The outcomes; none for those who were not asked for.
    #[must_use]
    pub fn into_outcomes(self) -> Vec<Option<(Delivery, Arc<str>)>> {
        self.outcomes
    }
}

fn is_done(delivery: &Delivery) -> bool {
    match delivery {
        Delivery::Accepted { .. } => true,
        Delivery::Refused(refusal) => refusal.is_permanent(),
        Delivery::Lost(_) | Delivery::Aborted | Delivery::NotTried => false,
    }
}

#[cfg(test)]
mod tests {
    use posthouse_smtp::client::{Origin, Refusal, Stage};

    use super::*;

    fn accepted() -> Delivery {
        Delivery::Accepted { reply: "250 2.0.0 ok".parse().unwrap(), dsn: false }
    }

    fn refused(reply: &str) -> Delivery {
        let (stage, origin) = (Stage::Rcpt, Origin::Remote);
        Delivery::Refused(Refusal { stage, reply: reply.parse().unwrap(), origin })
    }

    #[test]
    fn who_was_not_asked_for_goes_back_once_the_others_are_done() {
        let (host, mut progress) = (Arc::from("mx:25"), Progress::new(3));
        let said = vec![accepted(), refused("550 5.1.1 nobody"), Delivery::NotTried];
        assert_eq!(progress.take(&progress.open(), said, &host), Next::Settle);
        assert_eq!(progress.open(), [2]);
        assert!(progress.into_outcomes().pop().unwrap().is_none());
    }

    #[test]
    fn nobody_waits_for_those_that_must_without_having_been_asked_for() {
        let (host, mut progress) = (Arc::from("mx:25"), Progress::new(3));
        let said = vec![refused("452 4.2.2 full"), Delivery::NotTried, Delivery::NotTried];
        assert_eq!(progress.take(&progress.open(), said, &host), Next::GoOn);
        assert_eq!(progress.take(&[1, 2], vec![accepted(), Delivery::NotTried], &host), Next::GoOn);
        assert_eq!(progress.take(&[2], vec![accepted()], &host), Next::Settle);
        assert!(progress.open().is_empty());
    }

    #[test]
    fn a_far_end_that_takes_nobody_is_given_up() {
        let (host, mut progress) = (Arc::from("mx:25"), Progress::new(1));
        assert_eq!(progress.take(&[0], vec![Delivery::NotTried], &host), Next::GoOn);
        assert_eq!(progress.take(&[0], vec![Delivery::NotTried], &host), Next::GiveUp);
        assert!(!progress.has_any());
    }
}
