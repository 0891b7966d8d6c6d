//! AUTH (RFC 4954): said once, before the first transaction, and inside TLS if there is TLS. The exchange itself is the SASL crate's; here is how SMTP
//! carries it. Nothing of a secret is in what `Debug` shows, in an event or in an error: also not where the peer repeats what it was told.

use std::fmt;

use posthouse_model::{Reply, ReplyCode, Severity};
use posthouse_sasl::{
    Credentials, CredentialsError, base64,
    client::{Channel, Client, ExchangeError, Method, NONCE_LENGTH, Response, choose},
};
use zeroize::Zeroizing;

use super::{
    Closed, Origin, Refusal, Stage, refusals,
    state::{Core, Expected, Ready, State},
};

/// RFC 4954 §4: an initial response that would make the command longer than this is kept for the first challenge.
const COMMAND: usize = 512;

/// RFC 4954 §4: the longest line of an exchange, with its CRLF.
const LINE: usize = 12_288;

/// Characters by which a word of ours is known in the peer's: a peer may cut what it repeats.
const KNOWN_BY: usize = 8;

/// Who this side is to the peer.
#[derive(Clone)]
pub struct Authentication {
    method: Method,
    username: String,
    password: Zeroizing<String>,
    consent_to_clear: bool,
    nonce: [u8; NONCE_LENGTH],
}

impl Authentication {
    /// By this method, with a user name and a password (for XOAUTH2 a token). The nonce is random, and good for one session.
    pub fn new(
        method: Method,
        username: &str,
        password: &str,
        nonce: [u8; NONCE_LENGTH],
    ) -> Result<Self, CredentialsError> {
        Credentials::new(username, password)?;
        let (username, password) = (username.to_owned(), Zeroizing::new(password.to_owned()));
        Ok(Self { method, username, password, consent_to_clear: false, nonce })
    }

    /// The same, with the operator's consent that the password goes over a connection that is not encrypted, or without.
    #[must_use]
    pub fn with_consent_to_clear(mut self, consent_to_clear: bool) -> Self {
        self.consent_to_clear = consent_to_clear;
        self
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication").field("method", &self.method).finish_non_exhaustive()
    }
}

/// What follows EHLO when there is nothing more to be done about TLS.
pub(super) fn or_ready(core: &mut Core) -> Result<State, Closed> {
    // Once: whatever becomes of it, the credentials are not needed again.
    match core.settings.authentication.take() {
        None => Ok(Ready::announce(core, false)),
        Some(authentication) => Authenticating::begin(core, &authentication),
    }
}

/// AUTH was said, or a response.
#[derive(Debug)]
pub(super) struct Authenticating {
    client: Client,
    secrets: Secrets,
}

impl Authenticating {
    fn begin(core: &mut Core, authentication: &Authentication) -> Result<State, Closed> {
        let Authentication { method, username, password, consent_to_clear, nonce } = authentication;
        let channel = Channel { encrypted: core.encrypted, consent_to_clear: *consent_to_clear };
        let offered = core.extensions.auth.iter().map(String::as_str);
        let client = match choose(*method, offered, channel) {
            Ok(mechanism) => Credentials::new(username, password)
                .and_then(|credentials| Client::new(mechanism, credentials, *nonce))
                .map_err(refusals::bad_credentials),
            Err(error) => Err(refusals::no_mechanism(&error)),
        };
        let client = client.map_err(|refusal| Closed::refused(core, refusal))?;
        let secrets = Secrets { password: password.clone(), said: Vec::new() };
        Ok(Self { client, secrets }.say_auth(core))
    }

    fn say_auth(mut self, core: &mut Core) -> State {
        let command = format!("AUTH {}", self.client.mechanism());
        core.output.push(&command);
        match self.client.initial(COMMAND - command.len() - " \r\n".len()) {
            // RFC 4954 §4: an empty one is said as `=`.
            Some(initial) if initial.as_octets().is_empty() => core.output.push(" ="),
            Some(initial) => {
                core.output.push(" ");
                self.secrets.say(core, &initial);
            }
            None => {}
        }
        core.command("\r\n", Expected::Authentication);
        State::Authenticating(self)
    }

