//! Knows mail that this gateway has had before for the same recipients, by a mark in the trace header that any of its nodes can prove to be the
//! gateway's own. Pure.
//!
//! A name in `Received` proves nothing: two gateways may have one name, and anybody can write it. That mail comes again for others, through a list
//! or a redirection, is no loop (decision 0013).

use posthouse_config::TraceKey;
use posthouse_model::{ForwardPath, MessageId};
use posthouse_smtp::content::Mark;

/// How often mail may have been here for the same recipients: once may be a server behind this gateway that sends it back to be sent elsewhere.
pub const MOST_PASSAGES: usize = 1;

/// Makes and knows the marks of one gateway.
#[derive(Clone, Debug)]
pub struct OwnHops(TraceKey);

impl OwnHops {
    /// By this key.
    #[must_use]
    pub fn new(key: TraceKey) -> Self {
        Self(key)
    }

    /// The mark of a message for these recipients, as the client named them.
    #[must_use]
    pub fn mark<'r>(&self, id: MessageId, recipients: impl Iterator<Item = &'r ForwardPath>) -> String {
        self.marked(&id.to_string(), &in_order(recipients))
    }

    /// How many of these marks this gateway wrote, each for just these recipients.
    #[must_use]
    pub fn passages<'r>(&self, marks: &[Mark], recipients: impl Iterator<Item = &'r ForwardPath>) -> usize {
        if marks.is_empty() {
            return 0;
        }
        let recipients = in_order(recipients);
        marks.iter().filter(|mark| self.marked(&mark.id, &recipients) == mark.mark).count()
    }

    fn marked(&self, id: &str, recipients: &[String]) -> String {
        let texts = std::iter::once(id).chain(recipients.iter().map(String::as_str));
        format!("{:016x}", self.0.mark(texts))
    }
}

/// A host on the way may change their order and the case of letters.
fn in_order<'r>(recipients: impl Iterator<Item = &'r ForwardPath>) -> Vec<String> {
    let mut recipients: Vec<_> = recipients.map(|recipient| recipient.to_string().to_lowercase()).collect();
    recipients.sort_unstable();
    recipients
}

#[cfg(test)]
mod tests {
    use posthouse_config::SealingKey;
    use posthouse_model::ShardId;

    use super::*;

    /// The marks of a gateway whose key is a repetition of these four characters.
    fn own_hops(four: &str) -> OwnHops {
        let key = SealingKey::parse(&format!("{}AAA=", four.repeat(10))).unwrap();
        OwnHops::new(key.trace())
    }

    fn paths(texts: &[&str]) -> Vec<ForwardPath> {
        texts.iter().map(|text| format!("<{text}>").parse().unwrap()).collect()
    }

    #[test]
    fn a_gateway_knows_what_it_had_for_the_same_recipients() {
        let (ours, theirs) = (own_hops("ours"), own_hops("them"));
        let recipients = paths(&["a@example.com", "b@example.com"]);
        let marks: Vec<Mark> = (0..3)
            .map(|unique| MessageId::new(1, ShardId(0), unique))
            .map(|id| Mark { id: id.to_string(), mark: ours.mark(id, recipients.iter()) })
            .collect();
        let passages = |own: &OwnHops, marks: &[Mark], recipients: &[&str]| {
            own.passages(marks, paths(recipients).iter())
        };
        assert_eq!(passages(&ours, &marks, &["a@example.com", "b@example.com"]), 3);
        assert_eq!(passages(&ours, &marks, &["B@example.com", "a@EXAMPLE.com"]), 3);
        assert_eq!(passages(&ours, &marks[..1], &["a@example.com", "b@example.com"]), 1);
        for others in [&["a@example.com"][..], &["a@example.com", "b@example.com", "c@example.com"], &[]] {
            assert_eq!(passages(&ours, &marks, others), 0, "{others:?}");
        }
        assert_eq!(passages(&theirs, &marks, &["a@example.com", "b@example.com"]), 0);
        // What was forged, or copied from another message's line.
        let forged = [
            Mark { mark: "0123456789abcdef".into(), ..marks[0].clone() },
            Mark { mark: marks[1].mark.clone(), ..marks[0].clone() },
        ];
        assert_eq!(passages(&ours, &forged, &["a@example.com", "b@example.com"]), 0);
    }
}
