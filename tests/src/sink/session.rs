//! One session of a sink: commands in, replies out. Blocking I/O on one connection.

use std::io::{BufRead as _, BufReader, Error, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;

use super::manner::Tls;
use super::{Command, Letter, Moment, Protocol, Serving};
use crate::wire::Stream;

/// Longer than any client under test rests between two commands; a forgotten session ends by it.
const IDLE: Duration = Duration::from_mins(10);

/// No line of a test is longer. Bounds the memory of a session together with `MAX_CONTENT`.
const MAX_LINE: u64 = 1024 * 1024;

/// More than any content of a test.
const MAX_CONTENT: usize = 128 * 1024 * 1024;

/// Commands that are remembered: enough for a test that looks, not too much for one that sends all day.
const MOST_COMMANDS: usize = 10_000;

/// Serves the session until QUIT, a 421, or the end of the connection. `number` counts the sessions.
pub(super) fn run(stream: TcpStream, serving: &Serving, has_place: bool, number: usize) -> Result<(), Error> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut stream = Stream::Clear(stream);
    if let Tls::Implicit(config) = &serving.manner.tls {
        stream = stream.serve_tls(config)?;
    }
    let mut session = Session {
        serving,
        number,
        stream: BufReader::new(stream),
        out: Vec::new(),
        greeted: false,
        is_authenticated: false,
        starts_tls: false,
        mail: None,
        chunks: Vec::new(),
    };
    let go_on = if has_place {
        session.judge(Moment::Connect, "220 sink.test ready")
    } else {
        session.say("421 4.3.2 too many");
        false
    };
    session.flush()?;
    if !go_on {
        return Ok(());
    }
    while let Some(line) = session.line()? {
        let go_on = session.command(&line)?;
        // Replies to pipelined commands travel together (RFC 2920 §3.2), but none waits for input that has not come.
        if !go_on || session.starts_tls || session.stream.buffer().is_empty() {
            session.flush()?;
        }
        if !go_on {
            return session.stream.get_mut().close();
        }
        if session.starts_tls {
            let Tls::StartTls(config) = &serving.manner.tls else {
                // Once the client has begun: otherwise it would be an answer in clear.
                session.stream.fill_buf()?;
                return session.stream.get_mut().write_all(b"this is not TLS at all\r\n");
            };
            session = session.secured(config)?;
        }
    }
    Ok(())
}

pub(super) struct Session<'a> {
    pub(super) serving: &'a Serving,
    number: usize,
    stream: BufReader<Stream>,
    out: Vec<u8>,
    greeted: bool,
    pub(super) is_authenticated: bool,
    /// 220 was said to STARTTLS.
    starts_tls: bool,
    /// The reverse-path and the accepted forward-paths of the transaction under way.
    mail: Option<(String, Vec<String>)>,
    /// What came by BDAT so far.
    chunks: Vec<u8>,
}

