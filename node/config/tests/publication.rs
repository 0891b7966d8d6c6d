//! A snapshot on its way: cut, sealed, put together again, and refused whole where anything is wrong with it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use posthouse_config::{
    Admits, AliasedRecipients, Assembled, Assembly, AuthenticationMethod, CHUNK_LENGTH, Certificate,
    ChunkName, ClientTls, Credentials, Epoch, Forward, Gateway, Listener, ListenerTls, LocalDelivery,
    MailDomain, Match, Part, Pointer, Protocol, Publication, Queue, Recipients, Refusal, RelayRule, Resolver,
    Retired, RuleTarget, SealingKey, Secret, Snapshot, Tier, TlsMode, UnknownRecipients, common_schema,
};
use posthouse_model::{HostPort, LocalPart, QueueName, Timestamp};
use proptest::{prelude::*, sample::subsequence};

fn key(octet: u8) -> SealingKey {
    SealingKey::parse(&format!("{}\n", STANDARD.encode([octet; 32]))).unwrap()
}

fn domain(name: &str, users: &[&str]) -> Arc<MailDomain> {
    let mut domain = MailDomain::new(name.parse().unwrap(), format!("mail/{name}").parse().unwrap());
    let users: Vec<LocalPart> = users.iter().map(|user| user.parse().unwrap()).collect();
    domain.recipients =
        Recipients::Listed { users: users.iter().collect(), groups: Box::default(), aliases: Box::default() };
    Arc::new(domain)
}

fn snapshot(domains: impl IntoIterator<Item = Arc<MailDomain>>) -> Arc<Snapshot> {
    let gateway = Gateway::new("mail/edge".parse().unwrap(), "mail.example.com".parse().unwrap());
    let mut snapshot = Snapshot::new(gateway);
    snapshot.domains = domains.into_iter().collect();
    let queues = snapshot.domains.iter().map(|domain| Queue {
        name: QueueName::new(domain.domain.as_str()).unwrap(),
        hold: None,
        hold_expires_after: None,
    });
    snapshot.queues = queues.collect();
    Arc::new(snapshot.sorted())
}

fn large(domains: usize) -> Vec<Arc<MailDomain>> {
    (0..domains).map(|number| domain(&format!("d{number:05}.example"), &["alice", "bob"])).collect()
}

fn epoch(sequence: u64) -> Epoch {
    Epoch { transitions: 0, sequence }
}

/// Where publications go.
#[derive(Default)]
struct Road(HashMap<ChunkName, Vec<u8>>);

impl Road {
    fn publish(
        &mut self,
        snapshot: &Arc<Snapshot>,
        sequence: u64,
        key: &SealingKey,
        before: Option<&Publication>,
    ) -> Publication {
        let publication = Publication::new(snapshot, epoch(sequence), key, before).unwrap();
        self.0.extend(publication.fresh.iter().cloned());
        publication
    }

    fn assemble(
        &self,
        pointer: Pointer,
        keys: &[SealingKey],
        held: Option<&Assembled>,
    ) -> Result<Assembled, Refusal> {
        let index = self.0.get(&ChunkName::from(pointer.index)).expect("the index is there");
        let assembly = Assembly::open(pointer, index, keys)?;
        let wanted = assembly.wanted(held);
        let pieces = wanted.into_iter().filter_map(|name| Some((name, self.0.get(&name)?.clone()))).collect();
        assembly.assemble(&pieces, keys, held)
    }
}

#[test]
fn what_was_published_is_put_together_again_as_it_was() {
    let (mut road, key) = (Road::default(), key(1));
    let mut sent = Snapshot::clone(&snapshot(large(300)));
    sent.retired = [Retired { domain: "gone.example".parse().unwrap(), until: Timestamp(5) }].into();
    sent.rules = [RelayRule {
        origin: "mail/r".parse().unwrap(),
        tier: Tier::First,
        order: 1,
        suspended: false,
        matches: Match::Always,
        target: RuleTarget::Direct,
        credentials: Some(Credentials {
            username: Secret::new("u"),
            password: Secret::new("planted-secret"),
        }),
        method: AuthenticationMethod::ScramSha256,
        tls: ClientTls { mode: TlsMode::Implicit, verified: true, roots: Some("roots".into()) },
        guarded: true,
        unsupported: Box::default(),
    }]
    .into();
    secure(&mut sent);
    let publication = road.publish(&Arc::new(sent.clone()), 7, &key, None);
    let got = road.assemble(publication.pointer, &[key], None).unwrap();
    assert_eq!(*got.snapshot, Snapshot { generation: 7, ..sent });
    for sealed in road.0.values() {
        assert!(!sealed.windows(7).any(|window| window == b"planted" || window == b"d00001."));
    }
    assert!(!format!("{publication:?} {got:?}").contains("planted"), "nor does a log line show it");
}

