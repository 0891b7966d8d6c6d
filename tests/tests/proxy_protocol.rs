//! Load balancers in front of a gateway, and those who only say that they are one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use posthouse_tests::gateway::Gateway;
use posthouse_tests::manifests::{self, Manifests};
use posthouse_tests::peers::haproxy::{Balancing, Haproxy};
use posthouse_tests::peers::nginx::Nginx;
use posthouse_tests::pki::Authority;
use posthouse_tests::sink::{Protocol, Sink, accept_all};
use posthouse_tests::smtp::Client;
use posthouse_tests::wait::SOON;
use posthouse_tests::wire::{Stream, Trust, connect_from};

/// Where load balancers connect from: the only address that listeners believe.
const BALANCER: &str = "127.0.0.2";

/// A client that may relay.
const FRIEND: &str = "127.0.0.3";

/// A client that may not.
const STRANGER: &str = "127.0.0.4";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A gateway that listens to load balancers only, and delivers mail for `b@dst.test`.
struct House {
    // In the order in which they end.
    gateway: Gateway,
    _manifests: Manifests,
    relayed: Sink,
    local: Sink,
}

impl House {
    fn start() -> Self {
        let relayed = Sink::start(Protocol::Smtp, accept_all()).unwrap();
        let local = Sink::start(Protocol::Lmtp, accept_all()).unwrap();
        let manifests = Manifests::relay_to(relayed.address()).unwrap();
        manifests.domain("dst.test", &["b"], local.address()).unwrap();
        let proxy = format!("proxyProtocol: {{trustedNetworks: [{BALANCER}/32]}}");
        let tls = "tls: {mode: Implicit, certificateSecretRefs: [{name: mail-tls}]}";
        let listeners = [
            format!("{{name: smtp, port: 25, protocol: Smtp, {proxy}}}"),
            format!("{{name: smtps, port: 465, protocol: Smtp, {tls}, {proxy}}}"),
        ];
        let listeners = listeners.each_ref().map(String::as_str);
        let gateway = manifests::gateway(&listeners, &[]).replace("127.0.0.0/8", &format!("{FRIEND}/32"));
        manifests.write("gateway.yaml", &gateway).unwrap();
        let identity = Authority::new().unwrap().issue(&["gateway.test"]).unwrap();
        manifests.certificate("mail-tls", &identity).unwrap();
        Self { gateway: Gateway::start(manifests.path()).unwrap(), _manifests: manifests, relayed, local }
    }

    fn address(&self, listener: &str) -> SocketAddr {
        self.gateway.listener(listener).unwrap()
    }

    fn haproxy(&self, listener: &str, says: &str, check: Option<&str>) -> Haproxy {
        let server = self.address(listener);
        Haproxy::start(&Balancing { server, source: ip(BALANCER), says, check }).unwrap()
    }

    /// The true address of clients is what relay control, Received and the log go by.
    fn knows_the_clients_of(&mut self, mut connect: impl FnMut(IpAddr) -> Client) {
        let content = b"Subject: x\r\n\r\nhi\r\n";
        let mut stranger = connect(ip(STRANGER));
        stranger.command("EHLO client.test").unwrap();
        let refused = stranger.send("a@src.test", &["c@elsewhere.test"], content).unwrap();
        assert_eq!((refused.code, &refused.lines[0][..5]), (550, "5.7.1"), "{refused}");
        assert_eq!(stranger.send("a@src.test", &["b@dst.test"], content).unwrap().code, 250);
        let letter = self.local.letter(SOON).unwrap();
        let received = letter.header("Received").unwrap();
        assert!(received.contains(&format!("[{STRANGER}]")), "{received}");
        self.gateway.until_logged(&["event=\"accepted\"", &format!("client={STRANGER}")]).unwrap();
        let mut friend = connect(ip(FRIEND));
        friend.command("EHLO client.test").unwrap();
        assert_eq!(friend.send("a@src.test", &["c@elsewhere.test"], content).unwrap().code, 250);
        let letter = self.relayed.letter(SOON).unwrap();
        assert!(!letter.header("Received").unwrap().contains("127.0.0."), "{letter:?}");
        self.gateway.until_logged(&["event=\"accepted\"", &format!("client={FRIEND}")]).unwrap();
    }
}