impl Session<'_> {
    /// After the handshake the session begins again (RFC 3207 §4.2), and what was sent in clear before it is forgotten.
    fn secured(self, config: &Arc<ServerConfig>) -> Result<Self, Error> {
        let stream = BufReader::new(self.stream.into_inner().serve_tls(config)?);
        Ok(Self { stream, greeted: false, is_authenticated: false, starts_tls: false, mail: None, ..self })
    }

    fn command(&mut self, line: &str) -> Result<bool, Error> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let go_on = match (verb.to_ascii_uppercase().as_str(), self.serving.protocol) {
            ("HELO" | "EHLO", Protocol::Smtp) | ("LHLO", Protocol::Lmtp) => {
                self.greeted = true;
                self.mail = None;
                if verb.eq_ignore_ascii_case("HELO") { self.say("250 sink.test") } else { self.hello() }
            }
            ("STARTTLS", _) => self.start_tls(),
            ("AUTH", _) => self.authenticate(rest)?,
            ("MAIL", _) => self.mail(rest),
            ("RCPT", _) => self.rcpt(rest),
            ("DATA", _) => self.data()?,
            ("BDAT", _) => self.chunk(rest)?,
            ("RSET", _) => {
                self.mail = None;
                self.chunks.clear();
                self.say("250 2.0.0 ok")
            }
            ("NOOP", _) => self.say("250 2.0.0 ok"),
            ("QUIT", _) => {
                self.say("221 2.0.0 bye");
                false
            }
            _ => self.say("500 5.5.1 no such command"),
        };
        Ok(go_on)
    }

    fn hello(&mut self) -> bool {
        let manner = &self.serving.manner;
        let mut lines = vec!["sink.test".to_owned()];
        lines.extend(manner.keywords.iter().cloned());
        if matches!(manner.tls, Tls::StartTls(_) | Tls::Broken) && !self.stream.get_ref().is_encrypted() {
            lines.push("STARTTLS".to_owned());
        }
        if let Some(known) = &manner.authentication {
            let names: Vec<&str> = known.mechanisms.iter().map(|mechanism| mechanism.name()).collect();
            lines.push(format!("AUTH {}", names.join(" ")));
        }
        let last = lines.len() - 1;
        let reply =
            |(place, line): (usize, &String)| format!("250{}{line}", if place == last { ' ' } else { '-' });
        let reply: Vec<String> = lines.iter().enumerate().map(reply).collect();
        self.say(&reply.join("\r\n"))
    }

    fn start_tls(&mut self) -> bool {
        let offered = matches!(self.serving.manner.tls, Tls::StartTls(_) | Tls::Broken);
        self.starts_tls = offered && !self.stream.get_ref().is_encrypted();
        self.say(if self.starts_tls { "220 2.0.0 go ahead" } else { "503 5.5.1 not now" })
    }

    fn mail(&mut self, rest: &str) -> bool {
        let Some(from) = path(rest, "FROM:") else { return self.say("501 5.5.4 MAIL FROM:<path>") };
        if !self.greeted || self.mail.is_some() {
            return self.say("503 5.5.1 not now");
        }
        if self.serving.manner.authentication.is_some() && !self.is_authenticated {
            return self.say("530 5.7.0 authenticate first");
        }
        let positive = self.out.len();
        let go_on = self.judge(Moment::Mail(from), "250 2.1.0 ok");
        if self.accepted(positive) {
            self.mail = Some((from.to_owned(), Vec::new()));
        }
        go_on
    }

    fn rcpt(&mut self, rest: &str) -> bool {
        let Some(to) = path(rest, "TO:") else { return self.say("501 5.5.4 RCPT TO:<path>") };
        if self.mail.is_none() {
            return self.say("503 5.5.1 MAIL first");
        }
        let positive = self.out.len();
        let go_on = self.judge(Moment::Rcpt(to), "250 2.1.5 ok");
        if self.accepted(positive)
            && let Some((_, recipients)) = &mut self.mail
        {
            recipients.push(to.to_owned());
        }
        go_on
    }

    fn data(&mut self) -> Result<bool, Error> {
        let Some((from, to)) = self.mail.take_if(|(_, to)| !to.is_empty()) else {
            return Ok(self.say("503 5.5.1 no valid recipients"));
        };
        self.say("354 go ahead");
        self.flush()?;
        let content = self.content()?;
        Ok(self.deliver(from, to, content))
    }

    /// RFC 3030 §2.
    fn chunk(&mut self, rest: &str) -> Result<bool, Error> {
        let (size, last) = rest
            .split_once(' ')
            .map_or((rest, false), |(size, last)| (size, last.eq_ignore_ascii_case("LAST")));
        let size: usize = size.parse().map_err(|_| Error::from(ErrorKind::InvalidData))?;
        if self.chunks.len().saturating_add(size) > MAX_CONTENT {
            return Err(ErrorKind::InvalidData.into());
        }
        let begin = self.chunks.len();
        self.chunks.resize(begin + size, 0);
        if let Some(room) = self.chunks.get_mut(begin..) {
            self.stream.read_exact(room)?;
        }
        if self.mail.as_ref().is_none_or(|(_, to)| to.is_empty()) {
            self.chunks.clear();
            return Ok(self.say("503 5.5.1 no valid recipients"));
        }
        if !last {
            return Ok(self.say("250 2.0.0 more"));
        }
        let content = std::mem::take(&mut self.chunks);
        let Some((from, to)) = self.mail.take() else { return Ok(self.say("503 5.5.1 MAIL first")) };
        Ok(self.deliver(from, to, content))
    }

    fn deliver(&mut self, from: String, to: Vec<String>, content: Vec<u8>) -> bool {
        let protocol = self.serving.protocol;
        let letter = Letter { protocol, from, to, content };
        match protocol {
            Protocol::Smtp => {
                let positive = self.out.len();
                let go_on = self.judge(Moment::Content(&letter), "250 2.0.0 taken");
                if self.accepted(positive) {
                    self.keep(letter);
                }
                go_on
            }
            Protocol::Lmtp => {
                let mut kept = Letter { to: Vec::new(), ..letter.clone() };
                let mut go_on = true;
                for to in letter.to {
                    let single = Letter { to: vec![to.clone()], ..kept.clone() };
                    let positive = self.out.len();
                    go_on &= self.judge(Moment::Content(&single), "250 2.0.0 taken");
                    if self.accepted(positive) {
                        kept.to.push(to);
                    }
                }
                if !kept.to.is_empty() {
                    self.keep(kept);
                }
                go_on
            }
        }
    }

    /// The test that started the sink may have ended: then nobody wants the letter.
    fn keep(&self, letter: Letter) {
        let _ = self.serving.letters.send(letter);
    }

    fn content(&mut self) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        loop {
            let mut line = Vec::new();
            (&mut self.stream).take(MAX_LINE).read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") || content.len() + line.len() > MAX_CONTENT {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if line == b".\r\n" {
                return Ok(content);
            }
            content.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }

    pub(super) fn line(&mut self) -> Result<Option<String>, Error> {
        let mut line = Vec::new();
        (&mut self.stream).take(MAX_LINE).read_until(b'\n', &mut line)?;
        let line = line.strip_suffix(b"\r\n").map(|line| String::from_utf8_lossy(line).into_owned());
        let mut commands = self.serving.commands.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = line.clone().filter(|_| commands.len() < MOST_COMMANDS) {
            let encrypted = self.stream.get_ref().is_encrypted();
            commands.push(Command { session: self.number, encrypted, line });
        }
        Ok(line)
    }

    /// Says the policy's reply, or this one. False: the session is over.
    fn judge(&mut self, moment: Moment<'_>, positive: &str) -> bool {
        match (self.serving.manner.policy)(moment) {
            None => self.say(positive),
            Some(reply) => {
                self.say(&reply);
                !reply.starts_with("421")
            }
        }
    }

    /// Whether the reply that began at this place in the output is positive.
    fn accepted(&self, reply: usize) -> bool {
        self.out.get(reply) == Some(&b'2')
    }

    pub(super) fn say(&mut self, reply: &str) -> bool {
        self.out.extend_from_slice(reply.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        true
    }

    pub(super) fn flush(&mut self) -> Result<(), Error> {
        self.stream.get_mut().write_all(&self.out)?;
        self.out.clear();
        self.stream.get_mut().flush()
    }
}

/// The path in `FROM:<path> PARAMETERS`. Parameters are taken, and only remembered with the command.
fn path<'a>(rest: &'a str, keyword: &str) -> Option<&'a str> {
    let (word, rest) = rest.split_at_checked(keyword.len())?;
    let (path, _) = rest.strip_prefix('<')?.split_once('>')?;
    word.eq_ignore_ascii_case(keyword).then_some(path)
}
