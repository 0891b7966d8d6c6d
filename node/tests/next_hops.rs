//! From a next hop to a connection, with Postfix and BIND at the other end: by which names and addresses, with which TLS, as whom, and what is not
//! connected to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

use posthouse_config::{
    AuthenticationMethod, ClientTls, Credentials, Gateway, Match, RelayRule, Resolver, RuleTarget, Secret,
    Snapshot, SnapshotHash, Tier, TlsMode,
};
use posthouse_dns::NoHosts;
use posthouse_model::{HopTls, HostPort, NextHop, Security, Transport};
use posthouse_node::{
    activator::Activator,
    delivery::{
        Delivery,
        connect::connect,
        connection::Connection,
        settler::Settler,
        unreachable::{Said, Unreachable},
    },
    metrics::Metrics,
    node::Node,
    policy::Policy,
    presence::Presence,
};
use posthouse_queue::{Store, embedded::EmbeddedStore};
use posthouse_tests::peers::{
    named::{Named, Zone},
    postfix::Postfix,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const CERTIFICATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tls/client/tests");

/// A node that only connects, with the configuration that it does so by.
struct World {
    node: Arc<Node>,
    snapshot: Snapshot,
    _folder: TempDir,
    _named: Named,
}

impl World {
    fn new() -> Self {
        let zone = Zone::new(
            "example.com",
            "mx A 127.0.0.1\nnull MX 0 .\ndirect MX 10 mx\nastray MX 10 mx\nastray MX 20 nobody\nnobody A 0.0.0.0\nunsure MX 10 mx\nunsure MX 20 x.gone.broken.example.\n",
        );
        let named = Named::start(&[zone, Zone::broken("broken.example")]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
        let metrics = Arc::new(Metrics::new());
        let presence = Arc::new(Presence::silent(Arc::clone(&store)));
        let settler = Settler::new(Arc::clone(&store), Arc::clone(&presence), Arc::clone(&metrics));
        let delivery = Delivery::new(settler, CancellationToken::new());
        let node = Node::new(store, presence, metrics, delivery, Activator::new().0);
        let mut gateway = Gateway::new("mail/edge".parse().unwrap(), "edge.example.com".parse().unwrap());
        gateway.resolver = Some(Resolver { nameservers: [named.address()].into(), dnssec: false });
        gateway.denied_networks = ["127.0.0.0/8".parse().unwrap()].into();
        Self { node, snapshot: Snapshot::new(gateway), _folder: folder, _named: named }
    }

    fn with_rule(mut self, roots: Option<&str>, login: bool) -> Self {
        let secret = |text: &str| Secret::new(text);
        let roots =
            roots.map(|file| std::fs::read_to_string(format!("{CERTIFICATES}/{file}")).unwrap().into());
        self.snapshot.rules = [RelayRule {
            origin: "mail/rule".parse().unwrap(),
            tier: Tier::First,
            order: 0,
            suspended: false,
            matches: Match::Always,
            target: RuleTarget::Direct,
            credentials: login
                .then(|| Credentials { username: secret("joe"), password: secret("tanstaaftanstaaf") }),
            method: AuthenticationMethod::Auto,
            tls: ClientTls { mode: TlsMode::StartTls, verified: roots.is_some(), roots },
            guarded: false,
            unsupported: Box::default(),
        }]
        .into();
        self
    }

    fn policy(&self) -> Policy {
        Policy::of(Arc::new(self.snapshot.clone()), SnapshotHash::of(b""), None).unwrap()
    }

    async fn connect(&self, hosts: &[HostPort], security: Security) -> Result<Connection, Unreachable> {
        let next_hop = NextHop { security, ..NextHop::new(Transport::Smtp, hosts.to_vec()) };
        connect(&self.node, &self.policy(), &next_hop).await
    }
}

fn at(host: &str, port: u16) -> HostPort {
    HostPort { host: host.to_owned(), port: Some(port) }
}

fn by_mx(host: &str) -> HostPort {
    HostPort { host: host.to_owned(), port: None }
}

fn verified() -> Security {
    Security { verified: true, rule: Some("mail/rule".into()), ..Security::default() }
}

/// A Postfix that offers STARTTLS, with these further lines in its main.cf.
fn postfix(settings: &str) -> Postfix {
    let chain = format!("{CERTIFICATES}/key.pem, {CERTIFICATES}/leaf.pem");
    let tls = format!("smtpd_tls_chain_files = {chain}\nsmtpd_tls_security_level = may\n{settings}");
    Postfix::start(&tls).unwrap()
}

fn error(found: Result<Connection, Unreachable>) -> Unreachable {
    found.map(|connection| connection.host).expect_err("no connection")
}

fn ours(found: &Unreachable) -> String {
    let Said::Ours(status) = &found.said else { panic!("{found:?}") };
    status.to_string()
}

#[tokio::test]
async fn tls_is_taken_where_it_is_offered_and_verified_where_that_is_asked_for() {
    let (postfix, world) = (postfix(""), World::new());
    let host = [at("mx.example.com", postfix.address().port())];
    let connection = world.connect(&host, Security::default()).await.unwrap();
    assert!(connection.is_encrypted());
    assert_eq!(*connection.host, *format!("mx.example.com:{}", postfix.address().port()));
    connection.quit().await;

    let world = world.with_rule(Some("root.pem"), false);
    assert!(world.connect(&host, verified()).await.unwrap().is_encrypted());
    let by_address = [at("127.0.0.1", postfix.address().port())];
    let unnamed = error(world.connect(&by_address, verified()).await);
    assert!(unnamed.reason.ends_with("its certificate does not name this host"), "{unnamed:?}");

    let world = world.with_rule(Some("pinned.pem"), false);
    let untrusted = error(world.connect(&host, verified()).await);
    assert_eq!(ours(&untrusted), "4.7.5");
    assert!(untrusted.reason.ends_with("its certificate does not lead to a trusted root"), "{untrusted:?}");
    assert_eq!(world.node.metrics.client_handshakes_failed.get(), 2);
    assert_eq!(world.node.metrics.sessions_without_tls.get(), 0);
}

#[tokio::test]
async fn without_starttls_nothing_goes_where_it_must_be_verified() {
    let postfix = Postfix::start("").unwrap();
    let world = World::new().with_rule(Some("root.pem"), false);
    let host = [at("mx.example.com", postfix.address().port())];
    assert_eq!(ours(&error(world.connect(&host, verified()).await)), "4.7.4");
    assert!(!world.connect(&host, Security::default()).await.unwrap().is_encrypted());
}

#[tokio::test]
async fn a_handshake_that_fails_costs_one_message_its_time_and_mail_goes_in_clear_where_it_may() {
    let postfix = postfix("smtpd_tls_protocols = <=TLSv1.1\n");
    let world = World::new().with_rule(Some("root.pem"), true);
    let host = [at("mx.example.com", postfix.address().port())];
    for _ in 0..2 {
        assert!(!world.connect(&host, Security::default()).await.unwrap().is_encrypted());
        assert_eq!(world.node.metrics.sessions_without_tls.get(), 1);
    }
    let disabled = Security { tls: HopTls::Disabled, ..Security::default() };
    assert!(!world.connect(&host, disabled).await.unwrap().is_encrypted());
    assert_eq!(ours(&error(world.connect(&host, verified()).await)), "4.7.5");
    // A login is not said in clear because a handshake was broken.
    let as_somebody = Security { verified: false, ..verified() };
    assert_eq!(ours(&error(world.connect(&host, as_somebody).await)), "4.7.5");
}

#[tokio::test]
async fn the_gateway_itself_and_what_a_tenant_must_not_reach_are_not_connected_to() {
    let (postfix, world) = (Postfix::start("").unwrap(), World::new());
    let host = [at("mx.example.com", postfix.address().port())];
    let guarded = Security { guarded: true, ..Security::default() };
    let denied = error(world.connect(&host, guarded).await);
    assert_eq!(ours(&denied), "4.7.1");
    assert!(
        denied.reason.contains("127.0.0.0/8, which the gateway's egress.deniedNetworks has"),
        "{denied:?}"
    );
    assert!(world.connect(&host, Security::default()).await.is_ok());
    world.node.here.listens_at(vec![SocketAddr::from(([0, 0, 0, 0], postfix.address().port()))]);
    assert_eq!(ours(&error(world.connect(&host, Security::default()).await)), "4.4.6");
    assert!(world.node.metrics.expose(None).contains("posthouse_egress_refused_total{reason=\"itself\"} 1"));
}

#[tokio::test]
async fn what_the_dns_says_of_a_domain_is_told_and_the_next_host_is_tried() {
    let (postfix, world) = (Postfix::start("").unwrap(), World::new());
    let null = error(world.connect(&[by_mx("null.example.com")], Security::default()).await);
    assert!(matches!(null.said, Said::Dns(NoHosts::NullMx(_))), "{null:?}");
    let gone = error(world.connect(&[by_mx("gone.example.com")], Security::default()).await);
    assert!(matches!(gone.said, Said::Dns(NoHosts::NoSuchDomain(_))), "{gone:?}");
    let hosts = [
        by_mx("null.example.com"),
        at("gone.example.com", 25),
        at("mx.example.com", postfix.address().port()),
    ];
    assert!(world.connect(&hosts, Security::default()).await.is_ok());
    // Its MX is this machine, where the gateway's listener is said to be.
    world.node.here.listens_at(vec!["0.0.0.0:25".parse().unwrap()]);
    let itself = error(world.connect(&[by_mx("direct.example.com")], Security::default()).await);
    assert!(matches!(itself.said, Said::Dns(NoHosts::Loop(_))), "{itself:?}");
}

#[tokio::test]
async fn a_domain_whose_hosts_are_where_no_mail_is_sent_to_says_so_for_good_unless_another_may_be_found() {
    let world = World::new();
    let guarded = || Security { guarded: true, ..Security::default() };
    let astray = error(world.connect(&[by_mx("astray.example.com")], guarded()).await);
    assert!(matches!(astray.said, Said::Dns(NoHosts::Forbidden(_))), "{astray:?}");
    assert!(astray.reason.contains("which the gateway's egress.deniedNetworks has"), "{astray:?}");
    let literal = error(world.connect(&[at("127.0.0.1", 25)], guarded()).await);
    assert!(matches!(literal.said, Said::Dns(NoHosts::Forbidden(_))), "{literal:?}");
    let unsure = error(world.connect(&[by_mx("unsure.example.com")], guarded()).await);
    assert!(matches!(unsure.said, Said::Dns(NoHosts::Unanswered(_))), "{unsure:?}");
    let metrics = world.node.metrics.expose(None);
    assert!(metrics.contains("posthouse_egress_refused_total{reason=\"denied\"} 3"), "{metrics}");
    assert!(metrics.contains("posthouse_egress_refused_total{reason=\"nobody\"} 1"), "{metrics}");
}

/// A server that knows nobody, for one session; answers what it heard.
fn knows_nobody() -> (SocketAddr, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 nobody.test\r\n").unwrap();
        let mut heard = Vec::new();
        // A client that is done need not wait for the goodbye.
        for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok) {
            let reply: &[u8] = match line.split(' ').next().unwrap() {
                "EHLO" => b"250-nobody.test\r\n250 AUTH PLAIN CRAM-MD5\r\n",
                "AUTH" => b"334 PDEyMy40NTZAbm9ib2R5LnRlc3Q+\r\n",
                "QUIT" => b"221 bye\r\n",
                _ => b"535 5.7.8 joe is unknown here\r\n",
            };
            let _ = stream.write_all(reply);
            heard.push(line);
        }
        heard
    });
    (address, serving)
}

#[tokio::test]
async fn a_refused_login_is_reported_in_words_of_ours_and_tried_nowhere_else() {
    let ((address, serving), next) = (knows_nobody(), TcpListener::bind("127.0.0.1:0").unwrap());
    let world = World::new().with_rule(None, true);
    let hosts = [at("127.0.0.1", address.port()), at("127.0.0.1", next.local_addr().unwrap().port())];
    let as_somebody = Security { verified: false, ..verified() };
    let refused = error(world.connect(&hosts, as_somebody).await);
    assert_eq!(ours(&refused), "4.7.8");
    let heard = serving.join().unwrap();
    assert!(heard[1].starts_with("AUTH CRAM-MD5") && !heard.concat().contains("tanstaaf"), "{heard:?}");
    let [reported] = world.node.refused_logins.list().try_into().unwrap();
    assert_eq!((reported.resource.as_str(), reported.code), ("RelayRule mail/rule", 535));
    assert_eq!(reported.reason, format!("{address} refuses the login of this gateway with 535"));
    assert_eq!(world.node.metrics.logins_refused.get(), 1);
    next.set_nonblocking(true).unwrap();
    assert!(next.accept().is_err(), "the next host was asked");
}
