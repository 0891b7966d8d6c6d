//! How a sink serves: what it refuses, what it offers, whom it lets in. Plain data.

use std::sync::Arc;

use rustls::ServerConfig;

use super::{Policy, accept_all};

/// How a sink serves.
#[derive(Clone)]
pub struct Manner {
    /// What it refuses.
    pub policy: Policy,
    /// Connections at one time; to more it says 421.
    pub places: usize,
    /// Its TLS.
    pub tls: Tls,
    /// What its EHLO offers besides STARTTLS and AUTH.
    pub keywords: Vec<String>,
    /// Whom it lets in; none: everybody, without being asked.
    pub authentication: Option<Authentication>,
}

/// TLS of a sink.
#[derive(Clone, Debug, Default)]
pub enum Tls {
    /// None is offered.
    #[default]
    Absent,
    /// By STARTTLS.
    StartTls(Arc<ServerConfig>),
    /// At once.
    Implicit(Arc<ServerConfig>),
    /// STARTTLS is offered and taken, and what follows is no TLS.
    Broken,
}

/// Whom a sink lets in.
#[derive(Clone, Debug)]
pub struct Authentication {
    /// What its EHLO offers after AUTH.
    pub mechanisms: Vec<Mechanism>,
    /// The only user.
    pub user: String,
    /// Its password.
    pub password: String,
}

/// A way to authenticate (RFC 4954).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// Never specified, always spoken.
    Login,
    /// RFC 2195.
    CramMd5,
}

impl Manner {
    /// It takes everything, in clear.
    #[must_use]
    pub fn open() -> Self {
        Self {
            policy: accept_all(),
            places: usize::MAX,
            tls: Tls::Absent,
            keywords: ["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 0"].map(str::to_owned).to_vec(),
            authentication: None,
        }
    }

    /// With this policy.
    #[must_use]
    pub fn policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// With this TLS.
    #[must_use]
    pub fn tls(self, tls: Tls) -> Self {
        Self { tls, ..self }
    }

    /// With these keywords, and no others.
    #[must_use]
    pub fn keywords(self, keywords: &[&str]) -> Self {
        Self { keywords: keywords.iter().map(|&keyword| keyword.to_owned()).collect(), ..self }
    }

    /// Only for this user.
    #[must_use]
    pub fn only_for(self, user: &str, password: &str, mechanisms: &[Mechanism]) -> Self {
        let (user, password) = (user.to_owned(), password.to_owned());
        Self {
            authentication: Some(Authentication { mechanisms: mechanisms.to_vec(), user, password }),
            ..self
        }
    }
}

impl Mechanism {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Login, Self::CramMd5];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::CramMd5 => "CRAM-MD5",
        }
    }
}
