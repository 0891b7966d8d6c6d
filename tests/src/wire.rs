//! The octets of a connection, in clear or encrypted, for both ends of the tests. Blocking I/O.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustix::net::{AddressFamily, SocketType};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, ServerConfig, ServerConnection,
    SignatureScheme, StreamOwned,
};

/// Whose certificates a client takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those that lead to this root (PEM) and name the host.
    Root(String),
    /// Everybody's.
    Anybody,
}

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// In clear.
    Clear(TcpStream),
    /// Encrypted, and this side called.
    Called(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// Encrypted, and this side was called.
    Served(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Stream {
    /// Makes the handshake of the side that called; `name` is what it asks for.
    pub fn call_tls(self, name: &str, trust: &Trust) -> Result<Self> {
        let Self::Clear(mut stream) = self else { bail!("TLS inside TLS") };
        let name = ServerName::try_from(name.to_owned())?;
        let mut connection = ClientConnection::new(client(trust)?, name)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).context("the handshake")?;
        }
        Ok(Self::Called(Box::new(StreamOwned::new(connection, stream))))
    }

    /// Makes the handshake of the side that was called.
    pub fn serve_tls(self, config: &Arc<ServerConfig>) -> io::Result<Self> {
        let Self::Clear(mut stream) = self else { return Err(io::Error::other("TLS inside TLS")) };
        let mut connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Self::Served(Box::new(StreamOwned::new(connection, stream))))
    }

    /// The connection beneath.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Clear(stream) => stream,
            Self::Called(stream) => &stream.sock,
            Self::Served(stream) => &stream.sock,
        }
    }

    /// Whether it is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        !matches!(self, Self::Clear(_))
    }

    /// The certificate that the other side showed.
    #[must_use]
    pub fn certificate(&self) -> Option<CertificateDer<'static>> {
        let Self::Called(stream) = self else { return None };
        stream.conn.peer_certificates()?.first().map(|certificate| certificate.clone().into_owned())
    }

    /// Says that nothing more comes (RFC 8446 §6.1).
    pub fn close(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(_) => return Ok(()),
            Self::Called(stream) => stream.conn.send_close_notify(),
            Self::Served(stream) => stream.conn.send_close_notify(),
        }
        self.flush()
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(buffer),
            Self::Called(stream) => stream.read(buffer),
            Self::Served(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.write(octets),
            Self::Called(stream) => stream.write(octets),
            Self::Served(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(stream) => stream.flush(),
            Self::Called(stream) => stream.flush(),
            Self::Served(stream) => stream.flush(),
        }
    }
}

/// Connects from an address of this machine: on the loopback there are many, so that a test can be several clients.
pub fn connect_from(source: IpAddr, address: SocketAddr) -> Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::new(source, 0))?;
    rustix::net::connect(&socket, &address)
        .with_context(|| format!("connecting to {address} from {source}"))?;
    Ok(socket.into())
}

/// The cryptography of all tests.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn client(trust: &Trust) -> Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let config = match trust {
        Trust::Root(pem) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(pem.as_bytes())?)?;
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Trust::Anybody => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider())))
            .with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// Looks at signatures, not at who signed.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
