//! Validation against a root of the test's own: signed, unsigned, forged and outdated zones below it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use posthouse_dns::{
    Cause, Cluster, Content, Dnssec, Kind, Patience, Question, Resolver, Rules, Settings, SettingsError,
    TrustAnchor,
};
use posthouse_tests::{
    peers::named::{Holds, Named, Signed, Zone},
    wait::SOON,
};
use rand::{SeedableRng as _, rngs::StdRng};

const RECORDS: &str = "
@       MX 10 mx
mx      A 192.0.2.1
mx      AAAA 2001:db8::1
away    MX 10 mx.unsigned.
alias   CNAME mx
hence   CNAME mx.unsigned.
*.wild  A 192.0.2.2
*.wild  MX 10 mx
*.also  CNAME mx
four    CNAME only-four
only-four A 192.0.2.4
astray  CNAME gone
empty   TXT nothing
";

/// A root with two signed zones (NSEC and NSEC3), an unsigned one, one whose address is forged, and one whose signatures are outdated.
fn root() -> (Named, String) {
    let mut root = Signed::new().unwrap();
    root.signed(&Zone::new("signed", RECORDS), Holds::Now).unwrap();
    root.signed_with_nsec3(&Zone::new("hashed", RECORDS)).unwrap();
    root.unsigned(&Zone::new("unsigned", RECORDS)).unwrap();
    root.signed(&Zone::new("forged", RECORDS), Holds::Now).unwrap();
    root.forge("forged", "192.0.2.1", "192.0.2.66").unwrap();
    root.signed(&Zone::new("outdated", RECORDS), Holds::NoMore).unwrap();
    root.start().unwrap()
}

fn resolver(named: &Named, dnssec: Dnssec) -> Resolver {
    let patience = Patience { reply: SOON, rounds: 1, question: SOON, plan: SOON };
    Resolver::new(&Settings { nameservers: vec![named.address()], dnssec, patience, ..Settings::default() })
        .unwrap()
}

fn question(name: &str, kind: Kind) -> Question {
    Question { name: name.parse().unwrap(), kind }
}

#[tokio::test]
async fn what_the_chain_of_signatures_proves_is_secure_and_what_is_unsigned_is_not() {
    let (named, key) = root();
    let resolver = resolver(&named, Dnssec::Validate(TrustAnchor::Keys(key)));
    for (name, kind, secure) in [
        ("signed", Kind::Mx, true),
        ("mx.signed", Kind::A, true),
        ("alias.signed", Kind::A, true),
        ("x.wild.signed", Kind::A, true),
        ("x.wild.signed", Kind::Mx, true),
        ("x.y.wild.signed", Kind::A, true),
        ("x.also.signed", Kind::A, true),
        ("x.wild.hashed", Kind::A, true),
        ("x.also.hashed", Kind::A, true),
        ("mx.hashed", Kind::A, true),
        ("hence.signed", Kind::A, false),
        ("unsigned", Kind::Mx, false),
        ("mx.unsigned", Kind::Aaaa, false),
        ("alias.unsigned", Kind::A, false),
    ] {
        let answer = resolver
            .ask(question(name, kind))
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", named.log()));
        assert!(
            matches!(answer.content, Content::Exchangers(_) | Content::Addresses(_)),
            "{name}: {answer:?}"
        );
        assert_eq!(answer.secure, secure, "{kind} of {name}: {answer:?}");
    }
    let four = resolver.ask(question("four.signed", Kind::Aaaa)).await.unwrap();
    assert_eq!((&four.content, four.secure), (&Content::NoRecords, true));
    for (name, content, secure) in [
        ("gone.signed", Content::NoSuchName, true),
        ("empty.signed", Content::NoRecords, true),
        ("gone", Content::NoSuchName, true),
        // Absences behind an alias.
        ("astray.signed", Content::NoSuchName, true),
        ("astray.hashed", Content::NoSuchName, true),
        ("astray.unsigned", Content::NoSuchName, false),
        ("gone.hashed", Content::NoSuchName, true),
        ("empty.hashed", Content::NoRecords, true),
        ("gone.unsigned", Content::NoSuchName, false),
        ("empty.unsigned", Content::NoRecords, false),
    ] {
        let answer = resolver
            .ask(question(name, Kind::A))
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", named.log()));
        assert_eq!((&answer.content, answer.secure), (&content, secure), "{name}");
    }
}

#[tokio::test]
async fn a_host_is_secure_where_its_name_and_its_addresses_are() {
    let (named, key) = root();
    let resolver = resolver(&named, Dnssec::Validate(TrustAnchor::Keys(key)));
    for (domain, host, secure) in [
        ("signed", "mx.signed", true),
        ("away.signed", "mx.unsigned", false),
        ("unsigned", "mx.unsigned", false),
    ] {
        let mut rng = StdRng::seed_from_u64(0);
        let plan = resolver.mail_hosts(&domain.parse().unwrap(), &Rules::default(), &mut rng).await.unwrap();
        let first = &plan.hosts[0];
        assert_eq!((first.name.to_string().as_str(), first.secure), (host, secure), "{domain}");
        assert_eq!(first.addresses.len(), 2);
    }
}

