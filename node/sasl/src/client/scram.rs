//! SCRAM, without channel binding (RFC 5802 §3, §5; RFC 7677 for SHA-256). No I/O, no randomness.

mod binding;
mod message;
#[cfg(test)]
mod tests;

use zeroize::Zeroizing;

use self::{
    binding::Binding,
    message::{ServerFinal, ServerFirst},
};
use super::{ExchangeError, Response, State};
use crate::{
    base64,
    credentials::{Credentials, CredentialsError, Half},
    scram::{Hash, Secret, is_same},
};

/// Fewest iterations that are computed for a server. RFC 5802 §5.1 and RFC 7677 §4 tell servers to ask for no fewer; and who plays the server and
/// asks for one gets a proof from which the password is guessed thousands of times faster (RFC 5802 §9 has only TLS against that).
pub const FEWEST_ITERATIONS: u32 = 4096;

/// Most iterations that are computed for a server: what OWASP advises for stored passwords today (PBKDF2 with HMAC-SHA-256), far more than mail
/// servers ask for (4,096 to 15,000), and still only some tenths of a second of one core. A hostile server could ask for an hour of it.
pub const MOST_ITERATIONS: u32 = 600_000;

/// The client-first-message is said or about to be: the salt is awaited.
pub(super) struct Scram {
    hash: Hash,
    binding: Binding,
    password: Zeroizing<String>,
    nonce: String,
    client_first_bare: String,
}

/// The proof is given: the server's signature is awaited.
pub(super) struct Signed {
    signature: Secret,
}

impl Scram {
    /// `nonce` is printable ASCII without a comma.
    pub(super) fn start(
        hash: Hash,
        credentials: Credentials<'_>,
        nonce: String,
    ) -> Result<(Option<Response>, State), CredentialsError> {
        let username = prepare(credentials.username(), Half::Username)?;
        let password = prepare(credentials.password(), Half::Password)?;
        let binding = Binding::None;
        // RFC 5802 §5.1: a saslname has no bare `=` or `,`.
        let username = username.replace('=', "=3D").replace(',', "=2C");
        let client_first_bare = format!("n={username},r={nonce}");
        let message = format!("{}{client_first_bare}", binding.gs2_header());
        let state = Self { hash, binding, password, nonce, client_first_bare };
        Ok((Some(Response::new(message.into_bytes())), State::Scram(state)))
    }

    /// The client-final-message: the proof.
    pub(super) fn respond(self, challenge: &[u8]) -> Result<(Response, State), ExchangeError> {
        let Self { hash, binding, password, nonce, client_first_bare } = self;
        let ServerFirst { text, nonce: whole_nonce, salt, iterations } = ServerFirst::parse(challenge)?;
        // RFC 5802 §5.1: otherwise the answer could be to another exchange, recorded before.
        if whole_nonce.strip_prefix(&nonce).is_none_or(str::is_empty) {
            return Err(ExchangeError::ForeignNonce);
        }
        if iterations < FEWEST_ITERATIONS {
            return Err(ExchangeError::TooFewIterations);
        }
        if iterations > MOST_ITERATIONS {
            return Err(ExchangeError::TooManyIterations);
        }
        let without_proof = format!("c={},r={whole_nonce}", base64::encode(&binding.input()));
        let auth_message = format!("{client_first_bare},{text},{without_proof}");

        let salted_password = hash.salted_password(password.as_bytes(), &salt, iterations);
        let client_key = hash.client_key(&salted_password);
        let server_key = hash.server_key(&salted_password);
        let proof = hash.client_proof(&client_key, auth_message.as_bytes());
        let signature = hash.server_signature(&server_key, auth_message.as_bytes());

        let message = format!("{without_proof},p={}", base64::encode(&proof));
        Ok((Response::new(message.into_bytes()), State::ScramSigned(Signed { signature })))
    }
}

impl Signed {
    /// The signature came as a challenge: it is acknowledged (RFC 4422 §3.6: where the protocol has no data with success).
    pub(super) fn respond(self, challenge: &[u8]) -> Result<(Response, State), ExchangeError> {
        self.verify(challenge)?;
        Ok((Response::empty(), State::Done))
    }

    /// RFC 5802 §5: who cannot sign knows neither the password nor the keys made from it, and is not the server.
    pub(super) fn verify(self, server_final: &[u8]) -> Result<(), ExchangeError> {
        let Self { signature } = self;
        match ServerFinal::parse(server_final)? {
            ServerFinal::Verifier(given) if is_same(&given, &signature) => Ok(()),
            ServerFinal::Verifier(_) => Err(ExchangeError::WrongSignature),
            ServerFinal::Error => Err(ExchangeError::Refused),
        }
    }
}

/// RFC 5802 §2.2, §5.1: SASLprep as of a stored string. For a user name the RFC also lets code points through that Unicode 3.2 had not assigned;
/// the library has no such form, and which of two spellings the server keeps would be a guess.
fn prepare(text: &str, half: Half) -> Result<Zeroizing<String>, CredentialsError> {
    let prepared = stringprep::saslprep(text).map_err(|_| CredentialsError::Prohibited(half))?;
    if prepared.is_empty() {
        return Err(CredentialsError::Empty(half));
    }
    Ok(Zeroizing::new(prepared.into_owned()))
}