#[test]
fn haproxy_says_whose_connection_it_hands_on_by_version_1_and_2() {
    for says in ["send-proxy", "send-proxy-v2"] {
        let mut house = House::start();
        let haproxy = house.haproxy("smtp", says, None);
        house.knows_the_clients_of(|source| Client::connect_from(source, haproxy.address()).unwrap());
    }
}

#[test]
fn nginx_says_whose_connection_it_hands_on() {
    let mut house = House::start();
    let nginx = Nginx::start(house.address("smtp"), ip(BALANCER)).unwrap();
    house.knows_the_clients_of(|source| Client::connect_from(source, nginx.address()).unwrap());
}

#[test]
fn the_header_comes_before_the_handshake_of_implicit_tls() {
    let connect = |source: IpAddr, balancer: SocketAddr| {
        let stream = Stream::Clear(connect_from(source, balancer).unwrap());
        Client::over(stream.call_tls("gateway.test", &Trust::Anybody).unwrap()).unwrap()
    };
    for says in ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl"] {
        let mut house = House::start();
        let haproxy = house.haproxy("smtps", says, None);
        house.knows_the_clients_of(|source| connect(source, haproxy.address()));
    }
    let mut house = House::start();
    let nginx = Nginx::start(house.address("smtps"), ip(BALANCER)).unwrap();
    house.knows_the_clients_of(|source| connect(source, nginx.address()));
}

#[test]
fn a_load_balancer_that_looks_whether_the_gateway_is_there_finds_it_and_is_nobody() {
    let mut house = House::start();
    for says in ["send-proxy", "send-proxy-v2"] {
        for check in [
            "option smtpchk EHLO haproxy.test",
            "option tcp-check\n  tcp-check expect rstring ^220\n  tcp-check send QUIT\\r\\n\n  tcp-check expect rstring ^221",
        ] {
            house.haproxy("smtp", says, Some(check)).until_health("L7OK").unwrap();
        }
    }
    // What version 1 and 2 say of a connection that is the load balancer's own; it may not relay, though its address were believed.
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00".as_slice();
    for header in [local, b"PROXY UNKNOWN\r\n"] {
        let mut stream = connect_from(ip(BALANCER), house.address("smtp")).unwrap();
        stream.write_all(header).unwrap();
        let mut client = Client::over(Stream::Clear(stream)).unwrap();
        client.command("EHLO haproxy.test").unwrap();
        client.command("MAIL FROM:<a@src.test>").unwrap();
        assert_eq!(client.command("RCPT TO:<c@elsewhere.test>").unwrap().code, 550);
    }
    assert!(!house.gateway.operator().log().unwrap().contains("proxy_refused"));
}

#[test]
fn who_connects_without_a_header_or_without_being_trusted_is_not_greeted() {
    let mut house = House::start();
    let header = format!("PROXY TCP4 {FRIEND} 127.0.0.1 1024 25\r\n");
    for (source, says, why) in [
        (BALANCER, "EHLO client.test\r\n", "does not begin with a PROXY header"),
        (BALANCER, "PROXY TCP4 nobody 127.0.0.1 1 25\r\n", "malformed"),
        (FRIEND, header.as_str(), "trustedNetworks"),
        ("127.0.0.1", header.as_str(), "trustedNetworks"),
    ] {
        for listener in ["smtp", "smtps"] {
            let mut stream = connect_from(ip(source), house.address(listener)).unwrap();
            stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
            // It may have been closed before.
            let _ = stream.write_all(says.as_bytes());
            let mut answer = Vec::new();
            match stream.read_to_end(&mut answer) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
            }
            assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
            let listener = format!("listener=\"{listener}\"");
            house
                .gateway
                .until_logged(&["proxy_refused", &format!("client={source}"), &listener, why])
                .unwrap();
        }
    }
}

#[test]
fn a_client_cannot_say_through_a_load_balancer_that_it_is_another() {
    let house = House::start();
    let haproxy = house.haproxy("smtp", "send-proxy-v2", None);
    let mut client = Client::connect_from(ip(STRANGER), haproxy.address()).unwrap();
    assert_eq!(client.command(&format!("PROXY TCP4 {FRIEND} 127.0.0.1 1024 25")).unwrap().code, 500);
    client.command("EHLO client.test").unwrap();
    client.command("MAIL FROM:<a@src.test>").unwrap();
    assert_eq!(client.command("RCPT TO:<c@elsewhere.test>").unwrap().code, 550);
}
