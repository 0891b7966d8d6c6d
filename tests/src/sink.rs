//! The far end: an SMTP or LMTP server that takes mail and remembers it, for tests and the quickstart.
//!
//! It is not the product's receiver and shares no code with it. It accepts everything, unless its [`Policy`] says otherwise; a thread per
//! session, blocking I/O.

mod session;

use std::io::Error;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

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

/// A running sink.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
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
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::listen_with(Protocol::Smtp, address, accept_all(), places).context("a loopback port for a sink")
    }

    /// Listens on `address`.
    pub fn listen(protocol: Protocol, address: SocketAddr, policy: Policy) -> Result<Self, Error> {
        Self::listen_with(protocol, address, policy, usize::MAX)
    }

    fn listen_with(
        protocol: Protocol,
        address: SocketAddr,
        policy: Policy,
        places: usize,
    ) -> Result<Self, Error> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let (sender, letters) = mpsc::channel();
        let sessions = Arc::new(AtomicUsize::new(0));
        let ending = Arc::new(AtomicBool::new(false));
        let (counter, end) = (Arc::clone(&sessions), Arc::clone(&ending));
        thread::spawn(move || accept(&listener, protocol, &policy, places, &sender, &counter, &end));
        Ok(Self { address, letters: Mutex::new(letters), sessions, ending })
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

fn accept(
    listener: &TcpListener,
    protocol: Protocol,
    policy: &Policy,
    places: usize,
    letters: &Sender<Letter>,
    sessions: &AtomicUsize,
    ending: &AtomicBool,
) {
    let full: Policy =
        Arc::new(|moment| matches!(moment, Moment::Connect).then(|| "421 4.3.2 too many".to_owned()));
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if ending.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        sessions.fetch_add(1, Ordering::Relaxed);
        let has_place = open.fetch_add(1, Ordering::AcqRel) < places;
        let (policy, letters) = (Arc::clone(if has_place { policy } else { &full }), letters.clone());
        let open = Arc::clone(&open);
        thread::spawn(move || {
            // A session that breaks off leaves nothing behind: its sender tries again, or the test says what is missing.
            let _ = session::run(protocol, stream, &policy, &letters);
            open.fetch_sub(1, Ordering::AcqRel);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::Client;
    use crate::wait::SOON;

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
}