#[test]
fn an_edit_costs_what_it_changed() {
    let (mut road, key) = (Road::default(), key(1));
    let mut domains = large(10_000);
    let first = road.publish(&snapshot(domains.clone()), 1, &key, None);
    let held = road.assemble(first.pointer, std::slice::from_ref(&key), None).unwrap();
    domains[5_000] = domain("d05000.example", &["carol"]);
    let second = road.publish(&snapshot(domains), 2, &key, Some(&first));
    assert_eq!(second.fresh.len(), 2, "the section with the domain, and the index");
    let octets: usize = second.fresh.iter().map(|(_, sealed)| sealed.len()).sum();
    assert!(octets < 40_000, "{octets} octets");
    let index = &road.0[&second.pointer.index.into()];
    let wanted =
        Assembly::open(second.pointer, index, std::slice::from_ref(&key)).unwrap().wanted(Some(&held));
    assert_eq!(wanted.len(), 1);
    let now = road.assemble(second.pointer, &[key], Some(&held)).unwrap();
    let shared = now.snapshot.domains.iter().zip(&held.snapshot.domains);
    assert!(shared.filter(|(now, before)| Arc::ptr_eq(now, before)).count() > 9_000, "most is not even read");
    assert!(now.snapshot.domains[5_000].recipients != held.snapshot.domains[5_000].recipients);
}

