//! The far end: an SMTP or LMTP server that takes mail and remembers it, for tests and the quickstart.
//!
//! It is not the product's receiver and shares no code with it. It accepts everything, unless its [`Policy`] says otherwise; a thread per
//! session, blocking I/O.

mod authentication;
mod manner;
mod session;

use std::hash::{BuildHasher as _, RandomState};
use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub use manner::{Authentication, Manner, Mechanism, Tls};

/// Loopback addresses that are tried, at random.
const ADDRESSES: usize = 10;

/// What it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 5321.
    Smtp,
    /// RFC 2033: a reply per recipient after the data.
    Lmtp,
}

impl Protocol {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Smtp => "SMTP",
            Self::Lmtp => "LMTP",
        }
    }
}

/// A message that arrived whole and was accepted for at least one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Which protocol brought it.
    pub protocol: Protocol,
    /// The reverse-path without its angle brackets; empty is the null reverse-path.
    pub from: String,
    /// The forward-paths that were accepted.
    pub to: Vec<String>,
    /// The content, dots unstuffed.
    pub content: Vec<u8>,
}

impl Letter {
    /// The first header field of this name, unfolded.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.content);
        let head = text.split("\r\n\r\n").next().unwrap_or_default();
        let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        let mut fields = unfolded.split("\r\n").filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    }
}

/// The moments at which a [`Policy`] is asked.
#[derive(Clone, Copy, Debug)]
pub enum Moment<'a> {
    /// A client connected.
    Connect,
    /// MAIL with this reverse-path.
    Mail(&'a str),
    /// RCPT with this forward-path.
    Rcpt(&'a str),
    /// The data of this letter is complete (for LMTP: asked per recipient, which is then the only one in it).
    Content(&'a Letter),
}

/// What a sink answers instead of its positive reply: a whole line such as `450 4.2.1 later`. A 421 also closes the connection.
pub type Policy = Arc<dyn Fn(Moment<'_>) -> Option<String> + Send + Sync>;

/// The policy that takes everything.
#[must_use]
pub fn accept_all() -> Policy {
    Arc::new(|_| None)
}

/// A line that a client sent, but no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Which session it was, from 1.
    pub session: usize,
    /// Whether it came encrypted.
    pub encrypted: bool,
    /// Without its CRLF; an answer within an authentication exchange is one too.
    pub line: String,
}

/// What the sessions of a sink share.
struct Serving {
    protocol: Protocol,
    manner: Manner,
    letters: Sender<Letter>,
    commands: Arc<Mutex<Vec<Command>>>,
    sessions: Arc<AtomicUsize>,
    ending: Arc<AtomicBool>,
}

/// A running sink.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    commands: Arc<Mutex<Vec<Command>>>,
    letters: Mutex<Receiver<Letter>>,
    sessions: Arc<AtomicUsize>,
    ending: Arc<AtomicBool>,
}

impl Sink {
    /// Listens on an ephemeral loopback port.
    pub fn start(protocol: Protocol, policy: Policy) -> Result<Self> {
        Self::listen(protocol, SocketAddr::from(([127, 0, 0, 1], 0)), policy)
            .context("a loopback port for a sink")
    }

    /// An SMTP sink that takes everything, over so many connections at one time; to more it says 421.
    pub fn with_places(places: usize) -> Result<Self> {
        Self::serve(Manner { places, ..Manner::open() })
    }

    /// An SMTP sink that serves in this manner.
    pub fn serve(manner: Manner) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::serve_at(Protocol::Smtp, address, manner).context("a loopback port for a sink")
    }

    /// An SMTP sink on port 25 of a loopback address that it has to itself: what is found by MX is spoken to on that port. Wants to be root.
    pub fn exchanger(manner: &Manner) -> Result<Self> {
        for _ in 0..ADDRESSES {
            let [a, b, c, ..] = RandomState::new().hash_one(()).to_ne_bytes();
            // Not 127.0.0.0/16, where others are.
            let address = SocketAddr::from(([127, a | 1, b, c | 1], 25));
            match Self::serve_at(Protocol::Smtp, address, manner.clone()) {
                Ok(sink) => return Ok(sink),
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                Err(error) => return Err(error).with_context(|| format!("listening on {address}")),
            }
        }
        bail!("no loopback address of {ADDRESSES} was free")
    }

    /// Listens on `address`.
    pub fn listen(protocol: Protocol, address: SocketAddr, policy: Policy) -> Result<Self, Error> {
        Self::serve_at(protocol, address, Manner::open().policy(policy))
    }

    /// Listens on `address` and serves in this manner.
    pub fn serve_at(protocol: Protocol, address: SocketAddr, manner: Manner) -> Result<Self, Error> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let (sender, letters) = mpsc::channel();
        let serving = Serving {
            protocol,
            manner,
            letters: sender,
            commands: Arc::default(),
            sessions: Arc::default(),
            ending: Arc::default(),
        };
        let (commands, sessions) = (Arc::clone(&serving.commands), Arc::clone(&serving.sessions));
        let ending = Arc::clone(&serving.ending);
        thread::spawn(move || accept(&listener, &Arc::new(serving)));
        Ok(Self { address, commands, letters: Mutex::new(letters), sessions, ending })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has taken so far.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// What clients have said so far.
    #[must_use]
    pub fn commands(&self) -> Vec<Command> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first command so far that begins so.
    #[must_use]
    pub fn command(&self, begin: &str) -> Option<Command> {
        self.commands().into_iter().find(|command| command.line.starts_with(begin))
    }

    /// The next letter, if one comes within `bound`.
    pub fn letter(&self, bound: Duration) -> Result<Letter> {
        let letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        letters.recv_timeout(bound).with_context(|| format!("no letter within {} s", bound.as_secs_f32()))
    }

    /// The letters that have arrived and were not taken yet.
    #[must_use]
    pub fn arrived(&self) -> Vec<Letter> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).try_iter().collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        // The accepting thread looks at the flag after each connection: this is the last one.
        drop(TcpStream::connect(self.address));
    }
}

