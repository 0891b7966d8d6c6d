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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENCRYPTED: Channel = Channel { encrypted: true, consent_to_clear: false };
    const READABLE: Channel = Channel { encrypted: false, consent_to_clear: false };
    const CONSENTED: Channel = Channel { encrypted: false, consent_to_clear: true };

    fn choice(wanted: Method, offered: &str, channel: Channel) -> Result<Mechanism, String> {
        choose(wanted, offered.split_whitespace(), channel).map_err(|error| error.to_string())
    }

    #[test]
    fn the_strongest_that_is_offered_is_taken() {
        let mut offered =
            vec!["XOAUTH2", "GSSAPI", "LOGIN", "PLAIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"];
        for expected in BY_STRENGTH {
            assert_eq!(choice(Method::Auto, &offered.join(" "), ENCRYPTED), Ok(expected));
            assert_eq!(offered.pop(), Some(expected.name()));
        }
        assert_eq!(
            choice(Method::Auto, &offered.join(" "), ENCRYPTED).unwrap_err(),
            "the server offers XOAUTH2, GSSAPI, but one of SCRAM-SHA-256, SCRAM-SHA-1, CRAM-MD5, PLAIN, LOGIN is wanted"
        );
    }

    #[test]
    fn who_wants_one_gets_it_or_nothing() {
        for one in Mechanism::ALL {
            let offered = "plain login cram-md5 scram-sha-1 scram-sha-256 xoauth2 SCRAM-SHA-256-PLUS";
            assert_eq!(choice(Method::Only(one), offered, ENCRYPTED), Ok(one));
            assert_eq!(
                choice(Method::Only(one), "SCRAM-SHA-256-PLUS", ENCRYPTED).unwrap_err(),
                format!("the server offers SCRAM-SHA-256-PLUS, but {one} is wanted")
            );
            assert_eq!(
                choice(Method::Only(one), "", ENCRYPTED).unwrap_err(),
                format!("the server offers no mechanism, but {one} is wanted")
            );
        }
    }

    #[test]
    fn a_secret_goes_readable_only_by_consent() {
        for one in [Mechanism::Plain, Mechanism::Login, Mechanism::XOAuth2] {
            let offered = "XOAUTH2 LOGIN PLAIN";
            assert_eq!(choice(Method::Only(one), offered, CONSENTED), Ok(one));
            assert_eq!(
                choice(Method::Only(one), offered, READABLE).unwrap_err(),
                format!(
                    "the server offers XOAUTH2, LOGIN, PLAIN, and {one} is wanted: {one} would send the secret readable by \
                     all, for the connection is not encrypted; encrypt it, or allow that in so many words"
                )
            );
        }
        let error = choice(Method::Auto, "LOGIN PLAIN", READABLE).unwrap_err();
        assert!(error.contains("PLAIN would send the secret readable by all"), "{error}");
        for (offered, expected) in [
            ("PLAIN CRAM-MD5", Mechanism::CramMd5),
            ("PLAIN SCRAM-SHA-1", Mechanism::ScramSha1),
            ("LOGIN SCRAM-SHA-256", Mechanism::ScramSha256),
        ] {
            assert_eq!(choice(Method::Auto, offered, READABLE), Ok(expected));
        }
        assert_eq!(choice(Method::Auto, "LOGIN PLAIN", CONSENTED), Ok(Mechanism::Plain));
    }

    #[test]
    fn an_offer_is_repeated_as_names_only_and_not_without_end() {
        let error = choose(
            Method::Auto,
            ["NTLM", "ntlm", "", "x\r\ny", "*", "é", "ABCDEFGHIJKLMNOPQRSTU"],
            ENCRYPTED,
        );
        let Err(NoMechanism::NotOffered { offered, .. }) = error else { panic!("{error:?}") };
        assert_eq!(offered.names().collect::<Vec<_>>(), ["NTLM"]);

        let many: Vec<String> = (0..1000).map(|number| format!("X{number}")).collect();
        // What is behind the names that are remembered still counts.
        let offered = || many.iter().map(String::as_str);
        assert_eq!(choose(Method::Auto, offered().chain(["PLAIN"]), ENCRYPTED), Ok(Mechanism::Plain));
        let Err(NoMechanism::NotOffered { offered, .. }) = choose(Method::Auto, offered(), ENCRYPTED) else {
            panic!()
        };
        assert_eq!(offered.names().count(), LONGEST_OFFER);
    }

    proptest! {
        #[test]
        fn what_is_chosen_was_offered_and_is_allowed(
            offered in prop::collection::vec(prop_oneof![prop::sample::select(&Mechanism::ALL).prop_map(|one| one.name().to_owned()), any::<String>()], 0..9),
            wanted in prop::option::of(prop::sample::select(&Mechanism::ALL)),
            encrypted in any::<bool>(),
            consent_to_clear in any::<bool>(),
        ) {
            let method = wanted.map_or(Method::Auto, Method::Only);
            let channel = Channel { encrypted, consent_to_clear };
            if let Ok(one) = choose(method, offered.iter().map(String::as_str), channel) {
                prop_assert!(offered.iter().any(|name| name == one.name()));
                prop_assert!(wanted.is_none_or(|wanted| wanted == one));
                prop_assert!(encrypted || consent_to_clear || !one.shows_the_secret());
            }
        }
    }
}
