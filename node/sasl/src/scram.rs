//! What both sides of SCRAM compute (RFC 5802 §3): salted password, keys, proof, signature. Pure.

use hmac::{Hmac, Mac, digest::KeyInit};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// The hash that a mechanism of the family is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    /// SCRAM-SHA-1
    Sha1,
    /// SCRAM-SHA-256 (RFC 7677)
    Sha256,
}

/// Octets that a proof can be made of.
pub(crate) type Secret = Zeroizing<Vec<u8>>;

impl Hash {
    /// `Hi`: PBKDF2 with one block, so one output of the hash (RFC 5802 §2.2). Takes time with `iterations`: whoever hears the number from a peer
    /// bounds it first.
    pub(crate) fn salted_password(self, password: &[u8], salt: &[u8], iterations: u32) -> Secret {
        match self {
            Self::Sha1 => pbkdf2::pbkdf2_hmac_array::<Sha1, 20>(password, salt, iterations).to_vec().into(),
            Self::Sha256 => {
                pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, iterations).to_vec().into()
            }
        }
    }

    /// `HMAC(salted_password, "Client Key")`
    pub(crate) fn client_key(self, salted_password: &[u8]) -> Secret {
        self.hmac(salted_password, b"Client Key")
    }

    /// `HMAC(salted_password, "Server Key")`
    pub(crate) fn server_key(self, salted_password: &[u8]) -> Secret {
        self.hmac(salted_password, b"Server Key")
    }

    /// `ClientKey XOR HMAC(H(ClientKey), auth_message)`
    pub(crate) fn client_proof(self, client_key: &[u8], auth_message: &[u8]) -> Vec<u8> {
        let stored_key = self.digest(client_key);
        let signature = self.hmac(&stored_key, auth_message);
        client_key.iter().zip(signature.iter()).map(|(key, signature)| key ^ signature).collect()
    }

    /// `HMAC(ServerKey, auth_message)`
    pub(crate) fn server_signature(self, server_key: &[u8], auth_message: &[u8]) -> Secret {
        self.hmac(server_key, auth_message)
    }

    fn digest(self, octets: &[u8]) -> Secret {
        match self {
            Self::Sha1 => Sha1::digest(octets).to_vec().into(),
            Self::Sha256 => Sha256::digest(octets).to_vec().into(),
        }
    }

    fn hmac(self, key: &[u8], message: &[u8]) -> Secret {
        match self {
            Self::Sha1 => hmac::<Hmac<Sha1>>(key, message),
            Self::Sha256 => hmac::<Hmac<Sha256>>(key, message),
        }
    }
}

/// The keyed digest of `message`.
#[expect(
    clippy::expect_used,
    reason = "RFC 2104 §2: any length of key will do, and only the length could be wrong"
)]
pub(crate) fn hmac<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Secret {
    let mac = <M as Mac>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.chain_update(message).finalize().into_bytes().to_vec().into()
}

/// Whether both are the same, in a time that does not tell where they differ.
pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}
