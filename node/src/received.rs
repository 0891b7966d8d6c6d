//! The trace header that this node puts in front of the content: the only change that is made to it by default (I8). Pure.

use std::net::IpAddr;

use posthouse_model::{MessageId, Timestamp};

use crate::date;

/// What a `Received` line tells.
pub struct Received<'a> {
    /// The name that the client gave in EHLO or HELO.
    pub helo: &'a str,
    /// The client's address; `None` hides it, as for the networks that the gateway trusts ([16]).
    pub client: Option<IpAddr>,
    /// The name of this gateway.
    pub hostname: &'a str,
    /// `SMTP`, `ESMTP`, … (RFC 3848).
    pub protocol: &'a str,
    /// The queue id.
    pub id: MessageId,
    /// What this gateway knows the line again by.
    pub mark: Option<&'a str>,
    /// The recipient, if there is only one: more would tell each of the others (RFC 5321 §7.6).
    pub recipient: Option<&'a str>,
    /// When.
    pub at: Timestamp,
}

impl Received<'_> {
    /// The header field with its final CRLF (RFC 5321 §4.4). No line is longer than 998 octets, since each of its parts is on a line of its own.
    #[must_use]
    pub fn to_header(&self) -> String {
        let from = match self.client {
            // RFC 5321 §4.1.3: an IPv6 address literal carries its tag.
            Some(IpAddr::V6(address)) => format!("from {} ([IPv6:{address}])", self.helo),
            Some(IpAddr::V4(address)) => format!("from {} ([{address}])", self.helo),
            None => format!("from {}", self.helo),
        };
        let mark = self.mark.map(|mark| format!(" (mark {mark})")).unwrap_or_default();
        let recipient =
            self.recipient.map(|recipient| format!("\r\n\tfor <{recipient}>")).unwrap_or_default();
        format!(
            "Received: {from}\r\n\tby {} with {} id {}{mark}{recipient};\r\n\t{}\r\n",
            self.hostname,
            self.protocol,
            self.id,
            date::rfc5322(self.at)
        )
    }
}

#[cfg(test)]
mod tests {
    use posthouse_model::ShardId;
    use posthouse_smtp::content::{HeaderObserver, Mark};

    use super::*;

    fn received(client: Option<IpAddr>, recipient: Option<&str>) -> String {
        Received {
            helo: "client.example",
            client,
            hostname: "mail.example.com",
            protocol: "ESMTP",
            id: MessageId::new(0, ShardId(0), 1),
            mark: Some("0123456789abcdef"),
            recipient,
            at: Timestamp(1_700_000_000_000),
        }
        .to_header()
    }

    #[test]
    fn the_line_names_client_gateway_id_and_the_only_recipient() {
        assert_eq!(
            received(Some("192.0.2.1".parse().unwrap()), Some("a@example.com")),
            "Received: from client.example ([192.0.2.1])\r\n\tby mail.example.com with ESMTP id 00000000000000000000000001 (mark 0123456789abcdef)\
             \r\n\tfor <a@example.com>;\r\n\tTue, 14 Nov 2023 22:13:20 +0000\r\n"
        );
    }

    #[test]
    fn the_mark_is_found_again() {
        for recipient in [None, Some("a@example.com")] {
            let mut header = HeaderObserver::new();
            header.observe(received(None, recipient).as_bytes());
            let expected =
                Mark { id: "00000000000000000000000001".to_owned(), mark: "0123456789abcdef".to_owned() };
            assert_eq!(header.into_marks(), [expected]);
        }
    }

    #[test]
    fn a_trusted_network_is_not_shown() {
        assert!(received(None, None).starts_with("Received: from client.example\r\n\tby mail.example.com"));
    }
}
