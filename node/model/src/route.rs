//! Where mail goes next: the route that routing decides on and that an entry of the queue carries.
//!
//! An entry keeps its route so that it can drain after the resource that routed it is gone; while the resource is there, a node routes the
//! entry again under the current snapshot. A route holds no credential: those stay in the snapshot.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};

/// A host to connect to: a name, or an address (IPv6 without brackets). Without a port: by MX; with one: its address records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub struct HostPort {
    /// Name in A-labels or address, lower case, without a final dot.
    pub host: String,
    /// The TCP port; absent means that the host is a domain whose MX records are asked (RFC 5321 §5.1).
    #[serde(default)]
    pub port: Option<u16>,
}

impl Serialize for HostPort {
    /// A document leaves an absent port out; a record of the queue has no names, so nothing may be missing from it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { host, port } = self;
        let is_left_out = port.is_none() && serializer.is_human_readable();
        let mut fields = serializer.serialize_struct("HostPort", if is_left_out { 1 } else { 2 })?;
        fields.serialize_field("host", host)?;
        if is_left_out {
            fields.skip_field("port")?;
        } else {
            fields.serialize_field("port", port)?;
        }
        fields.end()
    }
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

/// How a connection to a next hop is secured, and as whom it is made: what tells it from others to the same hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Security {
    /// When TLS begins.
    pub tls: HopTls,
    /// The certificate must name the host and chain to a trusted root, and without TLS nothing is sent.
    pub verified: bool,
    /// The addresses are of a tenant's choosing, or of the recipient's domain: those of the networks that the gateway denies are not connected to.
    pub guarded: bool,
    /// The relay rule whose login or roots are used, `namespace/name`: its connections are nobody else's.
    pub rule: Option<Box<str>>,
}

/// When TLS begins on a connection to a next hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HopTls {
    /// By STARTTLS (RFC 3207), where it is offered; required where the security is verified.
    #[default]
    StartTls,
    /// At once (RFC 8314).
    Implicit,
    /// Never.
    Disabled,
}

/// A next hop: hosts tried in order, one after the other, as one destination. Its text form is the lane's and the metric's name for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Record", into = "Record")]
pub struct NextHop {
    /// How the hosts are spoken to.
    pub transport: Transport,
    /// The hosts in the order to try them; empty only for a maildrop.
    pub hosts: Vec<HostPort>,
    /// How the connection is secured.
    pub security: Security,
}

impl NextHop {
    /// A next hop with the defaults: STARTTLS where it is offered, no login.
    #[must_use]
    pub fn new(transport: Transport, hosts: Vec<HostPort>) -> Self {
        Self { transport, hosts, security: Security::default() }
    }

    /// For people: `mx1.example:25, then mx2.example:25 (SMTP)`, `the MX of example.com (SMTP, verified TLS)`.
    pub fn in_words(&self) -> impl fmt::Display + '_ {
        InWords(self)
    }
}

struct InWords<'a>(&'a NextHop);

impl fmt::Display for InWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NextHop { transport, hosts, security: Security { tls, verified, guarded, rule } } = self.0;
        let transport = match transport {
            Transport::Smtp => "SMTP",
            Transport::Lmtp => "LMTP",
            Transport::Maildrop => return f.write_str("a maildrop"),
        };
        for (place, host) in hosts.iter().enumerate() {
            let then = if place > 0 { ", then " } else { "" };
            let by_mx = if host.port.is_none() { "the MX of " } else { "" };
            write!(f, "{then}{by_mx}{host}")?;
        }
        write!(f, " ({transport}")?;
        f.write_str(match (tls, verified) {
            (HopTls::StartTls, false) => "",
            (HopTls::StartTls, true) => ", verified TLS",
            (HopTls::Implicit, false) => ", TLS from the start",
            (HopTls::Implicit, true) => ", verified TLS from the start",
            (HopTls::Disabled, _) => ", no TLS",
        })?;
        if let Some(rule) = rule {
            write!(f, ", with the login or the roots of RelayRule {rule}")?;
        }
        if *guarded {
            f.write_str(", not into denied networks")?;
        }
        f.write_str(")")
    }
}

/// How a next hop stands in a record: those with the defaults as they did before there was anything else.
#[derive(Serialize, Deserialize)]
enum Record {
    Smtp(Vec<HostPort>),
    Lmtp(Vec<HostPort>),
    Maildrop(Vec<HostPort>),
    Secured(Transport, Vec<HostPort>, SecurityRecord),
}

#[derive(Serialize, Deserialize)]
struct SecurityRecord {
    tls: u8,
    verified: bool,
    guarded: bool,
    rule: Option<Box<str>>,
}

impl From<NextHop> for Record {
    fn from(NextHop { transport, hosts, security }: NextHop) -> Self {
        if security != Security::default() {
            let Security { tls, verified, guarded, rule } = security;
            let tls = match tls {
                HopTls::StartTls => 0,
                HopTls::Implicit => 1,
                HopTls::Disabled => 2,
            };
            return Self::Secured(transport, hosts, SecurityRecord { tls, verified, guarded, rule });
        }
        match transport {
            Transport::Smtp => Self::Smtp(hosts),
            Transport::Lmtp => Self::Lmtp(hosts),
            Transport::Maildrop => Self::Maildrop(hosts),
        }
    }
}

