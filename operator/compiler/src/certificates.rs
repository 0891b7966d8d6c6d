//! Certificates: those of listeners with their keys, and the roots of relay rules, looked into as far as it takes to know that a node can use
//! them. What a key says is never told. Pure: no client, and the time is a parameter.

use std::time::Duration;

use posthouse_config::{Certificate, ResourceName, Secret};
use posthouse_model::{Domain, Timestamp};
use rustls::{
    CertificateError, Error, RootCertStore,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
    sign::CertifiedKey,
};

/// Around a certificate in PEM (RFC 7468 §5).
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// No time is before or after these.
const EARLIEST: UnixTime = UnixTime::since_unix_epoch(Duration::ZERO);
const LATEST: UnixTime = UnixTime::since_unix_epoch(Duration::MAX);

/// A certificate that a node can show.
#[derive(Debug)]
pub(crate) struct Usable {
    pub(crate) certificate: Certificate,
    /// The certificate itself, without those that lead to its root.
    leaf: CertificateDer<'static>,
    /// From the first to the last second in which it may be used.
    times: (UnixTime, UnixTime),
}

/// When a certificate may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    Valid,
    /// Since then no more.
    Expired(Timestamp),
    /// From then on.
    NotYet(Timestamp),
}

/// A certificate and its key as a node will use them, or what is wrong with them.
pub(crate) fn usable(name: ResourceName, chain: &str, key: &str) -> Result<Usable, &'static str> {
    let chain = only_certificates(chain);
    let certificates = parsed(&chain)
        .filter(|certificates| !certificates.is_empty())
        .ok_or("key tls.crt has no certificate in PEM, or one that cannot be read")?;
    let leaf = certificates.first().cloned().ok_or("key tls.crt has no certificate in PEM")?;
    let private = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| "key tls.key has no private key in PEM, or one that is encrypted or cannot be read")?;
    CertifiedKey::from_der(certificates, private, &aws_lc_rs::default_provider()).map_err(
        |error| match error {
            Error::InconsistentKeys(_) => {
                "the key under tls.key is not that of the certificate under tls.crt, which comes first there"
            }
            Error::InvalidCertificate(_) => "the first certificate under tls.crt cannot be read",
            _ => "the key under tls.key is of a kind that cannot be used for TLS",
        },
    )?;
    let times = times(&leaf);
    let key = Secret::new(key);
    Ok(Usable { certificate: Certificate { name, chain: chain.into(), key }, leaf, times })
}

/// The roots that a text has, in PEM and nothing else with them; none where there is none, or one that cannot be used.
pub(crate) fn roots(text: &str) -> Option<Box<str>> {
    let roots = only_certificates(text);
    let certificates = parsed(&roots).filter(|certificates| !certificates.is_empty())?;
    let mut store = RootCertStore::empty();
    certificates.into_iter().all(|one| store.add(one).is_ok()).then(|| roots.into())
}

impl Usable {
    /// Whether it may be used at this time.
    pub(crate) fn validity(&self, now: Timestamp) -> Validity {
        let (now, (begin, end)) = (unix_time(now), self.times);
        if now < begin {
            Validity::NotYet(timestamp(begin))
        } else if now > end {
            Validity::Expired(timestamp(end))
        } else {
            Validity::Valid
        }
    }

    /// The next time at which that is not any more as it is now, if there is one.
    pub(crate) fn turns(&self, now: Timestamp) -> Option<Timestamp> {
        let (now, (begin, end)) = (unix_time(now), self.times);
        if now < begin {
            return Some(timestamp(begin));
        }
        (now <= end).then(|| timestamp(end).after(Duration::from_secs(1)))
    }

    /// Whether clients that ask for this name find it in the certificate.
    pub(crate) fn names(&self, host: &Domain) -> bool {
        let Ok(parsed) = ParsedCertificate::try_from(&self.leaf) else { return false };
        ServerName::try_from(host.as_str()).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
    }
}

