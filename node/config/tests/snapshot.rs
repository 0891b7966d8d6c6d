//! The snapshot as a document: one encoding, one name, and clear words for what is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::sync::Arc;

use posthouse_config::{
    AddressTrust, Admits, AliasedRecipients, AuthenticationMethod, ClientTls, Connectivity, DecodeError,
    Disorder, ENCODED_LENGTH, Expansion, Forward, Gateway, Hold, Listener, LocalDelivery, MailDomain, Match,
    MessageSize, Millis, Protocol, Queue, Recipients, RelayAuthentication, RelayControl, RelayRule, Role,
    RuleTarget, Snapshot, Tier, UnknownRecipients, bind_port, local_queue_name,
};
use posthouse_model::{HostPort, LocalPart, QueueName};
use proptest::{prelude::*, sample::subsequence};

fn host(name: &str, port: Option<u16>) -> HostPort {
    HostPort { host: name.to_owned(), port }
}

fn names(list: &[&str]) -> Vec<LocalPart> {
    list.iter().map(|name| name.parse().unwrap()).collect()
}

fn queue(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

fn expansion(name: &str, members: &[&str]) -> Expansion {
    let members = members.iter().map(|member| member.parse().unwrap()).collect();
    Expansion { name: name.parse().unwrap(), members }
}

/// Something of everything, in no order.
fn everything() -> Snapshot {
    let mut gateway = Gateway::new("mail/edge".parse().unwrap(), "mail.example.com".parse().unwrap());
    gateway.listeners = [
        Listener {
            name: "smtp".into(),
            protocol: Protocol::Smtp,
            port: 25,
            bind_port: bind_port(25),
            closed: None,
            tls: None,
            proxy_networks: Box::default(),
        },
        Listener {
            name: "odmr".into(),
            protocol: Protocol::Odmr,
            port: 366,
            bind_port: bind_port(366),
            closed: Some("NotSupportedYet: protocol Odmr".into()),
            tls: None,
            proxy_networks: Box::default(),
        },
    ]
    .into();
    gateway.relay_control = Some(RelayControl {
        networks: ["192.168.0.0/16", "10.0.0.0/8"].map(|network| network.parse().unwrap()).into(),
        address_trust: AddressTrust::Always,
        authentication: RelayAuthentication::Required,
    });
    gateway.limits.recipients_per_message = Some(100);
    gateway.connectivity = Connectivity::Scheduled;

    let mut domain = MailDomain::new("example.com".parse().unwrap(), "mail/example-com".parse().unwrap());
    domain.role = Role::Primary;
    domain.aliases = ["example.org", "example.net"].map(|alias| alias.parse().unwrap()).into();
    domain.recipients = Recipients::Listed {
        users: names(&["boss", "Alice", "\"a b\""]).iter().collect(),
        groups: [expansion("sales", &["bob@elsewhere.example", "alice"])].into(),
        aliases: [expansion("info", &["sales"]), expansion("Help", &["\"a b\""])].into(),
    };
    domain.local_delivery = Some(LocalDelivery::Lmtp {
        host: host("dovecot.mail.svc", Some(24)),
        queue: local_queue_name(&queue("example.com")).unwrap(),
        guarded: false,
    });
    domain.unknown_recipients = UnknownRecipients::Forward(Box::new(Forward {
        host: host("mx2.example.com", None),
        queue: queue("example.com"),
        aliased_recipients: AliasedRecipients::Forward,
        admits: Admits::Authorized,
        guarded: false,
        unsupported: ["footer".into()].into(),
    }));
    domain.message_size = MessageSize { sent: Some(20 << 20), received: None };
    let mut open = MailDomain::new("Another.example".parse().unwrap(), "mail/another".parse().unwrap());
    open.recipients = Recipients::AcceptAll;
    open.suspended = true;

    let rule = |name: &str, tier, order, target| RelayRule {
        origin: name.parse().unwrap(),
        tier,
        order,
        suspended: false,
        matches: Match::Always,
        target,
        credentials: None,
        method: AuthenticationMethod::default(),
        tls: ClientTls::default(),
        guarded: false,
        unsupported: Box::default(),
    };
    let mut snapshot = Snapshot::new(gateway);
    snapshot.queues = [
        Queue { name: queue("local:example.com"), hold: None, hold_expires_after: None },
        Queue {
            name: queue("example.com"),
            hold: Some(Hold::OnRequest),
            hold_expires_after: Some(Millis::from_secs(30 * 86_400)),
        },
    ]
    .into();
    snapshot.domains = [domain, open].map(Arc::new).into();
    snapshot.rules = [
        rule("mail/last", Tier::Default, 5, RuleTarget::Direct),
        RelayRule {
            matches: Match::Addresses {
                senders: ["*@customer-a.example".parse().unwrap(), "<>".parse().unwrap()].into(),
                recipients: Box::default(),
            },
            unsupported: ["relay.authentication".into()].into(),
            ..rule(
                "mail/first",
                Tier::First,
                100,
                RuleTarget::Relay { hosts: [host("smtp.example", Some(587))].into() },
            )
        },
        rule("b/x", Tier::Tenant, 1, RuleTarget::Direct),
        rule("a/y", Tier::Tenant, 2, RuleTarget::Direct),
    ]
    .into();
    snapshot
}

#[test]
fn the_encoding_is_what_is_written_here() {
    let encoded = String::from_utf8(everything().sorted().encode().unwrap()).unwrap();
    let expected = concat!(
        r#"{"schema":4,"generation":0,"gateway":{"origin":"mail/edge","hostname":"mail.example.com","listeners":["#,
        r#"{"name":"smtp","protocol":"Smtp","port":25,"bindPort":10025},"#,
        r#"{"name":"odmr","protocol":"Odmr","port":366,"bindPort":10366,"closed":"NotSupportedYet: protocol Odmr"}],"#,
        r#""queue":{"id":"mail.edge","reserve":268435456,"retry":{"intervals":[300000,900000,1800000,3600000,7200000],"#,
        r#""expireAfter":432000000,"warnAfter":14400000},"concurrency":{"perNode":200,"perNextHop":20}},"#,
        r#""relayControl":{"networks":["10.0.0.0/8","192.168.0.0/16"],"addressTrust":"Always","authentication":"Required"},"#,
        r#""limits":{"messageSize":52428800,"recipientsPerMessage":100},"connectivity":"Scheduled"},"#,
        r#""queues":[{"name":"example.com","hold":"OnRequest","holdExpiresAfter":2592000000},{"name":"local:example.com"}],"#,
        r#""domains":[{"domain":"Another.example","origin":"mail/another","suspended":true,"recipients":"AcceptAll"},"#,
        r#"{"domain":"example.com","origin":"mail/example-com","role":"Primary","aliases":["example.net","example.org"],"#,
        r#""recipients":{"Listed":{"users":["a b","Alice","boss"],"#,
        r#""groups":[{"name":"sales","members":["bob@elsewhere.example","alice"]}],"#,
        r#""aliases":[{"name":"Help","members":["\"a b\""]},{"name":"info","members":["sales"]}]}},"#,
        r#""localDelivery":{"Lmtp":{"host":{"host":"dovecot.mail.svc","port":24},"queue":"local:example.com"}},"#,
        r#""unknownRecipients":{"Forward":{"host":{"host":"mx2.example.com"},"queue":"example.com","#,
        r#""aliasedRecipients":"Forward","admits":"Authorized","unsupported":["footer"]}},"messageSize":{"sent":20971520}}],"#,
        r#""rules":[{"origin":"mail/first","tier":"First","order":100,"#,
        r#""match":{"Addresses":{"senders":["*@customer-a.example","<>"]}},"#,
        r#""target":{"Relay":{"hosts":[{"host":"smtp.example","port":587}]}},"unsupported":["relay.authentication"]},"#,
        r#"{"origin":"a/y","tier":"Tenant","order":2,"match":"Always","target":"Direct"},"#,
        r#"{"origin":"b/x","tier":"Tenant","order":1,"match":"Always","target":"Direct"},"#,
        r#"{"origin":"mail/last","tier":"Default","order":5,"match":"Always","target":"Direct"}]}"#,
    );
    assert_eq!(encoded, expected);
}

#[test]
fn a_snapshot_survives_its_encoding() {
    let snapshot = everything().sorted();
    assert_eq!(Snapshot::decode(&snapshot.encode().unwrap()).unwrap(), snapshot);
}

#[test]
fn a_schema_that_is_not_known_is_refused_by_its_number_whatever_else_the_document_says() {
    for (version, cure) in [("5", "upgrade the node"), ("0", "upgrade the operator")] {
        let document = format!(r#"{{"schema":{version},"chunks":[{{"new":"thing"}}]}}"#);
        let error = Snapshot::decode(document.as_bytes()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the snapshot has schema version {version}; this node reads 1 to 4: {cure}")
        );
    }
}

#[test]
fn what_the_schema_does_not_know_is_refused_and_not_ignored() {
    let encoded = String::from_utf8(everything().sorted().encode().unwrap()).unwrap();
    for (known, unknown) in [
        (r#""recipients":"AcceptAll""#, r#""recipients":{"AcceptAll":{"except":["a"]}}"#),
        (r#"{"Listed":{"#, r#"{"Listed":{"except":[],"#),
        (r#""suspended":true"#, r#""suspended":true,"until":1"#),
        (r#""match":"Always""#, r#""match":"Sometimes""#),
        (r#""admits":"Authorized""#, r#""admits":"Friends""#),
    ] {
        let changed = encoded.replacen(known, unknown, 1);
        assert_ne!(changed, encoded);
        let error = Snapshot::decode(changed.as_bytes()).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed(_)), "{unknown}: {error}");
    }
    for document in ["", "{}", "[]", "null", r#"{"schema":"1"}"#, r#"{"schema":-1}"#] {
        assert!(
            matches!(Snapshot::decode(document.as_bytes()), Err(DecodeError::Malformed(_))),
            "{document}"
        );
    }
}

#[test]
fn a_document_that_is_too_long_is_not_even_read() {
    let document = vec![b' '; ENCODED_LENGTH + 1];
    assert!(matches!(Snapshot::decode(&document), Err(DecodeError::TooLong { .. })));
}

#[test]
fn parts_out_of_their_order_are_refused_by_name() {
    let refused = |change: &dyn Fn(&mut Snapshot)| {
        let mut snapshot = everything().sorted();
        change(&mut snapshot);
        match Snapshot::decode(&snapshot.encode().unwrap()) {
            Err(DecodeError::Disorder(disorder)) => disorder,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(&|snapshot| snapshot.queues.reverse()), Disorder::Queue(queue("example.com")));
    assert_eq!(
        refused(&|snapshot| snapshot.domains[1] = snapshot.domains[0].clone()),
        Disorder::Domain("another.example".parse().unwrap())
    );
    assert!(matches!(refused(&|snapshot| snapshot.rules.reverse()), Disorder::Rule(_)));
    assert_eq!(
        refused(&|snapshot| snapshot.gateway.queue.retry.intervals = Box::default()),
        Disorder::RetryIntervals
    );
    let double = |snapshot: &mut Snapshot| {
        let Recipients::Listed { aliases, .. } = &mut Arc::make_mut(&mut snapshot.domains[1]).recipients
        else {
            panic!()
        };
        *aliases = [expansion("info", &["a"]), expansion("INFO", &["b"])].into();
    };
    assert!(matches!(refused(&double), Disorder::Expansion { .. }));
}

#[test]
fn a_queue_that_no_domain_has_follows_the_gateways_connectivity() {
    let mut snapshot = everything().sorted();
    assert_eq!(snapshot.hold(&queue("example.com")), Some(Hold::OnRequest));
    assert_eq!(snapshot.hold(&queue("local:example.com")), None);
    assert_eq!(snapshot.hold(&queue("elsewhere.example")), Some(Hold::Connectivity));
    snapshot.gateway.connectivity = Connectivity::Online;
    assert_eq!(snapshot.hold(&queue("elsewhere.example")), None);
}

#[test]
fn low_ports_are_bound_ten_thousand_higher() {
    let ports = [1, 25, 587, 1023, 1024, 2525, 65535].map(bind_port);
    assert_eq!(ports, [10001, 10025, 10587, 11023, 1024, 2525, 65535]);
}

proptest! {
    #[test]
    fn one_configuration_has_one_encoding_in_whatever_order_it_was_compiled(
        order in Just((0..4usize).collect::<Vec<_>>()).prop_shuffle(),
        flip in any::<bool>(),
        users in subsequence(vec!["a", "B", "c", "d"], 0..4).prop_shuffle(),
    ) {
        let mut one = everything();
        let mut other = everything();
        for snapshot in [&mut one, &mut other] {
            let Recipients::Listed { users: listed, .. } = &mut Arc::make_mut(&mut snapshot.domains[0]).recipients else { panic!() };
            *listed = names(&users).iter().collect();
        }
        other.rules = order.iter().map(|place| one.rules[*place].clone()).collect();
        if flip {
            other.domains.reverse();
            other.queues.reverse();
        }
        prop_assert_eq!(one.sorted().encode().unwrap(), other.sorted().encode().unwrap());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..2000usize) {
        let _ = Snapshot::decode(&bytes);
        let mut encoded = everything().sorted().encode().unwrap();
        encoded.truncate(cut);
        prop_assert!(cut >= encoded.len() || Snapshot::decode(&encoded).is_err());
    }
}
