//! A system under test, what is behind it, and the load before it: in clear by smtp-source and smtp-sink, encrypted by a client and a sink of ours.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use posthouse_tests::gateway::{Gateway, Options};
use posthouse_tests::manifests::{self, Manifests};
use posthouse_tests::peers::postfix::Postfix;
use posthouse_tests::peers::{Load, SmtpSink};
use posthouse_tests::pki::{Authority, Identity};
use posthouse_tests::sink::{Manner, Sink, Tls};
use posthouse_tests::smtp::{Client, Reply};
use posthouse_tests::store::{self, Flavor, Server};
use posthouse_tests::wire::Trust;

/// What makes Postfix fast at this: many processes, no delay at intake, no limit by destination, no look-ups.
const TUNED: &str = "\
default_process_limit = 250
default_destination_concurrency_limit = 100
initial_destination_concurrency = 100
smtpd_client_connection_count_limit = 0
smtpd_client_event_limit_exceptions = 127.0.0.0/8
qmgr_message_active_limit = 40000
qmgr_message_recipient_limit = 40000
smtp_dns_support_level = disabled
";

/// And under TLS: connections and sessions to the next hop are used again.
const TUNED_TLS: &str = "\
smtpd_tls_security_level = encrypt
smtpd_tls_loglevel = 0
smtp_tls_loglevel = 0
smtp_tls_security_level = secure
smtp_tls_secure_cert_match = sink.test
smtp_tls_connection_reuse = yes
smtp_tls_session_cache_database = btree:FOLDER/data/smtp_scache
";

/// What all certificates name.
const NAMES: [&str; 3] = ["gateway.test", "sink.test", "127.0.0.1"];

/// A system under test with the sink behind it. Fields drop in order: what sends goes before what it sends to.
pub(crate) struct System {
    pub(crate) name: &'static str,
    address: SocketAddr,
    _relay: Relay,
    _server: Option<Server>,
    _manifests: Option<Manifests>,
    ends: Ends,
    folder: tempfile::TempDir,
}

/// Held, for its end is the end of what it runs.
enum Relay {
    Postfix { _held: Box<Postfix> },
    Gateway { _held: Box<Gateway> },
}

/// What sends and what receives.
enum Ends {
    Clear(SmtpSink),
    Encrypted { sink: Box<Sink>, arrived: usize, secrets: Box<Secrets> },
}

/// Who signs, and what is signed.
struct Secrets {
    authority: Authority,
    identity: Identity,
}

impl System {
    /// Starts it, with its next hop.
    pub(crate) fn start(name: &'static str, tls: bool) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let ends = Ends::start(tls, &folder)?;
        if name == "postfix" {
            let postfix = postfix(&ends)?;
            let address = postfix.address();
            let relay = Relay::Postfix { _held: Box::new(postfix) };
            return Ok(Self { name, address, _relay: relay, _server: None, _manifests: None, ends, folder });
        }
        let flavor = Flavor::ALL.into_iter().find(|flavor| flavor.name() == name);
        let server =
            flavor.map(|flavor| Server::start_with(flavor, store::Options::default())).transpose()?;
        let manifests = manifests(&ends)?;
        let options = Options { redis: server.as_ref().map(Server::url), ..Options::default() };
        let gateway = Gateway::start_with(manifests.path(), options)?;
        let address = gateway.smtp()?;
        let relay = Relay::Gateway { _held: Box::new(gateway) };
        Ok(Self { name, address, _relay: relay, _server: server, _manifests: Some(manifests), ends, folder })
    }

    /// Sends all of a load; returns how long it took until the last 250.
    pub(crate) fn send(&self, load: &Load, bound: Duration) -> Result<Duration> {
        match &self.ends {
            Ends::Clear(_) => load.run(self.address, self.folder.path(), bound),
            Ends::Encrypted { secrets, .. } => send_encrypted(self.address, load, &secrets.trust()?),
        }
    }

    /// Waits until this many messages have arrived since the start.
    pub(crate) fn until_arrived(&mut self, messages: usize, bound: Duration) -> Result<()> {
        match &mut self.ends {
            Ends::Clear(sink) => sink.until_messages(messages as u64, bound),
            Ends::Encrypted { sink, arrived, .. } => {
                while *arrived < messages {
                    sink.letter(bound)?;
                    *arrived += 1;
                }
                Ok(())
            }
        }
    }

