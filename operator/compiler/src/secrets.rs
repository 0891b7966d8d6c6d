//! Secrets: whether what names one finds it, and the logins, certificates and roots that they have. What they say is never told, only what is
//! wrong with it. Pure.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Secret;
use posthouse_config::{self as config, Credentials};

use crate::{
    certificates::{self, Usable},
    compile::{Input, parts},
    reason::Reason,
    resources::{ObjectKey, Resources},
    verdict::{Report, Subject},
};

/// The keys that a Secret with a login has.
const CREDENTIAL_KEYS: [&str; 2] = ["username", "password"];

/// The type of a Secret with a certificate.
const CERTIFICATE_TYPE: &str = "kubernetes.io/tls";

/// The keys that it has.
const CERTIFICATE_KEYS: [&str; 2] = ["tls.crt", "tls.key"];

/// The key of a Secret with roots.
const ROOTS_KEY: &str = "ca.crt";

/// The Secrets, by namespace and name.
pub(crate) struct Secrets<'a>(HashMap<(&'a str, &'a str), Found<'a>>);

/// A Secret that is there.
#[derive(Clone, Copy)]
enum Found<'a> {
    Read(&'a Secret),
    /// Its form was refused, so nobody knows what it says.
    Refused,
}

impl<'a> Secrets<'a> {
    pub(crate) fn new(resources: &'a Resources) -> Self {
        let refused = resources.refused_secrets.iter().map(|key| (key.parts(), Found::Refused));
        let read = resources.secrets.iter().map(|secret| (parts(secret), Found::Read(secret)));
        Self(refused.chain(read).collect())
    }

    fn find(&self, namespace: &str, name: &str) -> Option<Found<'a>> {
        self.0.get(&(namespace, name)).copied()
    }

    /// The logins that they have now.
    pub(crate) fn logins(&self) -> Logins<'a> {
        let mut logins = Logins::default();
        for ((namespace, name), found) in &self.0 {
            let [username, password] = match found {
                Found::Read(secret) => CREDENTIAL_KEYS.map(|key| text(secret, key)),
                Found::Refused => [Text::Unusable; 2],
            };
            match (username, password) {
                (Text::Line(username), Text::Line(password)) => {
                    logins.known.insert((namespace, username, password));
                }
                (Text::Unusable, _) | (_, Text::Unusable) => {
                    logins.unusable.insert((namespace, name));
                }
                (Text::Missing, _) | (_, Text::Missing) => {}
            }
        }
        logins
    }

    /// Whether roots that were compiled before may still be trusted: as with logins, not once no Secret of the namespace has them.
    pub(crate) fn still_trust(&self, namespace: &str, trusted: &str, from: From<'_>) -> bool {
        let of_namespace = self.0.iter().filter(|((one, _), _)| *one == namespace);
        of_namespace.into_iter().any(|((_, name), found)| {
            let read = match found {
                Found::Read(secret) => match octets(secret, ROOTS_KEY) {
                    Some(octets) => roots_in(octets),
                    None => return false,
                },
                Found::Refused => None,
            };
            match (read, from) {
                (Some(read), _) => *read == *trusted,
                (None, From::Unknown) => true,
                (None, From::Named(named)) => named == Some(*name),
            }
        })
    }
}

/// The certificate of a Secret, looked into; none if the Secret is not one for that.
pub(crate) fn certificate_of(secret: &Arc<Secret>) -> Option<Result<Arc<Usable>, &'static str>> {
    if secret.type_.as_deref() != Some(CERTIFICATE_TYPE) {
        return None;
    }
    let name = ObjectKey::of(&secret.metadata).resource_name()?;
    let [chain, key] = CERTIFICATE_KEYS.map(|key| octets(secret, key));
    let [chain, key] = [chain?, key?].map(std::str::from_utf8);
    let (Ok(chain), Ok(key)) = (chain, key) else {
        return Some(Err("tls.crt and tls.key are not both text"));
    };
    Some(certificates::usable(name, chain, key).map(Arc::new))
}

fn roots_in(octets: &[u8]) -> Option<Box<str>> {
    certificates::roots(std::str::from_utf8(octets).ok()?)
}

/// Which logins there are, for what was compiled before to be judged by.
#[derive(Default)]
pub(crate) struct Logins<'a> {
    /// Each with its namespace.
    known: HashSet<(&'a str, &'a str, &'a str)>,
    /// Secrets that may have had one before they were edited to what cannot be used.
    unusable: HashSet<(&'a str, &'a str)>,
}

/// Which Secret a login is from.
#[derive(Clone, Copy)]
pub(crate) enum From<'n> {
    /// Any of the namespace: the manifest that says which cannot be read.
    Unknown,
    /// The one of this name; none if no Secret is named any more.
    Named(Option<&'n str>),
}

impl Logins<'_> {
    /// Whether a login that was compiled before may still be used. It may not once no Secret has it: then it was taken away. A Secret that was
    /// edited to what cannot be used takes nothing away.
    pub(crate) fn still_have(&self, namespace: &str, login: &Credentials, from: From<'_>) -> bool {
        let Credentials { username, password } = login;
        self.known.contains(&(namespace, username.reveal(), password.reveal()))
            || match from {
                From::Unknown => self.unusable.iter().any(|(one, _)| *one == namespace),
                From::Named(name) => name.is_some_and(|name| self.unusable.contains(&(namespace, name))),
            }
    }
}