impl From<Record> for NextHop {
    fn from(record: Record) -> Self {
        match record {
            Record::Smtp(hosts) => Self::new(Transport::Smtp, hosts),
            Record::Lmtp(hosts) => Self::new(Transport::Lmtp, hosts),
            Record::Maildrop(hosts) => Self::new(Transport::Maildrop, hosts),
            Record::Secured(transport, hosts, SecurityRecord { tls, verified, guarded, rule }) => {
                let tls = match tls {
                    0 => HopTls::StartTls,
                    1 => HopTls::Implicit,
                    _ => HopTls::Disabled,
                };
                Self { transport, hosts, security: Security { tls, verified, guarded, rule } }
            }
        }
    }
}

/// The words of a security in a next hop's text, each behind a plus.
const VERIFIED: &str = "verified";
const GUARDED: &str = "guarded";
const CLEAR: &str = "clear";

impl fmt::Display for NextHop {
    /// `smtp:mx1.example:25,mx2.example:25`, `lmtp:dovecot:24`, `maildrop`; `smtps:` for implicit TLS; `smtp+verified:mail/rule@host:587` with what
    /// else the connection must be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Security { tls, verified, guarded, rule } = &self.security;
        f.write_str(match self.transport {
            Transport::Smtp => "smtp",
            Transport::Lmtp => "lmtp",
            Transport::Maildrop => return f.write_str("maildrop"),
        })?;
        if *tls == HopTls::Implicit {
            f.write_str("s")?;
        }
        let words = [(*tls == HopTls::Disabled, CLEAR), (*verified, VERIFIED), (*guarded, GUARDED)];
        words.iter().filter(|(is_so, _)| *is_so).try_for_each(|(_, word)| write!(f, "+{word}"))?;
        f.write_str(":")?;
        if let Some(rule) = rule {
            write!(f, "{rule}@")?;
        }
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
        if text == "maildrop" {
            return Ok(Self::new(Transport::Maildrop, Vec::new()));
        }
        let (scheme, rest) = text.split_once(':').ok_or(ParseNextHopError)?;
        let mut words = scheme.split('+');
        let (transport, tls) = match words.next() {
            Some("smtp") => (Transport::Smtp, HopTls::StartTls),
            Some("smtps") => (Transport::Smtp, HopTls::Implicit),
            Some("lmtp") => (Transport::Lmtp, HopTls::StartTls),
            Some("lmtps") => (Transport::Lmtp, HopTls::Implicit),
            _ => return Err(ParseNextHopError),
        };
        let mut security = Security { tls, ..Security::default() };
        for word in words {
            match word {
                VERIFIED => security.verified = true,
                GUARDED => security.guarded = true,
                CLEAR if tls == HopTls::StartTls => security.tls = HopTls::Disabled,
                _ => return Err(ParseNextHopError),
            }
        }
        let (rule, hosts) = rest.split_once('@').map_or((None, rest), |(rule, hosts)| (Some(rule), hosts));
        security.rule = rule.map(Into::into);
        let hosts = hosts.split(',').map(parse_host_port).collect::<Result<_, _>>()?;
        Ok(Self { transport, hosts, security })
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
    fn people_are_told_a_next_hop_in_words() {
        for (text, words) in [
            ("maildrop", "a maildrop"),
            ("smtp:a.example:25,[::1]:25", "a.example:25, then [::1]:25 (SMTP)"),
            ("smtp+guarded:example.com", "the MX of example.com (SMTP, not into denied networks)"),
            ("smtp+clear:a:25", "a:25 (SMTP, no TLS)"),
            ("lmtps+verified:a:24", "a:24 (LMTP, verified TLS from the start)"),
            (
                "smtp+verified:mail/r@a:587",
                "a:587 (SMTP, verified TLS, with the login or the roots of RelayRule mail/r)",
            ),
        ] {
            assert_eq!(text.parse::<NextHop>().unwrap().in_words().to_string(), words);
        }
    }

    #[test]
    fn a_next_hop_survives_its_text() {
        for text in [
            "maildrop",
            "smtp:a.example:25,b.example:587",
            "lmtp:dovecot:24",
            "smtp:example.com",
            "smtp:[::1]:2525,[2001:db8::1]",
            "smtps:a.example:465",
            "smtp+clear:a.example:25",
            "smtp+verified+guarded:mail/customer-a@a.example:587,b.example:587",
            "lmtps+verified:dovecot:24",
        ] {
            let hop: NextHop = text.parse().unwrap();
            assert_eq!(hop.to_string(), text);
            let record = serde_json::to_string(&hop).unwrap();
            assert_eq!(serde_json::from_str::<NextHop>(&record).unwrap(), hop);
        }
        for text in
            ["", "smtp:", "smtp:a:x", "pop:a", "smtp:[::1", "smtp:[::1]25", "smtps+clear:a:1", "smtp+x:a:1"]
        {
            assert_eq!(text.parse::<NextHop>(), Err(ParseNextHopError), "{text}");
        }
    }
}
