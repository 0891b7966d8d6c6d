//! Sealing: what a snapshot is outside of the operator and the nodes. Compressed, then encrypted and authenticated (AES-256-GCM-SIV, RFC 8452).
//! No I/O, no randomness.
//!
//! The nonce comes from the plaintext by a keyed hash, so equal plaintext has one sealed form, which is its content address, and nobody without
//! the key can tell what a guessed plaintext would be sealed to. Should two nonces ever collide, GCM-SIV tells no more than that they did.

use std::{
    fmt,
    io::{Read as _, Write as _},
    str::FromStr,
};

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    error::Unspecified,
    hkdf, hmac,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The form of what is sealed, in its first octet.
const FORM: u8 = 1;

/// The form, the key's id and the nonce: what stands before the ciphertext.
const PREFIX: usize = 1 + KEY_ID + NONCE_LEN;

/// Octets of a key.
pub const KEY_LENGTH: usize = 32;

/// Octets of a key's id.
const KEY_ID: usize = 8;

/// What is sealed, so that one is never taken for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A piece of a snapshot.
    Chunk = 1,
    /// What lists the pieces.
    Index = 2,
}

/// Which key something is sealed with: told by nothing but the key itself, and telling nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; KEY_ID]);

/// A gateway's key.
pub struct SealingKey {
    id: KeyId,
    cipher: LessSafeKey,
    nonce: hmac::Key,
    trace: TraceKey,
}

/// What the nodes of a gateway know their own trace headers by: had from the sealing key, so that all of them have it and nobody else.
#[derive(Clone)]
pub struct TraceKey(hmac::Key);

/// A text that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a sealing key is {KEY_LENGTH} random octets in base64: make one with `head -c 32 /dev/urandom | base64`"
)]
pub struct ParseKeyError;

/// A text that is no key id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key id is 16 lower-case hexadecimal digits")]
pub struct ParseKeyIdError;

/// Why something could not be sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The form is none that is known here.
    #[error("it is sealed in a form that is not known here, or damaged")]
    UnknownForm,
    /// It is sealed with a key that is not at hand.
    #[error("it is sealed with key {0}, which is not mounted here")]
    UnknownKey(KeyId),
    /// The key is at hand, but it does not open it.
    #[error("key {0} does not open it: it is damaged or forged")]
    NotAuthentic(KeyId),
    /// It has more octets than it may.
    #[error("it has more than {0} octets")]
    TooLong(usize),
    /// It does not decompress.
    #[error("it does not decompress")]
    Damaged,
}

impl SealingKey {
    /// The key of a text: 32 octets in base64; white space around it does not count.
    pub fn parse(text: &str) -> Result<Self, ParseKeyError> {
        let octets = STANDARD.decode(text.trim()).map_err(|_| ParseKeyError)?;
        if octets.len() != KEY_LENGTH {
            return Err(ParseKeyError);
        }
        Self::derive(&octets).map_err(|_| ParseKeyError)
    }

    /// RFC 5869 with SHA-256: a key for each use, so that none can be had from another.
    fn derive(octets: &[u8]) -> Result<Self, Unspecified> {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"posthouse snapshot").extract(octets);
        let cipher = root.expand(&[b"seal"], &AES_256_GCM_SIV)?;
        let nonce = root.expand(&[b"nonce"], hmac::HMAC_SHA256)?;
        let trace = root.expand(&[b"trace"], hmac::HMAC_SHA256)?;
        let (mut id, mut whole) = ([0; KEY_ID], [0; 32]);
        root.expand(&[b"id"], hkdf::HKDF_SHA256)?.fill(&mut whole)?;
        id.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
        let cipher = LessSafeKey::new(UnboundKey::from(cipher));
        Ok(Self { id: KeyId(id), cipher, nonce: nonce.into(), trace: TraceKey(trace.into()) })
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What the nodes that have it know their own trace headers by.
    pub fn trace(&self) -> TraceKey {
        self.trace.clone()
    }