#[tokio::test]
async fn a_bogus_answer_is_a_temporary_failure_that_names_what_was_asked() {
    let (named, key) = root();
    let resolver = resolver(&named, Dnssec::Validate(TrustAnchor::Keys(key)));
    for (name, kind) in
        [("mx.forged", Kind::A), ("mx.outdated", Kind::A), ("outdated", Kind::Mx), ("gone.outdated", Kind::A)]
    {
        let failure = resolver.ask(question(name, kind)).await.unwrap_err();
        assert_eq!(failure.cause, Cause::Bogus, "{name}");
        let words =
            format!("cannot find the {kind} of {name}: the answer is bogus: DNSSEC validation failed");
        assert_eq!(failure.to_string(), words);
    }
    // Another record of the forged zone is still what it was.
    assert!(resolver.ask(question("mx.forged", Kind::Aaaa)).await.unwrap().secure);
    let mut rng = StdRng::seed_from_u64(0);
    let error =
        resolver.mail_hosts(&"outdated".parse().unwrap(), &Rules::default(), &mut rng).await.unwrap_err();
    assert_eq!((error.category(), error.status().to_string().as_str()), ("bogus", "4.4.3"));
}

#[tokio::test]
async fn without_the_right_key_nothing_is_believed_and_without_validation_everything() {
    let (named, key) = root();
    let (_other, wrong) = Signed::new().unwrap().start().unwrap();
    for anchor in [TrustAnchor::Iana, TrustAnchor::Keys(wrong)] {
        let failure =
            resolver(&named, Dnssec::Validate(anchor)).ask(question("mx.signed", Kind::A)).await.unwrap_err();
        assert_eq!(failure.cause, Cause::Bogus);
    }
    let answer = resolver(&named, Dnssec::Disabled).ask(question("mx.forged", Kind::A)).await.unwrap();
    assert!(!answer.secure);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("root.key");
    std::fs::write(&path, key).unwrap();
    let from_file = resolver(&named, Dnssec::Validate(TrustAnchor::File(path)));
    assert!(from_file.ask(question("mx.signed", Kind::A)).await.unwrap().secure);
}

#[tokio::test]
async fn a_proven_absence_is_kept() {
    // hickory's own cache forgets how long it may be.
    let (named, key) = root();
    let resolver = resolver(&named, Dnssec::Validate(TrustAnchor::Keys(key)));
    for name in ["gone.signed", "empty.signed", "gone.unsigned"] {
        for _ in 0..50 {
            resolver.ask(question(name, Kind::Aaaa)).await.unwrap();
        }
        let asked = named.asked(name, "AAAA").unwrap();
        assert!((1..=3).contains(&asked), "{name}: {asked}\n{}", named.log());
    }
}

#[tokio::test]
async fn the_names_of_a_cluster_are_asked_of_its_own_name_servers_and_not_validated() {
    let (named, key) = root();
    let zone = Zone::new("cluster.local", "dovecot.mail.svc A 10.0.0.1");
    let cluster_dns = Named::start(&[zone]).unwrap();
    let cluster =
        Cluster { domain: "cluster.local".parse().unwrap(), nameservers: vec![cluster_dns.address()] };
    let dnssec = Dnssec::Validate(TrustAnchor::Keys(key));
    let settings = Settings {
        nameservers: vec![named.address()],
        dnssec,
        cluster: Some(cluster),
        patience: Patience { reply: SOON, rounds: 1, question: SOON, plan: SOON },
        ..Settings::default()
    };
    let resolver = Resolver::new(&settings).unwrap();
    let mut rng = StdRng::seed_from_u64(0);
    for name in ["dovecot.mail.svc", "dovecot.mail.svc.cluster.local"] {
        let host = resolver.host(&name.parse().unwrap(), &Rules::default(), &mut rng).await.unwrap();
        assert_eq!((host.name.to_string().as_str(), host.secure), (name, false));
        assert_eq!(host.addresses, [std::net::IpAddr::from([10, 0, 0, 1])]);
    }
    // A domain that mail is for is not completed, and everything else goes where it went before.
    let nowhere =
        resolver.mail_hosts(&"dovecot.mail.svc".parse().unwrap(), &Rules::default(), &mut rng).await;
    assert_eq!(nowhere.unwrap_err().category(), "no_such_domain");
    assert!(resolver.ask(question("mx.signed", Kind::A)).await.unwrap().secure);
}

#[test]
fn a_trust_anchor_that_is_none_is_refused() {
    let with = |anchor| {
        let nameservers = vec!["127.0.0.1:53".parse().unwrap()];
        let dnssec = Dnssec::Validate(anchor);
        Resolver::new(&Settings { nameservers, dnssec, ..Settings::default() }).unwrap_err()
    };
    for keys in ["", "; nothing\n", "nonsense", ". IN A 192.0.2.1\n"] {
        assert!(matches!(with(TrustAnchor::Keys(keys.to_owned())), SettingsError::Anchor), "{keys}");
    }
    let missing = with(TrustAnchor::File("/nonexistent/root.key".into()));
    assert_eq!(missing.category(), "trust_anchor");
}
