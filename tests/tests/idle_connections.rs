//! A crowd of clients that are connected and say nothing: what they cost a node, and that mail goes on beside them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use posthouse_tests::gateway::Gateway;
use posthouse_tests::local::Node;
use posthouse_tests::manifests::{self, Manifests};
use posthouse_tests::pki::Authority;
use posthouse_tests::process;
use posthouse_tests::sink::{Protocol, Sink, accept_all};
use posthouse_tests::smtp::Client;
use posthouse_tests::wait::{self, SOON};
use posthouse_tests::wire::{Stream, Trust, connect_from};

/// Idle sessions that a node must bear.
const IDLE: usize = 10_000;

/// Connections that a node serves at one time.
const PLACES: usize = 12_000;

/// What it may hold meanwhile, in KiB; what it holds at rest is part of it.
const MOST: u64 = 256 * 1024;

/// Clients that connect, each from an address of its own: one that has too many gets no more while the places run out.
const CLIENTS: usize = 100;

/// Connections that are made and greeted together: fewer than the backlog of a listener.
const TOGETHER: usize = 100;

/// One crowd at a time: two would be more files than a process may have open on many machines.
static CROWD: Mutex<()> = Mutex::new(());

/// A gateway with a listener in clear and one with TLS, and where its mail arrives.
struct House {
    // In the order in which they end.
    gateway: Gateway,
    _manifests: Manifests,
    sink: Sink,
}

impl House {
    fn start() -> Self {
        let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
        let manifests = Manifests::relay_to(sink.address()).unwrap();
        let tls = "tls: {mode: Implicit, certificateSecretRefs: [{name: mail-tls}]}";
        let listeners = [
            "{name: smtp, port: 25, protocol: Smtp}".to_owned(),
            format!("{{name: smtps, port: 465, protocol: Smtp, {tls}}}"),
        ];
        let listeners = listeners.each_ref().map(String::as_str);
        manifests.write("gateway.yaml", &manifests::gateway(&listeners, &[])).unwrap();
        let identity = Authority::new().unwrap().issue(&["gateway.test"]).unwrap();
        manifests.certificate("mail-tls", &identity).unwrap();
        // Of what it inherits a node makes the most: this is the soft limit of most systems.
        process::limit_files(Some(1024)).unwrap();
        let gateway = Gateway::start(manifests.path()).unwrap();
        process::limit_files(None).unwrap();
        Self { gateway, _manifests: manifests, sink }
    }

    fn node(&self) -> Node {
        self.gateway.run().unwrap().nodes[0].clone()
    }

    fn address(&self, listener: &str) -> SocketAddr {
        self.gateway.listener(listener).unwrap()
    }

    fn memory(&self, field: &str) -> u64 {
        process::memory_kib(&self.node().pid.to_string(), field).unwrap()
    }

    fn sessions(&self) -> usize {
        let open = self.gateway.metrics(&self.node()).unwrap().sum("posthouse_sessions", &[]);
        format!("{open:.0}").parse().unwrap()
    }

    /// A message goes through, in a session of its own.
    fn carries_mail(&self) {
        let mut client = Client::hello(self.address("smtp")).unwrap();
        let reply = client.send("a@src.test", &["b@dst.test"], b"Subject: x\r\n\r\nhi\r\n").unwrap();
        assert_eq!(reply.code, 250, "{reply}");
        self.sink.letter(SOON).unwrap();
    }
}

/// So many connections, from as many addresses as there are clients.
fn connect(address: SocketAddr, first: usize, count: usize) -> Vec<TcpStream> {
    let connect = |number: usize| {
        let client = u8::try_from(1 + number % CLIENTS).unwrap();
        let stream = connect_from(IpAddr::V4(Ipv4Addr::new(127, 0, 1, client)), address).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        stream
    };
    (first..first + count).map(connect).collect()
}

/// Reads one reply, octet by octet: there is nothing behind it.
fn reply(stream: &mut impl std::io::Read) -> String {
    let mut said = Vec::new();
    let mut octet = [0];
    loop {
        stream.read_exact(&mut octet).unwrap();
        said.push(octet[0]);
        let last = said.strip_suffix(b"\r\n").map(|said| said.rsplit(|b| *b == b'\n').next().unwrap());
        if last.is_some_and(|line| line.get(3) == Some(&b' ')) {
            return String::from_utf8(said).unwrap();
        }
    }
}