    pub(crate) fn seal(&self, purpose: Purpose, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut context = hmac::Context::with_key(&self.nonce);
        context.update(&[purpose as u8]);
        context.update(plain);
        let mut nonce = [0; NONCE_LEN];
        nonce.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        let mut body = DeflateEncoder::new(Vec::new(), Compression::fast());
        body.write_all(plain).map_err(|_| SealError::Damaged)?;
        let mut body = body.finish().map_err(|_| SealError::Damaged)?;
        let head = self.head(purpose);
        self.cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(head), &mut body)
            .map_err(|_| SealError::NotAuthentic(self.id))?;
        let mut sealed = Vec::with_capacity(PREFIX + body.len());
        sealed.push(FORM);
        sealed.extend_from_slice(&self.id.0);
        sealed.extend_from_slice(&nonce);
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// What is authenticated besides: the form, the purpose, the key's id.
    fn head(&self, purpose: Purpose) -> [u8; 2 + KEY_ID] {
        let mut head = [0; 2 + KEY_ID];
        let octets = [FORM, purpose as u8].into_iter().chain(self.id.0);
        head.iter_mut().zip(octets).for_each(|(to, from)| *to = from);
        head
    }
}

impl TraceKey {
    /// A keyed hash of these texts in their order (RFC 2104 with SHA-256, its first 64 bits): who has not the key can neither make nor check it.
    pub fn mark<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> u64 {
        let mut context = hmac::Context::with_key(&self.0);
        for text in texts {
            context.update(&(text.len() as u64).to_be_bytes()); // so that no two lists of texts read the same
            context.update(text.as_bytes());
        }
        let tag = context.sign();
        tag.as_ref().iter().take(8).fold(0, |mark, octet| mark << 8 | u64::from(*octet))
    }
}

/// The trace key of the key that this was sealed with, if it is among them.
pub(crate) fn trace_key(keys: &[SealingKey], sealed: &[u8]) -> Option<TraceKey> {
    let (_, rest) = sealed.split_first()?;
    let (id, _) = rest.split_first_chunk::<KEY_ID>()?;
    keys.iter().find(|key| key.id == KeyId(*id)).map(SealingKey::trace)
}

/// Opens what was sealed with one of these keys; what comes out has at most `limit` octets.
pub(crate) fn open(
    keys: &[SealingKey],
    purpose: Purpose,
    sealed: &[u8],
    limit: usize,
) -> Result<Vec<u8>, SealError> {
    let (form, rest) = sealed.split_first().ok_or(SealError::UnknownForm)?;
    let (id, rest) = rest.split_first_chunk::<KEY_ID>().ok_or(SealError::UnknownForm)?;
    let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::UnknownForm)?;
    if *form != FORM {
        return Err(SealError::UnknownForm);
    }
    let id = KeyId(*id);
    let key = keys.iter().find(|key| key.id == id).ok_or(SealError::UnknownKey(id))?;
    let mut body = body.to_vec();
    let compressed = key
        .cipher
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(key.head(purpose)), &mut body)
        .map_err(|_| SealError::NotAuthentic(id))?;
    let mut plain = Vec::new();
    let readable = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let decoder = DeflateDecoder::new(&*compressed);
    decoder.take(readable).read_to_end(&mut plain).map_err(|_| SealError::Damaged)?;
    if plain.len() > limit { Err(SealError::TooLong(limit)) } else { Ok(plain) }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id)
    }
}

impl fmt::Debug for TraceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TraceKey")
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = ParseKeyIdError;

    fn from_str(text: &str) -> Result<Self, ParseKeyIdError> {
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 2 * KEY_ID || !text.bytes().all(is_digit) {
            return Err(ParseKeyIdError);
        }
        let number = u64::from_str_radix(text, 16).map_err(|_| ParseKeyIdError)?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
