//! The client side: which mechanism to use ([`choose`]), and the exchange ([`Client`]). No I/O.
//!
//! ```
//! use posthouse_sasl::{Credentials, base64, client::{Channel, Client, Method, choose}};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // From the answer to EHLO: `250 AUTH PLAIN CRAM-MD5`
//! let channel = Channel { encrypted: true, consent_to_clear: false };
//! let mechanism = choose(Method::Auto, "PLAIN CRAM-MD5".split(' '), channel)?;
//! let nonce = [7; 18]; // random, and never the same again
//! let mut client = Client::new(mechanism, Credentials::new("tim", "tanstaaftanstaaf")?, nonce)?;
//!
//! // `AUTH CRAM-MD5`, and behind it the initial response, if there is one and the line has room for it
//! assert_eq!(mechanism.name(), "CRAM-MD5");
//! assert!(client.initial(512 - "AUTH CRAM-MD5 \r\n".len()).is_none());
//!
//! // `334 …`; on an error here, say `*` and fail
//! let challenge = base64::decode(b"PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+")?;
//! let response = client.respond(&challenge)?;
//! assert_eq!(*response.to_base64(), *"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw");
//!
//! // `235`: authenticated only if the exchange says so too
//! client.finish(None)?;
//! # Ok(())
//! # }
//! ```

mod choice;
mod cram_md5;
mod error;
mod login;
mod plain;
mod response;
mod scram;
#[cfg(test)]
mod tests;
mod xoauth2;

use std::{fmt, mem};

pub use self::{
    choice::{Channel, Method, NoMechanism, Offer, choose},
    error::ExchangeError,
    response::Response,
    scram::{FEWEST_ITERATIONS, MOST_ITERATIONS},
};
use crate::{
    base64,
    credentials::{Credentials, CredentialsError},
    mechanism::Mechanism,
    scram::Hash,
};

/// Octets of a nonce: 144 random bits, which no server meets twice, in 24 characters without padding.
pub const NONCE_LENGTH: usize = 18;

/// The longest challenge, in octets: what fits the longest line of an exchange (RFC 4954 §4: 12,288 characters of base64).
pub const LONGEST_CHALLENGE: usize = 9 * 1024;

/// One exchange, seen from the client: a fresh one for each attempt.
///
/// After an error it is over: whatever comes then is an error too, and so is success.
pub struct Client {
    mechanism: Mechanism,
    /// What the client says first, until it is said.
    initial: Option<Response>,
    state: State,
}

/// What the client waits for.
#[derive(Default)]
enum State {
    /// The prompt for the user name.
    Login(login::Login),
    /// The prompt for the password.
    LoginPassword(login::Password),
    /// The challenge to digest.
    CramMd5(cram_md5::CramMd5),
    /// The salt and the iteration count.
    Scram(scram::Scram),
    /// The server's signature.
    ScramSigned(scram::Signed),
    /// Success, or an error to be acknowledged.
    XOAuth2(xoauth2::XOAuth2),
    /// The failure that the server has announced.
    Refused,
    /// Success: all is said.
    Done,
    /// Nothing: an error was told. Also what stands in while a state is being worked on.
    #[default]
    Failed,
}

impl Client {
    /// An exchange by `mechanism`. The nonce is what makes SCRAM's answers good for one exchange only: random, and used once.
    pub fn new(
        mechanism: Mechanism,
        credentials: Credentials<'_>,
        nonce: [u8; NONCE_LENGTH],
    ) -> Result<Self, CredentialsError> {
        let nonce = || base64::encode(&nonce);
        let (initial, state) = match mechanism {
            Mechanism::Plain => (Some(plain::message(credentials)), State::Done),
            Mechanism::Login => (None, State::Login(login::Login::new(credentials))),
            Mechanism::CramMd5 => (None, State::CramMd5(cram_md5::CramMd5::new(credentials))),
            Mechanism::ScramSha1 => scram::Scram::start(Hash::Sha1, credentials, nonce())?,
            Mechanism::ScramSha256 => scram::Scram::start(Hash::Sha256, credentials, nonce())?,
            Mechanism::XOAuth2 => xoauth2::XOAuth2::start(credentials)?,
        };
        Ok(Self { mechanism, initial, state })
    }

    /// By which mechanism.
    #[must_use]
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The initial response, if the mechanism has one and the command line still has room for it: `room` characters of base64.
    ///
    /// Without it (RFC 4954 §4, RFC 5034 §4: a line that would be too long, a server that takes none) it is what answers the empty first challenge.
    pub fn initial(&mut self, room: usize) -> Option<Response> {
        self.initial.take_if(|initial| base64::encoded_length(initial.as_octets().len()) <= room)
    }

    /// The answer to a challenge, already out of its base64. An error means to cancel the exchange (`*`) and to fail.
    ///
    /// For SCRAM one of them takes its time: up to [`MOST_ITERATIONS`], some tenths of a second.
    pub fn respond(&mut self, challenge: &[u8]) -> Result<Response, ExchangeError> {
        let state = mem::take(&mut self.state);
        if challenge.len() > LONGEST_CHALLENGE {
            return Err(ExchangeError::ChallengeTooLong);
        }
        if let Some(initial) = self.initial.take() {
            // RFC 4422 §3.3, §5: to whom the client was to speak first, there is nothing to say before it.
            if !challenge.is_empty() {
                return Err(ExchangeError::MalformedChallenge);
            }
            self.state = state;
            return Ok(initial);
        }
        let (response, next) = match state {
            State::Login(login) => login.respond(),
            State::LoginPassword(password) => password.respond(),
            State::CramMd5(cram_md5) => cram_md5.respond(challenge)?,
            State::Scram(scram) => scram.respond(challenge)?,
            State::ScramSigned(signed) => signed.respond(challenge)?,
            State::XOAuth2(xoauth2) => xoauth2.respond(),
            State::Refused | State::Done => return Err(ExchangeError::UnexpectedChallenge),
            State::Failed => return Err(ExchangeError::Over),
        };
        self.state = next;
        Ok(response)
    }

    /// The server says that the client is authenticated (235, `+OK`), with `data` where the protocol lets it come with the last challenge (SMTP and
    /// POP3 do not). An error means that it is not so: do not go on with this server.
    pub fn finish(self, data: Option<&[u8]>) -> Result<(), ExchangeError> {
        let Self { mechanism: _, initial, state } = self;
        if initial.is_some() {
            return Err(ExchangeError::Unfinished);
        }
        match (state, data) {
            (State::ScramSigned(signed), Some(data)) => signed.verify(data),
            (State::Done | State::XOAuth2(_), None | Some([])) => Ok(()),
            (State::Done | State::XOAuth2(_), Some(_)) => Err(ExchangeError::UnexpectedChallenge),
            (State::Refused, _) => Err(ExchangeError::Refused),
            (State::Failed, _) => Err(ExchangeError::Over),
            (State::Login(_) | State::LoginPassword(_) | State::CramMd5(_) | State::Scram(_), _)
            | (State::ScramSigned(_), None) => Err(ExchangeError::Unfinished),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}