fn greeted(mut crowd: Vec<TcpStream>) -> Vec<TcpStream> {
    for stream in &mut crowd {
        assert!(reply(stream).starts_with("220 "));
        stream.write_all(b"EHLO client.test\r\n").unwrap();
    }
    for stream in &mut crowd {
        assert!(reply(stream).starts_with("250-"));
    }
    crowd
}

#[test]
fn ten_thousand_idle_sessions_fit_into_256_mebibytes_and_mail_goes_on() {
    let _turn = CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    let house = House::start();
    let before = house.memory("VmRSS");
    let address = house.address("smtp");
    let mut crowd = Vec::new();
    while crowd.len() < IDLE {
        crowd.extend(greeted(connect(address, crowd.len(), TOGETHER)));
    }
    assert_eq!(house.sessions(), IDLE);
    house.carries_mail();
    let (now, peak) = (house.memory("VmRSS"), house.memory("VmHWM"));
    eprintln!("{IDLE} idle sessions: VmRSS {before} -> {now} KiB, VmHWM {peak} KiB");
    assert!(peak < MOST, "VmHWM {peak} KiB");
    // Each of them is still served.
    for stream in crowd.iter_mut().step_by(997) {
        stream.write_all(b"NOOP\r\n").unwrap();
        assert!(reply(stream).starts_with("250 "));
    }
    drop(crowd);
    wait::until("the sessions to end", SOON, || Ok((house.sessions() == 0).then_some(()))).unwrap();
}

#[test]
fn one_client_does_not_take_the_last_places_and_who_comes_to_a_full_house_is_told_421_at_once() {
    let _turn = CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    let house = House::start();
    let address = house.address("smtp");
    let mut crowd = Vec::new();
    while crowd.len() < IDLE {
        crowd.extend(greeted(connect(address, crowd.len(), TOGETHER)));
    }
    // 127.0.0.1, like nobody in the crowd.
    let knocks = || {
        let mut client = Client::connect(address).unwrap();
        let is_let_in = client.greeting.code == 220;
        if !is_let_in {
            // RFC 5321 §3.8; RFC 2034 §4: no enhanced status in a greeting
            assert_eq!(client.greeting.to_string(), "421 gateway.test is too busy, try again later");
            assert!(client.reply().is_err());
        }
        is_let_in.then_some(client)
    };
    let greedy: Vec<Client> = (0..PLACES).map_while(|_| knocks()).collect();
    assert_eq!(crowd.len() + greedy.len(), PLACES / 10 * 9);
    let open = crowd.len() + greedy.len();
    wait::until("the one refused to be gone", SOON, || Ok((house.sessions() == open).then_some(()))).unwrap();
    // The others still come in, up to the last place.
    let mut more = 0;
    while crowd.len() + greedy.len() < PLACES {
        let left = PLACES - crowd.len() - greedy.len();
        crowd.extend(greeted(connect(address, more, left.min(TOGETHER))));
        more += TOGETHER;
    }
    assert_eq!(house.sessions(), PLACES);
    for mut stream in connect(address, 0, 10) {
        assert!(reply(&mut stream).starts_with("421 "));
    }
    // Who leaves makes room.
    drop(crowd);
    wait::until("places", SOON, || Ok((house.sessions() == greedy.len()).then_some(()))).unwrap();
    house.carries_mail();
}

#[test]
fn ten_thousand_idle_sessions_in_tls_would_fit_into_256_mebibytes() {
    let _turn = CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    let house = House::start();
    let before = house.memory("VmRSS");
    let address = house.address("smtps");
    let mut crowd = Vec::new();
    // A quarter of them: a handshake takes some milliseconds of both sides. What each costs does not depend on how many there are.
    while crowd.len() < IDLE / 4 {
        for stream in connect(address, crowd.len(), TOGETHER) {
            let mut stream = Stream::Clear(stream).call_tls("gateway.test", &Trust::Anybody).unwrap();
            assert!(reply(&mut stream).starts_with("220 "));
            stream.write_all(b"EHLO client.test\r\n").unwrap();
            assert!(reply(&mut stream).starts_with("250-"));
            // What the client holds of its side is not to be measured, nor needed any more: the connection is.
            let Stream::Called(stream) = stream else { panic!("not encrypted") };
            crowd.push(stream.sock);
        }
    }
    assert_eq!(house.sessions(), IDLE / 4);
    house.carries_mail();
    let peak = house.memory("VmHWM");
    let all = before + 4 * (peak - before);
    eprintln!("{} idle sessions in TLS: {before} -> {peak} KiB; {IDLE}: {all} KiB", IDLE / 4);
    assert!(all < MOST, "{before} -> {peak} KiB");
}
