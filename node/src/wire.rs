//! The octets of a connection, in clear or encrypted: one type for what a session reads and writes, so that nothing above it need know. I/O.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::FutureExt as _;
use rustix::net::RecvFlags;
use rustls::{ClientConfig, ServerConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// A connection.
#[derive(Debug)]
pub enum Wire {
    /// In clear.
    Clear(TcpStream),
    /// Encrypted, and this side was called.
    Served(Box<server::TlsStream<TcpStream>>),
    /// Encrypted, and this side called.
    Called(Box<client::TlsStream<TcpStream>>),
}

impl Wire {
    /// Makes the handshake of the side that was called.
    pub async fn serve_tls(self, config: Arc<ServerConfig>) -> io::Result<Self> {
        match self {
            Self::Clear(stream) => {
                let stream = TlsAcceptor::from(config).accept(stream).await?;
                Ok(Self::Served(Box::new(stream)))
            }
            Self::Served(_) | Self::Called(_) => Err(io::Error::other("TLS inside TLS")),
        }
    }

    /// Makes the handshake of the side that calls, with the server of this name; an address is asked for no name (RFC 6066 §3).
    pub async fn call_tls(self, config: Arc<ClientConfig>, server: ServerName<'static>) -> io::Result<Self> {
        match self {
            Self::Clear(stream) => {
                let stream = TlsConnector::from(config).connect(server, stream).await?;
                Ok(Self::Called(Box::new(stream)))
            }
            Self::Served(_) | Self::Called(_) => Err(io::Error::other("TLS inside TLS")),
        }
    }

    /// Whether it is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        !matches!(self, Self::Clear(_))
    }

    /// Whether something came in clear that nobody has read yet: asks the kernel, and waits for nothing.
    #[must_use]
    pub fn has_words(&self) -> bool {
        let Self::Clear(stream) = self else { return false };
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        rustix::net::recv(stream, &mut [0; 1], flags).is_ok_and(|(length, _)| length > 0)
    }

    /// Waits until there may be something to read, and takes no memory for it.
    pub async fn readable(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(stream) => stream.readable().await,
            Self::Served(stream) => stream.fill_buf().await.map(drop),
            Self::Called(stream) => stream.fill_buf().await.map(drop),
        }
    }

    /// Reads what is there, without waiting for more; none if nothing is.
    pub fn read_now(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        self.read(buffer).now_or_never()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Served(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Called(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write(cx, octets),
            Self::Served(stream) => Pin::new(stream).poll_write(cx, octets),
            Self::Called(stream) => Pin::new(stream).poll_write(cx, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Self::Served(stream) => Pin::new(stream).poll_flush(cx),
            Self::Called(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Served(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Called(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
