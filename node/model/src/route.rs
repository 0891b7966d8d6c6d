//! Where mail goes next: the route that routing decides on and that an entry of the queue carries.
//!
//! An entry keeps its route so that it can drain after the resource that routed it is gone; while the resource is there, a node routes the
//! entry again under the current snapshot. A route holds no credential: those stay in the snapshot.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A host to connect to: a name, or an address (IPv6 without brackets). Without a port: by MX; with one: its address records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostPort {
    /// Name in A-labels or address, lower case, without a final dot.
    pub host: String,
    /// The TCP port; absent means that the host is a domain whose MX records are asked (RFC 5321 §5.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host.contains(':'), self.port) {
            (true, Some(port)) => write!(f, "[{}]:{port}", self.host),
            (true, None) => write!(f, "[{}]", self.host),
            (false, Some(port)) => write!(f, "{}:{port}", self.host),
            (false, None) => f.write_str(&self.host),
        }
    }
}

/// How the next hop is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Transport {
    /// SMTP (RFC 5321).
    Smtp,
    /// LMTP (RFC 2033): one reply per recipient after the data.
    Lmtp,
    /// Kept in the queue for POP3 until it is fetched; nothing is connected to.
    Maildrop,
}

/// A next hop: hosts tried in order, one after the other, as one destination. Its text form is the lane's and the metric's name for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NextHop {
    /// How the hosts are spoken to.
    pub transport: Transport,
    /// The hosts in the order to try them; empty only for a maildrop.
    pub hosts: Vec<HostPort>,
}

impl fmt::Display for NextHop {
    /// `smtp:mx1.example:25,mx2.example:25`, `lmtp:dovecot:24`, `maildrop`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.transport {
            Transport::Smtp => "smtp:",
            Transport::Lmtp => "lmtp:",
            Transport::Maildrop => return f.write_str("maildrop"),
        })?;
        self.hosts
            .iter()
            .enumerate()
            .try_for_each(|(place, host)| if place > 0 { write!(f, ",{host}") } else { write!(f, "{host}") })
    }
}

/// A text that is no next hop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a next hop")]
pub struct ParseNextHopError;

impl FromStr for NextHop {
    type Err = ParseNextHopError;

    fn from_str(text: &str) -> Result<Self, ParseNextHopError> {
        let (transport, hosts) = match text.split_once(':') {
            _ if text == "maildrop" => return Ok(Self { transport: Transport::Maildrop, hosts: Vec::new() }),
            Some(("smtp", hosts)) => (Transport::Smtp, hosts),
            Some(("lmtp", hosts)) => (Transport::Lmtp, hosts),
            _ => return Err(ParseNextHopError),
        };
        let hosts = hosts.split(',').map(parse_host_port).collect::<Result<_, _>>()?;
        Ok(Self { transport, hosts })
    }
}

fn parse_host_port(text: &str) -> Result<HostPort, ParseNextHopError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, after) = bracketed.split_once(']').ok_or(ParseNextHopError)?;
            let port =
                if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or(ParseNextHopError)?) };
            (host, port)
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err(ParseNextHopError);
    }
    let port = port.map(str::parse).transpose().map_err(|_| ParseNextHopError)?;
    Ok(HostPort { host: host.to_owned(), port })
}

/// What routing decides for a recipient: the next hop, and which resource said so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub next_hop: NextHop,
    /// Which resource decided it, for people and for looking up its settings in the snapshot: `RelayRule mail/customer-a`,
    /// `MailDomain mail/example-com`.
    pub origin: String,
    /// Why its mail is accepted and not sent, in words for people: the resource asks for what is not built yet. It goes with the mail into the
    /// queue, for sent by this route after the resource is gone it would go in clear or without a login.
    pub waits: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_hop_survives_its_text() {
        for text in [
            "maildrop",
            "smtp:a.example:25,b.example:587",
            "lmtp:dovecot:24",
            "smtp:example.com",
            "smtp:[::1]:2525,[2001:db8::1]",
        ] {
            assert_eq!(text.parse::<NextHop>().unwrap().to_string(), text);
        }
        for text in ["", "smtp:", "smtp:a:x", "pop:a", "smtp:[::1", "smtp:[::1]25"] {
            assert_eq!(text.parse::<NextHop>(), Err(ParseNextHopError), "{text}");
        }
    }
}