/// When a certificate may be used; what does not say so always may.
fn times(leaf: &CertificateDer<'_>) -> (UnixTime, UnixTime) {
    let (mut begin, mut end) = (EARLIEST, LATEST);
    let Ok(parsed) = ParsedCertificate::try_from(leaf) else { return (begin, end) };
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
    for time in [EARLIEST, LATEST] {
        // Without any root it is never right, but its time is judged before its issuer is looked for.
        let judged = verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &RootCertStore::empty(),
            &[],
            time,
            algorithms,
        );
        match judged {
            Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
                begin = not_before;
            }
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                end = not_after;
            }
            _ => {}
        }
    }
    (begin, end)
}

fn unix_time(time: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(time.0))
}

fn timestamp(time: UnixTime) -> Timestamp {
    Timestamp(time.as_secs().saturating_mul(1000))
}

fn parsed(text: &str) -> Option<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().ok()
}

/// A file with certificates may have a key in it too, and comments: what goes on is shown, so these stay behind.
fn only_certificates(text: &str) -> String {
    let mut kept = String::new();
    let mut is_inside = false;
    for line in text.lines().map(str::trim) {
        is_inside |= line == BEGIN;
        if is_inside {
            kept.push_str(line);
            kept.push('\n');
        }
        is_inside &= line != END;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../tests/certificates/good.crt");
    const KEY: &str = include_str!("../tests/certificates/good.key");
    const OLD: &str = include_str!("../tests/certificates/old.crt");
    const OLD_KEY: &str = include_str!("../tests/certificates/old.key");

    fn name() -> ResourceName {
        "mail/tls".parse().unwrap()
    }

    #[test]
    fn a_key_beside_the_certificate_does_not_go_where_certificates_are_shown() {
        let mixed = format!("a comment\n{KEY}{GOOD}{KEY}");
        let found = usable(name(), &mixed, KEY).unwrap();
        assert_eq!(&*found.certificate.chain, GOOD);
        assert_eq!(&*roots(&mixed).unwrap(), GOOD);
    }

    #[test]
    fn what_a_node_could_not_use_is_found_out() {
        let whole = GOOD.replace("MII", "MIJ");
        for (chain, key, about) in [
            ("", KEY, "tls.crt"),
            ("fake", KEY, "tls.crt"),
            (whole.as_str(), KEY, "tls.crt"),
            (GOOD, "fake", "tls.key"),
            (GOOD, GOOD, "tls.key"),
            (GOOD, OLD_KEY, "is not that of the certificate"),
        ] {
            let why = usable(name(), chain, key).unwrap_err();
            assert!(why.contains(about), "{why}");
        }
        assert_eq!(roots("fake"), None);
        assert_eq!(roots(&whole), None);
    }

    #[test]
    fn a_certificate_has_its_time_and_its_names() {
        let good = usable(name(), GOOD, KEY).unwrap();
        assert_eq!(good.validity(Timestamp(0)), Validity::Valid);
        assert_eq!(good.turns(Timestamp(0)), Some(Timestamp(253_402_300_800_000)));
        assert!(good.names(&"MAIL.example.com".parse().unwrap()));
        assert!(!good.names(&"example.com".parse().unwrap()));
        let old = usable(name(), OLD, OLD_KEY).unwrap();
        let (begin, end) = (Timestamp(1_577_836_800_000), Timestamp(1_609_459_200_000));
        assert_eq!(old.validity(Timestamp(0)), Validity::NotYet(begin));
        assert_eq!(old.validity(begin), Validity::Valid);
        assert_eq!(old.validity(Timestamp(end.0 + 999)), Validity::Valid);
        assert_eq!(old.validity(Timestamp(end.0 + 1000)), Validity::Expired(end));
        assert_eq!(old.turns(Timestamp(0)), Some(begin));
        assert_eq!(old.turns(begin), Some(Timestamp(end.0 + 1000)));
        assert_eq!(old.turns(Timestamp(end.0 + 1000)), None);
    }
}
