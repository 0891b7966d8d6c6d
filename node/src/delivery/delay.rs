//! The warning that mail still waits: whether one is owed (RFC 3461 §5.2.5). Pure. When it is due is the retry schedule's to say, and an entry is
//! attended to at that time (`attend_at`) even if its next attempt is later.

use posthouse_model::{Notify, ReversePath, Transport};
use posthouse_queue::{Entry, EntryRecipient, NewEntry};

/// What a warning depends on besides the time.
#[derive(Clone, Copy)]
pub struct Waiting<'w> {
    /// How it will be sent on.
    pub transport: Transport,
    /// Who it is for.
    pub recipients: &'w [EntryRecipient],
    /// The sender has been warned.
    pub warned: bool,
}

impl Waiting<'_> {
    /// Whether its sender is to be told if it still waits when the time comes: once, if the NOTIFY of one of its recipients allows. Mail that is held,
    /// by itself or with its queue, waits as somebody wishes, and mail in a maildrop has arrived.
    #[must_use]
    pub fn owes_warning(&self, sender: &ReversePath, is_held: bool) -> bool {
        !self.warned
            && !is_held
            && !sender.is_null()
            && self.transport != Transport::Maildrop
            && self.recipients.iter().any(|recipient| Notify::from_bits(recipient.notify).of_delay())
    }
}

impl<'w> From<&'w Entry> for Waiting<'w> {
    fn from(entry: &'w Entry) -> Self {
        let Entry { route, recipients, delay_warned, .. } = entry;
        Self { transport: route.next_hop.transport, recipients, warned: *delay_warned }
    }
}

impl<'w> From<&'w NewEntry> for Waiting<'w> {
    fn from(entry: &'w NewEntry) -> Self {
        let NewEntry { route, recipients, .. } = entry;
        Self { transport: route.next_hop.transport, recipients, warned: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owes(notify: Notify, sender: &str, transport: Transport, warned: bool, is_held: bool) -> bool {
        let recipient = EntryRecipient {
            address: "a@b.example".parse().unwrap(),
            expanded_from: None,
            orcpt: None,
            notify: notify.bits(),
            last: None,
        };
        Waiting { transport, recipients: &[recipient], warned }
            .owes_warning(&sender.parse().unwrap(), is_held)
    }

    #[test]
    fn who_is_warned_of_a_delay() {
        // RFC 3461 §5.2.5, §4.1; RFC 5321 §4.5.5
        let sender = "<s@src.example>";
        assert!(owes(Notify::ABSENT, sender, Transport::Smtp, false, false));
        assert!(owes(Notify::DELAY, sender, Transport::Lmtp, false, false));
        for notify in [Notify::NEVER, Notify::FAILURE, Notify::SUCCESS] {
            assert!(!owes(notify, sender, Transport::Smtp, false, false), "{notify}");
        }
        assert!(
            !owes(Notify::DELAY, "<>", Transport::Smtp, false, false),
            "the null reverse-path is told nothing"
        );
        assert!(!owes(Notify::DELAY, sender, Transport::Maildrop, false, false), "it has arrived");
        assert!(!owes(Notify::DELAY, sender, Transport::Smtp, true, false), "once");
        assert!(!owes(Notify::DELAY, sender, Transport::Smtp, false, true), "held mail is not late");
    }
}
