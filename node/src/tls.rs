//! TLS by rustls: TLS 1.2 and 1.3, nothing older (RFC 8996). The certificates of listeners, and what is asked of those of next hops.

pub mod client;
pub mod server;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// The cryptography that everything here uses.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