#[test]
fn a_domain_of_any_size_travels_in_pieces_that_stall_nobody() {
    let (mut road, key) = (Road::default(), key(1));
    let users: Vec<String> = (0..60_000).map(|number| format!("user-{number:08}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let sent =
        snapshot([domain("a.example", &["x"]), domain("large.example", &users), domain("z.example", &[])]);
    let publication = road.publish(&sent, 1, &key, None);
    assert!(road.0.values().all(|sealed| sealed.len() <= CHUNK_LENGTH + 64));
    assert!(publication.chunks().len() > 4);
    assert_eq!(road.assemble(publication.pointer, &[key], None).unwrap().snapshot.domains, sent.domains);
}

#[test]
fn a_key_opens_what_it_sealed_and_nothing_else() {
    let mut road = Road::default();
    let publication = road.publish(&snapshot(large(3)), 1, &key(1), None);
    let refused = |keys: &[SealingKey]| road.assemble(publication.pointer, keys, None).unwrap_err();
    let other = refused(&[key(2)]);
    assert!(other.may_pass(), "the key may be mounted a moment later");
    let id = key(1).id();
    assert_eq!(
        other.to_string(),
        format!(
            "the index of the snapshot cannot be opened: it is sealed with key {id}, which is not mounted here"
        )
    );
    road.assemble(publication.pointer, &[key(2), key(1)], None).unwrap();
}

#[test]
fn a_new_key_seals_everything_anew() {
    let mut road = Road::default();
    let sent = snapshot(large(200));
    let first = road.publish(&sent, 1, &key(1), None);
    let second = road.publish(&sent, 2, &key(2), Some(&first));
    assert!(first.chunks().is_disjoint(&second.chunks()));
    assert_eq!(second.fresh.len(), second.chunks().len());
    let held = road.assemble(first.pointer, &[key(1)], None).unwrap();
    let now = road.assemble(second.pointer, &[key(1), key(2)], Some(&held)).unwrap();
    assert_eq!(now.snapshot.domains, sent.domains);
}

#[test]
fn the_nodes_that_open_it_know_their_traces_by_the_key_that_it_is_sealed_with() {
    let (old, new) = (key(1), key(2));
    let mut road = Road::default();
    let publication = road.publish(&snapshot([]), 1, &old, None);
    for keys in [vec![key(1)], vec![key(2), key(1)]] {
        let trace = road.assemble(publication.pointer, &keys, None).unwrap().trace.unwrap();
        assert_eq!(trace.mark(["id", "<a@b>"]), old.trace().mark(["id", "<a@b>"]));
        assert_ne!(trace.mark(["id", "<a@b>"]), new.trace().mark(["id", "<a@b>"]));
        // No two lists of texts are one.
        let marks =
            [vec!["id", "<a@b>"], vec!["id<a@b>"], vec!["id", "<a@", "b>"], vec!["id", "<a@b>", ""], vec![]];
        let marks: HashSet<u64> = marks.into_iter().map(|texts| trace.mark(texts)).collect();
        assert_eq!(marks.len(), 5);
        assert_eq!(format!("{trace:?}"), "TraceKey", "nothing of it is shown");
    }
}

#[test]
fn a_forged_pointer_is_found_out() {
    let mut road = Road::default();
    let first = road.publish(&snapshot(large(3)), 1, &key(1), None);
    let replayed = Pointer { epoch: epoch(9), ..first.pointer };
    let error = road.assemble(replayed, &[key(1)], None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the pointer says publication 0.9, the index that it names says 0.1: the pointer is forged or damaged"
    );
    assert!(!error.may_pass());
}

#[test]
fn a_changed_octet_anywhere_is_found() {
    let mut road = Road::default();
    let publication = road.publish(&snapshot(large(20)), 1, &key(1), None);
    let names: Vec<ChunkName> = road.0.keys().copied().collect();
    for name in names {
        for place in [0, 5, 15, 30] {
            let before = road.0[&name].clone();
            road.0.get_mut(&name).unwrap()[place] ^= 1;
            let error = road.assemble(publication.pointer, &[key(1)], None).unwrap_err();
            assert!(error.to_string().contains("damaged") && error.may_pass(), "{error}");
            road.0.insert(name, before);
        }
    }
    let index = publication.pointer.index.into();
    let piece = *road.0.keys().find(|name| **name != index).unwrap();
    road.0.remove(&piece);
    let error = road.assemble(publication.pointer, &[key(1)], None).unwrap_err();
    assert_eq!(error.to_string(), format!("a piece of the snapshot is missing: {piece}"));
    assert!(error.may_pass());
}

#[test]
fn a_refusal_names_the_resource_and_quotes_nothing() {
    let key = key(1);
    let rule = r#"[{"origin":"mail/r","tier":"First","match":"Always","target":"Direct","credentials":"planted-secret"}]"#;
    let piece = posthouse_config::fuzzing::chunk(&key, rule.as_bytes()).unwrap();
    let name = ChunkName::of(&piece);
    let gateway = serde_json::to_value(&snapshot([]).gateway).unwrap();
    let index = serde_json::json!({
        "schema": 4, "epoch": epoch(1), "gateway": gateway,
        "sections": [{"list": "Rules", "chunks": [name]}]
    });
    let index = posthouse_config::fuzzing::index(&key, index.to_string().as_bytes()).unwrap();
    let mut pointer = Road::default().publish(&snapshot([]), 1, &key, None).pointer;
    pointer.index = posthouse_config::SnapshotHash::of(&index);
    let assembly = Assembly::open(pointer, &index, std::slice::from_ref(&key)).unwrap();
    let refusal = assembly.assemble(&HashMap::from([(name, piece)]), &[key], None).unwrap_err();
    assert_eq!(refusal.resource(), Some("mail/r"));
    let told = refusal.to_string();
    assert!(told.starts_with("mail/r does not follow the snapshot's schema, at octet "), "{told}");
    assert!(!told.contains("planted"), "{told}");
}

#[test]
fn a_snapshot_of_the_next_schema_is_refused_whole_with_the_cure() {
    let mut road = Road::default();
    let newer = Snapshot { schema: 5, ..Snapshot::clone(&snapshot(large(3))) };
    let publication = road.publish(&Arc::new(newer), 1, &key(1), None);
    assert_eq!(
        road.assemble(publication.pointer, &[key(1)], None).unwrap_err().to_string(),
        "the snapshot has schema version 5; this node reads 1 to 4: upgrade the node"
    );
}

#[test]
fn what_an_older_node_gets_is_what_it_reads_and_never_more_than_is_safe() {
    let mut newest = Snapshot::clone(&snapshot(large(3)));
    newest.retired = [Retired { domain: "gone.example".parse().unwrap(), until: Timestamp(5) }].into();
    newest.rules = [RelayRule {
        origin: "mail/r".parse().unwrap(),
        tier: Tier::First,
        order: 1,
        suspended: false,
        matches: Match::Always,
        target: RuleTarget::Direct,
        credentials: Some(Credentials { username: Secret::new("u"), password: Secret::new("p") }),
        method: AuthenticationMethod::default(),
        tls: ClientTls::default(),
        guarded: false,
        unsupported: Box::default(),
    }]
    .into();
    let newest = Arc::new(newest);
    assert!(Arc::ptr_eq(&newest.at_schema(4).snapshot, &newest));
    for schema in [3, 2, 1] {
        let old = newest.at_schema(schema);
        let parts = [Part::Rule("mail/r".parse().unwrap())];
        assert_eq!(old.parts, parts, "it is told which resource needs more");
        let encoded = String::from_utf8(old.snapshot.encode().unwrap()).unwrap();
        assert!(encoded.starts_with(&format!("{{\"schema\":{schema},")));
        assert_eq!(encoded.contains("credentials"), schema == 3);
        assert_eq!(*old.snapshot.rules[0].unsupported, ["relay.authentication".into()], "its mail waits");
        assert_eq!(encoded.contains("\"retired\""), schema >= 2);
        old.snapshot.check().unwrap();
        let placeholder = old.snapshot.domains.iter().find(|domain| domain.domain.as_str() == "gone.example");
        assert_eq!(placeholder.is_some_and(|domain| domain.suspended), schema == 1, "it goes on with 451");
    }
}

/// Gives a snapshot what schema 4 brought to a gateway and a domain.
fn secure(snapshot: &mut Snapshot) {
    let certificate = "mail/tls".parse::<posthouse_config::ResourceName>().unwrap();
    let tls =
        ListenerTls { mode: TlsMode::StartTls, required: true, certificates: [certificate.clone()].into() };
    let listener = |name: &str, port, tls, networks: &[&str]| Listener {
        name: name.into(),
        protocol: Protocol::Smtp,
        port,
        bind_port: port,
        closed: None,
        tls,
        proxy_networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
    };
    snapshot.gateway.listeners = [
        listener("plain", 2525, None, &[]),
        listener("both", 2526, Some(tls), &["10.0.0.0/8"]),
        listener("proxied", 2527, None, &["10.0.0.0/8"]),
    ]
    .into();
    snapshot.gateway.resolver =
        Some(Resolver { nameservers: ["10.0.0.53:53".parse().unwrap()].into(), dnssec: true });
    snapshot.gateway.denied_networks = ["127.0.0.0/8".parse().unwrap()].into();
    snapshot.certificates = [Certificate {
        name: certificate,
        chain: "chain".into(),
        key: Secret::new("planted-certificate-key"),
    }]
    .into();
    let host = HostPort { host: "lmtp.tenant.svc".into(), port: Some(24) };
    let queue = QueueName::new("d00000.example").unwrap();
    Arc::make_mut(&mut snapshot.domains[0]).local_delivery =
        Some(LocalDelivery::Lmtp { host: host.clone(), queue: queue.clone(), guarded: true });
    Arc::make_mut(&mut snapshot.domains[1]).unknown_recipients =
        UnknownRecipients::Forward(Box::new(Forward {
            host,
            queue,
            aliased_recipients: AliasedRecipients::default(),
            admits: Admits::default(),
            guarded: true,
            unsupported: Box::default(),
        }));
}

#[test]
fn an_older_node_does_nothing_in_the_clear_nor_unguarded_that_was_meant_otherwise() {
    let mut newest = Snapshot::clone(&snapshot(large(3)));
    secure(&mut newest);
    let rule = |name: &str, tls, guarded| RelayRule {
        origin: name.parse().unwrap(),
        tier: Tier::First,
        order: 1,
        suspended: false,
        matches: Match::Always,
        target: RuleTarget::Direct,
        credentials: None,
        method: AuthenticationMethod::default(),
        tls,
        guarded,
        unsupported: Box::default(),
    };
    let verified = ClientTls { verified: true, ..ClientTls::default() };
    newest.rules = [
        rule("mail/clear", ClientTls { mode: TlsMode::Disabled, ..ClientTls::default() }, false),
        rule("mail/guarded", ClientTls::default(), true),
        rule("mail/plain", ClientTls::default(), false),
        rule("mail/verified", verified, false),
    ]
    .into();
    newest.check().unwrap();
    let old = Arc::new(newest).at_schema(3);
    let domain = |name: &str| Part::Domain(format!("mail/{name}").parse().unwrap());
    let lost = |name: &str| Part::Rule(name.parse().unwrap());
    assert_eq!(
        old.parts,
        [
            Part::Gateway,
            domain("d00000.example"),
            domain("d00001.example"),
            lost("mail/guarded"),
            lost("mail/verified")
        ]
    );
    let encoded = String::from_utf8(old.snapshot.encode().unwrap()).unwrap();
    for word in ["tls\":", "proxyNetworks", "certificate", "resolver", "denied", "guarded\":", "planted"] {
        assert!(!encoded.contains(word), "{word}: {encoded}");
    }
    let open: Vec<_> = old.snapshot.gateway.listeners.iter().map(|one| one.closed.is_none()).collect();
    assert_eq!(open, [true, false, false]);
    assert!(old.snapshot.domains[0].suspended && !old.snapshot.domains[1].suspended);
    let waits: Vec<_> = old.snapshot.rules.iter().map(|rule| !rule.unsupported.is_empty()).collect();
    assert_eq!(waits, [false, true, false, true]);
    old.snapshot.check().unwrap();
}

#[test]
fn the_schema_that_is_written_is_the_newest_that_all_read() {
    assert_eq!(common_schema([]), Some(4));
    assert_eq!(common_schema([(1, 4), (1, 6)]), Some(4));
    assert_eq!(common_schema([(1, 3), (1, 5)]), Some(3));
    assert_eq!(common_schema([(1, 3), (1, 1)]), Some(1));
    assert_eq!(common_schema([(2, 4), (1, 2)]), Some(2));
    assert_eq!(common_schema([(2, 4), (1, 1)]), None);
    assert_eq!(common_schema([(5, 6)]), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_row_of_edits_arrives(
        edits in prop::collection::vec((subsequence((0..150usize).collect::<Vec<_>>(), 0..150), 0..3u8), 1..6),
    ) {
        let (mut road, keys) = (Road::default(), [key(1), key(2)]);
        let (mut before, mut held) = (None, None);
        for (sequence, (present, which)) in (1..).zip(edits) {
            let domains = present.iter().map(|number| {
                let users: &[&str] = if number % 7 == usize::from(which) { &["x"] } else { &["alice"] };
                domain(&format!("d{number}.example"), users)
            });
            let sent = snapshot(domains);
            let key = &keys[usize::from(which == 2)];
            let publication = road.publish(&sent, sequence, key, before.as_ref());
            let got = road.assemble(publication.pointer, &keys, held.as_ref()).unwrap();
            prop_assert_eq!(&*got.snapshot, &Snapshot { generation: sequence, ..Snapshot::clone(&sent) });
            // What is not of it may be collected without harm.
            let keep = publication.chunks();
            road.0.retain(|name, _| keep.contains(name));
            road.assemble(publication.pointer, &keys, None).unwrap();
            (before, held) = (Some(publication), Some(got));
        }
    }

    #[test]
    fn no_octets_make_the_reader_panic(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        let pointer = Pointer { epoch: epoch(1), schema: 4, index: posthouse_config::SnapshotHash::of(&octets), key: key(1).id() };
        prop_assert!(Assembly::open(pointer, &octets, &[key(1)]).is_err());
        let _ = Pointer::decode(&octets);
    }
}
