//! A transaction on its way, and the outcome of each of its recipients.

use super::{Delivery, Refusal, Transaction, plan::Plan, refusals, state::Core};

/// A transaction on its way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) transaction: Transaction,
    pub(super) plan: Plan,
    /// The outcome of each recipient, once there is one.
    deliveries: Vec<Option<Delivery>>,
}

impl Flight {
    pub(super) fn new(transaction: Transaction) -> Self {
        let deliveries = vec![None; transaction.recipients.len()];
        Self { transaction, plan: Plan::default(), deliveries }
    }

    /// Plans how this goes to the peer, and settles what cannot: `Err` is why nothing of it can.
    pub(super) fn prepare(&mut self, core: &mut Core) -> Result<(), Refusal> {
        self.plan = Plan::new(&self.transaction, &core.extensions, &core.settings)?;
        let mut named = 0;
        for (recipient, place) in self.transaction.recipients.iter().zip(&mut self.deliveries) {
            if !self.plan.can_name(recipient) {
                *place = Some(Delivery::Refused(refusals::recipient_beyond_ascii()));
            } else if !core.budget.takes_recipient(&core.extensions.limits, named, recipient.address.domain())
            {
                *place = Some(Delivery::NotTried);
            } else {
                named += 1;
            }
        }
        Ok(())
    }

    /// Gives a recipient its outcome, if it has none yet.
    pub(super) fn settle(&mut self, recipient: usize, delivery: Delivery) {
        if let Some(place) = self.deliveries.get_mut(recipient) {
            place.get_or_insert(delivery);
        }
    }

    /// Gives all recipients without an outcome this one.
    pub(super) fn settle_rest(&mut self, delivery: &Delivery) {
        for place in &mut self.deliveries {
            place.get_or_insert_with(|| delivery.clone());
        }
    }

    /// The first recipient without an outcome from this place on.
    pub(super) fn next_open(&self, from: usize) -> Option<usize> {
        let mut places = self.deliveries.iter().enumerate().skip(from);
        places.find(|(_, delivery)| delivery.is_none()).map(|(place, _)| place)
    }

    /// The places of the recipients without an outcome.
    pub(super) fn open(&self) -> impl Iterator<Item = usize> + '_ {
        self.deliveries.iter().enumerate().filter(|(_, delivery)| delivery.is_none()).map(|(place, _)| place)
    }

    pub(super) fn into_deliveries(self) -> Vec<Delivery> {
        // Whoever ends a flight settles the rest first; one that was forgotten must not count as delivered.
        self.deliveries.into_iter().map(|delivery| delivery.unwrap_or(Delivery::Aborted)).collect()
    }
}
