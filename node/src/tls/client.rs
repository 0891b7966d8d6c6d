//! TLS towards next hops: what is asked of their certificates, kept ready so that sessions are resumed. Two kinds: whoever it is (the connection is
//! encrypted and no more: RFC 7435), and who the configuration means, by the system's roots or by the rule's own. No I/O but that the system's roots
//! are read, once.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, OnceLock},
};

use posthouse_config::{RelayRule, Snapshot};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
    version::{TLS12, TLS13},
};

use crate::events;

/// Why there is nothing to make a handshake with, in words of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoTls(Box<str>);

type Made = Result<Arc<ClientConfig>, NoTls>;

/// The configurations for handshakes with next hops. It goes from one policy to the next, so that sessions are resumed over an edit.
#[derive(Debug, Default)]
pub struct ClientConfigs {
    shared: Arc<Shared>,
    /// By the roots of a relay rule; only rules that have some.
    by_rule: HashMap<Box<str>, OwnRoots>,
}

#[derive(Debug, Default)]
struct Shared {
    unverified: OnceLock<Made>,
    by_system: OnceLock<Made>,
}

#[derive(Clone, Debug)]
struct OwnRoots {
    pem: Box<str>,
    made: Made,
}

impl ClientConfigs {
    /// Those that a snapshot asks for; what did not change is taken from those before.
    #[must_use]
    pub fn of(snapshot: &Snapshot, before: Option<&Self>) -> Self {
        let made = Self {
            shared: before.map(|before| Arc::clone(&before.shared)).unwrap_or_default(),
            by_rule: snapshot.rules.iter().filter_map(|rule| own_roots(rule, before)).collect(),
        };
        let is_by_system = |rule: &RelayRule| rule.tls.verified && rule.tls.roots.is_none();
        if snapshot.rules.iter().any(is_by_system) {
            // Here it holds up nobody.
            let _ = made.by_system(); // what is wrong with it is said there
        }
        made
    }

    /// For a connection that need only be encrypted.
    pub fn unverified(&self) -> Made {
        self.shared.unverified.get_or_init(unverified).clone()
    }

    /// For one whose certificate must be right by the system's roots. They are read the first time.
    pub fn by_system(&self) -> Made {
        self.shared.by_system.get_or_init(by_system).clone()
    }

    /// For one whose certificate must be right by a rule's own roots, if it has some.
    pub fn by_rule(&self, rule: &str) -> Option<Made> {
        self.by_rule.get(rule).map(|roots| roots.made.clone())
    }
}

/// Why a handshake failed, in words of ours: nothing in them comes from the far end.
#[must_use]
pub fn why(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    let words = match tls {
        Some(Error::InvalidCertificate(bad)) => match bad {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet"
            }
            CertificateError::UnknownIssuer => "its certificate does not lead to a trusted root",
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate does not name this host"
            }
            _ => "its certificate is not valid",
        },
        Some(Error::AlertReceived(alert)) => {
            return format!("it ended the handshake with {}", name_of(*alert));
        }
        Some(Error::PeerIncompatible(_)) => "it has no version or cipher of TLS in common with this gateway",
        Some(Error::InvalidMessage(_)) => "it does not speak TLS",
        Some(_) => "it broke the rules of TLS",
        None if error.kind() == io::ErrorKind::UnexpectedEof => "it closed the connection in the handshake",
        None => return format!("the connection was lost in the handshake: {}", error.kind()),
    };
    words.to_owned()
}

fn name_of(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::Unknown(number) => format!("the alert {number}"),
        known => format!("the alert {known:?}"),
    }
}

fn own_roots(rule: &RelayRule, before: Option<&ClientConfigs>) -> Option<(Box<str>, OwnRoots)> {
    let pem = rule.tls.roots.as_ref()?;
    let name: Box<str> = rule.origin.as_str().into();
    let kept = before.and_then(|before| before.by_rule.get(&name)).filter(|kept| kept.pem == *pem);
    let roots = kept.cloned().unwrap_or_else(|| OwnRoots { pem: pem.clone(), made: by_roots_in(pem) });
    Some((name, roots))
}

fn unverified() -> Made {
    config(super::provider(), Taken::Anyones)
}

fn by_system() -> Made {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    let reason = found.errors.first().map(ToString::to_string);
    if usable == 0 || reason.is_some() {
        events::SystemRoots { usable, reason: reason.as_deref().unwrap_or("there are none") }.emit();
    }
    if usable == 0 {
        return Err(NoTls("this system has no trusted root certificates".into()));
    }
    by_roots(roots, Vec::new())
}

fn by_roots_in(pem: &str) -> Made {
    let bad = |why: &str| NoTls(format!("the roots of the rule {why}").into());
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| bad("are not certificates in PEM"))?;
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(certificates.iter().cloned());
    if usable == 0 {
        return Err(bad("have no certificate that is one"));
    }
    by_roots(roots, certificates)
}

fn by_roots(roots: RootCertStore, certificates: Vec<CertificateDer<'static>>) -> Made {
    let provider = super::provider();
    let by_roots = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let by_roots = by_roots.build().map_err(|error| NoTls(error.to_string().into()))?;
    config(provider, Taken::OfWhoIsMeant { by_roots, certificates })
}

/// Sessions are kept by rustls' default: some hundred servers.
fn config(provider: Arc<CryptoProvider>, taken: Taken) -> Made {
    let verifier = Verifier { taken, algorithms: provider.signature_verification_algorithms };
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13, &TLS12]);
    let builder = builder.map_err(|error| NoTls(error.to_string().into()))?;
    let with_verifier = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    Ok(Arc::new(with_verifier.with_no_client_auth()))
}

/// Whose certificate is taken.
#[derive(Debug)]
enum Taken {
    /// Any.
    Anyones,
    /// That of who is meant: it names the host and leads to a root. A certificate that is itself among the roots of a rule leads there too, also if it is
    /// a CA's: that is what `openssl req -x509` makes, and what is pinned.
    OfWhoIsMeant { by_roots: Arc<WebPkiServerVerifier>, certificates: Vec<CertificateDer<'static>> },
}

/// Looks at certificates. That the far end has the key of its own is asked for whoever it is.
#[derive(Debug)]
struct Verifier {
    taken: Taken,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Taken::OfWhoIsMeant { by_roots, certificates } = &self.taken else {
            return Ok(ServerCertVerified::assertion());
        };
        match by_roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(error) if is_of_a_ca(&error) && certificates.contains(end_entity) => {
                // The time was looked at before.
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// webpki's word for the certificate of a CA in the place of a server's; it comes behind the check of the time. rustls hands it on as it is.
fn is_of_a_ca(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::Other(other)) if other.to_string() == "CaUsedAsEndEntity")
}

#[cfg(test)]
mod tests;