    pub(super) fn reply(self, core: &mut Core, reply: Reply) -> Result<State, Closed> {
        match reply.severity() {
            // 235; RFC 4954 §4, §6. No EHLO is due: no mechanism here makes a security layer.
            Severity::Completed => {
                let mechanism = self.client.mechanism();
                self.client
                    .finish(None)
                    .map_err(|error| Closed::refused(core, refusals::exchange_failed(error)))?;
                core.authenticated_by = Some(mechanism);
                Ok(Ready::announce(core, false))
            }
            Severity::Intermediate if reply.code() == CHALLENGE => Ok(self.challenge(core, &reply)),
            Severity::Intermediate => Err(Closed::out_of_step(Stage::Authentication)),
            Severity::Transient | Severity::Permanent => {
                let refusal = Refusal { stage: Stage::Authentication, reply, origin: Origin::Remote };
                Err(Closed::refused(core, refusal))
            }
        }
    }

    fn challenge(mut self, core: &mut Core, reply: &Reply) -> State {
        match respond(&mut self.client, reply) {
            Ok(response) => {
                self.secrets.say(core, &response);
                core.command("\r\n", Expected::Authentication);
                State::Authenticating(self)
            }
            Err(error) => {
                // RFC 4954 §4: the exchange is cancelled, and the peer says 501.
                core.command("*\r\n", Expected::Authentication);
                State::Cancelling(Cancelling { error, secrets: self.secrets })
            }
        }
    }

    /// A reply of the peer as it may be told.
    pub(super) fn redact(&self, reply: Reply) -> Reply {
        self.secrets.redact(reply)
    }
}

/// 334: RFC 4954 §4.
const CHALLENGE: ReplyCode = match ReplyCode::new(334) {
    Ok(code) => code,
    Err(_) => ReplyCode::START_CONTENT,
};

/// RFC 4954 §4: a challenge is one line of base64, and nothing else.
fn respond(client: &mut Client, reply: &Reply) -> Result<Response, ExchangeError> {
    let mut lines = reply.lines();
    let (Some(challenge), None) = (lines.next(), lines.next()) else {
        return Err(ExchangeError::MalformedChallenge);
    };
    if challenge.len() > LINE - "334 \r\n".len() {
        return Err(ExchangeError::ChallengeTooLong);
    }
    let challenge = base64::decode(challenge.as_bytes()).map_err(|_| ExchangeError::MalformedChallenge)?;
    client.respond(&challenge)
}

/// `*` was said.
#[derive(Debug)]
pub(super) struct Cancelling {
    error: ExchangeError,
    secrets: Secrets,
}

impl Cancelling {
    /// RFC 4954 §4: 501; whatever the refusal is, why it came to this is what matters.
    pub(super) fn reply(self, core: &mut Core, reply: &Reply) -> Closed {
        if reply.is_positive() {
            return Closed::out_of_step(Stage::Authentication);
        }
        Closed::refused(core, refusals::exchange_failed(self.error))
    }

    /// A reply of the peer as it may be told.
    pub(super) fn redact(&self, reply: Reply) -> Reply {
        self.secrets.redact(reply)
    }
}

/// What must not come back in the peer's words: what was said, and what it is about.
struct Secrets {
    password: Zeroizing<String>,
    said: Vec<Zeroizing<String>>,
}

impl Secrets {
    fn say(&mut self, core: &mut Core, response: &Response) {
        let text = response.to_base64();
        core.output.push(&text);
        if !text.is_empty() {
            self.said.push(text);
        }
    }

    /// The reply, or one with its code only: there are servers that repeat the line that they do not like.
    fn redact(&self, reply: Reply) -> Reply {
        let is_told = |line: &str| {
            let known_by = |word: &str| line.contains(word.get(..KNOWN_BY).unwrap_or(word));
            line.contains(self.password.as_str()) || self.said.iter().any(|word| known_by(word))
        };
        if !reply.lines().any(is_told) {
            return reply;
        }
        Reply::new(reply.code(), reply.status(), "(its words are withheld: they repeat what it was told)")
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}
