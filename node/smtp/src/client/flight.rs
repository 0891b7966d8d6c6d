//! A transaction on its way, and the outcome of each of its recipients.

use posthouse_model::{EnhancedStatus, Mailbox, Reply, ReplyCode, ReversePath};

use super::{Delivery, EightBit, Origin, Refusal, Stage, state::Core};

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Who gets the bounce.
    pub reverse_path: ReversePath,
    /// Who the mail is for, at least one.
    pub recipients: Vec<Mailbox>,
    /// Octets of content, without stuffed dots and the final one (RFC 1870 §5).
    pub size: u64,
    /// Whether the content has octets above 127.
    pub eight_bit: bool,
}

impl Transaction {
    /// A transaction with 7-bit content.
    #[must_use]
    pub fn new(reverse_path: ReversePath, recipients: Vec<Mailbox>, size: u64) -> Self {
        Self { reverse_path, recipients, size, eight_bit: false }
    }

    /// The same with content that has octets above 127, or not.
    #[must_use]
    pub fn with_eight_bit(mut self, eight_bit: bool) -> Self {
        self.eight_bit = eight_bit;
        self
    }
}

/// A transaction on its way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) transaction: Transaction,
    /// The outcome of each recipient, once there is one.
    deliveries: Vec<Option<Delivery>>,
}

impl Flight {
    pub(super) fn new(transaction: Transaction) -> Self {
        let deliveries = vec![None; transaction.recipients.len()];
        Self { transaction, deliveries }
    }

    /// Why the peer cannot take this, as far as it can be known beforehand.
    pub(super) fn refused_locally(&self, core: &Core) -> Option<Refusal> {
        let local = |reply| Some(Refusal { stage: Stage::Mail, reply, origin: Origin::Local });
        if core.extensions.is_too_large(self.transaction.size) {
            // RFC 1870 §6: do not even ask
            let status = Some(EnhancedStatus::permanent(3, 4));
            return local(Reply::new(ReplyCode::TOO_MUCH, status, "larger than the next hop takes"));
        }
        if self.transaction.eight_bit
            && !core.extensions.eight_bit_mime
            && core.settings.eight_bit == EightBit::Refuse
        {
            // RFC 6152 §3
            let status = Some(EnhancedStatus::permanent(6, 3));
            return local(Reply::new(ReplyCode::FAILED, status, "the next hop takes no 8-bit content"));
        }
        None
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

    /// The places of the recipients without an outcome.
    pub(super) fn open(&self) -> impl Iterator<Item = usize> + '_ {
        self.deliveries.iter().enumerate().filter(|(_, delivery)| delivery.is_none()).map(|(place, _)| place)
    }

    pub(super) fn into_deliveries(self) -> Vec<Delivery> {
        // Whoever ends a flight settles the rest first; one that was forgotten must not count as delivered.
        self.deliveries.into_iter().map(|delivery| delivery.unwrap_or(Delivery::Aborted)).collect()
    }
}
