//! A next hop that breaks: an SMTP or LMTP server that takes mail as it should, but for one moment of its sessions, at which it does what no server should.
//!
//! Like the [sink](crate::sink) it is not the product's receiver and shares no code with it; a thread per session, blocking I/O. It does not look at the
//! clock: where time is to pass, it asks the test's own [`Clock`] for it, which may be one that the test winds by hand.

mod session;

use std::io::Error;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::ServerConfig;

use crate::sink::Protocol;

/// Lets so much time pass; returns when it has. No time: what was said before is heard by then.
pub type Clock = Arc<dyn Fn(Duration) + Send + Sync>;

/// Octets of receive buffer: a client that is not read from is soon held up.
const RECEIVES: usize = 16 * 1024;

/// The moments of a session: the reply that is due then, if another is not named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The greeting.
    Greeting,
    /// EHLO or LHLO in clear.
    Hello,
    /// STARTTLS.
    StartTls,
    /// The handshake, when the client has begun it.
    Handshake,
    /// EHLO or LHLO inside TLS.
    HelloAgain,
    /// AUTH.
    Auth,
    /// MAIL of the first transaction of a session.
    Mail,
    /// MAIL of the second one, on the connection that was kept.
    NextMail,
    /// RCPT of this place, from 1.
    Rcpt(usize),
    /// Every RCPT.
    EachRcpt,
    /// DATA.
    Data,
    /// When the first line of content has come, and before more of it is read.
    Content,
    /// A chunk that is not the last.
    Chunk,
    /// The final dot or the last chunk; LMTP: the reply of this place, from 1.
    Dot(usize),
    /// Nothing is due: a message was just taken, and the connection rests.
    Idle,
    /// QUIT.
    Quit,
}

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Says this line instead of the reply.
    Says(&'static [u8]),
    /// The same, and closes the connection.
    SaysAndCloses(&'static [u8]),
    /// Resets the connection.
    Resets,
    /// Closes the connection.
    Closes,
    /// Says nothing while so much time passes. In the content: takes nothing, until it is to behave.
    Silent(Duration),
    /// Says one octet of a reply that has no end each second, for so long. In the content: takes some octets each second, until it is to behave.
    Drips(Duration),
    /// Says the reply when so much time has passed.
    Late(Duration),
    /// Says the reply, and behind it another that nobody asked for.
    SaysTwice,
    /// Says a reply that is none to this command: 354 where 2yz is due, 250 where 354 is.
    OutOfPlace,
    /// Says the reply, in lines of 1 MiB in all.
    Mebibyte,
    /// Says a reply of lines without end.
    EndlessLines,
    /// Says a line without end.
    EndlessLine,
    /// Says octets that are no reply, nor anything else.
    Garbage,
    /// Says octets on the connection beneath TLS, which break it.
    BreaksTls,
}

/// How it serves.
#[derive(Clone)]
pub struct Manner {
    /// What it speaks.
    pub protocol: Protocol,
    /// What its EHLO offers besides STARTTLS and AUTH.
    pub keywords: Vec<&'static str>,
    /// STARTTLS with this configuration.
    pub tls: Option<Arc<ServerConfig>>,
    /// The handshake comes first, without STARTTLS.
    pub implicit: bool,
    /// AUTH PLAIN is offered; whoever says it is let in.
    pub login: bool,
    /// What it does, and when.
    pub sabotage: Option<(At, How)>,
    /// How often it does so before it serves as it should.
    pub times: usize,
    /// Where time passes.
    pub clock: Clock,
}

impl Manner {
    /// It serves as it should.
    #[must_use]
    pub fn honest(protocol: Protocol, clock: Clock) -> Self {
        let keywords = vec!["8BITMIME", "ENHANCEDSTATUSCODES"];
        Self { protocol, keywords, tls: None, implicit: false, login: false, sabotage: None, times: 1, clock }
    }

    /// It does this at this moment, once.
    #[must_use]
    pub fn sabotage(self, at: At, how: How) -> Self {
        Self { sabotage: Some((at, how)), ..self }
    }
}

/// A clock that goes by itself.
#[must_use]
pub fn real_time() -> Clock {
    Arc::new(thread::sleep)
}

/// What it has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Connections.
    pub sessions: usize,
    /// What clients said, but no content; each with the number of its session, from 1.
    pub lines: Vec<(usize, String)>,
    /// The recipients of which the content came whole, each time that it did, and whether it was told that the mail is taken.
    pub letters: Vec<(String, bool)>,
    /// Octets that it got rid of in doing what it does.
    pub said: usize,
    /// It has done what it does while a connection rests.
    pub is_done: bool,
    /// The client went away before a timer of its own had run out.
    pub is_impatient: bool,
    /// The client did not go away when it should have.
    pub is_outlasted: bool,
}

