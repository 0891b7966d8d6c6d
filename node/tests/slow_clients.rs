//! Clients that take their time: silent, dripping octet by octet, or not reading what they are told; and those that do not wait for ours. Every timer of a session is shortened in turn,
//! and all others are an hour, so that nothing else can end it; what the timers are is said, and tested, in `intake/patience.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use posthouse_config::{
    AddressTrust, AuthenticationMethod, Certificate, ClientTls, Gateway, Listener, ListenerTls, Match,
    Protocol, RelayControl, RelayRule, RuleTarget, Secret, Snapshot, SnapshotHash, Tier, TlsMode,
};
use posthouse_node::{
    activator::Activator,
    delivery::{Delivery, settler::Settler},
    intake::{doors::Doors, patience::Timers, session::Connection},
    metrics::{EndLabel, Metrics},
    node::Node,
    policy::Policy,
    presence::Presence,
};
use posthouse_queue::{Store, embedded::EmbeddedStore};
use posthouse_tests::pki;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A timer that runs out in a test.
const SHORT: Duration = Duration::from_millis(150);

/// Between two drops: many of them fall while a short timer runs.
const DROP: Duration = Duration::from_millis(10);

/// No test takes so long, unless a session does not end.
const BOUND: Duration = Duration::from_mins(1);

/// More than a kernel keeps of a connection.
const MOST_BUFFERED: usize = 256 * 1024 * 1024;

/// The timers of a session in which only this one runs out.
fn only(set: fn(&mut Timers)) -> Timers {
    let hour = Duration::from_hours(1);
    let mut timers = Timers {
        proxy: hour,
        handshake: hour,
        command: hour,
        silence: hour,
        credit: hour,
        replies: hour,
        linger: SHORT,
    };
    set(&mut timers);
    timers
}