    /// How many messages have arrived since the start.
    pub(crate) fn arrived(&mut self) -> Result<usize> {
        match &mut self.ends {
            Ends::Clear(sink) => Ok(usize::try_from(sink.messages()?)?),
            Ends::Encrypted { sink, arrived, .. } => {
                *arrived += sink.arrived().len();
                Ok(*arrived)
            }
        }
    }
}

impl Ends {
    fn start(tls: bool, folder: &tempfile::TempDir) -> Result<Self> {
        if !tls {
            return Ok(Self::Clear(SmtpSink::start(folder.path())?));
        }
        let authority = Authority::new()?;
        let identity = authority.issue(&NAMES)?;
        let sink = Sink::serve(Manner::open().tls(Tls::StartTls(identity.server()?)))?;
        let secrets = Box::new(Secrets { authority, identity });
        Ok(Self::Encrypted { sink: Box::new(sink), arrived: 0, secrets })
    }

    fn next_hop(&self) -> SocketAddr {
        match self {
            Self::Clear(sink) => sink.address(),
            Self::Encrypted { sink, .. } => sink.address(),
        }
    }
}

impl Secrets {
    fn trust(&self) -> Result<Trust> {
        Ok(Trust::Root(self.authority.root()?))
    }
}

fn postfix(ends: &Ends) -> Result<Postfix> {
    let next = ends.next_hop();
    let settings = format!("{TUNED}relayhost = [{}]:{}\n", next.ip(), next.port());
    let Ends::Encrypted { secrets, .. } = ends else { return Postfix::start(&settings) };
    let roots = secrets.authority.root_file();
    Postfix::secure(
        &secrets.identity,
        &format!("{settings}{TUNED_TLS}smtp_tls_CAfile = {}\n", roots.display()),
    )
}

fn manifests(ends: &Ends) -> Result<Manifests> {
    let next = ends.next_hop();
    let Ends::Encrypted { secrets, .. } = ends else { return Manifests::relay_to(next) };
    let manifests = Manifests::new()?;
    let listener =
        "{name: smtp, port: 25, protocol: Smtp, tls: {mode: StartTls, certificateSecretRefs: [{name: own}]}}";
    manifests.write("gateway.yaml", &manifests::gateway(&[listener], &[]))?;
    manifests.certificate("own", &secrets.identity)?;
    manifests.secret("roots", &[("ca.crt", &secrets.authority.root()?)])?;
    manifests.relay_with(next, "tls: {mode: StartTls, verify: Required, caSecretRef: {name: roots}}")?;
    Ok(manifests)
}

/// As smtp-source does it, a reply for each command; a thread per session.
fn send_encrypted(server: SocketAddr, load: &Load, trust: &Trust) -> Result<Duration> {
    let text = "x".repeat(62) + "\r\n";
    let content = "Subject: x\r\n\r\n".to_owned() + &text.repeat(load.size / text.len());
    let left = AtomicUsize::new(load.messages);
    let take = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
    let session = || -> Result<()> {
        while take() {
            let mut client = open(server, trust)?;
            loop {
                positive(&client.send(&load.from, &[&load.to], content.as_bytes())?)?;
                if !load.keep || !take() {
                    break;
                }
            }
            positive(&client.command("QUIT")?)?;
        }
        Ok(())
    };
    let begin = Instant::now();
    thread::scope(|scope| {
        let sessions: Vec<_> = (0..load.sessions).map(|_| scope.spawn(session)).collect();
        let ended =
            sessions.into_iter().map(|session| session.join().map_err(|_| anyhow!("a session panicked"))?);
        ended.collect::<Result<()>>()
    })?;
    Ok(begin.elapsed())
}

fn open(server: SocketAddr, trust: &Trust) -> Result<Client> {
    let mut client = Client::hello(server)?;
    client.start_tls("gateway.test", trust)?;
    positive(&client.command("EHLO client.test")?)?;
    Ok(client)
}

fn positive(reply: &Reply) -> Result<()> {
    ensure!(reply.is_positive(), "refused: {reply}");
    Ok(())
}
