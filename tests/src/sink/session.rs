//! One session of a sink: commands in, replies out. Blocking I/O on one connection.

use std::io::{BufRead as _, BufReader, Error, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::{Letter, Moment, Policy, Protocol};

/// Longer than any client under test rests between two commands; a forgotten session ends by it.
const IDLE: Duration = Duration::from_mins(10);

/// No line of a test is longer. Bounds the memory of a session together with `MAX_CONTENT`.
const MAX_LINE: u64 = 1024 * 1024;

/// More than any content of a test.
const MAX_CONTENT: usize = 128 * 1024 * 1024;

/// Serves the session until QUIT, a 421, or the end of the connection.
pub(super) fn run(
    protocol: Protocol,
    stream: TcpStream,
    policy: &Policy,
    letters: &Sender<Letter>,
) -> Result<(), Error> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut session = Session {
        protocol,
        stream: BufReader::new(stream),
        policy,
        letters,
        out: Vec::new(),
        greeted: false,
        mail: None,
    };
    let go_on = session.judge(Moment::Connect, "220 sink.test ready");
    session.flush()?;
    if !go_on {
        return Ok(());
    }
    while let Some(line) = session.line()? {
        let go_on = session.command(&line)?;
        // Replies to pipelined commands travel together (RFC 2920 §3.2), but none waits for input that has not come.
        if !go_on || session.stream.buffer().is_empty() {
            session.flush()?;
        }
        if !go_on {
            break;
        }
    }
    Ok(())
}

struct Session<'a> {
    protocol: Protocol,
    stream: BufReader<TcpStream>,
    policy: &'a Policy,
    letters: &'a Sender<Letter>,
    out: Vec<u8>,
    greeted: bool,
    /// The reverse-path and the accepted forward-paths of the transaction under way.
    mail: Option<(String, Vec<String>)>,
}

impl Session<'_> {
    fn command(&mut self, line: &str) -> Result<bool, Error> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let go_on = match (verb.to_ascii_uppercase().as_str(), self.protocol) {
            ("HELO" | "EHLO", Protocol::Smtp) | ("LHLO", Protocol::Lmtp) => {
                self.greeted = true;
                self.mail = None;
                if verb.eq_ignore_ascii_case("HELO") {
                    self.say("250 sink.test")
                } else {
                    self.say("250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 0")
                }
            }
            ("MAIL", _) => self.mail(rest),
            ("RCPT", _) => self.rcpt(rest),
            ("DATA", _) => self.data()?,
            ("RSET", _) => {
                self.mail = None;
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

    fn mail(&mut self, rest: &str) -> bool {
        let Some(from) = path(rest, "FROM:") else { return self.say("501 5.5.4 MAIL FROM:<path>") };
        if !self.greeted || self.mail.is_some() {
            return self.say("503 5.5.1 not now");
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
        let letter = Letter { protocol: self.protocol, from, to, content };
        match self.protocol {
            Protocol::Smtp => {
                let positive = self.out.len();
                let go_on = self.judge(Moment::Content(&letter), "250 2.0.0 taken");
                if self.accepted(positive) {
                    self.keep(letter);
                }
                Ok(go_on)
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
                Ok(go_on)
            }
        }
    }

    /// The test that started the sink may have ended: then nobody wants the letter.
    fn keep(&self, letter: Letter) {
        let _ = self.letters.send(letter);
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

    fn line(&mut self) -> Result<Option<String>, Error> {
        let mut line = Vec::new();
        (&mut self.stream).take(MAX_LINE).read_until(b'\n', &mut line)?;
        let line = line.strip_suffix(b"\r\n").map(String::from_utf8_lossy);
        Ok(line.map(std::borrow::Cow::into_owned))
    }

    /// Says the policy's reply, or this one. False: the session is over.
    fn judge(&mut self, moment: Moment<'_>, positive: &str) -> bool {
        match (self.policy)(moment) {
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

    fn say(&mut self, reply: &str) -> bool {
        self.out.extend_from_slice(reply.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        true
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.stream.get_mut().write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }
}

/// The path in `FROM:<path> PARAMETERS`. Parameters are taken and ignored.
fn path<'a>(rest: &'a str, keyword: &str) -> Option<&'a str> {
    let (word, rest) = rest.split_at_checked(keyword.len())?;
    let (path, _) = rest.strip_prefix('<')?.split_once('>')?;
    word.eq_ignore_ascii_case(keyword).then_some(path)
}