impl Seen {
    /// The recipients whose mail was taken, in order.
    #[must_use]
    pub fn taken(&self) -> Vec<&str> {
        let mut taken: Vec<_> = self.letters.iter().filter(|(_, told)| *told).map(|(to, _)| &**to).collect();
        taken.sort_unstable();
        taken
    }
}

/// What the sessions share.
struct Serving {
    manner: Manner,
    /// How often it will still do what it does.
    left: AtomicUsize,
    behaves: AtomicBool,
    /// It holds content up, and lets time pass for it.
    holds: AtomicBool,
    seen: Mutex<Seen>,
    ending: AtomicBool,
}

impl Serving {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running saboteur.
pub struct Saboteur {
    address: SocketAddr,
    serving: Arc<Serving>,
}

impl Saboteur {
    /// Listens on an ephemeral loopback port.
    pub fn start(manner: Manner) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("a loopback port for a saboteur")?;
        rustix::net::sockopt::set_socket_recv_buffer_size(&listener, RECEIVES)?;
        let address = listener.local_addr()?;
        let serving = Arc::new(Serving {
            left: AtomicUsize::new(manner.times),
            manner,
            behaves: AtomicBool::default(),
            holds: AtomicBool::default(),
            seen: Mutex::default(),
            ending: AtomicBool::default(),
        });
        let shared = Arc::clone(&serving);
        thread::spawn(move || accept(&listener, &shared));
        Ok(Self { address, serving })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it holds content up just now, and lets time pass for it.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.serving.holds.load(Ordering::Acquire)
    }

    /// What it has seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.serving.seen().clone()
    }

    /// From now on it serves as it should; a session in which it is silent ends.
    pub fn behave(&self) {
        self.serving.left.store(0, Ordering::Release);
        self.serving.behaves.store(true, Ordering::Release);
    }
}

impl Drop for Saboteur {
    fn drop(&mut self) {
        self.serving.ending.store(true, Ordering::Release);
        // The accepting thread looks at the flag after each connection: this is the last one.
        drop(TcpStream::connect(self.address));
    }
}

fn accept(listener: &TcpListener, serving: &Arc<Serving>) {
    for stream in listener.incoming() {
        if serving.ending.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let number = {
            let mut seen = serving.seen();
            seen.sessions += 1;
            seen.sessions
        };
        let serving = Arc::clone(serving);
        // A session that breaks off is what this is about.
        thread::spawn(move || -> Result<(), Error> { session::run(stream, &serving, number) });
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, ErrorKind, Read as _};

    use super::*;
    use crate::smtp::Client;

    fn saboteur(at: At, how: How) -> Saboteur {
        let manner = Manner::honest(Protocol::Smtp, Arc::new(|_| {}));
        Saboteur::start(manner.sabotage(at, how)).unwrap()
    }

    fn send(saboteur: &Saboteur) -> Result<u16> {
        Ok(Client::hello(saboteur.address())?.send("a@src.test", &["b@dst.test"], b"\r\nhi\r\n")?.code)
    }

    #[test]
    fn it_does_its_deed_once_and_then_takes_mail_like_anybody() {
        let saboteur = saboteur(At::Dot(1), How::Resets);
        assert!(send(&saboteur).is_err());
        assert_eq!(send(&saboteur).unwrap(), 250);
        let to = "b@dst.test".to_owned();
        assert_eq!(saboteur.seen().letters, [(to.clone(), false), (to, true)]);
        assert_eq!(saboteur.seen().taken(), ["b@dst.test"]);
    }

    #[test]
    fn a_reset_is_one_and_what_is_said_without_end_is_counted() {
        let reset = saboteur(At::Greeting, How::Resets);
        let error = TcpStream::connect(reset.address()).unwrap().read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let endless = saboteur(At::Greeting, How::EndlessLines);
        let mut lines = BufReader::new(TcpStream::connect(endless.address()).unwrap()).lines();
        for _ in 0..1000 {
            assert!(lines.next().unwrap().unwrap().starts_with("220-"));
        }
        assert!(endless.seen().said > 60_000);
    }
}