/// A node that takes mail from this machine: in clear and by STARTTLS, in TLS, behind a load balancer.
struct World {
    node: Arc<Node>,
    end: CancellationToken,
    _folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(folder.path()).unwrap());
        let metrics = Arc::new(Metrics::new());
        let presence = Arc::new(Presence::new(Arc::clone(&store)));
        let settler = Settler::new(Arc::clone(&store), Arc::clone(&presence), Arc::clone(&metrics));
        let delivery = Delivery::new(settler, CancellationToken::new());
        let node = Node::new(store, Arc::clone(&presence), metrics, delivery, Activator::new().0);
        node.set_policy(Arc::new(policy()));
        let end = CancellationToken::new();
        let mut writable = presence.watch_writable();
        tokio::spawn(presence.keep(end.clone()));
        writable.wait_for(|writable| *writable).await.unwrap();
        Self { node, end, _folder: folder }
    }

    /// Serves one connection to its end, whatever the client does; what the client heard.
    async fn serve(
        &self,
        listener: &str,
        timers: Timers,
        client: impl FnOnce(TcpStream) -> Vec<u8> + Send + 'static,
    ) -> String {
        self.serve_on(connected(), listener, timers, client).await
    }

    /// The same over a connection that is there already.
    async fn serve_on(
        &self,
        (socket, calling): (TcpStream, TcpStream),
        listener: &str,
        timers: Timers,
        client: impl FnOnce(TcpStream) -> Vec<u8> + Send + 'static,
    ) -> String {
        let client = thread::spawn(move || client(calling));
        let doors = Doors::new(100);
        let connection = Connection {
            node: Arc::clone(&self.node),
            listener: listener.into(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            stop: CancellationToken::new(),
            doors: doors.clone(),
            timers,
        };
        socket.set_nonblocking(true).unwrap();
        let serving =
            connection.serve(tokio::net::TcpStream::from_std(socket).unwrap(), doors.place().unwrap());
        tokio::time::timeout(BOUND, serving).await.expect("the session ends");
        let heard = tokio::task::spawn_blocking(|| client.join().unwrap()).await.unwrap();
        String::from_utf8_lossy(&heard).into_owned()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// Both ends of a connection whose buffers are as small as they can be.
fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    set_socket_send_buffer_size(&listener, 1).unwrap();
    let calling = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    set_socket_recv_buffer_size(&calling, 1).unwrap();
    (listener.accept().unwrap().0, calling)
}

fn policy() -> Policy {
    let identity = pki::self_signed(&["edge.example.com"]).unwrap();
    let certificate = Certificate {
        name: "mail/tls".parse().unwrap(),
        chain: identity.chain.into(),
        key: Secret::new(identity.key),
    };
    let listener = |name: &str, mode: Option<TlsMode>| Listener {
        name: name.into(),
        protocol: Protocol::Smtp,
        port: 25,
        bind_port: 25,
        closed: None,
        tls: mode.map(|mode| ListenerTls {
            mode,
            required: false,
            certificates: [certificate.name.clone()].into(),
        }),
        proxy_networks: Box::default(),
    };
    let mut proxied = listener("proxied", None);
    proxied.proxy_networks = ["127.0.0.0/8".parse().unwrap()].into();
    let mut gateway = Gateway::new("mail/edge".parse().unwrap(), "edge.example.com".parse().unwrap());
    gateway.listeners =
        [listener("smtp", Some(TlsMode::StartTls)), listener("smtps", Some(TlsMode::Implicit)), proxied]
            .into();
    gateway.relay_control = Some(RelayControl {
        networks: ["127.0.0.0/8".parse().unwrap()].into(),
        address_trust: AddressTrust::Always,
        ..RelayControl::default()
    });
    let mut snapshot = Snapshot::new(gateway);
    snapshot.certificates = [certificate].into();
    snapshot.rules = [RelayRule {
        origin: "mail/rule".parse().unwrap(),
        tier: Tier::First,
        order: 0,
        suspended: false,
        matches: Match::Always,
        target: RuleTarget::Direct,
        credentials: None,
        method: AuthenticationMethod::Auto,
        tls: ClientTls::default(),
        guarded: false,
        unsupported: Box::default(),
    }]
    .into();
    Policy::of(Arc::new(snapshot), SnapshotHash::of(b""), None).unwrap()
}

/// What the client does once it has said what it has to say.
#[derive(Clone, Copy, Debug)]
enum Then {
    Silent,
    /// One octet after the other, round and round.
    Drips(&'static [u8]),
}

/// A client that waits for the reply to each line, then drips or is silent until the end. What it heard. Of a chunk with content only the
/// announcement is a line: its reply is due behind it.
fn client(lines: &'static [&'static str], then: Then) -> impl FnOnce(TcpStream) -> Vec<u8> + Send {
    move |mut stream| {
        let mut heard = Vec::new();
        until_reply(&mut stream, &mut heard);
        for line in lines {
            stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
            if !line.ends_with("LAST") {
                until_reply(&mut stream, &mut heard);
            }
        }
        drip(stream, then, heard)
    }
}

/// Drips until the other side has enough; all that was heard.
fn drip(mut stream: TcpStream, then: Then, mut heard: Vec<u8>) -> Vec<u8> {
    let mut writing = stream.try_clone().unwrap();
    let dripping = thread::spawn(move || {
        let Then::Drips(drops) = then else { return };
        for octet in drops.iter().cycle() {
            if writing.write_all(&[*octet]).is_err() {
                return;
            }
            thread::park_timeout(DROP);
        }
    });
    if let Err(error) = stream.read_to_end(&mut heard) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    drop(stream);
    dripping.join().unwrap();
    heard
}

fn until_reply(stream: &mut TcpStream, heard: &mut Vec<u8>) {
    let begins = heard.len();
    let mut octet = [0];
    loop {
        stream.read_exact(&mut octet).unwrap();
        heard.push(octet[0]);
        let said = heard[begins..].strip_suffix(b"\r\n");
        let last = said.map(|said| said.rsplit(|octet| *octet == b'\n').next().unwrap());
        if last.is_some_and(|line| line.get(3) == Some(&b' ')) {
            return;
        }
    }
}

const EHLO: &str = "EHLO client.test";
const MAIL: &str = "MAIL FROM:<a@src.test>";
const RCPT: &str = "RCPT TO:<b@dst.test>";

/// Where a session is when a command is due.
const COMMAND_IS_DUE: &[&[&str]] =
    &[&[], &[EHLO], &[EHLO, MAIL], &[EHLO, MAIL, RCPT], &[EHLO, MAIL, RCPT, "BDAT 0"]];

/// Where a session is when content is due; what is refused is read, too.
const CONTENT_IS_DUE: &[&[&str]] =
    &[&[EHLO, MAIL, RCPT, "DATA"], &[EHLO, MAIL, RCPT, "BDAT 100000 LAST"], &[EHLO, "BDAT 100000 LAST"]];

fn is_told_that_it_took_too_long(heard: &str) -> bool {
    // RFC 5321 §3.8, §4.5.3.2.7
    heard.lines().last().is_some_and(|last| last.starts_with("421 4.4.2 "))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_does_not_come_whole_in_time_ends_the_session() {
    let world = World::new().await;
    let endless = [Then::Silent, Then::Drips(b"NOOP x"), Then::Drips(b"\xff\0"), Then::Drips(b"x")];
    for lines in COMMAND_IS_DUE {
        for then in endless {
            let timers = only(|timers| timers.command = SHORT);
            let heard = world.serve("smtp", timers, client(lines, then)).await;
            assert!(is_told_that_it_took_too_long(&heard), "{lines:?} {then:?}: {heard}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_stops_ends_the_session() {
    let world = World::new().await;
    for lines in CONTENT_IS_DUE {
        let timers = only(|timers| timers.silence = SHORT);
        let heard = world.serve("smtp", timers, client(lines, Then::Silent)).await;
        assert!(is_told_that_it_took_too_long(&heard), "{lines:?}: {heard}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_drips_ends_the_session() {
    let world = World::new().await;
    for lines in CONTENT_IS_DUE {
        let timers = only(|timers| timers.credit = SHORT);
        let heard = world.serve("smtp", timers, client(lines, Then::Drips(b"drops\r\n"))).await;
        assert!(is_told_that_it_took_too_long(&heard), "{lines:?}: {heard}");
    }
    // RFC 3030: each chunk is answered, and each answer would begin the time anew.
    let timers = only(|timers| timers.credit = SHORT);
    let lines = &[EHLO, MAIL, RCPT, "BDAT 0"];
    let heard = world.serve("smtp", timers, client(lines, Then::Drips(b"BDAT 1\r\nx"))).await;
    assert!(is_told_that_it_took_too_long(&heard), "{heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_not_made_in_time_ends_the_connection() {
    let world = World::new().await;
    // A record that says it is a ClientHello of 16,000 octets.
    let hello = b"\x16\x03\x01\x3e\x80\x01\x00\x3e\x7c\x03\x03";
    for (listener, lines, before) in
        [("smtps", [].as_slice(), ""), ("smtp", [EHLO, "STARTTLS"].as_slice(), "220 2.0.0 ")]
    {
        for drips in [false, true] {
            let timers = only(|timers| timers.handshake = SHORT);
            let calls = move |mut stream: TcpStream| {
                let mut heard = Vec::new();
                for line in lines {
                    until_reply(&mut stream, &mut heard);
                    stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
                }
                if !lines.is_empty() {
                    until_reply(&mut stream, &mut heard);
                }
                if drips {
                    stream.write_all(hello).unwrap();
                }
                drip(stream, if drips { Then::Drips(b"\0") } else { Then::Silent }, heard)
            };
            let heard = world.serve(listener, timers, calls).await;
            let last = heard.lines().last().unwrap_or_default();
            assert!(last.starts_with(before) && last.is_empty() == before.is_empty(), "{listener}: {heard}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_header_that_does_not_come_in_time_ends_the_connection() {
    let world = World::new().await;
    // Version 2, and 4,096 octets of more to come.
    let signature = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x10\x00";
    for (first, then) in [
        (b"".as_slice(), Then::Silent),
        (b"PROXY TCP4 127.0.0.1".as_slice(), Then::Silent),
        (b"PROXY TCP4".as_slice(), Then::Drips(b" ")),
        (signature.as_slice(), Then::Drips(b"\0")),
    ] {
        let timers = only(|timers| timers.proxy = SHORT);
        let calls = move |mut stream: TcpStream| {
            stream.write_all(first).unwrap();
            drip(stream, then, Vec::new())
        };
        let heard = world.serve("proxied", timers, calls).await;
        assert!(heard.is_empty(), "{heard}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_its_replies_ends_its_session() {
    let world = World::new().await;
    let timers = only(|timers| timers.replies = SHORT);
    let deaf = |mut stream: TcpStream| {
        until_reply(&mut stream, &mut Vec::new());
        stream.write_all(format!("{EHLO}\r\n").as_bytes()).unwrap();
        until_reply(&mut stream, &mut Vec::new());
        stream.write_all(format!("{MAIL}\r\n").as_bytes()).unwrap();
        // What is not read fills the connection, and nothing is taken behind it.
        let lines = format!("{RCPT}\r\n").repeat(1000);
        let mut offered = 0;
        while offered < MOST_BUFFERED && stream.write_all(lines.as_bytes()).is_ok() {
            offered += lines.len();
        }
        assert!(offered < MOST_BUFFERED, "all of it was taken");
        Vec::new()
    };
    world.serve("smtp", timers, deaf).await;
    let ended = world.node.metrics.sessions_ended.get_or_create(&EndLabel { by: "timeout" }).get();
    assert_eq!(ended, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_talks_before_the_greeting_is_not_greeted() {
    // RFC 5321 §4.3.1
    let world = World::new().await;
    let proxied = format!("PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\n{EHLO}\r\n");
    for (listener, says) in [("smtp", format!("{EHLO}\r\n")), ("smtp", "x".to_owned()), ("proxied", proxied)]
    {
        let (socket, mut calling) = connected();
        calling.write_all(says.as_bytes()).unwrap();
        let listens = |stream| drip(stream, Then::Silent, Vec::new());
        let heard = world.serve_on((socket, calling), listener, only(|_| ()), listens).await;
        assert_eq!(heard, "554 5.5.1 wait for the greeting, closing\r\n", "{listener} {says:?}");
    }
    // Who says no more than whose connection it is, is.
    let (socket, mut calling) = connected();
    calling.write_all(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\n").unwrap();
    let quits = client(&["QUIT"], Then::Silent);
    let heard = world.serve_on((socket, calling), "proxied", only(|_| ()), quits).await;
    assert!(heard.starts_with("220 "), "{heard}");
}
