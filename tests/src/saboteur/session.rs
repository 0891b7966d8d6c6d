//! One session of a saboteur. Blocking I/O on one connection.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Error, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::{At, How, Serving};
use crate::sink::Protocol;
use crate::wire::Stream;

/// How long a client that should be gone is waited for: far more than any takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long it is looked whether a client is gone that should not be.
const LOOK: Duration = Duration::from_millis(2);

/// What is said without end ends here: nobody who takes that much has a bound.
const ENDLESS: usize = 16 * 1024 * 1024;

/// Octets that wait in the system to be sent, so that what was sent is what was taken, more or less.
const SENDS: usize = 32 * 1024;

/// Octets of content that are taken each second by who takes little.
const SOME: u64 = 100;

/// How often half of a timer passes, and how often the whole of one, for who takes nothing of the content, and little.
const STALLED: u32 = 500;
const SIPPED: u64 = 20;

/// A line of a reply behind its code.
const LINE: &str = "-sssssssssssssssssssssssssssssssssssssssssssssssssssssssssss\r\n";

const GARBAGE: &[u8] = b"\xff\xfe\x00\x80 \xc3\x28 \x1b[2J\r\n";

/// Serves the session to its end. `number` counts the sessions.
pub(super) fn run(stream: TcpStream, serving: &Serving, number: usize) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE * 3))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    rustix::net::sockopt::set_socket_send_buffer_size(&stream, SENDS)?;
    let stream = BufReader::new(Stream::Clear(stream));
    let mut session = Session {
        serving,
        number,
        stream,
        to: Vec::new(),
        is_open: false,
        named: 0,
        mails: 0,
        is_over: false,
    };
    if serving.manner.implicit {
        session.handshake()?;
    }
    session.reply(At::Greeting, "220 saboteur.test ESMTP")?;
    while !session.is_over {
        let Some(line) = session.line()? else { break };
        session.command(&line)?;
    }
    Ok(())
}

struct Session<'s> {
    serving: &'s Serving,
    number: usize,
    stream: BufReader<Stream>,
    /// The recipients of the transaction.
    to: Vec<String>,
    /// MAIL was taken.
    is_open: bool,
    /// RCPT commands of the transaction.
    named: usize,
    /// MAIL commands of the session.
    mails: usize,
    is_over: bool,
}

