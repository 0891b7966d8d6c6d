//! What of a transaction a peer can take, and how it is said: decided before the first command, from what the peer offered. Pure.

use std::{borrow::Cow, fmt::Write as _};

use posthouse_model::{Mailbox, ReversePath};

use super::{Body, EightBit, Extensions, Recipient, Refusal, Settings, Transaction, Utf8, refusals};

/// How a transaction goes to this peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// SMTPUTF8 is said, and addresses go as they were given; else they go in A-labels.
    pub(super) utf8: bool,
    /// The peer takes over what the sender asked to be told (RFC 3461 §5.2.1).
    pub(super) dsn: bool,
    /// The content goes by BDAT: only where it must, for DATA is what every peer has been tried with.
    pub(super) chunks: bool,
}

impl Plan {
    /// How this goes, or why it cannot.
    pub(super) fn new(
        transaction: &Transaction,
        extensions: &Extensions,
        settings: &Settings,
    ) -> Result<Self, Refusal> {
        if extensions.is_too_large(transaction.size) {
            return Err(refusals::too_large());
        }
        match transaction.body {
            Body::Binary if !extensions.binary_mime => return Err(refusals::needs_binary_mime()),
            Body::EightBit if !extensions.eight_bit_mime && settings.eight_bit == EightBit::Refuse => {
                return Err(refusals::needs_eight_bit_mime());
            }
            _ => {}
        }
        let needed = transaction.utf8 != Utf8::NotNeeded || has_no_ascii_form(transaction);
        let utf8 = needed && extensions.smtp_utf8;
        if needed && !utf8 {
            // RFC 6531 §3.2: without SMTPUTF8 such a message is not sent, unless it can be made one that needs none.
            if transaction.utf8 == Utf8::Headers {
                return Err(refusals::needs_smtp_utf8());
            }
            if reverse_path_in_ascii(&transaction.reverse_path).is_none() {
                return Err(refusals::sender_beyond_ascii());
            }
        }
        Ok(Self { utf8, dsn: extensions.dsn, chunks: transaction.body == Body::Binary })
    }

    /// Whether this recipient can be named to the peer.
    pub(super) fn can_name(self, recipient: &Recipient) -> bool {
        self.address(&recipient.address).is_some()
    }

    /// MAIL with all its parameters: only what was offered, and only where it is needed.
    pub(super) fn mail(self, transaction: &Transaction, extensions: &Extensions) -> String {
        let Transaction { reverse_path, recipients: _, size, body, utf8: _, ret, envid } = transaction;
        let path = match reverse_path {
            path if self.utf8 => Cow::Borrowed(path),
            path => reverse_path_in_ascii(path).unwrap_or(Cow::Borrowed(path)), // there is one: `new` has seen to it
        };
        let mut line = format!("MAIL FROM:{path}");
        if extensions.size.is_some() {
            let _ = write!(line, " SIZE={size}"); // RFC 1870 §5; a String takes everything, here and below
        }
        match body {
            Body::EightBit if extensions.eight_bit_mime => line.push_str(" BODY=8BITMIME"), // RFC 6152 §2
            Body::Binary => line.push_str(" BODY=BINARYMIME"),                              // RFC 3030 §3
            _ => {}
        }
        if self.utf8 {
            line.push_str(" SMTPUTF8"); // RFC 6531 §3.4
        }
        // RFC 3461 §5.2.1 (a), (b): both as they came, or not at all
        if let Some(ret) = ret.filter(|_| self.dsn) {
            let _ = write!(line, " RET={ret}");
        }
        if let Some(envid) = envid.as_ref().filter(|_| self.dsn) {
            let _ = write!(line, " ENVID={envid}");
        }
        line.push_str("\r\n");
        line
    }

    /// RCPT with all its parameters.
    pub(super) fn rcpt(self, recipient: &Recipient) -> String {
        let Recipient { address, notify, original } = recipient;
        let address = self.address(address).unwrap_or(Cow::Borrowed(address)); // there is one: who has none is not named
        let mut line = format!("RCPT TO:<{address}>");
        // RFC 3461 §5.2.1 (c), (d)
        if self.dsn && notify.is_given() {
            let _ = write!(line, " NOTIFY={notify}");
        }
        let original = original.as_ref().filter(|_| self.dsn);
        // RFC 6533 §3: beyond ASCII only with SMTPUTF8; the form with escapes is the same address.
        let original = original
            .and_then(|original| if self.utf8 { Some(Cow::Borrowed(original)) } else { original.to_ascii() });
        if let Some(original) = original {
            let _ = write!(line, " ORCPT={original}");
        }
        line.push_str("\r\n");
        line
    }

    fn address(self, address: &Mailbox) -> Option<Cow<'_, Mailbox>> {
        if self.utf8 { Some(Cow::Borrowed(address)) } else { address.to_ascii() }
    }
}

/// Whether an address cannot be written in ASCII at all, whatever the driver says of the message.
fn has_no_ascii_form(transaction: &Transaction) -> bool {
    reverse_path_in_ascii(&transaction.reverse_path).is_none()
        || transaction.recipients.iter().any(|recipient| recipient.address.to_ascii().is_none())
}

fn reverse_path_in_ascii(path: &ReversePath) -> Option<Cow<'_, ReversePath>> {
    match path {
        path if path.is_ascii() => Some(Cow::Borrowed(path)),
        path => path.mailbox()?.to_ascii().map(|mailbox| Cow::Owned(mailbox.into_owned().into())),
    }
}

#[cfg(test)]
mod tests {
    use posthouse_model::Ret;

    use super::*;

    #[test]
    fn no_command_is_longer_than_the_peer_must_take() {
        let local = "l".repeat(64);
        let domain = format!("{0}.{0}.{1}", "d".repeat(63), "d".repeat(254 - 65 - 128));
        let address: Mailbox = format!("{local}@{domain}").parse().unwrap();
        assert_eq!(address.to_string().len(), 254);
        let recipient = Recipient {
            address: address.clone(),
            notify: "SUCCESS,FAILURE,DELAY".parse().unwrap(),
            original: Some(format!("rfc822;{}", "x".repeat(493)).parse().unwrap()),
        };
        let mut transaction = Transaction::new(address.into(), vec![recipient.clone()], u64::MAX);
        transaction.body = Body::Binary;
        transaction.utf8 = Utf8::Headers;
        transaction.ret = Some(Ret::Headers);
        transaction.envid = Some("e".repeat(100).parse().unwrap());
        let text = "250-a\n250-SIZE\n250-8BITMIME\n250-BINARYMIME\n250-CHUNKING\n250-SMTPUTF8\n250 DSN";
        let extensions = Extensions::parse(&text.parse().unwrap());
        let settings = Settings::smtp("h.example".parse().unwrap());
        let plan = Plan::new(&transaction, &extensions, &settings).unwrap();
        // RFC 5321 §4.5.3.1.4: within 512 octets, though each of the extensions allows some more
        let mail = plan.mail(&transaction, &extensions);
        assert!(mail.len() <= 512 && mail.contains(" ENVID=e") && mail.contains(" SMTPUTF8"), "{mail}");
        // RFC 3461 §5.4
        let rcpt = plan.rcpt(&recipient);
        assert!(rcpt.len() <= 1036 && rcpt.contains(" ORCPT=rfc822;x"), "{rcpt}");
    }
}