impl Input<'_> {
    /// Whether the Secret and its keys are there; says so if not.
    pub(crate) fn require_secret<K: AsRef<str>>(
        &self,
        subject: Subject<'_>,
        field: &str,
        name: &str,
        keys: &[K],
        report: &mut Report,
    ) -> bool {
        self.secret(subject, field, name, keys, report).is_some()
    }

    /// The login that a Secret has; says what is missing or wrong, and never what it is.
    pub(crate) fn credentials(
        &self,
        subject: Subject<'_>,
        field: &str,
        name: &str,
        report: &mut Report,
    ) -> Option<Credentials> {
        let namespace = &subject.key.namespace;
        let secret = self.secret(subject, field, name, &CREDENTIAL_KEYS, report)?;
        let mut line = |key| {
            if let Text::Line(line) = text(secret, key) {
                return Some(config::Secret::new(line));
            }
            let message = format!(
                "key {key} of Secret {namespace}/{name} is not one line of UTF-8, so no server would take it: correct it (a \
                 line end after it, as echo writes, is one too many)"
            );
            report.say(subject, field, Reason::InvalidSecret, message);
            None
        };
        let [username, password] = CREDENTIAL_KEYS.map(&mut line);
        Some(Credentials { username: username?, password: password? })
    }

    /// The roots that a Secret has, in PEM; says what is missing or wrong.
    pub(crate) fn roots(
        &self,
        subject: Subject<'_>,
        field: &str,
        name: &str,
        report: &mut Report,
    ) -> Option<Box<str>> {
        let secret = self.secret(subject, field, name, &[ROOTS_KEY], report)?;
        let roots = octets(secret, ROOTS_KEY).and_then(roots_in);
        if roots.is_none() {
            let message = format!(
                "key {ROOTS_KEY} of Secret {} is not made of certificates in PEM that can be roots: correct it",
                ObjectKey::of(&secret.metadata)
            );
            report.say(subject, field, Reason::InvalidSecret, message);
        }
        roots
    }

    /// The certificate that a Secret has; says what is missing or wrong, and what is so `meanwhile`.
    pub(crate) fn certificate(
        &self,
        subject: Subject<'_>,
        field: &str,
        name: &str,
        meanwhile: &str,
        report: &mut Report,
    ) -> Option<Arc<Usable>> {
        match self.usable(&subject.key.namespace, name) {
            Ok(usable) => Some(usable),
            Err((reason, message)) => {
                report.say(subject, field, reason, format!("{message}; {meanwhile}"));
                None
            }
        }
    }

    /// The certificate that a Secret has, or what is missing or wrong.
    pub(crate) fn usable(&self, namespace: &str, name: &str) -> Result<Arc<Usable>, (Reason, String)> {
        let secret = self.found(namespace, name)?;
        let of_type = secret.type_.as_deref().unwrap_or("Opaque");
        if of_type != CERTIFICATE_TYPE {
            let message = format!(
                "Secret {namespace}/{name} is of type {of_type}, and a certificate is in one of type {CERTIFICATE_TYPE}: make it \
                 anew, as kubectl create secret tls does"
            );
            return Err((Reason::InvalidSecret, message));
        }
        require_keys(secret, &CERTIFICATE_KEYS)?;
        let looked_into = self.parsed.certificates.get(&std::ptr::from_ref(secret).addr());
        let why = match looked_into {
            Some(Ok(usable)) => return Ok(Arc::clone(usable)),
            Some(Err(why)) => why,
            None => "it has no name that a node could know it by",
        };
        Err((Reason::InvalidSecret, format!("Secret {namespace}/{name}: {why}: correct it")))
    }

    fn secret<K: AsRef<str>>(
        &self,
        subject: Subject<'_>,
        field: &str,
        name: &str,
        keys: &[K],
        report: &mut Report,
    ) -> Option<&Secret> {
        let found = self.found(&subject.key.namespace, name);
        match found.and_then(|secret| require_keys(secret, keys).map(|()| secret)) {
            Ok(secret) => Some(secret),
            Err((reason, message)) => {
                report.say(subject, field, reason, message);
                None
            }
        }
    }

    fn found(&self, namespace: &str, name: &str) -> Result<&Secret, (Reason, String)> {
        match self.secrets.find(namespace, name) {
            Some(Found::Read(secret)) => Ok(secret),
            None => Err((
                Reason::SecretNotFound,
                format!("there is no Secret {namespace}/{name}: create it, or correct the name"),
            )),
            Some(Found::Refused) => Err((
                Reason::SecretRefused,
                format!(
                    "Secret {namespace}/{name} was refused as it is written, so nobody knows what it says: correct it"
                ),
            )),
        }
    }
}

fn require_keys<K: AsRef<str>>(secret: &Secret, keys: &[K]) -> Result<(), (Reason, String)> {
    let missing: Vec<_> =
        keys.iter().map(AsRef::as_ref).filter(|key| octets(secret, key).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (name, missing) = (ObjectKey::of(&secret.metadata), missing.join(" and no key "));
    Err((Reason::SecretKeyNotFound, format!("Secret {name} has no key {missing}: add it")))
}

/// What a Secret says under a key.
#[derive(Clone, Copy)]
enum Text<'s> {
    Missing,
    /// It cannot stand in a protocol's line.
    Unusable,
    Line(&'s str),
}

fn text<'s>(secret: &'s Secret, key: &str) -> Text<'s> {
    let Some(octets) = octets(secret, key) else { return Text::Missing };
    match std::str::from_utf8(octets) {
        Ok(text) if !text.contains(['\r', '\n', '\0']) => Text::Line(text),
        _ => Text::Unusable,
    }
}

/// As octets, `data` or, in a manifest, `stringData`. As at an API server, that comes first.
fn octets<'s>(secret: &'s Secret, key: &str) -> Option<&'s [u8]> {
    let text = secret.string_data.as_ref().and_then(|data| data.get(key)).map(String::as_bytes);
    text.or_else(|| Some(secret.data.as_ref()?.get(key)?.0.as_slice()))
}
