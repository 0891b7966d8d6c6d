//! SASL authentication exchanges (RFC 4422), sans-IO: challenges in, responses out.
//!
//! Today the [`client`] side; the server side will lie beside it and shares what both must know: the names in [`mechanism`], base64, the keys of
//! SCRAM. No socket, no clock, no randomness (the caller gives the nonce), no command: how a protocol says AUTH, 334 and `*` is the protocol's
//! business (RFC 4954, RFC 5034).
//!
//! No secret is in an error or in what `Debug` shows, and what is kept of one is wiped when it is dropped.

pub mod base64;
pub mod client;
pub mod credentials;
pub mod mechanism;
mod scram;

pub use credentials::{Credentials, CredentialsError};
pub use mechanism::{Mechanism, UnknownMechanism};
