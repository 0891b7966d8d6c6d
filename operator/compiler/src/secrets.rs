//! Secrets: whether what names one finds it, and the logins that they have. What they say is never told, only what is wrong with it. Pure.

use std::collections::{HashMap, HashSet};

use k8s_openapi::api::core::v1::Secret;
use posthouse_config::{self as config, Credentials};

use crate::{
    compile::{Input, parts},
    reason::Reason,
    resources::Resources,
    verdict::{Report, Subject},
};

/// The keys that a Secret with a login has.
const CREDENTIAL_KEYS: [&str; 2] = ["username", "password"];

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

    fn secret<K: AsRef<str>>(
        &self,
        subject: Subject<'_>,
        field: &str,
        name: &str,
        keys: &[K],
        report: &mut Report,
    ) -> Option<&Secret> {
        let namespace = &subject.key.namespace;
        let (reason, message) = match self.secrets.find(namespace, name) {
            None => (
                Reason::SecretNotFound,
                format!("there is no Secret {namespace}/{name}: create it, or correct the name"),
            ),
            Some(Found::Refused) => (
                Reason::SecretRefused,
                format!(
                    "Secret {namespace}/{name} was refused as it is written, so nobody knows what it says: correct it"
                ),
            ),
            Some(Found::Read(secret)) => {
                let missing: Vec<_> =
                    keys.iter().map(AsRef::as_ref).filter(|key| octets(secret, key).is_none()).collect();
                if missing.is_empty() {
                    return Some(secret);
                }
                let missing = missing.join(" and no key ");
                (Reason::SecretKeyNotFound, format!("Secret {namespace}/{name} has no key {missing}: add it"))
            }
        };
        report.say(subject, field, reason, message);
        None
    }
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
