//! By what means a next hop is spoken to: with which TLS, as whom, under which guard. The configuration in force says it, whatever stood in it when the
//! mail was routed. Pure, but that the system's roots are read once.

use std::{collections::HashMap, fmt, sync::Arc};

use posthouse_config::{AuthenticationMethod, Credentials, ResourceName, Snapshot};
use posthouse_model::{EnhancedStatus, HopTls, NextHop};
use posthouse_smtp::client::{Authentication, CredentialsError, Mechanism, Method, NONCE_LENGTH, StartTls};
use rustls::ClientConfig;

use crate::tls::client::{ClientConfigs, NoTls};

/// What next hops are logged in to with, by relay rule; only rules that have a login or roots of their own.
#[derive(Debug, Default)]
pub struct Logins(HashMap<Box<str>, Option<Arc<Login>>>);

/// A login.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The relay rule that it is of.
    pub rule: ResourceName,
    credentials: Credentials,
    method: AuthenticationMethod,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("rule", &self.rule)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

impl Logins {
    /// Those of a snapshot.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let own = snapshot.rules.iter().filter(|rule| rule.credentials.is_some() || rule.tls.roots.is_some());
        let logins = own.map(|rule| {
            let login = rule.credentials.as_ref().map(|credentials| {
                let (rule, credentials, method) = (rule.origin.clone(), credentials.clone(), rule.method);
                Arc::new(Login { rule, credentials, method })
            });
            (rule.origin.as_str().into(), login)
        });
        Self(logins.collect())
    }

    /// That of a rule.
    #[must_use]
    pub fn of_rule(&self, rule: &ResourceName) -> Option<&Login> {
        self.0.get(rule.as_str()).and_then(Option::as_deref)
    }
}

impl Login {
    /// For one session.
    pub fn authentication(&self, nonce: [u8; NONCE_LENGTH]) -> Result<Authentication, CredentialsError> {
        let Self { rule: _, credentials: Credentials { username, password }, method } = self;
        let method = match method {
            AuthenticationMethod::Auto => Method::Auto,
            AuthenticationMethod::Plain => Method::Only(Mechanism::Plain),
            AuthenticationMethod::Login => Method::Only(Mechanism::Login),
            AuthenticationMethod::CramMd5 => Method::Only(Mechanism::CramMd5),
            AuthenticationMethod::ScramSha1 => Method::Only(Mechanism::ScramSha1),
            AuthenticationMethod::ScramSha256 => Method::Only(Mechanism::ScramSha256),
            AuthenticationMethod::XOAuth2 => Method::Only(Mechanism::XOAuth2),
        };
        // Without consent to clear: outside TLS only what does not show the password is said.
        Authentication::new(method, username.reveal(), password.reveal(), nonce)
    }
}

/// By what means a next hop is spoken to.
#[derive(Clone, Debug)]
pub struct Means {
    /// When TLS begins.
    pub tls: HopTls,
    /// Nothing is sent but to who is meant.
    pub verified: bool,
    /// What a handshake is made with.
    pub config: Arc<ClientConfig>,
    /// As whom.
    pub login: Option<Arc<Login>>,
    /// The gateway's denied networks are not connected to.
    pub guarded: bool,
}

impl PartialEq for Means {
    /// Whether a connection that was made by the one is as good for the other.
    fn eq(&self, other: &Self) -> bool {
        let Self { tls, verified, config, login, guarded } = self;
        *tls == other.tls
            && *verified == other.verified
            && Arc::ptr_eq(config, &other.config)
            && *login == other.login
            && *guarded == other.guarded
    }
}

/// Why there are none, in words of ours. All of it can be corrected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoMeans {
    /// The rule that has the login or the roots is gone, or has neither any more.
    #[error("RelayRule {0} is gone, and with it the login or the roots that this mail is sent with")]
    NoRule(Box<str>),
    /// There are no roots to go by.
    #[error("the certificate of the next hop cannot be verified: {0}")]
    NoTls(#[from] NoTls),
}

impl NoMeans {
    /// The enhanced status of what waits for it.
    #[must_use]
    pub const fn status(&self) -> EnhancedStatus {
        match self {
            // RFC 3463 §3.4: X.3.5, system incorrectly configured
            Self::NoRule(_) => EnhancedStatus::transient(3, 5),
            // RFC 3463 §3.8: X.7.5, cryptographic failure
            Self::NoTls(_) => EnhancedStatus::transient(7, 5),
        }
    }
}

impl Means {
    /// Those for a next hop, by what the configuration in force has.
    pub fn of(next_hop: &NextHop, logins: &Logins, configs: &ClientConfigs) -> Result<Self, NoMeans> {
        let posthouse_model::Security { tls, verified, guarded, rule } = &next_hop.security;
        let login = match rule {
            None => None,
            Some(rule) => match logins.0.get(rule) {
                Some(login) => login.clone(),
                None => return Err(NoMeans::NoRule(rule.clone())),
            },
        };
        let by_rule = || rule.as_ref().and_then(|rule| configs.by_rule(rule));
        let config = if *verified {
            by_rule().unwrap_or_else(|| configs.by_system())?
        } else {
            configs.unverified()?
        };
        Ok(Self { tls: *tls, verified: *verified, config, login, guarded: *guarded })
    }

    /// Whether STARTTLS is said.
    #[must_use]
    pub fn starttls(&self) -> StartTls {
        match self.tls {
            HopTls::StartTls if self.verified => StartTls::Required,
            HopTls::StartTls => StartTls::IfOffered,
            HopTls::Implicit | HopTls::Disabled => StartTls::Never,
        }
    }

    /// Whether mail may go in clear where a handshake fails. A login never does: who can break a handshake would have it said without TLS.
    #[must_use]
    pub fn may_go_in_clear(&self) -> bool {
        self.tls == HopTls::StartTls && !self.verified && self.login.is_none()
    }
}

#[cfg(test)]
mod tests;
