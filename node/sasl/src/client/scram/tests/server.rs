//! A SCRAM server for tests: its own HMAC and PBKDF2, straight from RFC 2104 and RFC 5802 §2.2, so that no mistake is shared with what it checks.

use std::collections::HashMap;

use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use crate::{base64, scram::Hash};

const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const SALT: &[u8] = b"\x5b\x6d\x99\x68\x9d\x12\x35\x8e";
const ITERATIONS: u32 = 4096;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    Fresh,
    Challenged { auth_message: String, nonce: String },
    Signed,
    Authenticated,
    Failed,
}

/// What a server keeps of a user (RFC 5802 §9): no password.
pub(super) struct Server {
    hash: Hash,
    username: String,
    stored_key: Vec<u8>,
    signing_key: Vec<u8>,
    pub(super) state: State,
}

impl Server {
    pub(super) fn new(hash: Hash, username: &str, password: &str) -> Self {
        let salted = salted(hash, password.as_bytes());
        Self {
            hash,
            username: username.to_owned(),
            stored_key: digest(hash, &mac(hash, &salted, b"Client Key")),
            signing_key: mac(hash, &salted, b"Server Key"),
            state: State::Fresh,
        }
    }

    /// The challenge that follows a message; none when all is said.
    pub(super) fn hear(&mut self, message: &str) -> Option<String> {
        let (challenge, state) = match &self.state {
            State::Fresh => self.first(message),
            State::Challenged { auth_message, nonce } => self.last(message, auth_message, nonce),
            State::Signed => {
                assert_eq!(message, "");
                (None, State::Authenticated)
            }
            other => panic!("{other:?}: {message}"),
        };
        self.state = state;
        challenge
    }

    fn first(&self, message: &str) -> (Option<String>, State) {
        let bare = message.strip_prefix("n,,").unwrap();
        let (username, nonce) = bare.strip_prefix("n=").unwrap().split_once(",r=").unwrap();
        assert_eq!(username.replace("=2C", ",").replace("=3D", "="), self.username);
        let nonce = format!("{nonce}{NONCE}");
        let challenge = format!("r={nonce},s={},i={ITERATIONS}", base64::encode(SALT));
        let auth_message = format!("{bare},{challenge}");
        (Some(challenge), State::Challenged { auth_message, nonce })
    }

    fn last(&self, message: &str, auth_message: &str, nonce: &str) -> (Option<String>, State) {
        let (without_proof, _) = message.rsplit_once(",p=").unwrap();
        let attributes: HashMap<_, _> = message.split(',').map(|one| one.split_once('=').unwrap()).collect();
        assert_eq!((attributes["c"], attributes["r"]), ("biws", nonce));
        let proof = base64::decode(attributes["p"].as_bytes()).unwrap();

        let auth_message = format!("{auth_message},{without_proof}");
        let signature = mac(self.hash, &self.stored_key, auth_message.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        if proof.len() != signature.len() || digest(self.hash, &client_key) != self.stored_key {
            return (Some("e=invalid-proof".into()), State::Failed);
        }
        let signature = mac(self.hash, &self.signing_key, auth_message.as_bytes());
        (Some(format!("v={}", base64::encode(&signature))), State::Signed)
    }
}

/// `Hi(password, SALT, ITERATIONS)`
fn salted(hash: Hash, password: &[u8]) -> Vec<u8> {
    let mut last = mac(hash, password, &[SALT, &[0, 0, 0, 1]].concat());
    let mut sum = last.clone();
    for _ in 1..ITERATIONS {
        last = mac(hash, password, &last);
        sum.iter_mut().zip(&last).for_each(|(sum, octet)| *sum ^= octet);
    }
    sum
}

fn mac(hash: Hash, key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = if key.len() > 64 { digest(hash, key) } else { key.to_vec() };
    block.resize(64, 0);
    let padded = |pad: u8| block.iter().map(|octet| octet ^ pad).collect::<Vec<u8>>();
    let inner = digest(hash, &[&padded(0x36), message].concat());
    digest(hash, &[padded(0x5c), inner].concat())
}

fn digest(hash: Hash, octets: &[u8]) -> Vec<u8> {
    match hash {
        Hash::Sha1 => Sha1::digest(octets).to_vec(),
        Hash::Sha256 => Sha256::digest(octets).to_vec(),
    }
}
