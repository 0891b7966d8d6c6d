//! Listeners: their names and ports, their certificates, the load balancers before them. A listener whose certificate cannot be had is closed, unless
//! it was open before: then it goes on with the one that it showed, for a listener that closes loses mail, and a certificate is no credential
//! towards anybody. Pure.

use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp as Time;
use posthouse_config::{self as config, Certificate, bind_port};
use posthouse_crds::{
    mail_gateway::{Listener, ListenerTls, Protocol},
    tls::TlsMode,
};
use posthouse_model::{Domain, Timestamp};

use super::Check;
use crate::{
    certificates::{Usable, Validity},
    reason::Reason,
    syntax,
    tenancy::Seen,
    unsupported,
};

/// The longest name of a listener: that of a Service port.
const LISTENER_NAME_LENGTH: usize = 15;

/// Why a listener is closed that has no certificate to show.
const UNCERTIFIED: &str = "the Secret with its certificate is missing or cannot be used";

/// A listener, checked.
#[derive(Debug)]
pub(crate) struct CheckedListener<'a> {
    pub(crate) object: &'a Listener,
    /// Why it is not bound, if it is not.
    pub(crate) closed: Option<&'static str>,
    pub(crate) tls: Option<Tls>,
    /// Those that it shows, at least one if it has TLS.
    pub(crate) certificates: Vec<Certificate>,
    /// The load balancers that it listens to alone.
    pub(crate) proxy_networks: Vec<IpNet>,
}

/// When TLS begins on a listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tls {
    pub(crate) mode: config::TlsMode,
    /// Nothing is done before.
    pub(crate) required: bool,
}

