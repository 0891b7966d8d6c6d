//! The certificates of listeners: made ready with a snapshot, so that the next handshake after an edit shows the new ones and no session is
//! touched. The certificate is the one that names what the client asks for (SNI, RFC 6066 §3), else the listener's first.

use std::{collections::HashMap, sync::Arc};

use posthouse_config::{Certificate, ListenerTls, ResourceName, Snapshot, TlsMode};
use rustls::{
    ServerConfig,
    client::verify_server_name,
    crypto::{CryptoProvider, aws_lc_rs::Ticketer},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    server::{ClientHello, ParsedCertificate, ResolvesServerCert, ServerSessionMemoryCache},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

/// Sessions that can be resumed without a ticket, per listener (TLS 1.2 clients without tickets).
const REMEMBERED_SESSIONS: usize = 1024;

/// TLS of one listener, made ready.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// It begins with the connection (RFC 8314), not by STARTTLS.
    pub implicit: bool,
    /// Nothing is done without it.
    pub required: bool,
    /// For handshakes.
    pub config: Arc<ServerConfig>,
}

/// A certificate that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Secret {certificate}: {why}")]
pub struct BadCertificate {
    /// Its Secret.
    pub certificate: ResourceName,
    /// What is wrong with it, without a word of its content.
    pub why: String,
}

/// The TLS of each listener that has one, by the listener's name.
pub fn listeners(snapshot: &Snapshot) -> Result<HashMap<Box<str>, ServerTls>, BadCertificate> {
    let provider = super::provider();
    let mut ready: HashMap<&ResourceName, Arc<CertifiedKey>> = HashMap::new();
    for certificate in &snapshot.certificates {
        ready.insert(&certificate.name, Arc::new(certified_key(certificate, &provider)?));
    }
    let mut found = HashMap::new();
    for listener in &snapshot.gateway.listeners {
        let Some(ListenerTls { mode, required, certificates }) = &listener.tls else { continue };
        let keys: Vec<_> = certificates.iter().filter_map(|name| ready.get(name).cloned()).collect();
        let config = config(&provider, keys).map_err(|error| BadCertificate {
            certificate: snapshot.gateway.origin.clone(),
            why: format!("listener {}: {error}", listener.name),
        })?;
        let tls = ServerTls { implicit: *mode == TlsMode::Implicit, required: *required, config };
        found.insert(listener.name.clone(), tls);
    }
    Ok(found)
}

fn config(
    provider: &Arc<CryptoProvider>,
    keys: Vec<Arc<CertifiedKey>>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Shown { keys }));
    config.session_storage = ServerSessionMemoryCache::new(REMEMBERED_SESSIONS);
    config.ticketer = Ticketer::new()?;
    Ok(Arc::new(config))
}

fn certified_key(
    certificate: &Certificate,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, BadCertificate> {
    let Certificate { name, chain, key } = certificate;
    let bad = |why: String| BadCertificate { certificate: name.clone(), why };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| bad("tls.crt is not made of certificates in PEM".to_owned()))?;
    if chain.is_empty() {
        return Err(bad("tls.crt has no certificate in PEM".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes())
        .map_err(|_| bad("tls.key is not a private key in PEM".to_owned()))?;
    // rustls tells what is wrong with a key, never what it is.
    CertifiedKey::from_der(chain, key, provider).map_err(|error| bad(format!("tls.crt and tls.key: {error}")))
}

/// The certificates of a listener.
#[derive(Debug)]
struct Shown {
    keys: Vec<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let fits = |key: &&Arc<CertifiedKey>| {
            let name = asked.as_ref()?;
            let certificate = ParsedCertificate::try_from(key.cert.first()?).ok()?;
            verify_server_name(&certificate, name).ok()
        };
        // RFC 6066 §3: a name that is not known is no reason to end the handshake.
        self.keys.iter().find(|key| fits(key).is_some()).or_else(|| self.keys.first()).cloned()
    }
}