impl Session<'_> {
    fn command(&mut self, line: &str) -> Result<(), Error> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "EHLO" | "LHLO" => {
                let at = if self.stream.get_ref().is_encrypted() { At::HelloAgain } else { At::Hello };
                let offer = self.offer();
                self.reply(at, &offer)?;
            }
            "HELO" => self.say("250 saboteur.test")?,
            "STARTTLS" => self.start_tls()?,
            "AUTH" => drop(self.reply(At::Auth, "235 2.7.0 welcome")?),
            "MAIL" => {
                self.mails += 1;
                (self.named, self.to) = (0, Vec::new());
                let at = if self.mails == 1 { At::Mail } else { At::NextMail };
                self.is_open = self.reply(at, "250 2.1.0 ok")?;
            }
            "RCPT" if !self.is_open => self.say("503 5.5.1 MAIL first")?,
            "RCPT" => {
                self.named += 1;
                if self.reply(At::Rcpt(self.named), "250 2.1.5 ok")? {
                    let path = rest.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
                    self.to.extend(path.map(|(path, _)| path.to_owned()));
                }
            }
            "DATA" if self.to.is_empty() => self.say("503 5.5.1 no recipient")?,
            "DATA" => {
                if self.reply(At::Data, "354 go on")? && self.content()? {
                    self.taken()?;
                }
            }
            "BDAT" => self.chunk(rest)?,
            "QUIT" => {
                self.reply(At::Quit, "221 2.0.0 bye")?;
                self.is_over = true;
            }
            _ => self.say("250 2.0.0 ok")?,
        }
        Ok(())
    }

    fn offer(&self) -> String {
        let manner = &self.serving.manner;
        let is_clear = !self.stream.get_ref().is_encrypted();
        let starttls = (manner.tls.is_some() && is_clear).then_some("STARTTLS");
        let login = manner.login.then_some("AUTH PLAIN");
        let mut words = manner.keywords.iter().copied().chain(starttls).chain(login).peekable();
        let mut offer = "250-saboteur.test".to_owned();
        while let Some(word) = words.next() {
            let separator = if words.peek().is_some() { '-' } else { ' ' };
            let _ = write!(offer, "\r\n250{separator}{word}"); // a String takes everything
        }
        offer
    }

    fn start_tls(&mut self) -> Result<(), Error> {
        if self.serving.manner.tls.is_none() {
            return self.say("502 5.5.1 no");
        }
        if !self.reply(At::StartTls, "220 2.0.0 go on")? || self.is_over {
            return Ok(());
        }
        self.handshake()
    }

    fn handshake(&mut self) -> Result<(), Error> {
        let Some(config) = &self.serving.manner.tls else { return Ok(()) };
        if let Some(how) = self.deed(At::Handshake) {
            self.stream.get_ref().tcp().peek(&mut [0])?; // what is said before is said to STARTTLS
            self.sabotage(At::Handshake, how, "220 2.0.0 go on")?;
            self.close()?;
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let stream = self.stream.get_ref().tcp().try_clone()?;
        self.stream = BufReader::new(Stream::Clear(stream).serve_tls(&Arc::clone(config))?);
        Ok(())
    }

    /// The content up to its dot; false if it did not come whole.
    fn content(&mut self) -> Result<bool, Error> {
        let mut is_first = true;
        loop {
            let mut line = Vec::new();
            if self.stream.read_until(b'\n', &mut line)? == 0 {
                self.is_over = true;
                return Ok(false);
            }
            if line == b".\r\n" {
                return Ok(true);
            }
            if std::mem::take(&mut is_first)
                && let Some(how) = self.deed(At::Content)
            {
                self.sabotage(At::Content, how, "250 2.0.0 enough")?;
                if self.is_over {
                    return Ok(false);
                }
            }
        }
    }

    /// `BDAT octets [LAST]`.
    fn chunk(&mut self, rest: &str) -> Result<(), Error> {
        let (size, last) = rest.split_once(' ').map_or((rest, false), |(size, _)| (size, true));
        let size: u64 = size.parse().map_err(|_| ErrorKind::InvalidData)?;
        std::io::copy(&mut (&mut self.stream).take(size), &mut std::io::sink())?;
        if last { self.taken() } else { self.reply(At::Chunk, "250 2.0.0 more").map(drop) }
    }

    /// All of the content is here.
    fn taken(&mut self) -> Result<(), Error> {
        let to = std::mem::take(&mut self.to);
        let single = self.serving.manner.protocol == Protocol::Smtp;
        let letters = if single { vec![to] } else { to.into_iter().map(|to| vec![to]).collect() };
        for (place, to) in (1..).zip(letters) {
            let keep = |told: bool| {
                self.serving.seen().letters.extend(to.iter().map(|to| (to.clone(), told)));
            };
            let told = self.reply_with(At::Dot(place), "250 2.0.0 taken", &keep)?;
            // Behind what is no reply nothing is one: nobody else is told that the mail is taken.
            if self.is_over || !(told || self.refuses()) {
                return Ok(());
            }
        }
        if let Some(how) = self.deed(At::Idle) {
            let done = self.sabotage(At::Idle, how, "250 2.0.0 still here");
            self.serving.seen().is_done = true;
            done?;
        }
        Ok(())
    }

    /// Says the reply, or does what it does; true if the reply was said.
    fn reply(&mut self, at: At, honest: &str) -> Result<bool, Error> {
        self.reply_with(at, honest, &|_| {})
    }

    /// The same; who must know it is told what it will be, before it is.
    fn reply_with(&mut self, at: At, honest: &str, told: &dyn Fn(bool)) -> Result<bool, Error> {
        let how = self.deed(at);
        told(matches!(how, None | Some(How::SaysTwice | How::Late(_))));
        match how {
            None => self.say(honest).map(|()| true),
            Some(how) => self.sabotage(at, how, honest),
        }
    }

    /// Whether what it does is no more than to say no.
    fn refuses(&self) -> bool {
        matches!(self.serving.manner.sabotage, Some((_, How::Says(_))))
    }

    /// What it does at this moment, if it is one.
    fn deed(&self, at: At) -> Option<How> {
        let (when, how) = self.serving.manner.sabotage?;
        let take = |left: usize| left.checked_sub(1);
        let is_meant = when == at || matches!((when, at), (At::EachRcpt, At::Rcpt(_)));
        let is_due =
            is_meant && self.serving.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok();
        is_due.then_some(how)
    }

    /// Does it; true if the reply was said all the same.
    fn sabotage(&mut self, at: At, how: How, honest: &str) -> Result<bool, Error> {
        let code = honest.get(..3).unwrap_or_default();
        match how {
            How::Says(line) => self.put(&[line, b"\r\n"].concat())?,
            How::SaysAndCloses(line) => {
                self.put(&[line, b"\r\n"].concat())?;
                self.close()?;
            }
            How::Resets => self.reset()?,
            How::Closes => self.close()?,
            How::Silent(span) if at == At::Content => self.holding(|session| session.stall(span))?,
            How::Silent(span) => self.wait(span)?,
            How::Drips(span) if at == At::Content => self.holding(|session| session.sip(span))?,
            How::Drips(span) => self.drip(span, code)?,
            How::Late(span) => {
                self.pass(Duration::ZERO);
                self.pass(span);
                return self.say(honest).map(|()| true);
            }
            How::SaysTwice => {
                self.put(format!("{honest}\r\n250 2.0.0 and another thing\r\n").as_bytes())?;
                return Ok(true);
            }
            How::OutOfPlace if code == "354" => self.put(b"250 2.0.0 done\r\n")?,
            How::OutOfPlace => self.put(b"354 go on\r\n")?,
            How::Mebibyte => {
                let line = format!("{code}{LINE}");
                let reply = line.repeat(1024 * 1024 / line.len()) + honest + "\r\n";
                self.pour(reply.as_bytes(), reply.len())?;
            }
            How::EndlessLines => self.pour(format!("{code}{LINE}").repeat(100).as_bytes(), ENDLESS)?,
            How::EndlessLine => {
                self.put(format!("{code} ").as_bytes())?;
                self.pour(&[b's'; 4096], ENDLESS)?;
            }
            How::Garbage => self.put(GARBAGE)?,
            How::BreaksTls => self.stream.get_mut().tcp().write_all(GARBAGE)?,
        }
        Ok(false)
    }

    /// Says the same again and again.
    fn pour(&mut self, octets: &[u8], most: usize) -> Result<(), Error> {
        let mut said = 0;
        while said < most {
            self.put(octets)?;
            said += octets.len();
        }
        if most == ENDLESS {
            self.serving.seen().is_outlasted = true;
        }
        Ok(())
    }

    /// Says nothing while so much time passes: the client is there to the end of it, and no longer.
    fn wait(&mut self, span: Duration) -> Result<(), Error> {
        let moment = Duration::from_secs(1);
        self.pass(Duration::ZERO);
        self.pass(span.saturating_sub(moment));
        if self.is_gone()? {
            self.serving.seen().is_impatient = true;
        }
        self.pass(moment * 2);
        self.until_gone()
    }

    /// Says a reply of one octet each second.
    fn drip(&mut self, span: Duration, code: &str) -> Result<(), Error> {
        let reply = format!("{code}-drip\r\n");
        self.pass(Duration::ZERO);
        for octet in reply.bytes().cycle().take(usize::try_from(span.as_secs()).unwrap_or(usize::MAX)) {
            if self.put(&[octet]).is_err() {
                self.is_over = true;
                return Ok(());
            }
            self.pass(Duration::from_secs(1));
        }
        self.pass(Duration::from_secs(1));
        self.until_gone()
    }

    /// Says for the time of it that content is held up, and that time passes.
    fn holding(&mut self, hold: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        self.serving.holds.store(true, Ordering::Release);
        let held = hold(self);
        self.serving.holds.store(false, Ordering::Release);
        held
    }

    /// Takes nothing more of the content, until it is to behave. The client is held up when every buffer on the way is full, which nobody can see, and
    /// what it has sent must be taken before its end is seen: so time passes again and again, within a bound.
    fn stall(&mut self, span: Duration) -> Result<(), Error> {
        for _ in 0..STALLED {
            if self.behaves() {
                return self.until_gone();
            }
            thread::sleep(LOOK);
            self.pass(span / 2);
        }
        self.serving.seen().is_outlasted = true;
        self.until_gone()
    }

    /// The same, but that some octets are taken each second.
    fn sip(&mut self, span: Duration) -> Result<(), Error> {
        for _ in 0..SIPPED * span.as_secs() {
            if self.behaves() {
                return self.until_gone();
            }
            let taken = (&mut self.stream).take(SOME).read_to_end(&mut Vec::new());
            if taken.is_err() {
                self.is_over = true;
                return Ok(());
            }
            self.pass(Duration::from_secs(1));
        }
        self.serving.seen().is_outlasted = true;
        self.until_gone()
    }

    fn behaves(&self) -> bool {
        self.serving.behaves.load(Ordering::Acquire)
    }

    fn pass(&self, span: Duration) {
        (self.serving.manner.clock)(span);
    }

    /// Whether the client has gone away; what it says meanwhile is not listened to.
    fn is_gone(&mut self) -> Result<bool, Error> {
        let tcp = self.stream.get_ref().tcp();
        tcp.set_read_timeout(Some(LOOK))?;
        let peeked = tcp.peek(&mut [0]);
        tcp.set_read_timeout(Some(PATIENCE))?;
        Ok(match peeked {
            Ok(octets) => octets == 0,
            Err(error) => !is_timeout(&error),
        })
    }

    /// Waits until the client has gone away, or until it is to behave.
    fn until_gone(&mut self) -> Result<(), Error> {
        self.is_over = true;
        let mut tcp = self.stream.get_ref().tcp().try_clone()?;
        tcp.set_read_timeout(Some(LOOK * 10))?;
        let (until, mut octets) = (Instant::now() + PATIENCE, [0; 16 * 1024]);
        while !self.behaves() {
            let taken = tcp.read(&mut octets);
            if taken.map_or_else(|error| !is_timeout(&error), |octets| octets == 0) {
                return Ok(());
            }
            if Instant::now() > until {
                self.serving.seen().is_outlasted = true;
                return Ok(());
            }
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), Error> {
        self.is_over = true;
        // The connection goes with its last handle, which is this session's.
        rustix::net::sockopt::set_socket_linger(self.stream.get_ref().tcp(), Some(Duration::ZERO))?;
        Ok(())
    }

    /// Closes the connection in good order: what was said before arrives.
    fn close(&mut self) -> Result<(), Error> {
        if !self.is_over {
            let _ = self.stream.get_mut().close(); // without TLS' goodbye it is closed all the same
            let _ = self.stream.get_ref().tcp().shutdown(Shutdown::Write);
            self.until_gone()?;
        }
        Ok(())
    }

    fn say(&mut self, reply: &str) -> Result<(), Error> {
        let stream = self.stream.get_mut();
        stream.write_all(format!("{reply}\r\n").as_bytes())?;
        stream.flush()
    }

    /// Says octets that are counted.
    fn put(&mut self, octets: &[u8]) -> Result<(), Error> {
        let stream = self.stream.get_mut();
        stream.write_all(octets)?;
        stream.flush()?;
        self.serving.seen().said += octets.len();
        Ok(())
    }

    fn line(&mut self) -> Result<Option<String>, Error> {
        let mut line = Vec::new();
        if self.stream.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        self.serving.seen().lines.push((self.number, line.clone()));
        Ok(Some(line))
    }
}

fn is_timeout(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