impl Check<'_, '_> {
    /// Says what is wrong with listeners, and which are not bound.
    pub(super) fn listeners<'a>(
        &mut self,
        listeners: &'a [Listener],
        hostname: Option<&Domain>,
    ) -> Vec<CheckedListener<'a>> {
        if listeners.is_empty() {
            self.say(
                "spec.listeners",
                Reason::EmptyList,
                "without a listener nobody can connect: give at least one",
            );
        }
        let (mut names, mut ports) = (Seen::default(), Seen::default());
        let mut checked = Vec::new();
        for (place, listener) in listeners.iter().enumerate() {
            let path = format!("spec.listeners[{place}]");
            self.parsed(format!("{path}.name"), syntax::name(&listener.name, LISTENER_NAME_LENGTH, ""));
            if !names.first(&listener.name) {
                let message = format!("{:?} is the name of two listeners: rename one", listener.name);
                self.say(format!("{path}.name"), Reason::DuplicateEntry, message);
            }
            if listener.port == 0 {
                self.say(format!("{path}.port"), Reason::InvalidPort, "0 is not a port: use 1 to 65535");
            } else if !ports.first(bind_port(listener.port)) {
                let message = format!(
                    "port {} is bound at {}, where another listener is: change one of the two",
                    listener.port,
                    bind_port(listener.port)
                );
                self.say(format!("{path}.port"), Reason::PortClaimed, message);
            }
            checked.push(self.listener(listener, &path, hostname));
        }
        checked
    }

    fn listener<'a>(
        &mut self,
        listener: &'a Listener,
        path: &str,
        hostname: Option<&Domain>,
    ) -> CheckedListener<'a> {
        let tls = tls_of(listener);
        let certificates = listener.tls.as_ref().and_then(|tls| {
            self.certificates(listener, tls, &format!("{path}.tls.certificateSecretRefs"), hostname)
        });
        let proxy_networks = match &listener.proxy_protocol {
            None => Vec::new(),
            Some(proxy) => {
                let field = format!("{path}.proxyProtocol.trustedNetworks");
                if proxy.trusted_networks.is_empty() {
                    self.say(&field, Reason::EmptyList, "name the load balancers' networks");
                }
                self.networks(&field, &proxy.trusted_networks)
            }
        };
        let withheld = unsupported::judge(unsupported::LISTENER, listener, path, self.subject, self.report);
        let is_uncertified = tls.is_some() && certificates.is_none();
        let closed = withheld.or(is_uncertified.then_some(UNCERTIFIED));
        // What is closed shows no certificate, so no node needs its key.
        let is_open = closed.is_none();
        CheckedListener {
            object: listener,
            closed,
            tls: tls.filter(|_| is_open),
            certificates: certificates.filter(|_| is_open).unwrap_or_default(),
            proxy_networks,
        }
    }

    /// The certificates that a listener shows, at least one; none, and a verdict, if it has to be closed for lack of them.
    fn certificates(
        &mut self,
        listener: &Listener,
        tls: &ListenerTls,
        field: &str,
        hostname: Option<&Domain>,
    ) -> Option<Vec<Certificate>> {
        match (tls.mode, tls.certificate_secret_refs.is_empty()) {
            (TlsMode::Disabled, true) => return None,
            (TlsMode::Disabled, false) => {
                self.say(field, Reason::NoEffect, "certificates are not used with mode: Disabled");
                return None;
            }
            (TlsMode::StartTls | TlsMode::Implicit, true) => {
                let message = "TLS needs a certificate: name a Secret of type kubernetes.io/tls";
                self.say(field, Reason::EmptyList, message);
                return None;
            }
            (TlsMode::StartTls | TlsMode::Implicit, false) => {}
        }
        let before = self.shown_before(&listener.name);
        let meanwhile = match before {
            Some(_) => "until then the listener goes on with the certificates that it showed before",
            None => "until then the listener is closed",
        };
        let mut found: Vec<Arc<Usable>> = Vec::new();
        let mut is_complete = true;
        for (place, reference) in tls.certificate_secret_refs.iter().enumerate() {
            let field = format!("{field}[{place}]");
            let usable =
                self.input.certificate(self.subject, &field, &reference.name, meanwhile, self.report);
            let Some(usable) = usable else {
                is_complete = false;
                continue;
            };
            if found.iter().any(|one| one.certificate.name == usable.certificate.name) {
                let message = format!("{:?} is named twice: remove one", reference.name);
                self.say(field, Reason::NoEffect, message);
                continue;
            }
            self.judge_time(&usable, field);
            found.push(usable);
        }
        if !is_complete {
            return before;
        }
        if let Some(name) = hostname.filter(|name| !found.iter().any(|one| one.names(name))) {
            let message = format!(
                "no certificate here names {name}, which is what the gateway calls itself: clients that verify it will not go on; \
                 have one issued for that name, or correct spec.hostname"
            );
            self.say(field, Reason::CertificateNameDiffers, message);
        }
        Some(found.iter().map(|one| one.certificate.clone()).collect())
    }

    /// What the listener of this name shows in the snapshot in force; each certificate as its Secret has it now, where that can be used.
    fn shown_before(&self, listener: &str) -> Option<Vec<Certificate>> {
        let snapshot = self.input.context.previous.get(self.subject.key)?;
        let before = snapshot.gateway.listeners.iter().find(|one| *one.name == *listener)?;
        let names = &before.tls.as_ref()?.certificates;
        let shown = names.iter().map(|name| match self.input.usable(name.namespace(), name.name()) {
            Ok(usable) => Some(usable.certificate.clone()),
            Err(_) => snapshot.certificate(name).cloned(),
        });
        shown.collect()
    }

    /// Says whether clients will not take a certificate for its time.
    fn judge_time(&mut self, usable: &Usable, field: String) {
        let name = &usable.certificate.name;
        let (reason, message) = match usable.validity(self.input.context.now) {
            Validity::Valid => return,
            Validity::Expired(since) => (
                Reason::CertificateExpired,
                format!(
                    "the certificate of Secret {name} has expired, on {}: clients that verify it do not go on; renew it",
                    day(since)
                ),
            ),
            Validity::NotYet(until) => (
                Reason::CertificateNotYetValid,
                format!(
                    "the certificate of Secret {name} is not valid before {}: clients that verify it do not go on until then; \
                     put one there that is valid now",
                    day(until)
                ),
            ),
        };
        self.say(field, reason, message);
    }
}

fn tls_of(listener: &Listener) -> Option<Tls> {
    match listener.tls.as_ref()?.mode {
        TlsMode::Disabled => None,
        // RFC 8314 §3.3, §4.1: what users submit, and their passwords, do not go in the clear; between servers all mail must get through
        TlsMode::StartTls => {
            Some(Tls { mode: config::TlsMode::StartTls, required: listener.protocol == Protocol::Submission })
        }
        TlsMode::Implicit => Some(Tls { mode: config::TlsMode::Implicit, required: false }),
    }
}

/// For people, in UTC.
fn day(time: Timestamp) -> String {
    let time = i64::try_from(time.0).ok().and_then(|millis| Time::from_millisecond(millis).ok());
    time.map_or_else(|| "a day beyond all calendars".to_owned(), |time| time.strftime("%Y-%m-%d").to_string())
}