fn accept(listener: &TcpListener, serving: &Arc<Serving>) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if serving.ending.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let number = serving.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        let has_place = open.fetch_add(1, Ordering::AcqRel) < serving.manner.places;
        let (serving, open) = (Arc::clone(serving), Arc::clone(&open));
        thread::spawn(move || {
            // A session that breaks off leaves nothing behind: its sender tries again, or the test says what is missing.
            let _ = session::run(stream, &serving, has_place, number);
            open.fetch_sub(1, Ordering::AcqRel);
        });
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::pki::Authority;
    use crate::smtp::Client;
    use crate::wait::SOON;
    use crate::wire::Trust;

    #[test]
    fn a_letter_arrives_as_it_was_sent() {
        let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
        let mut client = Client::connect(sink.address()).unwrap();
        assert_eq!(client.command("EHLO client.test").unwrap().code, 250);
        let content = b"Subject: a\r\n folded line\r\n\r\n.dot\r\n\xff\x00\r\n";
        assert_eq!(client.send("", &["b@dst.test", "c@dst.test"], content).unwrap().code, 250);
        let letter = sink.letter(SOON).unwrap();
        assert_eq!((letter.from.as_str(), letter.to.len()), ("", 2));
        assert_eq!(letter.content, content);
        assert_eq!(letter.header("subject").as_deref(), Some("a folded line"));
    }

    #[test]
    fn lmtp_answers_for_each_recipient() {
        let policy: Policy = Arc::new(|moment| match moment {
            Moment::Content(letter) if letter.to == ["full@dst.test"] => Some("452 4.2.2 full".to_owned()),
            _ => None,
        });
        let sink = Sink::start(Protocol::Lmtp, policy).unwrap();
        let mut client = Client::connect(sink.address()).unwrap();
        assert_eq!(client.command("EHLO client.test").unwrap().code, 500);
        assert_eq!(client.command("LHLO client.test").unwrap().code, 250);
        let first = client.send("a@src.test", &["b@dst.test", "full@dst.test"], b"\r\nhi\r\n").unwrap();
        assert_eq!((first.code, client.reply().unwrap().code), (250, 452));
        assert_eq!(sink.letter(SOON).unwrap().to, ["b@dst.test"]);
    }

    #[test]
    fn a_policy_refuses_a_recipient_and_the_others_stay() {
        let policy: Policy = Arc::new(|moment| match moment {
            Moment::Rcpt("no@dst.test") => Some("550 5.1.1 nobody".to_owned()),
            _ => None,
        });
        let sink = Sink::start(Protocol::Smtp, policy).unwrap();
        let mut client = Client::connect(sink.address()).unwrap();
        client.command("EHLO client.test").unwrap();
        // Pipelined, as RFC 2920 lets a client do.
        client
            .raw(
                b"MAIL FROM:<a@src.test> SIZE=9\r\nRCPT TO:<no@dst.test>\r\nRCPT TO:<b@dst.test>\r\nDATA\r\n",
            )
            .unwrap();
        let codes: Vec<u16> = (0..4).map(|_| client.reply().unwrap().code).collect();
        assert_eq!(codes, [250, 550, 250, 354]);
        client.raw(b"\r\nhi\r\n.\r\nQUIT\r\n").unwrap();
        assert_eq!((client.reply().unwrap().code, client.reply().unwrap().code), (250, 221));
        assert_eq!(sink.letter(SOON).unwrap().to, ["b@dst.test"]);
    }

    #[test]
    fn a_sink_encrypts_and_lets_in_whom_it_knows() {
        let authority = Authority::new().unwrap();
        let identity = authority.issue(&["sink.test"]).unwrap();
        let trust = Trust::Root(authority.root().unwrap());
        let manner = Manner::open().tls(Tls::StartTls(identity.server().unwrap()));
        let sink = Sink::serve(manner.only_for("u", "p", &Mechanism::ALL)).unwrap();
        // RFC 2195 §2 for this challenge and password, computed by `openssl dgst -md5 -hmac p`.
        let digest = STANDARD.encode("u a22cf4e42b083dc3fa36cc769d3546f6");
        for answers in [
            vec!["AUTH PLAIN AHUAcA=="],
            vec!["AUTH PLAIN", "AHUAcA=="],
            vec!["AUTH LOGIN", "dQ==", "cA=="],
            vec!["AUTH CRAM-MD5", &digest],
        ] {
            let mut client = Client::hello(sink.address()).unwrap();
            client.start_tls("sink.test", &trust).unwrap();
            client.command("EHLO client.test").unwrap();
            assert_eq!(client.command("MAIL FROM:<>").unwrap().code, 530);
            let codes: Vec<u16> = answers.iter().map(|answer| client.command(answer).unwrap().code).collect();
            assert_eq!(codes.last(), Some(&235), "{answers:?}: {codes:?}");
            assert_eq!(client.send("", &["b@dst.test"], b"\r\nhi\r\n").unwrap().code, 250);
        }
        let mut client = Client::hello(sink.address()).unwrap();
        assert_eq!(client.command("AUTH PLAIN AHUAeA==").unwrap().code, 535);
        assert!(!sink.command("AUTH PLAIN AHUAeA==").unwrap().encrypted);
        assert!(sink.command("AUTH PLAIN AHUAcA==").unwrap().encrypted);
    }

    #[test]
    fn chunks_are_taken_as_they_are() {
        let sink = Sink::serve(Manner::open().keywords(&["CHUNKING", "BINARYMIME"])).unwrap();
        let mut client = Client::hello(sink.address()).unwrap();
        let content = b"Subject: x\r\n\r\n.\r\n\x00\n\r end";
        let reply =
            client.send_chunks("<a@src.test> BODY=BINARYMIME", &["<b@dst.test>"], content, 7).unwrap();
        assert_eq!(reply.code, 250);
        assert_eq!(sink.letter(SOON).unwrap().content, content);
    }
}
