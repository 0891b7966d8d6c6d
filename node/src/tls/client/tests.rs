//! Handshakes over the loopback, with certificates made once by openssl: `leaf.pem` (mx.example.com, 192.0.2.1) by `root.pem`, and `pinned.pem`, which is
//! its own issuer and a CA, as `openssl req -x509` makes it; both with `key.pem`, for a hundred years.

use std::{net::Ipv4Addr, time::Duration};

use posthouse_config::{ClientTls, Gateway, Match, RuleTarget, Tier, TlsMode};
use rustls::{HandshakeKind, ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::wire::Wire;

const ROOT: &str = include_str!("tests/root.pem");
const LEAF: &str = include_str!("tests/leaf.pem");
const PINNED: &str = include_str!("tests/pinned.pem");
const KEY: &str = include_str!("tests/key.pem");

fn server(chain: &str) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(crate::tls::provider());
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).unwrap().with_no_client_auth();
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

/// A handshake with a server that shows this chain, called by this name; an octet each way, so that what comes behind the handshake is there too.
async fn handshake(made: Made, server: &Arc<ServerConfig>, name: &str) -> Result<HandshakeKind, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let calling = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (called, _) = listener.accept().await.unwrap();
    let serving = tokio::spawn(Wire::Clear(called).serve_tls(Arc::clone(server)));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut calling = match Wire::Clear(calling).call_tls(made.unwrap(), name).await {
        Ok(calling) => calling,
        Err(error) => return Err(why(&error)),
    };
    let mut serving = serving.await.unwrap().unwrap();
    serving.write_all(b"x").await.unwrap();
    serving.flush().await.unwrap();
    calling.read_exact(&mut [0]).await.unwrap();
    let Wire::Called(stream) = calling else { panic!("not encrypted") };
    Ok(stream.get_ref().1.handshake_kind().unwrap())
}

#[tokio::test]
async fn a_connection_that_need_only_be_encrypted_takes_any_certificate() {
    for chain in [LEAF, PINNED] {
        assert_eq!(handshake(unverified(), &server(chain), "other.example").await, Ok(HandshakeKind::Full));
    }
}

#[tokio::test]
async fn who_is_meant_must_have_the_name_and_a_root() {
    let by = |roots: &str| by_roots_in(roots);
    let leaf = server(LEAF);
    assert!(handshake(by(ROOT), &leaf, "mx.example.com").await.is_ok());
    assert!(handshake(by(ROOT), &leaf, "192.0.2.1").await.is_ok());
    for (roots, name, why) in [
        (ROOT, "other.example", "its certificate does not name this host"),
        (ROOT, "192.0.2.2", "its certificate does not name this host"),
        (PINNED, "mx.example.com", "its certificate does not lead to a trusted root"),
    ] {
        assert_eq!(handshake(by(roots), &leaf, name).await, Err(why.to_owned()), "{name}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_its_own_root_is_taken_where_it_is_pinned() {
    let pinned = server(PINNED);
    assert!(handshake(by_roots_in(PINNED), &pinned, "mx.example.com").await.is_ok());
    let other = handshake(by_roots_in(PINNED), &pinned, "other.example").await;
    assert_eq!(other, Err("its certificate does not name this host".to_owned()));
    assert!(handshake(by_roots_in(ROOT), &pinned, "mx.example.com").await.is_err());
}

#[test]
fn a_pinned_certificate_expires_too() {
    let certificate = CertificateDer::from_pem_slice(PINNED.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let by_roots = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crate::tls::provider());
    let certificates = vec![certificate.clone()];
    let taken = Taken::OfWhoIsMeant { by_roots: by_roots.build().unwrap(), certificates };
    let algorithms = crate::tls::provider().signature_verification_algorithms;
    let meant = Verifier { taken, algorithms };
    let name = ServerName::try_from("mx.example.com").unwrap();
    let at = |years: u64| UnixTime::since_unix_epoch(Duration::from_secs(years * 31_557_600));
    assert!(meant.verify_server_cert(&certificate, &[], &name, &[], at(100)).is_ok());
    assert!(meant.verify_server_cert(&certificate, &[], &name, &[], at(200)).is_err());
}

#[tokio::test]
async fn sessions_are_resumed() {
    let (made, leaf) = (by_roots_in(ROOT), server(LEAF));
    assert_eq!(handshake(made.clone(), &leaf, "mx.example.com").await, Ok(HandshakeKind::Full));
    assert_eq!(handshake(made, &leaf, "mx.example.com").await, Ok(HandshakeKind::Resumed));
}

#[tokio::test]
async fn what_is_no_tls_is_told_in_words_of_ours() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let calling = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut called, _) = listener.accept().await.unwrap();
    called.write_all(b"454 secret words of the far end\r\n").await.unwrap();
    let name = ServerName::try_from("mx.example.com").unwrap();
    let error = Wire::Clear(calling).call_tls(unverified().unwrap(), name).await.unwrap_err();
    assert_eq!(why(&error), "it does not speak TLS");
}

fn rule(name: &str, roots: Option<&str>) -> RelayRule {
    RelayRule {
        origin: name.parse().unwrap(),
        tier: Tier::First,
        order: 0,
        suspended: false,
        matches: Match::Always,
        target: RuleTarget::Direct,
        credentials: None,
        method: posthouse_config::AuthenticationMethod::Auto,
        tls: ClientTls { mode: TlsMode::StartTls, verified: true, roots: roots.map(Into::into) },
        guarded: false,
        unsupported: Box::default(),
    }
}

#[test]
fn what_did_not_change_is_kept_over_snapshots() {
    let mut snapshot =
        Snapshot::new(Gateway::new("mail/edge".parse().unwrap(), "mx.example.com".parse().unwrap()));
    snapshot.rules =
        [rule("mail/a", Some(ROOT)), rule("mail/b", Some(ROOT)), rule("mail/c", Some("no PEM"))].into();
    let before = ClientConfigs::of(&snapshot, None);
    snapshot.rules = [rule("mail/a", Some(ROOT)), rule("mail/b", Some(PINNED))].into();
    let after = ClientConfigs::of(&snapshot, Some(&before));
    let are_same = |rule: &str| {
        let of = |configs: &ClientConfigs| configs.by_rule(rule).unwrap().unwrap();
        Arc::ptr_eq(&of(&before), &of(&after))
    };
    assert!(are_same("mail/a") && !are_same("mail/b"));
    assert!(Arc::ptr_eq(&before.unverified().unwrap(), &after.unverified().unwrap()));
    // One rule's roots are its own trouble.
    assert!(before.by_rule("mail/c").unwrap().is_err());
    assert!(after.by_rule("mail/c").is_none());
}
