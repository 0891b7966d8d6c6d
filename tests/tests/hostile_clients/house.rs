//! What the tests of hostile clients share: a gateway with a listener of each kind, a raw connection to one, and what is asked afterwards.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use posthouse_tests::gateway::Gateway;
use posthouse_tests::manifests::{self, Manifests};
use posthouse_tests::metrics::Metrics;
use posthouse_tests::pki::Authority;
use posthouse_tests::process;
use posthouse_tests::sink::{Letter, Protocol, Sink, accept_all};
use posthouse_tests::smtp::Client;
use posthouse_tests::wait::{self, SOON};
use posthouse_tests::wire::{Stream, Trust};
use rustix::net::sockopt::set_socket_linger;

/// No client waits longer for an octet: only a session that does not end makes it so long.
const SILENCE: Duration = Duration::from_mins(1);

/// A gateway whose listeners are `smtp` (clear, with STARTTLS), `smtps` and `proxied`, and where its mail arrives.
pub(crate) struct House {
    // In the order in which they end.
    gateway: Gateway,
    _manifests: Manifests,
    sink: Sink,
}

impl House {
    pub(crate) fn start() -> Self {
        Self::with_limits("{messageSize: 1Mi, recipientsPerMessage: 10}")
    }

    pub(crate) fn with_limits(limits: &str) -> Self {
        let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
        let manifests = Manifests::relay_to(sink.address()).unwrap();
        let tls = |mode: &str| format!("tls: {{mode: {mode}, certificateSecretRefs: [{{name: mail-tls}}]}}");
        let listeners = [
            format!("{{name: smtp, port: 25, protocol: Smtp, {}}}", tls("StartTls")),
            format!("{{name: smtps, port: 465, protocol: Smtp, {}}}", tls("Implicit")),
            "{name: proxied, port: 26, protocol: Smtp, proxyProtocol: {trustedNetworks: [127.0.0.0/8]}}"
                .to_owned(),
        ];
        let listeners = listeners.each_ref().map(String::as_str);
        let gateway = manifests::gateway(&listeners, &[])
            .replace("{messageSize: 60Mi, recipientsPerMessage: 1000}", limits);
        manifests.write("gateway.yaml", &gateway).unwrap();
        let identity = Authority::new().unwrap().issue(&["gateway.test"]).unwrap();
        manifests.certificate("mail-tls", &identity).unwrap();
        Self { gateway: Gateway::start(manifests.path()).unwrap(), _manifests: manifests, sink }
    }

    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        self.gateway.listener(listener).unwrap()
    }

    /// A connection that has not read the greeting yet.
    pub(crate) fn connect(&self, listener: &str) -> Wire {
        let Wire(stream) = self.connect_in_clear(listener);
        Wire(match listener {
            "smtps" => stream.call_tls("gateway.test", &Trust::Anybody).unwrap(),
            _ => stream,
        })
    }

    /// The same, with nothing said about TLS.
    pub(crate) fn connect_in_clear(&self, listener: &str) -> Wire {
        let stream = TcpStream::connect(self.address(listener)).unwrap();
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        stream.set_write_timeout(Some(SILENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Wire(Stream::Clear(stream))
    }

    /// The most that the node has held in memory.
    pub(crate) fn peak_memory_kib(&self) -> u64 {
        let node = &self.gateway.run().unwrap().nodes[0];
        process::memory_kib(&node.pid.to_string(), "VmHWM").unwrap()
    }

    pub(crate) fn metrics(&self) -> Metrics {
        self.gateway.metrics(&self.gateway.run().unwrap().nodes[0]).unwrap()
    }

    /// Waits until no session is open.
    pub(crate) fn until_alone(&self) {
        let is_alone = || Ok((self.metrics().sum("posthouse_sessions", &[]) < 0.5).then_some(()));
        wait::until("the session to end", SOON, is_alone).unwrap();
    }

    /// Another client is served, whatever the hostile ones do. Its letter is the only one that arrives.
    pub(crate) fn serves_others(&self) {
        let mut client = Client::hello(self.address("smtp")).unwrap();
        let reply = client.send("honest@src.test", &["b@dst.test"], b"Subject: x\r\n\r\nhi\r\n").unwrap();
        assert_eq!(reply.code, 250, "{reply}");
        assert_eq!(client.command("QUIT").unwrap().code, 221);
        assert_eq!(self.letter().from, "honest@src.test");
    }

    pub(crate) fn letter(&self) -> Letter {
        self.sink.letter(SOON).unwrap()
    }

    /// All that has arrived, once the queue is empty.
    pub(crate) fn all_letters(&mut self) -> Vec<Letter> {
        self.gateway.until_drained(SOON).unwrap();
        self.sink.arrived()
    }
}

/// A client's end of a connection.
pub(crate) struct Wire(Stream);

impl Wire {
    pub(crate) fn socket(&self) -> &TcpStream {
        match &self.0 {
            Stream::Clear(stream) => stream,
            Stream::Called(stream) => &stream.sock,
            Stream::Served(stream) => &stream.sock,
        }
    }

    pub(crate) fn say(&mut self, octets: &[u8]) {
        self.try_say(octets).unwrap();
    }

    /// The other side may have closed.
    pub(crate) fn try_say(&mut self, octets: &[u8]) -> std::io::Result<()> {
        self.0.write_all(octets)?;
        self.0.flush()
    }

    /// One reply with all its lines.
    pub(crate) fn reply(&mut self) -> String {
        let mut said = Vec::new();
        let mut octet = [0];
        loop {
            self.0.read_exact(&mut octet).unwrap();
            said.push(octet[0]);
            let line =
                said.strip_suffix(b"\r\n").map(|said| said.rsplit(|octet| *octet == b'\n').next().unwrap());
            if line.is_some_and(|line| line.get(3) == Some(&b' ')) {
                return String::from_utf8(said).unwrap();
            }
        }
    }

    /// Says a line and reads its reply.
    pub(crate) fn command(&mut self, line: &str) -> String {
        self.say(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    /// All that is said until the other side closes; what is there already is read even if it resets the connection.
    pub(crate) fn rest(&mut self) -> String {
        let mut said = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.0.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => said.extend_from_slice(&buffer[..length]),
                Err(error) => {
                    // Or, in TLS, an alert.
                    let is_end = matches!(
                        error.kind(),
                        ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::InvalidData
                    );
                    assert!(is_end, "{error}, behind {}", String::from_utf8_lossy(&said));
                    break;
                }
            }
        }
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Ends the connection by RST: what was not read is lost on both sides.
    pub(crate) fn reset(self) {
        set_socket_linger(self.socket(), Some(Duration::ZERO)).unwrap();
    }

    /// Ends this side of the connection only.
    pub(crate) fn half_close(&mut self) {
        self.try_half_close().unwrap();
    }

    /// The same, where the other side may have reset the connection.
    pub(crate) fn try_half_close(&mut self) -> std::io::Result<()> {
        self.0.close()?; // RFC 8446 §6.1; in clear there is nothing to say
        self.socket().shutdown(Shutdown::Write)
    }
}
