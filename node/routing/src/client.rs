//! Whose mail it is: the client of a session, or the gateway itself. Plain data.

use std::{fmt, net::IpAddr};

/// A client as a session knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address; absent where none is known.
    pub address: Option<IpAddr>,
    /// Who says that this is its address.
    pub address_source: AddressSource,
    /// Whether it has authenticated.
    pub authentication: Authentication,
}

/// Who says what a client's address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressSource {
    /// The connection: in a cluster this may be a load balancer's.
    Connection,
    /// A trusted load balancer, by the PROXY protocol.
    ProxyProtocol,
}

/// Whether a client has authenticated in its session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// It has not tried.
    #[default]
    None,
    /// It tried and failed: final for the session, its address helps it no more.
    Failed,
    /// It has.
    As(Identity),
}

/// Who a client authenticated as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The login.
    pub login: Box<str>,
    /// The namespace of its `MailUser`.
    pub namespace: Box<str>,
}

impl Client {
    /// A client at this address that has not authenticated.
    #[must_use]
    pub fn at(address: IpAddr) -> Self {
        Self {
            address: Some(address),
            address_source: AddressSource::Connection,
            authentication: Authentication::None,
        }
    }

    /// A client of which nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            address: None,
            address_source: AddressSource::Connection,
            authentication: Authentication::None,
        }
    }

    /// Who it authenticated as.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        match &self.authentication {
            Authentication::As(identity) => Some(identity),
            Authentication::None | Authentication::Failed => None,
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "client {address}")?,
            None => f.write_str("client of unknown address")?,
        }
        if self.address_source == AddressSource::ProxyProtocol {
            f.write_str(" (by the PROXY protocol)")?;
        }
        match &self.authentication {
            Authentication::None => Ok(()),
            Authentication::Failed => f.write_str(", authentication failed"),
            Authentication::As(identity) => write!(f, ", authenticated as {}", identity.login),
        }
    }
}

/// Where mail comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A client brings it.
    Client(&'a Client),
    /// The gateway made it: a notification.
    Gateway,
    /// It was accepted before and waits in the queue.
    Queue {
        /// The namespace whose own mail it is, as far as the entry tells.
        namespace: Option<&'a str>,
    },
}

impl<'a> From<&'a Client> for Source<'a> {
    fn from(client: &'a Client) -> Self {
        Self::Client(client)
    }
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(client) => client.fmt(f),
            Self::Gateway => f.write_str("the gateway itself"),
            Self::Queue { .. } => f.write_str("the queue"),
        }
    }
}
