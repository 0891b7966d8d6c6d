//! Which mechanism to use, of those that the server offers. Pure.

use std::fmt;

use crate::mechanism::Mechanism;

/// What [`Method::Auto`] takes, the strongest first. XOAUTH2 is not among them: its secret is a token, no password.
const BY_STRENGTH: [Mechanism; 5] =
    [Mechanism::ScramSha256, Mechanism::ScramSha1, Mechanism::CramMd5, Mechanism::Plain, Mechanism::Login];

/// Names of an offer that are remembered for a message: more than any server has.
const LONGEST_OFFER: usize = 32;

/// The longest name of a mechanism (RFC 4422 §3.1).
const LONGEST_NAME: usize = 20;

/// What the configuration wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// The strongest mechanism for a password that the server offers and the connection allows.
    Auto,
    /// This one and no other.
    Only(Mechanism),
}

/// What the choice must know of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Channel {
    /// Nobody but the server reads it: TLS, or the same machine.
    pub encrypted: bool,
    /// The configuration allows, in so many words, that the secret goes over the connection readable by all.
    pub consent_to_clear: bool,
}

/// What the server offers, as far as it is names of mechanisms (RFC 4422 §3.1); each once, in the server's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer(Vec<String>);

/// Why no mechanism can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoMechanism {
    /// The server does not offer what is wanted.
    #[error("the server offers {offered}, but {wanted} is wanted")]
    NotOffered {
        /// What is wanted.
        wanted: Method,
        /// What there is.
        offered: Offer,
    },
    /// What the server offers would show the secret to all who read the connection (RFC 4954 §4).
    #[error(
        "the server offers {offered}, and {wanted} is wanted: {mechanism} would send the secret readable by all, \
         for the connection is not encrypted; encrypt it, or allow that in so many words"
    )]
    Clear {
        /// What is wanted.
        wanted: Method,
        /// What there is.
        offered: Offer,
        /// What would be used on an encrypted connection.
        mechanism: Mechanism,
    },
}

/// The mechanism to use of those whose names are `offered`.
///
/// A secret goes readable over a connection only by consent, whatever the server offers: who can change what the server says could otherwise
/// strike all but PLAIN from the offer.
pub fn choose<'a>(
    wanted: Method,
    offered: impl IntoIterator<Item = &'a str>,
    channel: Channel,
) -> Result<Mechanism, NoMechanism> {
    let mut offer = Offer::default();
    let mut known = Vec::new();
    for name in offered {
        offer.note(name);
        known.extend(name.parse::<Mechanism>().ok().filter(|one| !known.contains(one)));
    }
    let candidates = match &wanted {
        Method::Auto => BY_STRENGTH.as_slice(),
        Method::Only(mechanism) => std::slice::from_ref(mechanism),
    };
    // The strongest show nothing, so none that is allowed comes behind one that is not.
    match candidates.iter().find(|one| known.contains(one)) {
        None => Err(NoMechanism::NotOffered { wanted, offered: offer }),
        Some(&mechanism) => {
            let is_safe = !mechanism.shows_the_secret() || channel.encrypted || channel.consent_to_clear;
            if is_safe {
                Ok(mechanism)
            } else {
                Err(NoMechanism::Clear { wanted, offered: offer, mechanism })
            }
        }
    }
}

impl Offer {
    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    fn note(&mut self, name: &str) {
        let is_letter = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
        let is_name = (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(is_letter);
        let name = name.to_ascii_uppercase();
        if is_name && self.0.len() < LONGEST_OFFER && !self.0.contains(&name) {
            self.0.push(name);
        }
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("no mechanism") } else { f.write_str(&self.0.join(", ")) }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => write!(f, "one of {}", BY_STRENGTH.map(Mechanism::name).join(", ")),
            Self::Only(mechanism) => mechanism.fmt(f),
        }
    }
}
